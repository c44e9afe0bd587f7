//! What the functions are called with: API Gateway's events (payload format 2.0), signed as Zoom signs, and
//! batches of SQS.

use jiff::Timestamp;
use reelay_domain::webhook::signature;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::LambdaError;

/// An event as Zoom sends it, with four files.
const COMPLETED: &str = include_str!("../../../fixtures/zoom/recording_completed.json");

/// How large the event is that Zoom sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Four files.
    Small,
    /// So many files that the event has 200 KiB.
    Large,
}

impl Size {
    /// The name of the case.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "200KiB",
        }
    }

    /// The body that Zoom sends.
    ///
    /// # Errors
    /// If the fixture is not what it was.
    pub(crate) fn body(self) -> Result<String, LambdaError> {
        let unfit = || LambdaError::Event("the fixture has no files".to_owned());
        let mut event: Value = serde_json::from_str(COMPLETED)?;
        if self == Self::Large {
            let length = event.to_string().len();
            let files = event
                .pointer_mut("/payload/object/recording_files")
                .and_then(Value::as_array_mut)
                .ok_or_else(unfit)?;
            let file = files.first().cloned().ok_or_else(unfit)?;
            let each = file.to_string().len() + 1;
            let more = (200 * 1024 - length) / each;
            files.extend((0..more).map(|number| {
                let mut file = file.clone();
                file["id"] = json!(format!("11111111-1111-4111-8111-{number:012}"));
                file
            }));
        }
        Ok(event.to_string())
    }
}

/// A delivery of Zoom's, signed now.
pub(crate) fn delivery(body: &str, secret: &SecretString) -> Value {
    let timestamp = Timestamp::now().as_second().to_string();
    let signature = signature::sign(secret, &timestamp, body.as_bytes());
    let headers = json!({
        "content-type": "application/json; charset=utf-8",
        "x-zm-request-timestamp": timestamp,
        "x-zm-signature": signature.expose_secret(),
    });
    request("POST", "/zoom/webhook", headers, Some(body))
}

/// Any request.
pub(crate) fn request(method: &str, path: &str, headers: Value, body: Option<&str>) -> Value {
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
