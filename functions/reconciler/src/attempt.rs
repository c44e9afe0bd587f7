//! One delivery of a job: its time limit and its deferral.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::AccountId;
use reelay_domain::message::{Job, JobMessage};
use reelay_domain::time::saturating_add;

use crate::{JobError, Reconciler};

/// Time before the deadline that is reserved for processing the last page; no page is requested within it. At most a
/// quarter of the remaining time.
const RESERVE: Duration = Duration::from_secs(30);

/// Minimum wait of a deferred job, even if Zoom names an earlier time.
pub(crate) const MIN_DEFERRAL: Duration = Duration::from_secs(10);

/// Margin after `RetryDays`: a job that is still deferred this much later was redriven from the dead-letter queue, and its
/// `RetryDays` begin again.
const REDRIVEN_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// A delivery of a job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) receive_count: u32,
    /// When the job was deferred for the first time since it made progress.
    pub(crate) deferred_since: Option<Timestamp>,
    /// Time after which the job requests no further page.
    cutoff: Instant,
}

impl Attempt {
    /// An attempt that begins now. `deadline`: when Lambda ends the invocation.
    pub(crate) fn new(
        receive_count: u32,
        deferred_since: Option<Timestamp>,
        deadline: Instant,
    ) -> Self {
        let remaining = deadline.saturating_duration_since(Instant::now());
        let cutoff = Instant::now() + remaining - RESERVE.min(remaining / 4);
        Self { receive_count, deferred_since, cutoff }
    }

    /// Whether work of this duration ends in time.
    pub(crate) fn has_time_for(&self, duration: Duration) -> bool {
        Instant::now() + duration < self.cutoff
    }
}

impl Reconciler {
    /// Continues a job in a delayed message, because each redelivery of this one would count towards the
    /// queue's maximum. A job that waits for
    /// `RetryDays` without progress fails instead, and its message moves to the dead-letter queue.
    pub(crate) async fn defer(
        &self,
        job: Job,
        account: &AccountId,
        attempt: Attempt,
        until: Timestamp,
    ) -> Result<(), JobError> {
        let now = self.clock.now();
        let mut since = attempt.deferred_since.unwrap_or(now);
        if saturating_add(since, self.retry_for + REDRIVEN_AFTER) <= now {
            since = now;
        }
        if saturating_add(since, self.retry_for) <= now {
            return Err(JobError::DeferredTooLong);
        }
        let wait: Duration = until.duration_since(now).try_into().unwrap_or_default();
        let message = JobMessage { deferred_since: Some(since), ..JobMessage::new(job) };
        Ok(self.jobs.send_after(&message, account.as_str(), wait.max(MIN_DEFERRAL)).await?)
    }
}
