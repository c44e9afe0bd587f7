//! Backfill: reads recordings from Zoom's list and queues them like events.
//!
//! A message reads one window and continues in a new message, so that a year fits Lambda's limits and a retry
//! repeats one window. A window that is incomplete is read again after the others, with SQS's backoff for some hours;
//! then it counts as read, incompletely.

use std::time::Duration;

use jiff::Timestamp;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{LinkIssue, LinkStatus};
use reelay_domain::listing::{
    Backfill, Found, Incomplete, ListedMeeting, NextPage, Progress, Reading, Window,
};
use reelay_domain::message::{EventMessage, Job, JobMessage, SchemaV1};
use reelay_domain::observation::ObservationSource;
use reelay_domain::webhook::event;
use reelay_domain::webhook::redact;
use reelay_grants::{AccessToken, GrantError};
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::random;
use reelay_store::links::GrantSnapshot;
use reelay_zoom::{ApiError, RecordingsPage};
use serde_json::{Value, json};

use crate::{JobError, Reconciler};

/// Maximum readings of a window in one job.
const MAX_READINGS: usize = 3;

/// Number of deliveries of an incomplete window, over about three hours.
const MAX_INCOMPLETE_RECEIVES: u32 = 12;

/// Minimum wait after a 429, whatever time Zoom names.
const MIN_DEFERRAL: Duration = Duration::from_secs(10);

