//! HTTP service of all JSON protocols on one port: the header `x-amz-target` names service and operation.
//!
//! Each call is authenticated (SigV4 over the whole body), counted, checked for an injected fault and then
//! passed to its engine.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, request::Parts};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use rustack_auth::StaticCredentialProvider;

use crate::{
    dynamodb::DynamoDb,
    eventbridge::EventBridge,
    faults::{CompletedCall, Faults, Service},
    json_response::{self, JsonResponse},
    kms::Kms,
    request_log::RequestLog,
    secrets_manager::SecretsManager,
    server::{ConnectionClosed, Handler},
    sqs::Sqs,
};

/// DynamoDB's limit, the largest of all services.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

#[derive(Clone)]
pub(crate) struct JsonService {
    engines: Arc<JsonEngines>,
}

pub(crate) struct JsonEngines {
    pub(crate) faults: Faults,
    pub(crate) request_log: RequestLog,
    pub(crate) credentials: StaticCredentialProvider,
    pub(crate) dynamodb: DynamoDb,
    pub(crate) eventbridge: EventBridge,
    pub(crate) kms: Kms,
    pub(crate) secrets_manager: SecretsManager,
    pub(crate) sqs: Arc<Sqs>,
}

impl JsonService {
    pub(crate) fn new(engines: Arc<JsonEngines>) -> Self {
        Self { engines }
    }
}

impl Handler for JsonService {
    type Body = Full<Bytes>;

    async fn handle(&self, request: Request<Incoming>) -> Result<JsonResponse, ConnectionClosed> {
        let (parts, body) = request.into_parts();
        let Some((service, operation)) = target(&parts.headers) else {
            return Ok(json_response::error(
                Service::DynamoDb,
                StatusCode::BAD_REQUEST,
                "UnknownOperationException",
                "x-amz-target names no embedded service",
            ));
        };
        // Read before any check: an unread body would break the connection and hide the error response.
        let body = match Limited::new(body, MAX_BODY_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                return Ok(json_response::error(
                    service,
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "RequestEntityTooLargeException",
                    &error.to_string(),
                ));
            }
        };
        let hash = rustack_auth::hash_payload(&body);
        if let Err(error) = rustack_auth::verify_sigv4(&parts, &hash, &self.engines.credentials) {
            return Ok(json_response::error(
                service,
                StatusCode::FORBIDDEN,
                "InvalidSignatureException",
                &error.to_string(),
            ));
        }
        self.engines.request_log.record(service, &operation, &body);
        match self.engines.faults.admit(service, &operation) {
            Some(fault) if !fault.after_effect => {
                json_response::injected(service, fault.effect, &body).await
            }
            fault => {
                let response = self.execute(service, operation, parts, body.clone()).await?;
                match fault {
                    Some(fault) => json_response::injected(service, fault.effect, &body).await,
                    None => Ok(response),
                }
            }
        }
    }
}

impl JsonService {
    /// Runs the call in its own task: it completes even if the client disconnects.
    async fn execute(
        &self,
        service: Service,
        operation: String,
        parts: Parts,
        body: Bytes,
    ) -> Result<JsonResponse, ConnectionClosed> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let response = this.dispatch(service, &operation, parts, body.clone()).await;
            if response.status().is_success() {
                this.engines.faults.notify(CompletedCall {
                    service,
                    operation: &operation,
                    request: &body,
                });
            }
            response
        });
        // Fails only if the engine panicked.
        task.await.map_err(|_| ConnectionClosed)
    }

    async fn dispatch(
        &self,
        service: Service,
        operation: &str,
        parts: Parts,
        body: Bytes,
    ) -> JsonResponse {
        let engines = &self.engines;
        match service {
            Service::DynamoDb => engines.dynamodb.call(operation, parts, body).await,
            Service::EventBridge => engines.eventbridge.call(operation, body).await,
            Service::Kms => engines.kms.call(operation, &body),
            Service::SecretsManager => engines.secrets_manager.call(operation, body).await,
            Service::Sqs => engines.sqs.call(operation, &body).await,
            // `target` never returns S3.
            Service::S3 => json_response::error(
                service,
                StatusCode::BAD_REQUEST,
                "UnknownOperationException",
                "S3 is served on another port",
            ),
        }
    }
}

fn target(headers: &HeaderMap) -> Option<(Service, String)> {
    let target = headers.get("x-amz-target")?.to_str().ok()?;
    let (prefix, operation) = target.split_once('.')?;
    let service = Service::JSON.into_iter().find(|service| service.target_prefix() == prefix)?;
    Some((service, operation.to_owned()))
}
