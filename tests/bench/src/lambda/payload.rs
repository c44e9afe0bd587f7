//! Events that the functions are invoked with. HTTP requests have API Gateway's payload format 2.0.

use jiff::Timestamp;
use reelay_domain::webhook::signature;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::error::BenchError;

const RECORDING_COMPLETED: &str = include_str!("../../../fixtures/zoom/recording_completed.json");

/// Size of the large Zoom event in bytes.
const LARGE_BODY_SIZE: usize = 200 * 1024;

/// Size of a Zoom event's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BodySize {
    /// The fixture.
    Small,
    /// The fixture with further files up to [`LARGE_BODY_SIZE`].
    Large,
}

impl BodySize {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "200KiB",
        }
    }

    fn body(self) -> Result<String, BenchError> {
        let mut event: Value = serde_json::from_str(RECORDING_COMPLETED)?;
        if self == Self::Large {
            let length = event.to_string().len();
            let files = event["payload"]["object"]["recording_files"].as_array_mut();
            let files = files.ok_or(BenchError::Fixture)?;
            let file = files.first().cloned().ok_or(BenchError::Fixture)?;
            let count = (LARGE_BODY_SIZE - length) / (file.to_string().len() + 1);
            files.extend((0..count).map(|number| {
                let mut file = file.clone();
                file["id"] = json!(format!("11111111-1111-4111-8111-{number:012}"));
                file
            }));
        }
        Ok(event.to_string())
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Payload {
    /// A signed Zoom event, which the webhook verifies and queues.
    ZoomEvent(BodySize),
    /// A `GET` request with the status of its response. The function makes no AWS call for it.
    Get { path: &'static str, status: u16 },
    /// An SQS batch without messages.
    EmptyBatch,
}

impl Payload {
    /// Creates the event. A Zoom event is signed now, because signatures expire after minutes.
    pub(crate) fn event(self, webhook_secret: &SecretString) -> Result<Value, BenchError> {
        Ok(match self {
            Self::ZoomEvent(size) => {
                let body = size.body()?;
                let timestamp = Timestamp::now().as_second().to_string();
                let signature = signature::sign(webhook_secret, &timestamp, body.as_bytes());
                let headers = json!({
                    "content-type": "application/json; charset=utf-8",
                    "x-zm-request-timestamp": timestamp,
                    "x-zm-signature": signature.expose_secret(),
                });
                http_request("POST", "/zoom/webhook", &headers, Some(body))
            }
            Self::Get { path, .. } => http_request("GET", path, &json!({}), None),
            Self::EmptyBatch => json!({"Records": []}),
        })
    }

    /// Whether the response shows that the function handled the event.
    pub(crate) fn is_success(self, response: &Value) -> bool {
        match self {
            Self::ZoomEvent(_) => response["statusCode"] == 200,
            Self::Get { status, .. } => response["statusCode"] == status,
            Self::EmptyBatch => response["batchItemFailures"] == json!([]),
        }
    }
}

fn http_request(method: &str, path: &str, headers: &Value, body: Option<String>) -> Value {
    let mut event = json!({
        "version": "2.0",
        "routeKey": format!("{method} {path}"),
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "bench",
            "domainName": "bench.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "bench",
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1", "userAgent": "bench",
            },
            "requestId": "bench",
            "routeKey": format!("{method} {path}"),
            "stage": "$default",
            "time": "01/Jan/2026:00:00:00 +0000",
            "timeEpoch": Timestamp::now().as_millisecond(),
        },
        "isBase64Encoded": false,
    });
    if let Some(body) = body {
        event["body"] = json!(body);
    }
    event
}
