//! Responses in the AWS JSON protocols.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::{
    faults::{Effect, Service},
    server::{BoxError, ConnectionClosed},
};

pub(crate) type JsonResponse = Response<Full<Bytes>>;

fn response(service: Service, status: StatusCode, body: String) -> JsonResponse {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    // DynamoDB and SQS use version 1.0 of the protocol, the others 1.1.
    let content_type = HeaderValue::from_static(match service {
        Service::DynamoDb | Service::Sqs => "application/x-amz-json-1.0",
        _ => "application/x-amz-json-1.1",
    });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    response
}

pub(crate) fn success(service: Service, body: String) -> JsonResponse {
    response(service, StatusCode::OK, body)
}

pub(crate) fn error(
    service: Service,
    status: StatusCode,
    code: &str,
    message: &str,
) -> JsonResponse {
    let body = json!({ "__type": code, "message": message });
    let mut response = response(service, status, body.to_string());
    if service == Service::Sqs {
        // SDKs read the error code from this header for compatibility with the former query protocol.
        let fault = if status.is_server_error() { "Receiver" } else { "Sender" };
        if let Ok(value) = HeaderValue::from_str(&format!("{code};{fault}")) {
            response.headers_mut().insert("x-amzn-query-error", value);
        }
    }
    response
}

/// The response of an injected fault.
pub(crate) async fn injected(
    service: Service,
    effect: Effect,
    request: &Bytes,
) -> Result<JsonResponse, ConnectionClosed> {
    match effect {
        Effect::CloseConnection => Err(ConnectionClosed),
        // hyper drops this future when the client closes the connection.
        Effect::Hang => std::future::pending().await,
        Effect::TransactionConflict { item } => Ok(transaction_conflict(item, request)),
        Effect::Error { status, code, message } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Ok(error(service, status, &code, &message))
        }
    }
}

/// DynamoDB's response to a call that conflicts with a transaction in progress.
fn transaction_conflict(item: usize, request: &Bytes) -> JsonResponse {
    const MESSAGE: &str = "Transaction is ongoing for the item";
    let request: Value = serde_json::from_slice(request).unwrap_or_default();
    let Some(items) = request["TransactItems"].as_array() else {
        let code = "TransactionConflictException";
        return error(Service::DynamoDb, StatusCode::BAD_REQUEST, code, MESSAGE);
    };
    let reasons: Vec<_> = (0..items.len())
        .map(|index| match index == item % items.len() {
            true => json!({ "Code": "TransactionConflict", "Message": MESSAGE }),
            false => json!({ "Code": "None" }),
        })
        .collect();
    let codes: Vec<_> = reasons.iter().filter_map(|reason| reason["Code"].as_str()).collect();
    let message = format!(
        "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
        codes.join(", ")
    );
    let body = json!({
        "__type": "TransactionCanceledException", "Message": message, "CancellationReasons": reasons,
    });
    response(Service::DynamoDb, StatusCode::BAD_REQUEST, body.to_string())
}

/// Reads the body of an engine's response.
pub(crate) async fn buffered<B>(service: Service, response: Response<B>) -> JsonResponse
where
    B: BodyExt<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (parts, body) = response.into_parts();
    match BodyExt::collect(body).await {
        Ok(body) => Response::from_parts(parts, Full::new(body.to_bytes())),
        Err(cause) => {
            let cause: BoxError = cause.into();
            tracing::error!(error = %cause, ?service, "embedded engine aborted its response");
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            error(service, status, "InternalFailure", "engine failed")
        }
    }
}
