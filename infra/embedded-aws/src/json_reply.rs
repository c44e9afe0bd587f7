//! Answers in the shape of the AWS JSON protocols.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde_json::json;

use crate::{
    faults::{Reply, Service},
    server::{BoxError, ConnectionCut},
};

pub(crate) type JsonResponse = Response<Full<Bytes>>;

/// DynamoDB and SQS speak version 1.0 of the protocol, the others 1.1.
fn content_type(service: Service) -> HeaderValue {
    HeaderValue::from_static(match service {
        Service::DynamoDb | Service::Sqs => "application/x-amz-json-1.0",
        _ => "application/x-amz-json-1.1",
    })
}

pub(crate) fn reply(service: Service, status: StatusCode, body: Vec<u8>) -> JsonResponse {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type(service));
    response
}

pub(crate) fn error(
    service: Service,
    status: StatusCode,
    code: &str,
    message: &str,
) -> JsonResponse {
    let body = json!({ "__type": code, "message": message });
    let mut response = reply(service, status, body.to_string().into_bytes());
    if service == Service::Sqs {
        // SQS was a query protocol once: SDKs take the error code from here.
        let fault = if status.is_server_error() {
            "Receiver"
        } else {
            "Sender"
        };
        if let Ok(value) = HeaderValue::from_str(&format!("{code};{fault}")) {
            response.headers_mut().insert("x-amzn-query-error", value);
        }
    }
    response
}

/// The answer that an injected fault demands.
pub(crate) fn injected(service: Service, reply: Reply) -> Result<JsonResponse, ConnectionCut> {
    match reply {
        Reply::ConnectionCut => Err(ConnectionCut),
        Reply::Error {
            status,
            code,
            message,
        } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Ok(error(service, status, &code, &message))
        }
    }
}

/// An engine's answer with its body read, whatever type the engine has for it.
pub(crate) async fn buffered<B>(service: Service, response: Response<B>) -> JsonResponse
where
    B: http_body_util::BodyExt<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (parts, body) = response.into_parts();
    match BodyExt::collect(body).await {
        Ok(body) => Response::from_parts(parts, Full::new(body.to_bytes())),
        Err(cause) => {
            let cause: BoxError = cause.into();
            tracing::error!(error = %cause, ?service, "engine broke off its answer");
            error(
                service,
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalFailure",
                "engine failed",
            )
        }
    }
}
