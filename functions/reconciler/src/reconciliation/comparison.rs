//! Compares one of Zoom's lists with the stored recordings.

use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use reelay_domain::ids::{FileId, RecordingId};
use reelay_domain::listing::{Incomplete, List, ListedMeeting, NextPage, Window};
use reelay_domain::message::DownloadMessage;
use reelay_domain::observation::{ObservationSource, ObservedAt};
use reelay_domain::reconciliation::{self, Amount, Comparison, Progress};
use reelay_domain::recording::ZoomState;
use reelay_domain::webhook::meeting;
use reelay_grants::AccessToken;
use reelay_runtime::AwsError;
use reelay_runtime::metrics::{self, Metric};
use reelay_store::recordings::{FileKey, KnownRecording, RecordingWithFiles};
use reelay_zoom::ApiError;
use serde_json::{Value, json};

use super::run::Run;
use crate::attempt::Attempt;
use crate::details::Details;
use crate::listing::Pages;
use crate::observations::ListedChange;
use crate::{JobError, Reconciler};

/// Interval between requests to the list.
pub(super) const LIST_INTERVAL: Duration = Duration::from_secs(1);

/// Number of recordings that are read concurrently.
const CONCURRENCY: usize = 16;

/// The differences that a page shows, to be queued.
#[derive(Default)]
struct Repairs {
    changes: Vec<ListedChange>,
    details: Vec<Details>,
    downloads: Vec<DownloadMessage>,
}

impl Reconciler {
    /// Reads the next list and queues the differences. Returns why the list may be incomplete, or `None`.
    pub(super) async fn compare_next(
        &self,
        run: &Run<'_>,
        progress: &mut Progress,
        token: &mut AccessToken,
        attempt: Attempt,
    ) -> Result<Option<Incomplete>, JobError> {
        let Some(list) = progress.left.first().copied() else {
            return Ok(None);
        };
        let mut pages = Pages::new(list);
        let incomplete = loop {
            let page = match (list, self.read_page(run.zoom_user, &mut pages, token).await) {
                // Only an issue with the recordings themselves is the user's.
                (
                    List::Trash,
                    Err(JobError::Zoom(
                        ApiError::Forbidden { .. }
                        | ApiError::MissingScope
                        | ApiError::NotFound { .. },
                    )),
                ) => {
                    metrics::count(Metric::ListingsIncomplete, "trash_refused");
                    break None;
                }
                (_, page) => page?,
            };
            let repairs = match list {
                List::Window(window) => {
                    self.compare_page(run, progress, &window, page.meetings).await?
                }
                List::Trash => self.compare_trash(run, progress, page.meetings).await?,
            };
            self.repair(run, repairs).await?;
            match page.next {
                NextPage::Token(_) if !attempt.has_time_for(LIST_INTERVAL) => {
                    break Some(Incomplete::OutOfTime);
                }
                NextPage::Token(_) => tokio::time::sleep(LIST_INTERVAL).await,
                NextPage::Complete => break None,
                NextPage::Incomplete(incomplete) => break Some(incomplete),
            }
        };
        progress.left.remove(0);
        Ok(incomplete)
    }

    async fn repair(&self, run: &Run<'_>, repairs: Repairs) -> Result<(), JobError> {
        let (zoom_user, source) = (run.zoom_user, ObservationSource::List);
        // First, because a redelivery finds these files queued.
        let downloads = &repairs.downloads;
        metrics::count_many(Metric::DownloadsRequeued, "reconciliation", downloads.len() as u64);
        self.downloads.send_all(downloads, zoom_user.account_id.as_str()).await?;
        self.queue(zoom_user, repairs.changes, source, run.requested_at).await?;
        self.queue_details(zoom_user, repairs.details).await
    }

    async fn compare_page(
        &self,
        run: &Run<'_>,
        progress: &mut Progress,
        window: &Window,
        meetings: Vec<(ListedMeeting, Value)>,
    ) -> Result<Repairs, JobError> {
        let now = run.requested_at;
        let time = ObservedAt { at: now, is_own: true, source: ObservationSource::List };
        let mut covered = Vec::new();
        for (listed, meeting) in meetings {
            if !run.coverage.includes(&listed) || !progress.counts(window, &listed) {
                continue;
            }
            match meeting::parse_meeting(run.zoom_user.clone(), &meeting, time) {
                Some(parsed) => covered.push((listed, meeting, parsed.observation)),
                None => metrics::count(Metric::EventsIgnored, "not_a_meeting"),
            }
        }
        let ids = covered.iter().map(|(.., observation)| observation.recording_id());
        let known = self.known(run, ids.collect()).await?;
        let mut repairs = Repairs::default();
        for ((listed, meeting, observation), known) in covered.into_iter().zip(known) {
            let loaded = match &known {
                KnownRecording::Erased => continue,
                KnownRecording::Unknown => None,
                KnownRecording::Known(loaded) => Some(loaded.as_ref()),
            };
            let recording = loaded.map(RecordingWithFiles::recording);
            let mut comparison = reconciliation::compare(&listed, &observation, recording.as_ref());
            let is_announced = loaded.is_some_and(|loaded| loaded.item.announced);
            progress.note(&listed, is_announced, run.events_since, now);
            let zoom = Amount { recordings: 1, files: listed.files(), bytes: listed.size() };
            let stored = recording.as_ref().map(reconciliation::stored).unwrap_or_default();
            // An observation adds a second recording, under the key of the present account: only if files are missing,
            // or if the first one is in the trash as far as is known.
            if loaded.is_some_and(|loaded| loaded.zoom_user != *run.zoom_user) {
                comparison = match comparison.missing.files > 0 || comparison.is_recovered {
                    true => reconciliation::compare(&listed, &observation, None),
                    false => Comparison { failed: comparison.failed, ..Comparison::default() },
                };
            }
            progress.totals.add(zoom, stored, &comparison);
            if let Some(loaded) = loaded {
                repairs
                    .downloads
                    .extend(self.grant_attempts(loaded, &comparison.failed, now).await?);
            }
            if comparison.needs_details {
                let meeting_uuid = observation.meeting_uuid;
                repairs.details.push(Details { meeting_uuid, omitted: comparison.failed });
            } else {
                repairs.changes.extend(changes(meeting, &comparison));
            }
        }
        Ok(repairs)
    }

