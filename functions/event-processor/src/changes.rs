//! Changes of recordings at Zoom: renamed, trashed, recovered, deleted. The app is notified; stored files stay.
//!
//! A change may arrive before the recording's own event. It is then observed without a notification.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::{RecordingId, ZoomUser};
use reelay_domain::link::Link;
use reelay_domain::listing::{self, MIN_ACTIVATION_WINDOW};
use reelay_domain::notification::RecordingNotification;
use reelay_domain::observation::{Observation, ObservedAt};
use reelay_domain::recording::{FileStatus, RecordingChange, ZoomState};
use reelay_domain::webhook::change::{ChangedMeeting, RecordingsChanged};
use reelay_domain::webhook::meeting::{self, ParsedMeeting};
use reelay_runtime::AwsError;
use reelay_runtime::metrics::{self, Metric};
use reelay_store::links::GrantSnapshot;
use reelay_store::manifest;
use reelay_store::recordings::{FileKey, ObserveOutcome, RecordingWithFiles};
use serde_json::Value;

use crate::{CONCURRENCY, EventProcessor, ProcessError};

/// Time for which an event without a host is retried until its meeting is known: the meeting's own event may come
/// later, and the index lags.
const UNKNOWN_MEETING_TTL: SignedDuration = SignedDuration::from_mins(10);

impl EventProcessor {
    pub(crate) async fn recordings_changed(
        &self,
        event: &Value,
        time: ObservedAt,
        received_at: Timestamp,
    ) -> Result<(), ProcessError> {
        let changed = RecordingsChanged::parse(event, time)?;
        for _ in 0..changed.ignored_meetings {
            metrics::count(Metric::EventsIgnored, "not_a_meeting");
        }
        // The event's other data about the meeting. After a recovery these include the files with new URLs and a
        // token.
        let parsed = meeting::parse_event(event, time).ok();
        let meetings = stream::iter(changed.meetings.clone())
            .map(|meeting| self.change_of_hosts(meeting, &changed, parsed.as_ref(), received_at));
        let is_known = meetings
            .buffer_unordered(CONCURRENCY)
            .try_fold(true, |all, is_known| std::future::ready(Ok(all && is_known)))
            .await?;
        if !is_known {
            if self.clock.now().duration_since(received_at) < UNKNOWN_MEETING_TTL {
                return Err(ProcessError::UnknownMeeting);
            }
            metrics::count(Metric::EventsIgnored, "unknown_recording");
        }
        Ok(())
    }

    /// Processes one meeting of the event. Returns whether its host is known.
    async fn change_of_hosts(
        &self,
        meeting: ChangedMeeting,
        changed: &RecordingsChanged,
        parsed: Option<&ParsedMeeting>,
        received_at: Timestamp,
    ) -> Result<bool, ProcessError> {
        let hosts = match &changed.host {
            Some(user_id) => {
                vec![ZoomUser { account_id: changed.account_id.clone(), user_id: user_id.clone() }]
            }
            // The table knows the hosts of a known meeting.
            None => self.recordings.hosts_of_meeting(&changed.account_id, &meeting.uuid).await?,
        };
        let is_known = !hosts.is_empty();
        for host in hosts {
            self.change(host, &meeting, changed, parsed, received_at).await?;
        }
        Ok(is_known)
    }

