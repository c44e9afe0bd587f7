//! Backfill: reads recordings from Zoom's list and queues them like events.
//!
//! A message reads one window and continues in a new message, so that a year fits Lambda's limits and a retry
//! repeats one window. An incomplete window is read again after the others, and then with SQS's backoff for about
//! three hours. After that the backfill ends as incomplete.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::LinkStatus;
use reelay_domain::listing::{Backfill, Found, Incomplete, List, NextPage, Progress, Window};
use reelay_domain::message::{Job, JobMessage};
use reelay_domain::observation::ObservationSource;
use reelay_domain::reconciliation;
use reelay_grants::{AccessToken, GrantError};
use reelay_runtime::metrics::{self, Metric};
use reelay_store::links::GrantSnapshot;
use reelay_zoom::ApiError;

use crate::attempt::Attempt;
use crate::details::Details;
use crate::listing::{MAX_RECEIVES, Pages};
use crate::observations::ListedChange;
use crate::{JobError, Reconciler};

/// Maximum number of times that one delivery reads a window.
const MAX_READINGS: usize = 3;

/// Result of reading a window.
struct WindowRead {
    found: Found,
    incomplete: Option<Incomplete>,
}

impl Reconciler {
    /// Reads the next window of a backfill, and continues or ends it. Safe to repeat: known files are not downloaded
    /// again, and each window is counted once.
    pub(crate) async fn backfill(
        &self,
        mut backfill: Backfill,
        attempt: Attempt,
    ) -> Result<(), JobError> {
        let snapshot = self.grants.links().snapshot(&backfill.zoom_user).await?;
        if snapshot.grant.is_none()
            && let Some(zoom_user) = snapshot.moved_to
        {
            return self.continue_backfill(Backfill { zoom_user, ..backfill }).await;
        }
        let mut progress = backfill.take_progress();
        if !is_consented(&backfill, &snapshot) {
            return self.end_backfill_early(&backfill, &progress, "no_active_link").await;
        }
        // Every activation enqueues a backfill without a request and never loses it, so it also schedules
        // reconciliations.
        if backfill.request.is_none() {
            let zoom_user = &backfill.zoom_user;
            let every_hours = self.reconcile_every_hours;
            let at = reconciliation::first_run(zoom_user, every_hours, self.clock.now());
            self.grants.links().schedule_reconciliation(zoom_user, at).await?;
        }
        let Some(window) = progress.left.first().copied() else {
            return self.finish(&backfill, &progress).await;
        };
        let not_before = self.recordings.not_before(&backfill.zoom_user.account_id).await?;
        if let Some(until) = not_before.filter(|until| *until > self.clock.now()) {
            return self.defer_backfill(backfill, progress, attempt, until).await;
        }
        let mut token = match self.grants.access_token(&backfill.zoom_user).await {
            Ok(token) => token,
            Err(error) => {
                return self.end_backfill_without_grant(&backfill, &progress, error).await;
            }
        };
        let read = match self.read_window(&backfill, &window, &mut token, attempt).await {
            Ok(read) => read,
            Err(JobError::Grant(error)) => {
                return self.end_backfill_without_grant(&backfill, &progress, error).await;
            }
            Err(JobError::Zoom(ApiError::RateLimited(limit))) => {
                let until = limit.limited_until(self.clock.now());
                self.recordings.set_not_before(&backfill.zoom_user.account_id, until).await?;
                return self.defer_backfill(backfill, progress, attempt, until).await;
            }
            Err(JobError::Zoom(error)) => {
                let Some(issue) = self.issue_of(&backfill.zoom_user, error, attempt).await? else {
                    return Err(error.into());
                };
                self.grants.set_issue(&backfill.zoom_user, &token, issue).await?;
                return self.end_backfill_early(&backfill, &progress, "link_issue").await;
            }
            Err(error) => return Err(error),
        };
        self.end_listing_issue(&backfill.zoom_user, &snapshot).await?;
        match read.incomplete {
            None => progress.finish_window(read.found, true),
            Some(Incomplete::OutOfTime) if progress.split_window() => {}
            Some(_) if progress.defer_window() => {}
            Some(_) if attempt.receive_count >= MAX_RECEIVES => {
                progress.finish_window(read.found, false)
            }
            Some(incomplete) => return Err(JobError::IncompleteListing(incomplete.reason())),
        }
        if progress.left.is_empty() {
            return self.finish(&backfill, &progress).await;
        }
        self.continue_backfill(Backfill { progress: Some(progress), ..backfill }).await
    }

    async fn continue_backfill(&self, backfill: Backfill) -> Result<(), JobError> {
        let tenant = backfill.zoom_user.account_id.clone();
        let message = JobMessage::new(Job::Backfill(backfill));
        Ok(self.jobs.send(&message, tenant.as_str()).await?)
    }

    async fn defer_backfill(
        &self,
        backfill: Backfill,
        progress: Progress,
        attempt: Attempt,
        until: Timestamp,
    ) -> Result<(), JobError> {
        metrics::count(Metric::BackfillsDeferred, "rate_limited");
        let account = backfill.zoom_user.account_id.clone();
        let job = Job::Backfill(Backfill { progress: Some(progress), ..backfill });
        self.defer(job, &account, attempt, until).await
    }

