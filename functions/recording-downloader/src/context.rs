//! Configuration and clients of the function.

use std::sync::Arc;

use jiff::SignedDuration;
use reelay_domain::message::DownloadMessage;
use reelay_domain::retry::RetryPolicy;
use reelay_grants::Grants;
use reelay_runtime::environment::{Clock, ConfigError, Environment};
use reelay_runtime::secrets::Secret;
use reelay_store::bucket::Bucket;
use reelay_store::outbox::NotificationOutbox;
use reelay_store::queue::Queue;
use reelay_store::recordings::RecordingTable;
use reelay_zoom::{DownloadHosts, Endpoints};

use crate::transfer::Settings;

/// Settings and clients that every step uses.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) downloads: Queue<DownloadMessage>,
    pub(crate) recordings: RecordingTable,
    pub(crate) outbox: NotificationOutbox,
    pub(crate) bucket: Bucket,
    pub(crate) queue_key: Secret,
    pub(crate) grants: Arc<Grants>,
    pub(crate) hosts: DownloadHosts,
    pub(crate) settings: Settings,
    pub(crate) retries: RetryPolicy,
    /// `RetentionDays`; 0 = for ever.
    pub(crate) retention_days: u16,
    /// `TrashAtZoomAfterDays`; 0 = never.
    pub(crate) trash_after_days: u16,
    pub(crate) clock: Clock,
}

impl Context {
    pub(crate) fn new(environment: &Environment) -> Result<Self, ConfigError> {
        let variables = &environment.variables;
        let endpoints = variables.zoom_endpoints(Endpoints::parse)?;
        Ok(Self {
            downloads: Queue::from_env(environment, "QUEUE_URL")?,
            recordings: RecordingTable::new(environment)?,
            outbox: NotificationOutbox::new(environment)?,
            bucket: Bucket::new(environment)?,
            queue_key: Secret::from_env(environment, "QUEUE_KEY")?,
            grants: Arc::new(Grants::new(environment)?),
            hosts: DownloadHosts::parse(variables.required("DOWNLOAD_HOSTS")?, &endpoints)
                .map_err(|error| ConfigError::invalid("DOWNLOAD_HOSTS", error))?,
            settings: Settings::from_env(variables)?,
            retries: RetryPolicy {
                first_delay: SignedDuration::from_secs(variables.parsed("RETRY_FIRST_SECONDS")?),
                retry_for: SignedDuration::from_hours(24 * variables.parsed::<i64>("RETRY_DAYS")?),
            },
            retention_days: variables.parsed("RETENTION_DAYS")?,
            trash_after_days: variables.parsed("TRASH_AT_ZOOM_AFTER_DAYS")?,
            clock: environment.clock.clone(),
        })
    }
}
