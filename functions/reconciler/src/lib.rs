//! Processes the jobs queue: revokes, verifies and maintains grants, completes interrupted authorizations,
//! runs backfills and reconciliations, erases recordings, and the maintenance run.

mod activation;
mod attempt;
mod backfill;
mod connect;
mod details;
mod ending;
mod erasure;
mod files;
mod listing;
mod maintenance;
mod notifications;
mod observations;
mod reconciliation;
mod trash;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use jiff::SignedDuration;
use reelay_domain::ids::ZoomUser;
use reelay_domain::message::{DownloadMessage, EventMessage, Job, JobMessage, NotificationMessage};
use reelay_grants::{
    Deauthorization, DeauthorizationOutcome, GrantError, Grants, MaintenanceOutcome,
};
use reelay_runtime::environment::{Clock, ConfigError, Environment};
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::secrets::Secret;
use reelay_runtime::sqs::{Consumer, Delivery, Retry};
use reelay_runtime::{AwsError, Chain};
use reelay_store::bucket::Bucket;
use reelay_store::erasure::Eraser;
use reelay_store::outbox::{NotificationOutbox, NotificationPublisher};
use reelay_store::queue::Queue;
use reelay_store::recordings::RecordingTable;
use reelay_store::sessions::SessionTable;
use reelay_zoom::ApiError;

use crate::activation::Activation;
use crate::attempt::Attempt;
use crate::details::Details;

/// Delay before a job that was deferred for too long is redelivered: short, so that SQS soon moves it to the
/// dead-letter queue.
const FAILED_DELAY: Duration = Duration::from_secs(1);

/// Time after which a deauthorization is verified again whose grant Zoom still accepted.
const REPEAT_DELAY_SECONDS: i32 = 15 * 60;

