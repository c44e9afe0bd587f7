//! Turns a function's result into an HTTP response.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_TYPE, SET_COOKIE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

/// A response of API Gateway itself.
pub(super) fn message(status: StatusCode, text: &str) -> Response {
    (status, axum::Json(json!({ "message": text }))).into_response()
}

/// A problem in the format of Reelay's own API.
pub(super) fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    let problem = json!({
        "type": format!("urn:reelay:problem:{code}"), "title": status.canonical_reason(), "status": status.as_u16(),
        "detail": detail, "code": code,
    });
    let content_type = HeaderValue::from_static("application/problem+json");
    (status, [(CONTENT_TYPE, content_type)], problem.to_string()).into_response()
}

/// The response to a failed function or an invalid result.
pub(super) fn internal_error() -> Response {
    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

/// The response for a function's result.
pub(super) fn from_result(result: &Value) -> Response {
    if result.get("statusCode").is_none() {
        // In payload format 2.0 any other JSON is the body of a response with status 200.
        return axum::Json(result).into_response();
    }
    parse(result).unwrap_or_else(internal_error)
}

fn parse(result: &Value) -> Option<Response> {
    let status = result.get("statusCode")?.as_u64().and_then(|status| u16::try_from(status).ok());
    let status = StatusCode::from_u16(status?).ok().filter(|status| status.as_u16() >= 200)?;
    let text = result.get("body").and_then(Value::as_str).unwrap_or_default();
    let encoded = result.get("isBase64Encoded").and_then(Value::as_bool).unwrap_or(false);
    let body = if encoded { STANDARD.decode(text).ok()? } else { text.as_bytes().to_vec() };
    let empty = body.is_empty();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let out = response.headers_mut();
    for (name, value) in result.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let value = match value {
            Value::String(value) => value.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => return None,
        };
        let name = HeaderName::try_from(name).ok()?;
        // API Gateway sets these headers itself.
        if !matches!(name.as_str(), "content-length" | "transfer-encoding" | "connection") {
            out.append(name, HeaderValue::from_str(&value).ok()?);
        }
    }
    for cookie in result.get("cookies").and_then(Value::as_array).into_iter().flatten() {
        out.append(SET_COOKIE, HeaderValue::from_str(cookie.as_str()?).ok()?);
    }
    if !empty && !out.contains_key(CONTENT_TYPE) {
        out.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=utf-8"));
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn body(response: Response) -> Vec<u8> {
        response.into_body().collect().await.unwrap().to_bytes().to_vec()
    }

    #[tokio::test]
    async fn result_becomes_a_response() {
        let response = from_result(&json!({
            "statusCode": 302, "headers": {"location": "https://a/", "x-one": "1"}, "multiValueHeaders": {},
            "cookies": ["a=1; Secure", "b=2"], "body": "aGk=", "isBase64Encoded": true,
        }));
        assert_eq!(response.status(), StatusCode::FOUND);
        assert_eq!(response.headers()["location"], "https://a/");
        let cookies: Vec<_> = response.headers().get_all(SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; Secure", "b=2"]);
        assert_eq!(body(response).await, b"hi");
    }

    #[tokio::test]
    async fn invalid_results_become_status_500() {
        for result in [
            json!({"statusCode": 99}),
            json!({"statusCode": "two hundred"}),
            json!({"statusCode": 200, "headers": {"a b": "c"}}),
            json!({"statusCode": 200, "headers": {"a": "b\nc"}}),
            json!({"statusCode": 200, "body": "not base64!", "isBase64Encoded": true}),
        ] {
            assert_eq!(
                from_result(&result).status(),
                StatusCode::INTERNAL_SERVER_ERROR,
                "{result}"
            );
        }
        let response = from_result(&json!({"any": "thing"}));
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(body(response).await, b"{\"any\":\"thing\"}");
    }
}
