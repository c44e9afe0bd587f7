#![doc = include_str!("../README.md")]

mod capacity;
mod dynamodb;
mod error;
mod eventbridge;
mod faults;
mod json_response;
mod json_service;
mod kms;
mod request_log;
mod rustack;
mod s3;
mod secrets_manager;
mod server;
mod sqs;

use std::{fmt, sync::Arc, time::Duration};

use reelay_clock::Clock;
use rustack_auth::StaticCredentialProvider;
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};

pub use self::capacity::{CapacityMeter, ConsumedCapacity};
pub use self::dynamodb::{LaggingReads, ReadLag, TimeToLive};
pub use self::error::{BulkError, DeleteExpiredError, ReadLagError, StartError};
pub use self::faults::{CompletedCall, Fault, Faults, Service};
pub use self::request_log::{LoggedRequest, RequestLog};
pub use self::sqs::Queues;
use self::{
    dynamodb::DynamoDb,
    eventbridge::EventBridge,
    json_service::{JsonEngines, JsonService},
    kms::Kms,
    s3::{S3HttpService, Store},
    secrets_manager::SecretsManager,
    sqs::Sqs,
};

/// Time that each server has to end at shutdown before it is aborted.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Account, region and credentials of the engines.
#[derive(Debug, Clone)]
pub struct Options {
    /// Region in ARNs.
    pub region: String,
    /// Twelve-digit account id in ARNs and queue URLs.
    pub account_id: String,
    /// Access key id of the one accepted pair of credentials.
    pub access_key_id: String,
    /// Secret access key. Requests signed with another one are rejected.
    pub secret_access_key: String,
    /// Clock of messages, times to live, objects and presigned URLs.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            account_id: "000000000000".to_owned(),
            access_key_id: "test".to_owned(),
            secret_access_key: "test".to_owned(),
            clock: Clock::default(),
        }
    }
}

/// Base URLs, each `http://127.0.0.1:<port>`. S3 has its own port and accepts path-style requests only.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs, reason = "each field is named after its service")]
pub struct Endpoints {
    pub dynamodb: String,
    pub s3: String,
    pub sqs: String,
    pub kms: String,
    pub secretsmanager: String,
    pub events: String,
}

/// Running engines. They serve until [`shutdown`](Self::shutdown) or until this value is dropped.
pub struct Engines {
    endpoints: Endpoints,
    faults: Faults,
    json: Arc<JsonEngines>,
    clock: Clock,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
    /// The last field: the directory is removed after everything that uses it.
    _directory: TempDir,
}

/// Starts all engines on free ports, on the current Tokio runtime.
///
/// # Errors
/// [`StartError`] if a port, a temporary directory or the DynamoDB engine is unavailable.
pub async fn start(options: Options) -> Result<Engines, StartError> {
    let directory = tempfile::Builder::new()
        .prefix("embedded-aws-")
        .tempdir()
        .map_err(StartError::TemporaryDirectory)?;
    let (json_listener, json_address) = server::bind().await.map_err(StartError::Bind)?;
    let (s3_listener, s3_address) = server::bind().await.map_err(StartError::Bind)?;
    let (stop, stopped) = watch::channel(false);

    let Options { region, account_id, access_key_id, secret_access_key, clock } = options;
    let port = json_address.port();
    let (dynamodb, dynamodb_server) = DynamoDb::start(stopped.clone(), clock.clone()).await?;
    let sqs = Arc::new(Sqs::new(&region, &account_id, port, clock.clone()));
    let faults = Faults::default();
    let store = Store::new(directory.path(), clock.clone());
    let s3 = S3HttpService::new(
        store,
        clock.clone(),
        faults.clone(),
        &access_key_id,
        &secret_access_key,
    );
    let credentials = StaticCredentialProvider::new(vec![(access_key_id, secret_access_key)]);
    let json = Arc::new(JsonEngines {
        faults: faults.clone(),
        request_log: RequestLog::default(),
        credentials,
        dynamodb,
        eventbridge: EventBridge::new(&region, &account_id, port, Arc::clone(&sqs), clock.clone()),
        kms: Kms::new(&region, &account_id),
        secrets_manager: SecretsManager::new(&region, &account_id),
        sqs,
    });
    let json_service = JsonService::new(Arc::clone(&json));
    let servers = vec![
        server::serve(json_listener, json_service, stopped.clone()),
        server::serve(s3_listener, s3, stopped),
        dynamodb_server,
    ];
    let json_url = format!("http://{json_address}");
    Ok(Engines {
        endpoints: Endpoints {
            dynamodb: json_url.clone(),
            s3: format!("http://{s3_address}"),
            sqs: json_url.clone(),
            kms: json_url.clone(),
            secretsmanager: json_url.clone(),
            events: json_url,
        },
        faults,
        json,
        clock,
        stop,
        servers,
        _directory: directory,
    })
}

impl Engines {
    /// Base URLs of the services.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Handle that injects faults and counts calls.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Handle that counts DynamoDB capacity units.
    #[must_use]
    pub fn capacity_meter(&self) -> &CapacityMeter {
        &self.json.dynamodb.meter
    }

    /// Handle that makes DynamoDB's eventually consistent reads lag behind the writes.
    #[must_use]
    pub fn read_lag(&self) -> &ReadLag {
        &self.json.dynamodb.read_lag
    }

    /// Handle that records requests.
    #[must_use]
    pub fn request_log(&self) -> &RequestLog {
        &self.json.request_log
    }

    /// Clock of the engines.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Handle that shows the queues.
    #[must_use]
    pub fn queues(&self) -> Queues {
        Queues::new(Arc::clone(&self.json.sqs))
    }

    /// Handle that deletes expired DynamoDB items.
    #[must_use]
    pub fn time_to_live(&self) -> TimeToLive {
        self.json.dynamodb.time_to_live()
    }

    /// All items of a DynamoDB table, in DynamoDB's JSON.
    ///
    /// # Errors
    /// If the table does not exist.
    pub fn items(&self, table: &str) -> Result<Vec<serde_json::Value>, BulkError> {
        self.json.dynamodb.items(table)
    }

    /// Writes items in DynamoDB's JSON to a table in one transaction, without the checks of a request. All reads see them.
    ///
    /// # Errors
    /// If the table does not exist or an item is invalid.
    pub fn import_items(
        &self,
        table: &str,
        items: Vec<serde_json::Value>,
    ) -> Result<(), BulkError> {
        self.json.dynamodb.import(table, items)
    }

    /// Stops listening, gives running calls a second to end, and stops the engines.
    pub async fn shutdown(mut self) {
        self.json.eventbridge.shutdown().await;
        self.stop.send_replace(true);
        for mut server in self.servers.drain(..) {
            match tokio::time::timeout(SHUTDOWN_TIMEOUT, &mut server).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "embedded server panicked"),
                Err(_) => server.abort(),
            }
        }
    }
}

impl fmt::Debug for Engines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engines").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl Drop for Engines {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}
