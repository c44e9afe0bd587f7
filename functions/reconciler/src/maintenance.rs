//! The hourly maintenance run, and the retries every five minutes. They repair what lost messages, dead letters and idle grants leave behind.

use jiff::{SignedDuration, Timestamp};
use reelay_domain::message::{Job, JobMessage};
use reelay_runtime::AwsError;
use reelay_runtime::metrics::{self, Metric};

use crate::{JobError, Reconciler};

/// Age of an exchange whose delayed finish job (ten minutes) did not complete it.
const OVERDUE_EXCHANGE_AGE: SignedDuration = SignedDuration::from_mins(20);

impl Reconciler {
    /// Enqueues jobs for due grants and exchanges, and due retries, checks uploads, and counts dead letters. Duplicate
    /// jobs find nothing to do.
    pub(crate) async fn run_maintenance(&self) -> Result<(), JobError> {
        let now = self.clock.now();
        // A failure of one part does not stop the others.
        let (grants, exchanges, due, counted, uploads) = (
            self.enqueue_due_grants(now).await,
            self.enqueue_overdue_exchanges(now).await,
            self.run_retries().await,
            self.count_dead_letters().await,
            // Last, because it may take the longest.
            self.abort_orphaned_uploads(now).await,
        );
        grants.and(exchanges).and(due)?;
        Ok(counted.and(uploads)?)
    }

    /// Enqueues notifications, downloads and reconciliations that are due.
    pub(crate) async fn run_retries(&self) -> Result<(), JobError> {
        let now = self.clock.now();
        let (notifications, files, reconciliations) = (
            self.enqueue_due_notifications(now).await,
            self.check_files(now).await,
            self.enqueue_due_reconciliations(now).await,
        );
        notifications.and(files).and(reconciliations)?;
        metrics::count(Metric::MaintenanceRuns, "ok");
        Ok(())
    }

    async fn count_dead_letters(&self) -> Result<(), AwsError> {
        for (name, queue) in &self.dead_letters {
            let count = queue.backlog().await?;
            if count > 0 {
                metrics::count_many(Metric::DeadLetters, name, count);
            }
        }
        Ok(())
    }

    async fn enqueue_due_grants(&self, now: Timestamp) -> Result<(), JobError> {
        let due = self.grants.links().due_checks(now).await?.into_iter();
        let jobs = due.map(|zoom_user| Job::MaintainGrant { zoom_user });
        self.enqueue_scheduled("maintain_grant", jobs).await
    }

    async fn enqueue_overdue_exchanges(&self, now: Timestamp) -> Result<(), JobError> {
        let before = (now - OVERDUE_EXCHANGE_AGE).as_millisecond();
        let open = self.sessions.open_exchanges(self.grants.links(), now).await?.into_iter();
        let overdue = open.filter(|open| open.item.begun_at < before);
        let jobs = overdue.map(|open| Job::FinishConnect { exchange: open.key });
        self.enqueue_scheduled("finish_connect", jobs).await
    }

    async fn enqueue_scheduled(
        &self,
        kind: &str,
        jobs: impl Iterator<Item = Job>,
    ) -> Result<(), JobError> {
        let messages: Vec<_> = jobs.map(JobMessage::scheduled).collect();
        metrics::count_many(Metric::JobsEnqueuedByMaintenance, kind, messages.len() as u64);
        Ok(self.jobs.send_all(&messages, "maintenance").await?)
    }
}