    /// Ends a backfill without reading what is left.
    async fn end_backfill_early(
        &self,
        backfill: &Backfill,
        progress: &Progress,
        reason: &str,
    ) -> Result<(), JobError> {
        metrics::count(Metric::BackfillsIgnored, reason);
        let unread = Progress { is_complete: false, ..progress.clone() };
        self.finish(backfill, &unread).await
    }

    /// Ends a backfill whose grant has ended. Other errors are retried.
    async fn end_backfill_without_grant(
        &self,
        backfill: &Backfill,
        progress: &Progress,
        error: GrantError,
    ) -> Result<(), JobError> {
        match error {
            GrantError::NotFound | GrantError::Revoking | GrantError::ReauthorizationRequired => {
                self.end_backfill_early(backfill, progress, "no_grant").await
            }
            error => Err(error.into()),
        }
    }

    /// Records that the recordings of one Zoom user have been read for the app's request. Publishes the result after
    /// the last one.
    async fn finish(&self, backfill: &Backfill, progress: &Progress) -> Result<(), JobError> {
        let Some(request) = &backfill.request else {
            return Ok(());
        };
        let links = self.grants.links();
        let (found, is_complete) = (progress.found, progress.is_complete);
        let finished = links.finish_backfill(request, found, is_complete, self.clock.now()).await?;
        if let Some(completed) = finished {
            // The notification is filed under a Zoom user to whom the app user has a pointer, so that an erasure
            // finds it.
            let Some(pointer) = links.pointers(&completed.app_user).await?.into_iter().next()
            else {
                return Ok(links.delete_backfills(&completed.app_user).await?);
            };
            let zoom_user = &pointer.zoom_user;
            let notification = completed.render(zoom_user);
            let writes = links.completion(&completed, zoom_user)?;
            let tenant = zoom_user.account_id.as_str();
            self.notifications.publish_with(&notification, &writes, tenant).await?;
        }
        Ok(())
    }

    /// Reads a window, and reads it again if it is incomplete and there is time.
    async fn read_window(
        &self,
        backfill: &Backfill,
        window: &Window,
        token: &mut AccessToken,
        attempt: Attempt,
    ) -> Result<WindowRead, JobError> {
        // Repeated readings share this time, so that a failed file gets one attempt and not three.
        let requested_at = self.clock.now();
        let mut readings = 1;
        loop {
            let begun_at = Instant::now();
            let read = self.read_pages(backfill, window, token, requested_at, attempt).await?;
            let Some(incomplete) = read.incomplete else {
                return Ok(read);
            };
            let reason = incomplete.reason();
            metrics::count(Metric::ListingsIncomplete, reason);
            let ZoomUser { account_id: account, user_id: user } = &backfill.zoom_user;
            let (from, to) = (window.from, window.to);
            tracing::warn!(%account, %user, %from, %to, reason, readings, "listing incomplete");
            let is_last = readings == MAX_READINGS || incomplete == Incomplete::TooManyPages;
            if is_last || !attempt.has_time_for(begun_at.elapsed()) {
                return Ok(read);
            }
            readings += 1;
        }
    }

    /// Reads the pages of a window once, and queues their meetings.
    async fn read_pages(
        &self,
        backfill: &Backfill,
        window: &Window,
        token: &mut AccessToken,
        requested_at: Timestamp,
        attempt: Attempt,
    ) -> Result<WindowRead, JobError> {
        let (mut pages, mut found) = (Pages::new(List::Window(*window)), Found::default());
        let incomplete = loop {
            let page = self.read_page(&backfill.zoom_user, &mut pages, token).await?;
            let (mut wanted, mut details) = (Vec::new(), Vec::new());
            for (listed, meeting) in page.meetings {
                if backfill.wants(&listed) {
                    if backfill.counts(window, &listed) {
                        found += Found { recordings: 1, files: listed.files() };
                    }
                    match listed.uuid().filter(|_| listed.needs_details()) {
                        Some(meeting_uuid) => {
                            details.push(Details { meeting_uuid, omitted: Vec::new() });
                        }
                        None => wanted.push(ListedChange::Files(meeting)),
                    }
                }
            }
            let source = ObservationSource::List;
            self.queue(&backfill.zoom_user, wanted, source, requested_at).await?;
            self.queue_details(&backfill.zoom_user, details).await?;
            match page.next {
                NextPage::Token(_) if !attempt.has_time_for(Duration::ZERO) => {
                    break Some(Incomplete::OutOfTime);
                }
                NextPage::Token(_) => {}
                NextPage::Complete => break None,
                NextPage::Incomplete(incomplete) => break Some(incomplete),
            }
        };
        Ok(WindowRead { found, incomplete })
    }
}

/// Whether a link permits the backfill: the link of the app user who requested it, if it has been active since the
/// request, or, without a request, any active link.
fn is_consented(backfill: &Backfill, snapshot: &GrantSnapshot) -> bool {
    let mut active = snapshot.links.iter().filter(|link| link.status == LinkStatus::Active);
    match &backfill.request {
        Some(request) => active.any(|link| {
            let is_since_then = |at| at <= request.requested_at;
            link.app_user == request.app_user_id && link.activated_at.is_some_and(is_since_then)
        }),
        None => active.next().is_some(),
    }
}
