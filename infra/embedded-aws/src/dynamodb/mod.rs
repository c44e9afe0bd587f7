//! DynamoDB: dynoxide, on SQLite in memory.
//!
//! dynoxide offers its HTTP server only with its own listener. It therefore runs on a second loopback port,
//! and calls are forwarded to it.

mod read_lag;

use std::sync::Arc;

use bytes::Bytes;
use dynoxide::{Database, ImportOptions, storage_backend};
use http::{HeaderValue, Request, StatusCode, Uri, header, request::Parts};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use reelay_clock::Clock;
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};

pub use self::read_lag::{LaggingReads, ReadLag};
use crate::{
    capacity::CapacityMeter,
    error::{BulkError, DeleteExpiredError, StartError},
    faults::Service,
    json_response::{self, JsonResponse},
    server,
};

pub(crate) struct DynamoDb {
    database: Database,
    client: Client<HttpConnector, Full<Bytes>>,
    origin: Uri,
    pub(crate) meter: CapacityMeter,
    pub(crate) read_lag: ReadLag,
}

/// The clock of times to live.
struct EngineClock(Clock);

impl storage_backend::Clock for EngineClock {
    fn now_unix_secs(&self) -> u64 {
        u64::try_from(self.0.now().as_second()).unwrap_or(0)
    }

    fn now_unix_secs_f64(&self) -> f64 {
        self.0.now().duration_since(jiff::Timestamp::UNIX_EPOCH).as_secs_f64()
    }
}

impl DynamoDb {
    /// Starts the engine. It serves until `stop` becomes true.
    pub(crate) async fn start(
        mut stop: watch::Receiver<bool>,
        clock: Clock,
    ) -> Result<(Self, JoinHandle<()>), StartError> {
        let database = Database::memory_with_clock(Arc::new(EngineClock(clock)))
            .map_err(|error| StartError::DynamoDb(error.to_string()))?;
        let (listener, address) = server::bind().await.map_err(StartError::Bind)?;
        let origin = Uri::builder()
            .scheme("http")
            .authority(address.to_string())
            .path_and_query("/")
            .build()
            .map_err(|error| StartError::DynamoDb(error.to_string()))?;
        let served = database.clone();
        let server = tokio::spawn(async move {
            let stopped = async move { server::stopped(&mut stop).await };
            let served = dynoxide::server::serve_with_shutdown(listener, served, stopped).await;
            if let Err(error) = served {
                tracing::error!(%error, "DynamoDB engine failed");
            }
        });
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let engine = Self {
            read_lag: ReadLag::new(database.clone()),
            database,
            client: Client::builder(TokioExecutor::new()).build(connector),
            origin,
            meter: CapacityMeter::default(),
        };
        Ok((engine, server))
    }

    pub(crate) async fn call(
        &self,
        operation: &str,
        mut parts: Parts,
        body: Bytes,
    ) -> JsonResponse {
        let body = self.meter.prepare(operation, body);
        if let Some(response) = self.read_lag.read(operation, &body) {
            self.meter.record(operation, true, response.as_bytes());
            return json_response::success(Service::DynamoDb, response);
        }
        if let Some(response) = self.query(operation, &body) {
            self.meter.record(operation, true, response.as_bytes());
            return json_response::success(Service::DynamoDb, response);
        }
        parts.uri = self.origin.clone();
        // The client sets both for the engine's address and the buffered body.
        parts.headers.remove(header::HOST);
        parts.headers.remove(header::TRANSFER_ENCODING);
        let length = HeaderValue::from(body.len());
        parts.headers.insert(header::CONTENT_LENGTH, length);
        let request = Request::from_parts(parts, Full::new(body.clone()));
        match self.client.request(request).await {
            Ok(response) => {
                let response = json_response::buffered(Service::DynamoDb, response).await;
                let (parts, response) = response.into_parts();
                let Ok(response) = response.collect().await;
                let response = response.to_bytes();
                self.meter.record(operation, parts.status.is_success(), &response);
                if parts.status.is_success() {
                    self.read_lag.observe(operation, &body);
                }
                JsonResponse::from_parts(parts, Full::new(response))
            }
            Err(error) => {
                tracing::error!(%error, "DynamoDB engine did not respond");
                json_response::error(
                    Service::DynamoDb,
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "InternalServerError",
                    "the engine did not respond",
                )
            }
        }
    }

    /// Responds to a query without the second connection: maintenance runs send hundreds. Errors are left to the
    /// engine's server.
    fn query(&self, operation: &str, body: &[u8]) -> Option<String> {
        let request = (operation == "Query").then(|| serde_json::from_slice(body))?.ok()?;
        serde_json::to_string(&self.database.query(request).ok()?).ok()
    }

    pub(crate) fn items(&self, table: &str) -> Result<Vec<Value>, BulkError> {
        let failed = |error: String| BulkError { table: table.to_owned(), reason: error };
        let items = read_lag::items_of(&self.database, table);
        let items = items.map_err(|error| failed(error.to_string()))?;
        let items = items.into_iter().map(serde_json::to_value).collect::<Result<_, _>>();
        items.map_err(|error| failed(error.to_string()))
    }

    pub(crate) fn import(&self, table: &str, items: Vec<Value>) -> Result<(), BulkError> {
        let failed = |error: String| BulkError { table: table.to_owned(), reason: error };
        let items = items.into_iter().map(serde_json::from_value).collect::<Result<_, _>>();
        let items = items.map_err(|error| failed(error.to_string()))?;
        let imported = self.database.import_items(table, items, ImportOptions::default());
        imported.map_err(|error| failed(error.to_string()))?;
        self.read_lag.copy_again().map_err(failed)
    }

    pub(crate) fn time_to_live(&self) -> TimeToLive {
        TimeToLive { database: self.database.clone(), read_lag: self.read_lag.clone() }
    }
}

/// Handle that deletes DynamoDB items whose time to live has passed. AWS does this in the background within days; here
/// the caller decides when.
#[derive(Clone)]
pub struct TimeToLive {
    database: Database,
    read_lag: ReadLag,
}

impl std::fmt::Debug for TimeToLive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TimeToLive").finish_non_exhaustive()
    }
}

impl TimeToLive {
    /// Deletes the expired items and returns their number.
    ///
    /// # Errors
    /// If the database fails.
    pub fn delete_expired_items(&self) -> Result<usize, DeleteExpiredError> {
        let failed = DeleteExpiredError;
        let deleted = self.database.sweep_ttl().map_err(|error| failed(error.to_string()))?;
        self.read_lag.copy_again().map_err(failed)?;
        Ok(deleted)
    }
}
