//! The hourly maintenance run, and the retries every five minutes. They repair what lost messages, dead letters and idle grants leave behind.

use jiff::{SignedDuration, Timestamp};
use reelay_domain::message::{Job, JobMessage};
use reelay_runtime::AwsError;
use reelay_runtime::metrics::{self, Metric};

use crate::{JobError, Reconciler};

/// Age of an exchange whose delayed finish job (11 minutes) did not complete it.
const OVERDUE_EXCHANGE_AGE: SignedDuration = SignedDuration::from_mins(20);

impl Reconciler {
    /// Enqueues jobs for due grants and exchanges, and due retries, checks uploads, and counts dead letters. Duplicate
    /// jobs find nothing to do.
    pub(crate) async fn run_maintenance(&self) -> Result<(), JobError> {
        let now = self.clock.now();
        // A failure of one part does not stop the others.
        let (jobs, due, uploads, counted) = (
            self.enqueue_due_jobs(now).await,
            self.run_retries().await,
            self.abort_orphaned_uploads(now).await,
            self.count_dead_letters().await,
        );
        jobs.and(due)?;
        Ok(uploads.and(counted)?)
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

    async fn enqueue_due_jobs(&self, now: Timestamp) -> Result<(), JobError> {
        let mut jobs: Vec<Job> = Vec::new();
        for zoom_user in self.grants.links().due_checks(now).await? {
            jobs.push(Job::MaintainGrant { zoom_user });
        }
        let before = (now - OVERDUE_EXCHANGE_AGE).as_millisecond();
        for open in self.sessions.open_exchanges(self.grants.links(), now).await? {
            if open.item.begun_at < before {
                jobs.push(Job::FinishConnect { exchange: open.key });
            }
        }
        let messages: Vec<JobMessage> = jobs
            .into_iter()
            .map(|job| {
                let kind = match &job {
                    Job::MaintainGrant { .. } => "maintain_grant",
                    _ => "finish_connect",
                };
                metrics::count(Metric::JobsEnqueuedByMaintenance, kind);
                JobMessage::scheduled(job)
            })
            .collect();
        Ok(self.jobs.send_all(&messages, "maintenance").await?)
    }
}
