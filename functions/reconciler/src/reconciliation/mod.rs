//! Reconciliation: compares Zoom's lists with the stored recordings, and queues the differences like events.
//!
//! Each message reads one list and enqueues a message for the next one. Runs are numbered, and a later run supersedes an
//! earlier one: a lost message delays a run, and a redelivered one changes nothing.

mod comparison;
mod run;
mod schedule;

use jiff::{SignedDuration, Timestamp};
use reelay_domain::coverage::DayRange;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::LinkIssue;
use reelay_domain::listing::Incomplete;
use reelay_domain::message::{Job, JobMessage};
use reelay_domain::reconciliation::{self, Progress, Reconciliation};
use reelay_grants::{AccessToken, GrantError};
use reelay_runtime::metrics::{self, Metric};
use reelay_store::links::{GrantSnapshot, ReconciliationItem};
use reelay_zoom::ApiError;

use self::comparison::LIST_INTERVAL;
use self::run::Run;
use crate::attempt::{Attempt, MIN_DEFERRAL};
use crate::{JobError, Reconciler};

/// Number of deliveries, over about 16 minutes, after which an incomplete list is not read again in this run. All lists
/// together must take less than the six hours after which a run counts as lost.
const MAX_INCOMPLETE_RECEIVES: u32 = 8;

/// Interval until the next run if runs are not scheduled (`ReconcileEveryHours` is 0).
const UNSCHEDULED_INTERVAL: SignedDuration = SignedDuration::from_hours(24);

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
        let lacks_events = progress.lacks_events();
        let counts = self.grants.links().count_reconciled(lacks_events, now).await?;
        if lacks_events {
            metrics::count(Metric::EventsNotArriving, "reconciliation");
            // Otherwise the Zoom app's subscription is at fault: the alarm about missing recordings tells the operator.
            if has_issue(None) && !counts.is_widespread() {
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
