//! Downloads queue: one file from Zoom to the bucket.
//!
//! Takes the file's transfer under a lease, streams the bytes to S3 in bounded memory ([`transfer`]), proves
//! what was stored, and tells the app. A message is about state that lies in the table, so it may come twice
//! or late: whoever comes second finds the file leased, or ended, and tells again what was to be told. What
//! takes longer than an invocation may is handed to a fresh one, as often as it takes.

mod delivery;
mod host;
mod ladder;
mod manifest;
mod object;
mod telling;
pub mod transfer;
mod verdict;
mod waiting;

use std::time::Instant;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use reelay_domain::message::DownloadMessage;
use reelay_grants::Grants;
use reelay_runtime::environment::{Clock, ConfigError, Environment};
use reelay_runtime::secrets::Secret;
use reelay_runtime::sqs::Consumer;
use reelay_store::bucket::Bucket;
use reelay_store::outbox::NotificationOutbox;
use reelay_store::queue::Queue;
use reelay_store::recordings::RecordingTable;
use reelay_zoom::{DownloadHosts, Endpoints};

pub use crate::ladder::Unlisted;
use crate::transfer::Settings;

/// The function.
#[derive(Debug)]
pub struct RecordingDownloader {
    consumer: Consumer,
    downloads: Queue<DownloadMessage>,
    recordings: RecordingTable,
    outbox: NotificationOutbox,
    bucket: Bucket,
    queue_key: Secret,
    grants: Grants,
    hosts: DownloadHosts,
    settings: Settings,
    clock: Clock,
}

impl RecordingDownloader {
    /// Reads the configuration and makes the clients, once per instance.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        let variables = &environment.variables;
        let unusable = |name: &str, reason: String| ConfigError::Invalid {
            name: name.to_owned(),
            reason,
        };
        let endpoints = Endpoints::parse(
            variables.required("ZOOM_OAUTH_URL")?,
            variables.required("ZOOM_API_URL")?,
        )
        .map_err(|error| unusable("ZOOM_OAUTH_URL", error.to_string()))?;
        Ok(Self {
            consumer: Consumer::new(environment)?,
            downloads: Queue::from_env(environment, "QUEUE_URL")?,
            recordings: RecordingTable::new(environment)?,
            outbox: NotificationOutbox::new(environment)?,
            bucket: Bucket::new(environment)?,
            queue_key: Secret::from_env(environment, "QUEUE_KEY")?,
            hosts: DownloadHosts::parse(variables.required("DOWNLOAD_HOSTS")?, &endpoints)
                .map_err(|error| unusable("DOWNLOAD_HOSTS", error.to_string()))?,
            grants: Grants::new(environment)?,
            settings: Settings::read(variables)?,
            clock: environment.clock.clone(),
        })
    }

    /// Works off a batch of files, until at most `deadline`: at that moment we are ended.
    pub async fn handle(&self, batch: SqsEvent, deadline: Instant) -> SqsBatchResponse {
        self.consumer
            .process(batch, |delivery| self.fetch(delivery, deadline))
            .await
    }
}
