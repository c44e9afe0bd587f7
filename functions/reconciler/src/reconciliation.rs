//! Reconciliation: compares Zoom's lists with the stored recordings, and queues the differences like events.
//!
//! Each message reads one list and enqueues a message for the next one. Runs are numbered, and a later run supersedes an
//! earlier one: a lost message delays a run, and a redelivered one changes nothing.

use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use reelay_domain::coverage::{Coverage, DayRange};
use reelay_domain::ids::{FileId, RecordingId, ZoomUser};
use reelay_domain::link::{LinkIssue, LinkStatus, active_coverage};
use reelay_domain::listing::{Incomplete, List, ListedMeeting, NextPage, Window};
use reelay_domain::message::{DownloadMessage, Job, JobMessage};
use reelay_domain::observation::{ObservationSource, ObservedAt};
use reelay_domain::reconciliation::{self, Amount, Comparison, Progress, Reconciliation};
use reelay_domain::recording::ZoomState;
use reelay_domain::webhook::meeting;
use reelay_grants::{AccessToken, GrantError};
use reelay_runtime::AwsError;
use reelay_runtime::metrics::{self, Metric};
use reelay_store::links::{GrantSnapshot, ReconciliationItem};
use reelay_store::recordings::{FileKey, KnownRecording, RecordingWithFiles};
use reelay_zoom::ApiError;
use serde_json::{Value, json};

use crate::attempt::{Attempt, MIN_DEFERRAL};
use crate::details::Details;
use crate::listing::Pages;
use crate::observations::ListedChange;
use crate::{JobError, Reconciler};

/// Number of deliveries, over about 16 minutes, after which an incomplete list is not read again in this run. All lists
/// together must take less than the six hours after which a run counts as lost.
const MAX_INCOMPLETE_RECEIVES: u32 = 8;

/// Interval between requests to the list.
const LIST_INTERVAL: Duration = Duration::from_secs(1);

/// Seconds between the starts of two runs of one Zoom account; a run takes about as long.
const RUN_INTERVAL_SECONDS: i32 = 5;

/// Maximum delay of a run in seconds, a little less than the five minutes until the next retry run.
const MAX_DELAY_SECONDS: i32 = 290;

/// Interval until the next run if runs are not scheduled (`ReconcileEveryHours` is 0).
const UNSCHEDULED_INTERVAL: SignedDuration = SignedDuration::from_hours(24);

/// Number of recordings that are read concurrently.
const CONCURRENCY: usize = 16;

/// The part of a run that does not change between its pages.
struct Run<'a> {
    zoom_user: &'a ZoomUser,
    /// Keys of the Zoom user in earlier accounts.
    previous: Vec<ZoomUser>,
    coverage: Coverage,
    /// Time from which Zoom is expected to send events about the user.
    events_since: Timestamp,
    /// Time just before the list is requested: the time of its observations.
    requested_at: Timestamp,
}

/// The differences that a page shows, to be queued.
#[derive(Default)]
struct Repairs {
    changes: Vec<ListedChange>,
    details: Vec<Details>,
    downloads: Vec<DownloadMessage>,
}

