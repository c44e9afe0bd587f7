//! Builds the event of a request in payload format 2.0.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, COOKIE, USER_AGENT};
use http::request::Parts;
use jiff::Timestamp;
use reelay_runtime::random;
use serde_json::{Map, Value, json};

use crate::names;

/// Id of this API.
const API_ID: &str = "local";

/// The parts of the event that do not come from the request itself.
#[derive(Debug)]
pub(super) struct RequestContext<'a> {
    /// Host and port of the listener, in place of the API's domain. It never comes from a header.
    pub(super) domain: &'a str,
    pub(super) peer: SocketAddr,
    pub(super) now: Timestamp,
    pub(super) request_id: &'a str,
}

/// Builds the event. `path` is percent-decoded, as on AWS.
pub(super) fn build(
    request: &Parts,
    path: &str,
    body: &Bytes,
    route_key: &str,
    path_parameters: &[(&str, String)],
    context: &RequestContext<'_>,
) -> Value {
    let method = request.method.as_str();
    let query = request.uri.query().unwrap_or_default();
    let source_ip = context.peer.ip().to_string();
    let user_agent =
        request.headers.get(USER_AGENT).map(|agent| lossy(agent.as_bytes())).unwrap_or_default();
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers(&request.headers, context),
        "requestContext": {
            "accountId": names::ACCOUNT_ID,
            "apiId": API_ID,
            "domainName": context.domain,
            "domainPrefix": context.domain.split('.').next().unwrap_or_default(),
            "http": {
                "method": method,
                "path": path,
                "protocol": format!("{:?}", request.version),
                "sourceIp": source_ip,
                "userAgent": user_agent,
            },
            "requestId": context.request_id,
            "routeKey": route_key,
            "stage": "$default",
            "time": context.now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": context.now.as_millisecond(),
        },
        "isBase64Encoded": false,
    });
    let cookies = cookies(&request.headers);
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    let parameters = query_parameters(query);
    if !parameters.is_empty() {
        event["queryStringParameters"] = json!(parameters);
    }
    if !path_parameters.is_empty() {
        let parameters =
            path_parameters.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
        event["pathParameters"] = Value::Object(parameters.collect());
    }
    if !body.is_empty() {
        let text = is_text(&request.headers).then(|| std::str::from_utf8(body).ok()).flatten();
        event["isBase64Encoded"] = json!(text.is_none());
        event["body"] = text.map_or_else(|| json!(STANDARD.encode(body)), |text| json!(text));
    }
    event
}

/// Whether API Gateway passes the body as text. It encodes other bodies, and text that is not UTF-8, as base64.
fn is_text(headers: &HeaderMap) -> bool {
    let content_type =
        headers.get(CONTENT_TYPE).map(|value| lossy(value.as_bytes()).to_ascii_lowercase());
    let content_type = content_type.unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.starts_with("text/")
        || matches!(essence, "application/json" | "application/javascript" | "application/xml")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
}

/// Headers with lower-case names. Repeated headers are joined by commas; cookies are separate.
fn headers(headers: &HeaderMap, context: &RequestContext<'_>) -> Map<String, Value> {
    let mut joined: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in headers {
        if name == COOKIE {
            continue;
        }
        let value = lossy(value.as_bytes());
        joined
            .entry(name.as_str())
            .and_modify(|all| {
                all.push(',');
                all.push_str(&value);
            })
            .or_insert(value);
    }
    let mut map: Map<String, Value> =
        joined.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let source = context.peer.ip().to_string();
    let forwarded = match map.get("x-forwarded-for").and_then(Value::as_str) {
        Some(before) => format!("{before}, {source}"),
        None => source,
    };
    map.insert("x-forwarded-for".into(), json!(forwarded));
    map.insert("x-forwarded-proto".into(), json!("http"));
    if let Some((_, port)) = context.domain.rsplit_once(':') {
        map.insert("x-forwarded-port".into(), json!(port));
    }
    let (high, low) = (u64::from_be_bytes(random::bytes()), u32::from_be_bytes(random::bytes()));
    let trace = format!("Root=1-{:08x}-{high:016x}{low:08x}", context.now.as_second());
    map.entry("x-amzn-trace-id").or_insert(json!(trace));
    map
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(COOKIE).iter().map(|value| lossy(value.as_bytes()));
    let split =
        |value: String| value.split(';').map(|cookie| cookie.trim().to_owned()).collect::<Vec<_>>();
    values.flat_map(split).filter(|cookie| !cookie.is_empty()).collect()
}

