//! One port for every service that speaks JSON: the header `x-amz-target` says which is meant.
//!
//! Each call is authenticated (SigV4 over the whole body), counted, checked for an injected fault and
//! then handed to its engine.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, request::Parts};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use rustack_auth::StaticCredentialProvider;

use crate::{
    dynamodb::DynamoDb,
    events::Events,
    faults::{Done, Faults, Service},
    json_reply::{self, JsonResponse},
    kms::Kms,
    secrets::Secrets,
    server::{Answer, ConnectionCut},
    sqs::Sqs,
    wire::Wire,
};

/// DynamoDB takes 16 MB, the most of all.
const MAX_BODY: usize = 16 * 1024 * 1024;

#[derive(Clone)]
pub(crate) struct JsonFront {
    engines: Arc<JsonEngines>,
}

pub(crate) struct JsonEngines {
    pub(crate) faults: Faults,
    pub(crate) wire: Wire,
    pub(crate) credentials: StaticCredentialProvider,
    pub(crate) dynamodb: DynamoDb,
    pub(crate) events: Events,
    pub(crate) kms: Kms,
    pub(crate) secrets: Secrets,
    pub(crate) sqs: Arc<Sqs>,
}

impl JsonFront {
    pub(crate) fn new(engines: Arc<JsonEngines>) -> Self {
        Self { engines }
    }
}

impl Answer for JsonFront {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>) -> Result<JsonResponse, ConnectionCut> {
        let (parts, body) = request.into_parts();
        let Some((service, operation)) = target(&parts.headers) else {
            return Ok(json_reply::error(
                Service::DynamoDb,
                StatusCode::BAD_REQUEST,
                "UnknownOperationException",
                "x-amz-target names no service that is here",
            ));
        };
        // Read before anything is refused: an unread body would break the connection instead.
        let body = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                return Ok(json_reply::error(
                    service,
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "RequestEntityTooLargeException",
                    &error.to_string(),
                ));
            }
        };
        if let Some(refusal) = self.refuse_signature(service, &parts, &body) {
            return Ok(refusal);
        }
        self.engines.wire.note(service, &operation, &body);
        let fault = self.engines.faults.admit(service, &operation);
        match fault {
            Some(fault) if !fault.after_effect => json_reply::injected(service, fault.reply),
            fault => {
                // In a task of its own: a call that has arrived is carried out, also when its client hangs
                // up meanwhile.
                let this = self.clone();
                let carried_out = tokio::spawn(async move {
                    let response = this
                        .dispatch(service, &operation, parts, body.clone())
                        .await;
                    if response.status().is_success() {
                        this.engines.faults.carried_out(Done {
                            service,
                            operation: &operation,
                            request: &body,
                        });
                    }
                    response
                });
                // It ends without a response only if the engine panicked.
                let response = carried_out.await.map_err(|_| ConnectionCut)?;
                match fault {
                    Some(fault) => json_reply::injected(service, fault.reply),
                    None => Ok(response),
                }
            }
        }
    }
}

impl JsonFront {
    fn refuse_signature(
        &self,
        service: Service,
        parts: &Parts,
        body: &[u8],
    ) -> Option<JsonResponse> {
        let hash = rustack_auth::hash_payload(body);
        let refused = rustack_auth::verify_sigv4(parts, &hash, &self.engines.credentials).err()?;
        Some(json_reply::error(
            service,
            StatusCode::FORBIDDEN,
            "InvalidSignatureException",
            &refused.to_string(),
        ))
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
            Service::EventBridge => engines.events.call(operation, body).await,
            Service::Kms => engines.kms.call(operation, &body),
            Service::SecretsManager => engines.secrets.call(operation, body).await,
            Service::Sqs => engines.sqs.call(operation, body).await,
            // `target` never answers S3, which has a port of its own.
            Service::S3 => json_reply::error(
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
    let service = match prefix {
        "DynamoDB_20120810" | "DynamoDBStreams_20120810" => Service::DynamoDb,
        "AWSEvents" => Service::EventBridge,
        "TrentService" => Service::Kms,
        "secretsmanager" => Service::SecretsManager,
        "AmazonSQS" => Service::Sqs,
        _ => return None,
    };
    Some((service, operation.to_owned()))
}