impl Reconciler {
    /// Reads the next list of a run, and continues or ends the run. Safe to repeat.
    pub(crate) async fn reconcile(
        &self,
        Reconciliation { zoom_user, run: number, progress }: Reconciliation,
        attempt: Attempt,
    ) -> Result<(), JobError> {
        let links = self.grants.links();
        let item = links.reconciliation(&zoom_user).await?;
        let Some(item) = item.filter(|item| item.run_number == number) else {
            metrics::count(Metric::ReconciliationsIgnored, "superseded");
            return Ok(());
        };
        let snapshot = links.snapshot(&zoom_user).await?;
        if snapshot.grant.is_none() {
            metrics::count(Metric::ReconciliationsIgnored, "no_grant");
            links.delete_reconciliation(&zoom_user).await?;
            // The backfill of a consent that came in between found the item that was deleted.
            if links.snapshot(&zoom_user).await?.grant.is_some() {
                let at = reconciliation::first_run(
                    &zoom_user,
                    self.reconcile_every_hours,
                    self.clock.now(),
                );
                links.schedule_reconciliation(&zoom_user, at).await?;
            }
            return Ok(());
        }
        let now = self.clock.now();
        let Some(run) = Run::new(&zoom_user, &snapshot, now) else {
            return self.end_run_early(&zoom_user, number, "no_active_link").await;
        };
        let read = item.report.as_ref().zip(item.read_back_to);
        let read = read.map(|(report, from)| DayRange { from, to: report.to });
        let progress = progress.or_else(|| Progress::new(&run.coverage, read, now));
        let Some(mut progress) = progress else {
            return self.end_run_early(&zoom_user, number, "nothing_covered").await;
        };
        let mut unread = Reconciliation {
            zoom_user: zoom_user.clone(),
            run: number,
            progress: Some(progress.clone()),
        };
        let not_before = self.recordings.not_before(&zoom_user.account_id).await?;
        if let Some(until) = not_before.filter(|until| *until > now) {
            return self.continue_at(unread, until).await;
        }
        let mut token = match self.grants.access_token(&zoom_user).await {
            Ok(token) => token,
            Err(error) => return self.end_run_without_grant(&zoom_user, number, error).await,
        };
        match self.compare_next(&run, &mut progress, &mut token, attempt).await {
            Ok(None) => {}
            Ok(Some(Incomplete::OutOfTime)) if unread.split_window() => {
                return self.continue_after(unread, SignedDuration::ZERO).await;
            }
            Ok(Some(_)) if attempt.receive_count >= MAX_INCOMPLETE_RECEIVES => {}
            Ok(Some(incomplete)) => {
                let reason = incomplete.reason();
                metrics::count(Metric::ListingsIncomplete, reason);
                return Err(JobError::IncompleteListing(reason));
            }
            Err(JobError::Grant(error)) => {
                return self.end_run_without_grant(&zoom_user, number, error).await;
            }
            Err(JobError::Zoom(ApiError::RateLimited(limit))) => {
                let until = limit.limited_until(self.clock.now());
                self.recordings.set_not_before(&zoom_user.account_id, until).await?;
                return self.continue_at(unread, until).await;
            }
            Err(JobError::Zoom(error)) => {
                let Some(issue) = self.issue_of(&zoom_user, error, attempt).await? else {
                    return Err(error.into());
                };
                self.grants.set_issue(&zoom_user, &token, issue).await?;
                return self.end_run_early(&zoom_user, number, "link_issue").await;
            }
            Err(error) => return Err(error),
        }
        self.end_listing_issue(&zoom_user, &snapshot).await?;
        if progress.left.is_empty() {
            return self.end_run(&run, &item, progress, &snapshot, &token).await;
        }
        let next = Reconciliation { progress: Some(progress), ..unread };
        let wait = SignedDuration::try_from(LIST_INTERVAL).unwrap_or_default();
        self.continue_after(next, wait).await
    }

    async fn continue_at(&self, next: Reconciliation, until: Timestamp) -> Result<(), JobError> {
        // Zoom may name a time that has passed.
        let least = SignedDuration::try_from(MIN_DEFERRAL).unwrap_or_default();
        self.continue_after(next, until.duration_since(self.clock.now()).max(least)).await
    }

    async fn continue_after(
        &self,
        next: Reconciliation,
        wait: SignedDuration,
    ) -> Result<(), JobError> {
        let tenant = next.zoom_user.account_id.clone();
        let message = JobMessage::new(Job::Reconcile(next));
        let wait = wait.try_into().unwrap_or_default();
        Ok(self.jobs.send_after(&message, tenant.as_str(), wait).await?)
    }

    /// Ends a run that cannot read anything now, and schedules the next one.
    async fn end_run_early(
        &self,
        zoom_user: &ZoomUser,
        run: u64,
        reason: &str,
    ) -> Result<(), JobError> {
        metrics::count(Metric::ReconciliationsIgnored, reason);
        let interval = reconciliation::interval(self.reconcile_every_hours);
        let next_at = self.clock.now().saturating_add(interval.unwrap_or(UNSCHEDULED_INTERVAL));
        let next_at = next_at.unwrap_or(Timestamp::MAX);
        Ok(self.grants.links().defer_reconciliation(zoom_user, run, next_at).await?)
    }

    /// Ends a run whose grant has ended. Other errors are retried.
    async fn end_run_without_grant(
        &self,
        zoom_user: &ZoomUser,
        run: u64,
        error: GrantError,
    ) -> Result<(), JobError> {
        match error {
            GrantError::NotFound | GrantError::Revoking | GrantError::ReauthorizationRequired => {
                self.end_run_early(zoom_user, run, "no_grant").await
            }
            error => Err(error.into()),
        }
    }