/// The `reconciler` function.
#[derive(Debug)]
pub struct Reconciler {
    consumer: Consumer,
    grants: Grants,
    sessions: SessionTable,
    recordings: RecordingTable,
    events: Queue<EventMessage>,
    jobs: Queue<JobMessage>,
    downloads: Queue<DownloadMessage>,
    /// The notifications queue, for notifications that are due.
    notification_queue: Queue<NotificationMessage>,
    /// Names and dead-letter queues of all queues.
    dead_letters: [(&'static str, Queue<()>); 4],
    notifications: NotificationPublisher,
    outbox: NotificationOutbox,
    /// `ReconcileEveryHours`.
    reconcile_every_hours: u32,
    /// `TrashAtZoomAfterDays`; 0 = never.
    trash_after_days: u16,
    /// Time for which a job is deferred without progress (`RETRY_DAYS`).
    retry_for: SignedDuration,
    bucket: Bucket,
    eraser: Eraser,
    queue_key: Secret,
    clock: Clock,
}

/// Error of a job. Every failed job is retried.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error("Zoom's API request failed: {0}")]
    Zoom(#[from] ApiError),
    #[error("Zoom's list is incomplete: {0}")]
    IncompleteListing(&'static str),
    #[error("the job was deferred for RetryDays without progress")]
    DeferredTooLong,
}

impl Reconciler {
    /// Reads the configuration and creates the clients, once per instance.
    ///
    /// # Errors
    /// If a variable is absent or invalid.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        let retry_days: u8 = environment.variables.parsed("RETRY_DAYS")?;
        Ok(Self {
            consumer: Consumer::new("jobs", environment)?,
            grants: Grants::new(environment)?,
            sessions: SessionTable::new(environment)?,
            recordings: RecordingTable::new(environment)?,
            downloads: Queue::from_env(environment, "DOWNLOADS_QUEUE_URL")?,
            events: Queue::from_env(environment, "EVENTS_QUEUE_URL")?,
            notification_queue: Queue::from_env(environment, "NOTIFICATIONS_QUEUE_URL")?,
            dead_letters: [
                ("events", Queue::from_env(environment, "EVENTS_DLQ_URL")?),
                ("downloads", Queue::from_env(environment, "DOWNLOADS_DLQ_URL")?),
                ("notifications", Queue::from_env(environment, "NOTIFICATIONS_DLQ_URL")?),
                ("jobs", Queue::from_env(environment, "JOBS_DLQ_URL")?),
            ],
            notifications: NotificationPublisher::new(environment)?,
            outbox: NotificationOutbox::new(environment)?,
            reconcile_every_hours: environment.variables.parsed("RECONCILE_EVERY_HOURS")?,
            trash_after_days: environment.variables.parsed("TRASH_AT_ZOOM_AFTER_DAYS")?,
            retry_for: SignedDuration::from_hours(24 * i64::from(retry_days)),
            // The function's own queue.
            jobs: Queue::from_env(environment, "QUEUE_URL")?,
            bucket: Bucket::new(environment)?,
            eraser: Eraser::new(environment)?,
            queue_key: Secret::from_env(environment, "QUEUE_KEY")?,
            clock: environment.clock.clone(),
        })
    }

    /// Processes a batch of jobs. The runtime ends the invocation at `deadline`.
    pub async fn handle(&self, batch: SqsEvent, deadline: Instant) -> SqsBatchResponse {
        self.consumer
            .process(batch, |delivery: Delivery<JobMessage>| async move {
                let message = delivery.message;
                let attempt =
                    Attempt::new(delivery.receive_count, message.deferred_since, deadline);
                let is_scheduled = message.is_scheduled
                    || matches!(message.job, Job::RunMaintenance | Job::RunRetries);
                match self.run_job(message.job, attempt).await {
                    // The next scheduled run does the same work, so a retry would only add load.
                    Err(error) if is_scheduled => {
                        metrics::count(Metric::ScheduledJobsFailed, "error");
                        tracing::error!(error = %Chain(&error), "scheduled job failed");
                        Ok(())
                    }
                    Err(error @ JobError::DeferredTooLong) => {
                        Err(Retry { reason: error.to_string(), after: Some(FAILED_DELAY) })
                    }
                    done => done.map_err(Retry::new),
                }
            })
            .await
    }

    async fn run_job(&self, job: Job, attempt: Attempt) -> Result<(), JobError> {
        match job {
            Job::RevokeGrant { zoom_user } => Ok(self.grants.revoke(&zoom_user).await?),
            Job::EndTransfers { zoom_user } => Ok(self.end_transfers(&zoom_user).await?),
            Job::VerifyDeauthorization { zoom_user, client_id, at, is_repeated } => {
                let event = Deauthorization { client_id: client_id.as_deref(), at, is_repeated };
                let outcome = self.verify_deauthorization(&zoom_user, event).await?;
                if outcome == DeauthorizationOutcome::StillAuthorized && !is_repeated {
                    // The event may have overtaken the end of the tokens at Zoom.
                    let tenant = zoom_user.account_id.clone();
                    let job =
                        Job::VerifyDeauthorization { zoom_user, client_id, at, is_repeated: true };
                    let job = JobMessage::new(job);
                    self.jobs.send_delayed(&job, tenant.as_str(), REPEAT_DELAY_SECONDS).await?;
                }
                Ok(())
            }
            Job::FinishConnect { exchange } => self.finish_connect(&exchange).await,
            Job::MaintainGrant { zoom_user } => self.maintain_grant(&zoom_user).await,
            Job::EraseRecordings { zoom_user, erased } => {
                Ok(self.erase_recordings(zoom_user, erased).await?)
            }
            Job::SweepErased { zoom_user, recording } => {
                Ok(self.eraser.sweep(&zoom_user, recording.as_ref()).await.map(|_| ())?)
            }
            Job::NotifyActivation {
                zoom_user,
                app_user,
                activated_at,
                completed_since,
                is_repeated,
                is_moved,
                after,
            } => {
                let activation =
                    Activation { app_user, activated_at, completed_since, is_repeated, is_moved };
                Ok(self.notify_activation(&zoom_user, after, activation).await?)
            }
            Job::RunMaintenance => self.run_maintenance().await,
            Job::RunRetries => self.run_retries().await,
            Job::Backfill(backfill) => self.backfill(backfill, attempt).await,
            Job::ReadDetails { zoom_user, meeting_uuid, omitted } => {
                let details = Details { meeting_uuid, omitted };
                self.read_details(zoom_user, details, attempt).await
            }
            Job::TrashAtZoom { zoom_user, meeting_uuid } => {
                self.trash_at_zoom(&zoom_user, &meeting_uuid).await
            }
            Job::Reconcile(reconciliation) => self.reconcile(reconciliation, attempt).await,
            Job::EventArrived { zoom_user } => self.clear_missing_events(&zoom_user).await,
        }
    }

    async fn maintain_grant(&self, zoom_user: &ZoomUser) -> Result<(), JobError> {
        self.enqueue_due_erasure(zoom_user).await?;
        let outcome = self.grants.run_maintenance(zoom_user).await;
        let key = match &outcome {
            Ok(MaintenanceOutcome::MovedTo(key)) => key,
            _ => zoom_user,
        };
        self.enqueue_pending_jobs(key).await?;
        Ok(outcome.map(|_| ())?)
    }

    /// Enqueues the jobs that changes of the Zoom user's links left, also those of interrupted invocations.
    async fn enqueue_pending_jobs(&self, zoom_user: &ZoomUser) -> Result<(), AwsError> {
        let links = self.grants.links();
        let snapshot = links.snapshot(zoom_user).await?;
        links.enqueue_pending_jobs(&self.jobs, zoom_user, &snapshot.jobs).await
    }

    /// Enqueues the end of transfers under all keys that links of the Zoom user cover, also in other accounts. The
    /// jobs do nothing while a link receives.
    async fn enqueue_end_of_transfers(&self, zoom_user: &ZoomUser) -> Result<(), AwsError> {
        let links = self.grants.links();
        let mut keys = BTreeSet::from([zoom_user.clone()]);
        keys.extend(links.with_same_user_id(zoom_user).await?);
        for key in keys.clone() {
            let snapshot = links.snapshot(&key).await?;
            keys.extend(snapshot.links.into_iter().flat_map(|link| link.previous_zoom_users));
        }
        for (message, delay_seconds) in keys.iter().flat_map(JobMessage::end_transfers) {
            let tenant = zoom_user.account_id.as_str();
            self.jobs.send_delayed(&message, tenant, delay_seconds).await?;
        }
        Ok(())
    }

    async fn verify_deauthorization(
        &self,
        zoom_user: &ZoomUser,
        event: Deauthorization<'_>,
    ) -> Result<DeauthorizationOutcome, JobError> {
        // Enqueue first: after a crash the repeated job could not find the keys that the ended links covered.
        self.enqueue_end_of_transfers(zoom_user).await?;
        let outcome = self.grants.verify_deauthorization(zoom_user, event).await?;
        match outcome {
            DeauthorizationOutcome::Deauthorized => {
                metrics::count(Metric::GrantsEnded, "deauthorized")
            }
            DeauthorizationOutcome::StillAuthorized => {
                metrics::count(Metric::DeauthorizationsIgnored, "grant_valid")
            }
            DeauthorizationOutcome::Revived => {
                metrics::count(Metric::DeauthorizationsIgnored, "grant_valid");
                self.enqueue_pending_jobs(zoom_user).await?;
            }
            DeauthorizationOutcome::AnotherApp => {
                metrics::count(Metric::DeauthorizationsIgnored, "another_app")
            }
            DeauthorizationOutcome::NoGrant => {
                metrics::count(Metric::DeauthorizationsIgnored, "no_grant")
            }
        }
        Ok(outcome)
    }
}
