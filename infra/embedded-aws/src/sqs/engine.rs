//! Rustack's SQS engine, called by operation name with JSON bodies.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use rustack_sqs_core::{config::SqsConfig, handler::RustackSqsHandler, provider::RustackSqs};
use rustack_sqs_http::dispatch::SqsHandler;
use serde_json::Value;

use super::fair_queue;
use crate::{faults::Service, json_response::JsonResponse, rustack};

pub(super) struct Engine {
    provider: Arc<RustackSqs>,
    handler: RustackSqsHandler,
}

/// An error response of SQS.
#[derive(Debug)]
pub(super) struct SqsError {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) message: String,
}

impl SqsError {
    pub(super) fn new(
        status: StatusCode,
        code: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }
}

impl Engine {
    /// `port` is the port of the HTTP server: queue URLs contain it.
    pub(super) fn new(region: &str, account_id: &str, port: u16) -> Self {
        let provider = Arc::new(RustackSqs::new(SqsConfig {
            skip_signature_validation: true,
            default_region: region.to_owned(),
            account_id: account_id.to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
        }));
        Self { handler: RustackSqsHandler::new(Arc::clone(&provider)), provider }
    }

    pub(super) async fn call(&self, operation: &str, body: Bytes) -> JsonResponse {
        let body = fair_queue::without_standard_queue_group(operation, body);
        rustack::call!(rustack_sqs_http, self.handler, Service::Sqs, operation, body)
    }

    /// Like [`call`](Self::call), with the request and the response as values.
    pub(super) async fn request(&self, operation: &str, body: Value) -> Result<Value, SqsError> {
        let response = self.call(operation, body.to_string().into()).await;
        let status = response.status();
        let Ok(body) = response.into_body().collect().await;
        // DeleteMessage and some others return an empty body.
        let value: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        if status.is_success() {
            return Ok(value);
        }
        let text = |name: &str| value[name].as_str().unwrap_or_default();
        Err(SqsError::new(status, text("__type"), text("message")))
    }

    /// The URL of a queue of this account and region. The queue need not exist.
    pub(super) fn url_of(&self, arn: &str) -> Result<String, String> {
        let url = self.provider.queue_url_for_arn(arn);
        url.map_err(|error| error.to_string())
    }

    pub(super) async fn shutdown(&self) {
        self.provider.shutdown_all().await;
    }
}