    /// Compares recordings in the trash. Unknown ones cannot be fetched.
    async fn compare_trash(
        &self,
        run: &Run<'_>,
        progress: &mut Progress,
        meetings: Vec<(ListedMeeting, Value)>,
    ) -> Result<Repairs, JobError> {
        let meetings = meetings.into_iter().filter_map(|(listed, meeting)| {
            let uuid = listed.uuid()?;
            Some((RecordingId::from_uuid(&uuid), json!({"uuid": uuid, "id": meeting["id"]})))
        });
        let (ids, meetings): (Vec<_>, Vec<_>) = meetings.unzip();
        let known = self.known(run, ids.clone()).await?;
        let mut repairs = Repairs::default();
        for ((recording_id, meeting), known) in ids.into_iter().zip(meetings).zip(known) {
            let KnownRecording::Known(loaded) = known else { continue };
            let state = loaded.item.observed.zoom_state.unwrap_or_default();
            if state != ZoomState::Trashed && loaded.zoom_user == *run.zoom_user {
                progress.totals.add_trashed(recording_id);
                repairs.changes.push(ListedChange::Trashed(meeting));
            }
        }
        Ok(repairs)
    }

    /// Reads the stored state of recordings, also under the keys of earlier accounts, and whether one was erased in whatever
    /// account.
    async fn known(
        &self,
        run: &Run<'_>,
        ids: Vec<RecordingId>,
    ) -> Result<Vec<KnownRecording>, AwsError> {
        let read = |id: RecordingId| async move {
            for key in std::iter::once(run.zoom_user).chain(&run.previous) {
                match self.recordings.known(key, &id).await? {
                    KnownRecording::Unknown => {}
                    known => return Ok(known),
                }
            }
            Ok(match self.recordings.is_erased(&run.zoom_user.user_id, &id).await? {
                true => KnownRecording::Erased,
                false => KnownRecording::Unknown,
            })
        };
        stream::iter(ids).map(read).buffered(CONCURRENCY).try_collect().await
    }

    /// Queues the failed files again that are due for another attempt.
    async fn grant_attempts(
        &self,
        loaded: &RecordingWithFiles,
        failed: &[FileId],
        now: Timestamp,
    ) -> Result<Vec<DownloadMessage>, AwsError> {
        let mut messages = Vec::new();
        let files = loaded.files.iter();
        for file in files.filter(|file| failed.contains(&file.observed.metadata.id)) {
            let failed_at = file.failed_at.and_then(|at| Timestamp::from_millisecond(at).ok());
            let failed_at = failed_at.unwrap_or(Timestamp::MIN);
            if !reconciliation::is_attempt_due(failed_at, file.granted_attempts, now) {
                continue;
            }
            let key = FileKey {
                zoom_user: loaded.zoom_user.clone(),
                recording: RecordingId::from_uuid(&loaded.item.observed.metadata.meeting_uuid),
                file: file.observed.metadata.id.clone(),
            };
            if self.recordings.grant_attempt(&key, file, now).await? {
                messages.push(DownloadMessage::new(key.zoom_user, key.recording, key.file));
            }
        }
        Ok(messages)
    }
}

/// Returns the changes to queue for a listed meeting.
fn changes(mut meeting: Value, comparison: &Comparison) -> Vec<ListedChange> {
    if comparison.is_unknown {
        return vec![ListedChange::Files(meeting)];
    }
    let mut changes = Vec::new();
    if comparison.is_renamed {
        let about = json!({
            "uuid": meeting["uuid"], "id": meeting["id"], "topic": meeting["topic"],
        });
        changes.push(ListedChange::Renamed(about));
    }
    if comparison.is_recovered {
        changes.push(ListedChange::Recovered(meeting));
    } else if !comparison.files.is_empty() {
        // The other files do not differ, and an observation would queue a failed file again.
        meeting::retain_files(&mut meeting, |id| comparison.files.contains(id));
        changes.push(ListedChange::Files(meeting));
    }
    changes
}
