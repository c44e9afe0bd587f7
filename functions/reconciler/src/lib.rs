//! Orders queue: what is to be done with Zoom apart from events. Grants are ended, checked and kept alive,
//! begun authorizations finished, recordings read that were made before anybody listened.

mod backfill;
mod connect;
mod files;
mod sweep;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use jiff::ToSpan as _;
use jiff::tz::TimeZone;
use reelay_domain::ids::ZoomUser;
use reelay_domain::message::{DownloadMessage, EventMessage, Job, JobMessage};
use reelay_grants::{DeauthorizationOutcome, GrantError, Grants, MaintenanceOutcome};
use reelay_runtime::AwsError;
use reelay_runtime::environment::{Clock, ConfigError, Environment};
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::secrets::Secret;
use reelay_runtime::sqs::{Consumer, Delivery, Retry};
use reelay_store::bucket::Bucket;
use reelay_store::queue::Queue;
use reelay_store::recordings::RecordingTable;
use reelay_store::sessions::SessionTable;
use reelay_zoom::ApiError;

/// Days. The first recording after a move brings us here at once, if any is made.
const BEFORE_MOVE_DAYS: i32 = 2;

/// The function.
#[derive(Debug)]
pub struct Reconciler {
    consumer: Consumer,
    grants: Grants,
    sessions: SessionTable,
    recordings: RecordingTable,
    events: Queue<EventMessage>,
    orders: Queue<JobMessage>,
    downloads: Queue<DownloadMessage>,
    bucket: Bucket,
    queue_key: Secret,
    clock: Clock,
}

/// Why an order was not carried out. All of them are tried again.
#[derive(Debug, thiserror::Error)]
enum OrderError {
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error("Zoom's API: {0}")]
    Zoom(#[from] ApiError),
}

impl Reconciler {
    /// Reads the configuration and makes the clients, once per instance.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            consumer: Consumer::new(environment)?,
            grants: Grants::new(environment)?,
            sessions: SessionTable::new(environment)?,
            recordings: RecordingTable::new(environment)?,
            downloads: Queue::from_env(environment, "DOWNLOADS_QUEUE_URL")?,
            events: Queue::from_env(environment, "EVENTS_QUEUE_URL")?,
            // The queue that it works off.
            orders: Queue::from_env(environment, "QUEUE_URL")?,
            bucket: Bucket::new(environment)?,
            queue_key: Secret::from_env(environment, "QUEUE_KEY")?,
            clock: environment.clock.clone(),
        })
    }

    /// Works off a batch of orders.
    pub async fn handle(&self, batch: SqsEvent) -> SqsBatchResponse {
        self.consumer
            .process(batch, |delivery: Delivery<JobMessage>| async move {
                self.carry_out(delivery.message.job)
                    .await
                    .map_err(Retry::new)
            })
            .await
    }

    async fn carry_out(&self, job: Job) -> Result<(), OrderError> {
        match job {
            Job::RevokeGrant { zoom_user } => Ok(self.grants.revoke(&zoom_user).await?),
            Job::VerifyDeauthorization {
                zoom_user,
                client_id,
            } => self.check(&zoom_user, client_id.as_deref()).await,
            Job::FinishConnect { exchange } => self.finish_connect(&exchange).await,
            Job::MaintainGrant { zoom_user } => self.look_after(&zoom_user).await,
            Job::RunMaintenance => self.sweep().await,
            Job::Backfill {
                zoom_user,
                from,
                to,
            } => self.backfill(&zoom_user, from, to).await,
        }
    }

    async fn look_after(&self, zoom_user: &ZoomUser) -> Result<(), OrderError> {
        match self.grants.run_maintenance(zoom_user).await? {
            MaintenanceOutcome::Done => Ok(()),
            // What completed while Zoom's events named somebody we did not know.
            MaintenanceOutcome::MovedTo(zoom_user) => {
                let today = self.clock.now().to_zoned_datetime(TimeZone::UTC).date();
                let since = today.saturating_sub(BEFORE_MOVE_DAYS.days());
                self.backfill(&zoom_user, since, today).await
            }
        }
    }

    async fn check(&self, zoom_user: &ZoomUser, client_id: Option<&str>) -> Result<(), OrderError> {
        if let Some(client_id) = client_id
            && self
                .grants
                .credentials()
                .await
                .map_err(GrantError::from)?
                .client_id
                != client_id
        {
            metrics::count(Metric::DeauthorizationsIgnored, "another_app");
            return Ok(());
        }
        match self.grants.verify_deauthorization(zoom_user).await? {
            DeauthorizationOutcome::Deauthorized => {
                metrics::count(Metric::GrantsEnded, "deauthorized")
            }
            DeauthorizationOutcome::StillAuthorized => {
                metrics::count(Metric::DeauthorizationsIgnored, "grant_still_good")
            }
            DeauthorizationOutcome::NoGrant => {
                metrics::count(Metric::DeauthorizationsIgnored, "no_grant")
            }
        }
        Ok(())
    }
}
