//! Processes the jobs queue: revokes, verifies and maintains grants, completes interrupted authorizations,
//! runs backfills, erases recordings, and the hourly maintenance run.

mod backfill;
mod connect;
mod ending;
mod erasure;
mod files;
mod maintenance;

use std::collections::BTreeSet;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use jiff::ToSpan as _;
use jiff::civil::Date;
use reelay_domain::ids::ZoomUser;
use reelay_domain::message::{DownloadMessage, EventMessage, Job, JobMessage};
use reelay_domain::time::utc_date;
use reelay_grants::{DeauthorizationOutcome, GrantError, Grants, MaintenanceOutcome};
use reelay_runtime::AwsError;
use reelay_runtime::environment::{Clock, ConfigError, Environment};
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::secrets::Secret;
use reelay_runtime::sqs::{Consumer, Delivery, Retry};
use reelay_store::bucket::Bucket;
use reelay_store::erasure::Eraser;
use reelay_store::queue::Queue;
use reelay_store::recordings::RecordingTable;
use reelay_store::sessions::SessionTable;
use reelay_zoom::ApiError;

/// Days that the backfill after an account move reaches back. The first recording after the move triggers
/// the maintenance job that finds it.
const MOVE_BACKFILL_DAYS: i32 = 2;

/// The function.
#[derive(Debug)]
pub struct Reconciler {
    consumer: Consumer,
    grants: Grants,
    sessions: SessionTable,
    recordings: RecordingTable,
    events: Queue<EventMessage>,
    jobs: Queue<JobMessage>,
    downloads: Queue<DownloadMessage>,
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
}

impl Reconciler {
    /// Reads the configuration and creates the clients, once per instance.
    ///
    /// # Errors
    /// If a variable is absent or invalid.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            consumer: Consumer::new(environment)?,
            grants: Grants::new(environment)?,
            sessions: SessionTable::new(environment)?,
            recordings: RecordingTable::new(environment)?,
            downloads: Queue::from_env(environment, "DOWNLOADS_QUEUE_URL")?,
            events: Queue::from_env(environment, "EVENTS_QUEUE_URL")?,
            // The function's own queue.
            jobs: Queue::from_env(environment, "QUEUE_URL")?,
            bucket: Bucket::new(environment)?,
            eraser: Eraser::new(environment)?,
            queue_key: Secret::from_env(environment, "QUEUE_KEY")?,
            clock: environment.clock.clone(),
        })
    }

    /// Processes a batch of jobs.
    pub async fn handle(&self, batch: SqsEvent) -> SqsBatchResponse {
        self.consumer
            .process(batch, |delivery: Delivery<JobMessage>| async move {
                self.run_job(delivery.message.job).await.map_err(Retry::new)
            })
            .await
    }

    async fn run_job(&self, job: Job) -> Result<(), JobError> {
        match job {
            Job::RevokeGrant { zoom_user } => Ok(self.grants.revoke(&zoom_user).await?),
            Job::EndTransfers { zoom_user } => Ok(self.end_transfers(&zoom_user).await?),
            Job::VerifyDeauthorization { zoom_user, client_id } => {
                self.verify_deauthorization(&zoom_user, client_id.as_deref()).await
            }
            Job::FinishConnect { exchange } => self.finish_connect(&exchange).await,
            Job::MaintainGrant { zoom_user } => self.maintain_grant(&zoom_user).await,
            Job::EraseRecordings { zoom_user, erased } => {
                Ok(self.erase_recordings(zoom_user, erased).await?)
            }
            Job::SweepErased { zoom_user } => {
                Ok(self.eraser.sweep(&zoom_user).await.map(|_| ())?)
            }
            Job::RunMaintenance => self.run_maintenance().await,
            Job::Backfill { zoom_user, from, to } => self.backfill(&zoom_user, from, to).await,
        }
    }

    async fn maintain_grant(&self, zoom_user: &ZoomUser) -> Result<(), JobError> {
        self.enqueue_due_erasure(zoom_user).await?;
        match self.grants.run_maintenance(zoom_user).await? {
            MaintenanceOutcome::Done => Ok(()),
            MaintenanceOutcome::Revived { marked_at } => {
                let to = utc_date(self.clock.now());
                self.enqueue_backfill(zoom_user.clone(), utc_date(marked_at), to).await
            }
            // Meanwhile Zoom's events named an unknown user.
            MaintenanceOutcome::MovedTo(zoom_user) => {
                let today = utc_date(self.clock.now());
                let since = today.saturating_sub(MOVE_BACKFILL_DAYS.days());
                self.enqueue_backfill(zoom_user, since, today).await
            }
        }
    }

    /// Enqueues a backfill as a job of its own: a repetition of the job that led to it does not repeat it.
    async fn enqueue_backfill(
        &self,
        zoom_user: ZoomUser,
        from: Date,
        to: Date,
    ) -> Result<(), JobError> {
        let tenant = zoom_user.account_id.clone();
        let message = JobMessage::new(Job::Backfill { zoom_user, from, to });
        Ok(self.jobs.send(&message, tenant.as_str()).await?)
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
        client_id: Option<&str>,
    ) -> Result<(), JobError> {
        // Enqueued first: when the job is repeated after a crash, the ended links no longer lead to their keys.
        self.enqueue_end_of_transfers(zoom_user).await?;
        let outcome = self.grants.verify_deauthorization(zoom_user, client_id).await?;
        match outcome {
            DeauthorizationOutcome::Deauthorized => {
                metrics::count(Metric::GrantsEnded, "deauthorized")
            }
            DeauthorizationOutcome::StillAuthorized => {
                metrics::count(Metric::DeauthorizationsIgnored, "grant_valid")
            }
            DeauthorizationOutcome::Revived { marked_at } => {
                metrics::count(Metric::DeauthorizationsIgnored, "grant_valid");
                let to = utc_date(self.clock.now());
                self.enqueue_backfill(zoom_user.clone(), utc_date(marked_at), to).await?;
            }
            DeauthorizationOutcome::AnotherApp => {
                metrics::count(Metric::DeauthorizationsIgnored, "another_app")
            }
            DeauthorizationOutcome::NoGrant => {
                metrics::count(Metric::DeauthorizationsIgnored, "no_grant")
            }
        }
        Ok(())
    }
}