/// Decoded parameters. Repeated parameters are joined by commas.
fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        parameters
            .entry(name.into_owned())
            .and_modify(|all| {
                all.push(',');
                all.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    parameters
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use http::Request;
    use lambda_http::request::LambdaRequest;

    use super::*;

    fn event(request: http::request::Builder, path: &str, body: &[u8]) -> Value {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let context = RequestContext {
            domain: "127.0.0.1:4000",
            peer: ([127, 0, 0, 1], 5).into(),
            now: Timestamp::from_second(1_767_225_600).unwrap(),
            request_id: "r",
        };
        let parameters = [("proxy", "links".to_owned())];
        build(
            &parts,
            path,
            &Bytes::copy_from_slice(body),
            "ANY /v1/{proxy+}",
            &parameters,
            &context,
        )
    }

    #[test]
    fn event_follows_payload_format_2() {
        let request = Request::post("/v1/links?a=1&b=x%20y&a=2&c")
            .header("Content-Type", "application/json")
            .header("Cookie", "one=1; two=2")
            .header("Cookie", "three=3")
            .header("X-Twice", "a")
            .header("X-Twice", "b")
            .header("Host", "evil.test")
            .header("User-Agent", "tests");
        let mut event = event(request, "/v1/links", "{\"ä\":1}".as_bytes());
        assert!(event["headers"].as_object_mut().unwrap().remove("x-amzn-trace-id").is_some());
        let expected = json!({
            "version": "2.0",
            "routeKey": "ANY /v1/{proxy+}",
            "rawPath": "/v1/links",
            "rawQueryString": "a=1&b=x%20y&a=2&c",
            "cookies": ["one=1", "two=2", "three=3"],
            "headers": {
                "content-type": "application/json", "x-twice": "a,b", "host": "evil.test", "user-agent": "tests",
                "x-forwarded-for": "127.0.0.1", "x-forwarded-port": "4000", "x-forwarded-proto": "http",
            },
            "queryStringParameters": {"a": "1,2", "b": "x y", "c": ""},
            "pathParameters": {"proxy": "links"},
            "requestContext": {
                "accountId": "000000000000", "apiId": "local", "domainName": "127.0.0.1:4000", "domainPrefix": "127",
                "http": {"method": "POST", "path": "/v1/links", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "tests"},
                "requestId": "r", "routeKey": "ANY /v1/{proxy+}", "stage": "$default",
                "time": "01/Jan/2026:00:00:00 +0000", "timeEpoch": 1_767_225_600_000_i64,
            },
            "body": "{\"ä\":1}",
            "isBase64Encoded": false,
        });
        assert_eq!(event, expected);
        let read: LambdaRequest = serde_json::from_value(event).unwrap();
        assert!(matches!(read, LambdaRequest::ApiGatewayV2(_)));
    }

    #[test]
    fn binary_bodies_are_base64() {
        let body = |content_type: Option<&str>, body: &[u8]| {
            let mut request = Request::post("/x");
            if let Some(content_type) = content_type {
                request = request.header("content-type", content_type);
            }
            let event = event(request, "/x", body);
            (event["isBase64Encoded"].as_bool().unwrap(), event["body"].as_str().map(str::to_owned))
        };
        let plain = (false, Some("a=b".to_owned()));
        let encoded = (true, Some("YT1i".to_owned()));
        for content_type in [
            "text/plain",
            "application/json; charset=utf-8",
            "Application/JSON",
            "application/problem+json",
        ] {
            assert_eq!(body(Some(content_type), b"a=b"), plain, "{content_type}");
        }
        for content_type in
            [None, Some("application/x-www-form-urlencoded"), Some("application/octet-stream")]
        {
            assert_eq!(body(content_type, b"a=b"), encoded, "{content_type:?}");
        }
        assert_eq!(body(Some("application/json"), b"\xff"), (true, Some("/w==".to_owned())));
        assert_eq!(body(Some("application/json"), b""), (false, None));
    }
}