/// Codes with which Zoom does not find the user of the token.
const USER_NOT_FOUND: [i64; 2] = [1001, 1010];

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
        receive_count: u32,
    ) -> Result<(), JobError> {
        let snapshot = self.grants.links().snapshot(&backfill.zoom_user).await?;
        if snapshot.grant.is_none()
            && let Some(zoom_user) = snapshot.moved_to
        {
            return self.continue_backfill(Backfill { zoom_user, ..backfill }).await;
        }
        let mut progress = backfill.take_progress();
        if !is_consented(&backfill, &snapshot) {
            return self.ignore(&backfill, &progress, "no_active_link").await;
        }
        let Some(window) = progress.left.first().copied() else {
            return self.finish(&backfill, &progress).await;
        };
        let not_before = self.recordings.not_before(&backfill.zoom_user.account_id).await?;
        if let Some(until) = not_before.filter(|until| *until > self.clock.now()) {
            return self.defer(Backfill { progress: Some(progress), ..backfill }, until).await;
        }
        let mut token = match self.grants.access_token(&backfill.zoom_user).await {
            Ok(token) => token,
            Err(error) => return self.end_without_grant(&backfill, &progress, error).await,
        };
        let read = match self.read_window(&backfill, &window, &mut token).await {
            Ok(read) => read,
            Err(JobError::Grant(error)) => {
                return self.end_without_grant(&backfill, &progress, error).await;
            }
            Err(JobError::Zoom(ApiError::RateLimited(limit))) => {
                let until = limit.limited_until(self.clock.now());
                self.recordings.set_not_before(&backfill.zoom_user.account_id, until).await?;
                return self.defer(Backfill { progress: Some(progress), ..backfill }, until).await;
            }
            Err(JobError::Zoom(error)) => {
                let Some(issue) = self.issue_of(&backfill.zoom_user, error).await? else {
                    return Err(error.into());
                };
                self.grants.set_issue(&backfill.zoom_user, &token, issue).await?;
                return self.ignore(&backfill, &progress, "link_issue").await;
            }
            Err(error) => return Err(error),
        };
        if snapshot.links.iter().any(|link| link.issue.is_some()) {
            self.grants.clear_issue(&backfill.zoom_user).await?;
        }
        match read.incomplete {
            None => progress.finish_window(read.found, true),
            Some(_) if progress.postpone_window() => {}
            Some(_) if receive_count >= MAX_INCOMPLETE_RECEIVES => {
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

    /// Continues in a delayed message, because SQS counts every delivery of this one.
    async fn defer(&self, backfill: Backfill, until: Timestamp) -> Result<(), JobError> {
        metrics::count(Metric::BackfillsDeferred, "rate_limited");
        let tenant = backfill.zoom_user.account_id.clone();
        let wait: Duration = until.duration_since(self.clock.now()).try_into().unwrap_or_default();
        let wait = wait.max(MIN_DEFERRAL);
        let message = JobMessage::new(Job::Backfill(backfill));
        Ok(self.jobs.send_after(&message, tenant.as_str(), wait).await?)
    }

    /// Ends a backfill without reading what is left.
    async fn ignore(
        &self,
        backfill: &Backfill,
        progress: &Progress,
        reason: &str,
    ) -> Result<(), JobError> {
        metrics::count(Metric::BackfillsIgnored, reason);
        let unread = Progress { is_complete: false, ..progress.clone() };
        self.finish(backfill, &unread).await
    }

    /// Ends a backfill whose grant has ended meanwhile. Other errors are retried.
    async fn end_without_grant(
        &self,
        backfill: &Backfill,
        progress: &Progress,
        error: GrantError,
    ) -> Result<(), JobError> {
        match error {
            GrantError::NotFound | GrantError::Revoking | GrantError::ReauthorizationRequired => {
                self.ignore(backfill, progress, "no_grant").await
            }
            error => Err(error.into()),
        }
    }

    /// Records that a Zoom user has been read for the app's request, and publishes its result after the last one.
    async fn finish(&self, backfill: &Backfill, progress: &Progress) -> Result<(), JobError> {
        let Some(request) = &backfill.request else {
            return Ok(());
        };
        let links = self.grants.links();
        let (found, is_complete) = (progress.found, progress.is_complete);
        let finished = links.finish_backfill(request, found, is_complete, self.clock.now()).await?;
        if let Some(completed) = finished {
            let zoom_user = &backfill.zoom_user;
            let notification = completed.render(zoom_user);
            self.notifications.publish(&[notification], zoom_user.account_id.as_str()).await?;
            links.delete_backfill(&request.backfill_id).await?;
        }
        Ok(())
    }

    /// The issue that a failed listing shows, if it concerns this Zoom user alone. Zoom responds alike about a user
    /// who is gone and about one of another account, so `users/me` decides.
    async fn issue_of(
        &self,
        zoom_user: &ZoomUser,
        error: ApiError,
    ) -> Result<Option<LinkIssue>, JobError> {
        let is_user_not_found = |error: &ApiError| matches!(error, ApiError::NotFound { code: Some(code) } if USER_NOT_FOUND.contains(code));
        Ok(match error {
            ApiError::Forbidden { status: 400, code: Some(200) } => {
                Some(LinkIssue::PlanWithoutCloudRecording)
            }
            ApiError::Forbidden { .. } => Some(LinkIssue::AccessDenied),
            ApiError::MissingScope => Some(LinkIssue::ScopeMissing),
            error if is_user_not_found(&error) => match self.grants.owner(zoom_user).await {
                Err(GrantError::Api(error)) if is_user_not_found(&error) => {
                    Some(LinkIssue::ZoomUserNotFound)
                }
                Err(error) => return Err(error.into()),
                Ok(_) => None,
            },
            _ => None,
        })
    }

    /// Reads a window, and reads it again if it is incomplete.
    async fn read_window(
        &self,
        backfill: &Backfill,
        window: &Window,
        token: &mut AccessToken,
    ) -> Result<WindowRead, JobError> {
        // The same for repeated readings, so that they grant a failed file one attempt.
        let requested_at = self.clock.now();
        let mut readings = 1;
        loop {
            let read = self.read_pages(backfill, window, token, requested_at).await?;
            let Some(incomplete) = read.incomplete else {
                return Ok(read);
            };
            let reason = incomplete.reason();
            metrics::count(Metric::ListingsIncomplete, reason);
            let ZoomUser { account_id: account, user_id: user } = &backfill.zoom_user;
            let (from, to) = (window.from, window.to);
            tracing::warn!(%account, %user, %from, %to, reason, readings, "listing incomplete");
            // The pages of the longest reading take about as long as a job may.
            if readings == MAX_READINGS || incomplete == Incomplete::TooManyPages {
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
    ) -> Result<WindowRead, JobError> {
        let (mut reading, mut found, mut next) = (Reading::default(), Found::default(), None);
        let incomplete = loop {
            let page = match self.page(&backfill.zoom_user, window, next.as_deref(), token).await {
                Err(JobError::Zoom(ApiError::InvalidPageToken)) => {
                    break Some(Incomplete::PageTokenRejected);
                }
                page => page?,
            };
            let mut wanted = Vec::new();
            for meeting in page.meetings {
                let listed = ListedMeeting::parse(&meeting);
                if reading.add(&listed) && backfill.wants(&listed) {
                    if backfill.counts(window, &listed) {
                        found += Found { recordings: 1, files: listed.files() };
                    }
                    wanted.push(meeting);
                }
            }
            self.queue(&backfill.zoom_user, wanted, requested_at).await?;
            match reading.end_page(page.total_records, page.next_page_token) {
                NextPage::Token(token) => next = Some(token),
                NextPage::Complete => break None,
                NextPage::Incomplete(incomplete) => break Some(incomplete),
            }
        };
        Ok(WindowRead { found, incomplete })
    }

    async fn page(
        &self,
        zoom_user: &ZoomUser,
        window: &Window,
        next: Option<&str>,
        token: &mut AccessToken,
    ) -> Result<RecordingsPage, JobError> {
        let (zoom, Window { from, to, .. }) = (self.grants.zoom(), *window);
        match zoom.list_recordings(&token.token, from, to, next).await {
            Err(ApiError::Unauthorized) => {
                *token = self.grants.replace_token(zoom_user, token).await?;
                Ok(zoom.list_recordings(&token.token, from, to, next).await?)
            }
            page => Ok(page?),
        }
    }

    /// Queues meetings of the list as events that were observed when the list was requested.
    async fn queue(
        &self,
        zoom_user: &ZoomUser,
        meetings: Vec<Value>,
        requested_at: Timestamp,
    ) -> Result<(), JobError> {
        if meetings.is_empty() {
            return Ok(());
        }
        let keys = self.queue_key.versions().await?;
        let mut messages = Vec::with_capacity(meetings.len());
        for mut meeting in meetings {
            // The list is the user's own, but its meetings may omit the host.
            meeting["host_id"] = json!(zoom_user.user_id);
            let event = json!({
                "event": event::RECORDING_COMPLETED,
                "payload": {"account_id": zoom_user.account_id, "object": meeting},
            });
            let event = redact::redact(event, &keys, random::bytes);
            let body = self.bucket.event_body(event).await?;
            let source = ObservationSource::List;
            messages.push(EventMessage { v: SchemaV1, received_at: requested_at, source, body });
        }
        self.events.send_all(&messages, zoom_user.account_id.as_str()).await?;
        metrics::count_many(Metric::EventsAccepted, "backfill", messages.len() as u64);
        Ok(())
    }
}

/// Whether an active link wants the backfill: that of the app user who requested it, or any.
fn is_consented(backfill: &Backfill, snapshot: &GrantSnapshot) -> bool {
    let mut active = snapshot.links.iter().filter(|link| link.status == LinkStatus::Active);
    match &backfill.request {
        Some(request) => active.any(|link| link.app_user == request.app_user_id),
        None => active.next().is_some(),
    }
}
