//! Rustack's SQS engine, called by operation name with JSON bodies.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use rustack_sqs_core::{config::SqsConfig, handler::RustackSqsHandler, provider::RustackSqs};
use rustack_sqs_http::{dispatch::SqsHandler, response, router};
use serde_json::Value;

use crate::{
    faults::Service,
    json_reply::{self, JsonResponse},
};

pub(super) struct Engine {
    pub(super) provider: Arc<RustackSqs>,
    handler: RustackSqsHandler,
}

/// An error response of SQS.
#[derive(Debug)]
pub(super) struct SqsError {
    pub(super) status: http::StatusCode,
    pub(super) code: String,
    pub(super) message: String,
}

impl SqsError {
    pub(super) fn new(
        status: http::StatusCode,
        code: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
        }
    }
}

impl Engine {
    /// `port` is the port of the server in front: queue URLs contain it.
    pub(super) fn new(region: &str, account_id: &str, port: u16) -> Self {
        let provider = Arc::new(RustackSqs::new(SqsConfig {
            skip_signature_validation: true,
            default_region: region.to_owned(),
            account_id: account_id.to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
        }));
        Self {
            handler: RustackSqsHandler::new(Arc::clone(&provider)),
            provider,
        }
    }

    pub(super) async fn execute(&self, operation: &str, body: Bytes) -> JsonResponse {
        let response = match router::resolve_operation(&target(operation)) {
            Ok(known) => match self.handler.handle_operation(known, body).await {
                Ok(response) => response,
                Err(error) => response::error_to_response(&error, "failed"),
            },
            Err(error) => response::error_to_response(&error, "unknown"),
        };
        json_reply::buffered(Service::Sqs, response).await
    }

    /// Like [`execute`](Self::execute), with the response parsed.
    pub(super) async fn request(&self, operation: &str, body: Value) -> Result<Value, SqsError> {
        let response = self.execute(operation, body.to_string().into()).await;
        let status = response.status();
        let body = match response.into_body().collect().await {
            Ok(body) => body.to_bytes(),
            Err(never) => match never {},
        };
        // DeleteMessage and the like return an empty body.
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(value);
        }
        let text = |name: &str| value[name].as_str().unwrap_or_default();
        Err(SqsError::new(status, text("__type"), text("message")))
    }

    /// The URL of a queue of this account and region. The queue need not exist.
    pub(super) fn url_of(&self, arn: &str) -> Result<String, String> {
        self.provider
            .queue_url_for_arn(arn)
            .map_err(|error| error.to_string())
    }
}

fn target(operation: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&format!("AmazonSQS.{operation}")) {
        headers.insert("x-amz-target", value);
    }
    headers
}