    /// Ends a run that has read all lists: saves its report, and sets or clears the issue of missing events.
    async fn end_run(
        &self,
        run: &Run<'_>,
        item: &ReconciliationItem,
        progress: Progress,
        snapshot: &GrantSnapshot,
        token: &AccessToken,
    ) -> Result<(), JobError> {
        let now = self.clock.now();
        let has_issue =
            |issue: Option<LinkIssue>| snapshot.links.iter().any(|link| link.issue == issue);
        let issue = LinkIssue::EventsNotArriving;
        if progress.lacks_events() {
            metrics::count(Metric::EventsNotArriving, "reconciliation");
            if has_issue(None) {
                self.grants.set_issue(run.zoom_user, token, issue).await?;
            }
        } else if progress.has_event() && has_issue(Some(issue)) {
            self.grants.clear_issue(run.zoom_user).await?;
        }
        let interval = progress.interval(self.reconcile_every_hours, &run.coverage, now);
        let interval = interval.unwrap_or(UNSCHEDULED_INTERVAL);
        let latest = now.saturating_add(interval).unwrap_or(Timestamp::MAX);
        // Keeping the phase keeps the runs of all users spread over the interval.
        let in_phase = item.next_at.saturating_add(interval).unwrap_or(latest);
        let next_at = if in_phase > now { in_phase.min(latest) } else { latest };
        let read_back_to = progress.read_back_to;
        let report = progress.into_report(now);
        let missing = report.totals.found_missing.recordings;
        metrics::count_many(Metric::RecordingsFoundMissing, "reconciliation", missing);
        let links = self.grants.links();
        let number = item.run_number;
        links.finish_reconciliation(run.zoom_user, number, &report, read_back_to, next_at).await?;
        Ok(())
    }

    /// Reads the next list and queues the differences. Returns why the list may be incomplete, or `None`.
    async fn compare_next(
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

    /// Begins the runs that are due. Runs of one Zoom account begin one after the other, so that its list is
    /// requested once a second; those that do not fit begin in the next retry run.
    pub(crate) async fn enqueue_due_reconciliations(&self, now: Timestamp) -> Result<(), AwsError> {
        let Some(interval) = reconciliation::interval(self.reconcile_every_hours) else {
            return Ok(());
        };
        let links = self.grants.links();
        let mut delays = std::collections::HashMap::new();
        let mut due = Vec::new();
        for zoom_user in links.due_reconciliations(now).await? {
            let delay = delays.entry(zoom_user.account_id.clone()).or_insert(0);
            due.push((zoom_user, *delay));
            *delay += RUN_INTERVAL_SECONDS;
        }
        let begin = |(zoom_user, delay): (ZoomUser, i32)| async move {
            let Some(item) = links.reconciliation(&zoom_user).await?.filter(|it| it.is_due(now))
            else {
                return Ok(());
            };
            if item.next_at.saturating_add(interval).is_ok_and(|latest| latest <= now) {
                metrics::count(Metric::GrantsNotReconciled, "overdue");
            }
            if delay > MAX_DELAY_SECONDS {
                return Ok(());
            }
            let Some(run) = links.begin_reconciliation(&zoom_user, &item, now).await? else {
                return Ok(());
            };
            let tenant = zoom_user.account_id.clone();
            let job = Job::Reconcile(Reconciliation { zoom_user, run, progress: None });
            self.jobs.send_delayed(&JobMessage::new(job), tenant.as_str(), delay).await
        };
        let begun = stream::iter(due).map(begin).buffer_unordered(CONCURRENCY);
        begun.fold(Ok(()), |first, begun| async move { first.and(begun) }).await
    }

    /// Clears the issue that no events arrive.
    pub(crate) async fn clear_missing_events(&self, zoom_user: &ZoomUser) -> Result<(), JobError> {
        let snapshot = self.grants.links().snapshot(zoom_user).await?;
        let mut issues = snapshot.links.iter().filter_map(|link| link.issue);
        if issues.any(|issue| issue == LinkIssue::EventsNotArriving) {
            self.grants.clear_issue(zoom_user).await?;
        }
        Ok(())
    }
}

impl<'a> Run<'a> {
    /// `None` without an active link.
    fn new(zoom_user: &'a ZoomUser, snapshot: &GrantSnapshot, now: Timestamp) -> Option<Self> {
        let coverage = active_coverage(&snapshot.links)?;
        let active = || snapshot.links.iter().filter(|link| link.status == LinkStatus::Active);
        let activated_at = active().filter_map(|link| link.activated_at).min();
        let obtained_at = snapshot.grant.as_ref().map(|grant| grant.obtained_at);
        // Events are expected only about meetings that end after the consent.
        let obtained_at = obtained_at.and_then(|at| Timestamp::from_millisecond(at).ok());
        let previous = active().flat_map(|link| link.previous_zoom_users.iter().cloned());
        Some(Self {
            zoom_user,
            previous: previous.collect(),
            coverage,
            events_since: activated_at.max(obtained_at).unwrap_or(Timestamp::MAX),
            requested_at: now,
        })
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