    async fn change(
        &self,
        host: ZoomUser,
        meeting: &ChangedMeeting,
        changed: &RecordingsChanged,
        parsed: Option<&ParsedMeeting>,
        received_at: Timestamp,
    ) -> Result<(), ProcessError> {
        let id = RecordingId::from_uuid(&meeting.uuid);
        let snapshot = self.links.snapshot(&host).await?;
        let links = self.receivers(&host, &snapshot).await?;
        if links.is_empty() {
            metrics::count(Metric::EventsAboutUnknownHosts, "unlinked");
            return Ok(());
        }
        self.record_arrival(changed.time.source, &host, &links).await?;
        let event_host = &host;
        let host = self.known_key(event_host, &id, &links).await?;
        let is_removal =
            matches!(changed.change, RecordingChange::Trashed | RecordingChange::Deleted);
        if is_removal
            && let Some(loaded) = self.recordings.load(&host, &id).await?
            && loaded
                .files
                .iter()
                .any(|file| !file.is_gone() && meeting.omits(&file.observed.metadata))
        {
            metrics::count(Metric::EventsIgnored, "part_of_a_recording");
            return self.mark_removed(loaded, meeting, changed.time).await;
        }
        // An unknown recording from before the activation window is not covered by the link.
        let start = parsed.and_then(|parsed| parsed.observation.details.start_time);
        if is_before_window(start, &snapshot) {
            let item = self.recordings.item(&host, &id).await?;
            // A change without a start, such as a rename, leaves an item that no observation completes.
            if item.is_none_or(|item| item.observed.is_only_changed()) {
                metrics::count(Metric::EventsIgnored, "before_activation");
                return Ok(());
            }
        }
        let mut details =
            parsed.map(|parsed| parsed.observation.details.clone()).unwrap_or_default();
        // The recording's own observation says it. Until then only the change is known.
        details.start_time = None;
        // An event without a host is not parsed as a meeting.
        if let RecordingChange::Renamed { topic } = &changed.change {
            details.topic = Some(topic.clone());
        }
        let observation = Observation {
            host,
            meeting_uuid: meeting.uuid.clone(),
            details,
            zoom_state: match changed.change {
                RecordingChange::Renamed { .. } => None,
                RecordingChange::Trashed | RecordingChange::TrashedByReelay => {
                    Some(ZoomState::Trashed)
                }
                RecordingChange::Recovered => Some(ZoomState::Present),
                RecordingChange::Deleted => Some(ZoomState::Deleted),
            },
            files: Vec::new(),
            time: changed.time,
        };
        let (is_known, after) = match self.observe_recording(&observation, &links).await? {
            ObserveOutcome::New(item) => (false, item),
            // The app was not notified of a recording of which only changes are known.
            ObserveOutcome::Known { before, after } => (!before.observed.is_only_changed(), after),
            ObserveOutcome::Erased => {
                metrics::count(Metric::EventsIgnored, "erased_recording");
                return Ok(());
            }
        };
        let seen = &after.observed.seen;
        let renaming = after.correction_at(changed.time).filter(|it| it.is_renamed);
        let is_current = match changed.change {
            RecordingChange::Renamed { .. } => {
                renaming.is_some() || seen.has_topic_of(changed.time)
            }
            _ => seen.has_state_of(changed.time),
        };
        // The event's details may show a new topic before the event about it.
        if let Some(renaming) = renaming
            && !matches!(changed.change, RecordingChange::Renamed { .. })
        {
            self.publish_correction(&observation, &after, renaming, &links).await?;
        }
        if !is_current {
            metrics::count(Metric::EventsIgnored, "older_change");
        } else if is_known {
            // Publish again on a redelivery: the earlier delivery may have ended before it published.
            let change = match &changed.change {
                RecordingChange::Trashed if after.trashed_by_reelay => {
                    RecordingChange::TrashedByReelay
                }
                change => change.clone(),
            };
            let notification = RecordingNotification::Changed { change, at: changed.time.at };
            let table = &self.recordings;
            let host = &observation.host;
            let overview = self.outbox.publish(table, host, &id, &notification, &links).await?;
            if overview.is_some_and(|overview| overview.has_stored()) {
                manifest::refresh(table, &self.bucket, host, &id).await?;
            }
        }
        if !is_current || changed.change != RecordingChange::Recovered {
            return Ok(());
        }
        if after.trashed_by_reelay {
            self.recordings.forget_trash(&observation.host, &id, changed.time).await?;
        }
        // Its files can be downloaded again. A batch event does not list them.
        match parsed {
            Some(parsed) if observation.host == *event_host => {
                self.observe(parsed.clone(), received_at, false).await
            }
            _ => self.queue_failed_again(&observation.host, &id).await,
        }
    }

    /// Marks the files that the event lists, so that a later event about the others concerns the whole recording.
    async fn mark_removed(
        &self,
        RecordingWithFiles { zoom_user, files, .. }: RecordingWithFiles,
        meeting: &ChangedMeeting,
        time: ObservedAt,
    ) -> Result<(), ProcessError> {
        let ids = files.into_iter().map(|file| file.observed.metadata.id);
        let keys = ids.filter(|id| meeting.files.contains(id)).map(|file| FileKey {
            zoom_user: zoom_user.clone(),
            recording: RecordingId::from_uuid(&meeting.uuid),
            file,
        });
        let marked = stream::iter(keys)
            .map(async |key| self.recordings.mark_removed(&key, time.at).await)
            .buffer_unordered(CONCURRENCY);
        Ok(marked.try_collect().await?)
    }

    /// The key under which a recording is known: the host's, or that of an earlier account of the host.
    async fn known_key(
        &self,
        host: &ZoomUser,
        id: &RecordingId,
        links: &[Link],
    ) -> Result<ZoomUser, AwsError> {
        let earlier: BTreeSet<_> =
            links.iter().flat_map(|link| &link.previous_zoom_users).collect();
        if !earlier.is_empty() && self.recordings.item(host, id).await?.is_none() {
            for key in earlier {
                if self.recordings.item(key, id).await?.is_some() {
                    return Ok(key.clone());
                }
            }
        }
        Ok(host.clone())
    }

    async fn queue_failed_again(
        &self,
        host: &ZoomUser,
        id: &RecordingId,
    ) -> Result<(), ProcessError> {
        let files = self.recordings.load(host, id).await?.map(|loaded| loaded.files);
        let mut queued = Vec::new();
        for file in files.unwrap_or_default() {
            let key = FileKey {
                zoom_user: host.clone(),
                recording: id.clone(),
                file: file.observed.metadata.id,
            };
            let now = self.clock.now();
            if file.status == FileStatus::Failed
                && self.recordings.queue_again(&key, FileStatus::Failed, now).await?
            {
                queued.push(key);
            }
        }
        self.enqueue_downloads(host, id, &queued, false).await
    }
}

/// The earliest start of a recording that a receiving link covers, or that may have completed in its activation window.
fn earliest_start(snapshot: &GrantSnapshot) -> Timestamp {
    let links = snapshot.links.iter().filter(|link| link.is_receiving());
    let starts = links.flat_map(|link| {
        let window = link.activated_at.and_then(|at| at.checked_sub(MIN_ACTIVATION_WINDOW).ok());
        let first_day = link.coverage.first_day();
        let covered = first_day.and_then(|day| TimeZone::UTC.to_timestamp(day.into()).ok());
        [window.map(listing::earliest_start), covered]
    });
    starts.flatten().min().unwrap_or(Timestamp::MIN)
}

/// Whether a start is known and lies before what the receiving links cover.
pub(crate) fn is_before_window(start: Option<Timestamp>, snapshot: &GrantSnapshot) -> bool {
    start.is_some_and(|start| start < earliest_start(snapshot))
}
