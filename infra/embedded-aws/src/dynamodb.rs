//! DynamoDB: dynoxide, on SQLite.
//!
//! dynoxide offers its HTTP server only as a whole, on a listener that it owns. It therefore runs on a
//! second loopback port, and the front passes calls on to it.

use std::path::Path;

use bytes::Bytes;
use dynoxide::Database;
use http::{HeaderValue, Request, StatusCode, Uri, header, request::Parts};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    StartError,
    faults::Service,
    json_reply::{self, JsonResponse},
    meter::Meter,
    server,
};

pub(crate) struct DynamoDb {
    database: Database,
    client: Client<HttpConnector, Full<Bytes>>,
    origin: Uri,
    pub(crate) meter: Meter,
}

impl DynamoDb {
    /// Opens the database in `directory`, or in memory, and serves it until `stop`.
    pub(crate) async fn start(
        directory: Option<&Path>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(Self, JoinHandle<()>), StartError> {
        let database = match directory {
            Some(directory) => {
                let file = directory.join("dynamodb.sqlite");
                let file = file
                    .to_str()
                    .ok_or_else(|| StartError::DataPath(file.clone()))?;
                Database::new(file)
            }
            None => Database::memory(),
        }
        .map_err(|error| StartError::DynamoDb(error.to_string()))?;
        let (listener, address) = server::bind().await.map_err(StartError::Bind)?;
        let origin = Uri::builder()
            .scheme("http")
            .authority(address.to_string())
            .path_and_query("/")
            .build()
            .map_err(|error| StartError::DynamoDb(error.to_string()))?;
        let served = database.clone();
        let serving = tokio::spawn(async move {
            let stopped = async move { server::stopped(&mut stop).await };
            if let Err(error) =
                dynoxide::server::serve_with_shutdown(listener, served, stopped).await
            {
                tracing::error!(%error, "DynamoDB engine ended");
            }
        });
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let engine = Self {
            database,
            client,
            origin,
            meter: Meter::default(),
        };
        Ok((engine, serving))
    }

    pub(crate) async fn call(
        &self,
        operation: &str,
        mut parts: Parts,
        body: Bytes,
    ) -> JsonResponse {
        let body = self.meter.ask(operation, body);
        parts.uri = self.origin.clone();
        // The client writes these two anew, for the engine's own address and for a body that is whole.
        parts.headers.remove(header::HOST);
        parts.headers.remove(header::TRANSFER_ENCODING);
        parts
            .headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        let request = Request::from_parts(parts, Full::new(body));
        match self.client.request(request).await {
            Ok(response) => {
                let response = json_reply::buffered(Service::DynamoDb, response).await;
                let (parts, body) = response.into_parts();
                let Ok(answer) = body.collect().await;
                let answer = answer.to_bytes();
                self.meter
                    .note(operation, parts.status.is_success(), &answer);
                JsonResponse::from_parts(parts, Full::new(answer))
            }
            Err(error) => {
                tracing::error!(%error, "DynamoDB engine does not answer");
                json_reply::error(
                    Service::DynamoDb,
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "InternalServerError",
                    "the engine does not answer",
                )
            }
        }
    }

    /// Deletes items whose time to live is over; returns how many.
    pub(crate) fn sweep_expired(&self) -> Result<usize, String> {
        self.database.sweep_ttl().map_err(|error| error.to_string())
    }
}
