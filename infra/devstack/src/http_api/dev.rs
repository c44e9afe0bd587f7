//! `/_dev`: secrets and endpoints for tools on this machine. Websites in its browsers must not reach them.
//! `/openapi.json`: the description of the API.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, HOST, HeaderName, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::reply;
use crate::clock::{ClockDriver, MAX_ADVANCE_SECONDS};
use crate::config::DevConfig;
use crate::openapi;

/// Whether the path belongs to the devstack itself.
pub(super) fn is_dev(path: &str) -> bool {
    path == "/_dev" || path.starts_with("/_dev/") || path == "/openapi.json"
}

/// A request body of a few bytes is enough.
const MAX_BODY: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdvanceClock {
    advance_seconds: u32,
}

/// The parts of the stack that `/_dev` shows and controls.
pub(crate) struct DevApi {
    pub(crate) config: Arc<DevConfig>,
    pub(crate) clock_driver: Arc<ClockDriver>,
    /// Ports of the pages that may call it.
    pub(crate) own_ports: Vec<u16>,
}

/// Responds to a request below `/_dev`.
pub(super) async fn respond(api: &DevApi, request: Request) -> Response {
    if !is_local_host(request.headers()) {
        let help = "use the host name 127.0.0.1 or localhost";
        return reply::message(StatusCode::MISDIRECTED_REQUEST, help);
    }
    if !is_own_origin(request.headers(), &api.own_ports) {
        return reply::message(StatusCode::FORBIDDEN, "foreign origin");
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/_dev/config") => {
            let no_store = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (no_store, axum::Json(&*api.config)).into_response()
        }
        (&Method::GET, "/openapi.json") => match openapi::document() {
            Ok(document) => axum::Json(document).into_response(),
            Err(error) => {
                tracing::error!(%error, "openapi.yaml not converted");
                reply::internal_error()
            }
        },
        (&Method::POST, "/_dev/clock") => advance_clock(api, request.into_body()).await,
        _ => reply::message(StatusCode::NOT_FOUND, "Not Found"),
    }
}

/// Advances the clock, even if the client disconnects.
async fn advance_clock(api: &DevApi, body: Body) -> Response {
    let body = axum::body::to_bytes(body, MAX_BODY).await.unwrap_or_default();
    let Some(by) = parse(&body) else {
        let help = format!(
            "Send {{\"advance_seconds\": N}}, where N is an integer from 0 to {MAX_ADVANCE_SECONDS}."
        );
        return reply::problem(StatusCode::BAD_REQUEST, "request_invalid", &help);
    };
    let driver = Arc::clone(&api.clock_driver);
    match tokio::spawn(async move { driver.advance(by).await }).await {
        Ok(now) => axum::Json(json!({ "now": format!("{now:.3}") })).into_response(),
        Err(error) => {
            tracing::error!(%error, "clock not advanced");
            reply::internal_error()
        }
    }
}

fn parse(body: &[u8]) -> Option<SignedDuration> {
    let AdvanceClock { advance_seconds } = serde_json::from_slice(body).ok()?;
    let seconds = Some(advance_seconds).filter(|seconds| *seconds <= MAX_ADVANCE_SECONDS)?;
    Some(SignedDuration::from_secs(seconds.into()))
}

/// Whether `Host` names this machine. A website can resolve its own name to it (DNS rebinding), and then the
/// browser lets its scripts read the response.
fn is_local_host(headers: &HeaderMap) -> bool {
    let host = single(headers, HOST).ok().flatten();
    host.and_then(|host| host.parse::<Authority>().ok())
        .is_some_and(|host| is_loopback(host.host()))
}

/// Whether a request that a browser sends for a page comes from one of the devstack's own pages. Any page may
/// send a request with effects, although it cannot read the response.
fn is_own_origin(headers: &HeaderMap, own_ports: &[u16]) -> bool {
    match single(headers, ORIGIN) {
        Ok(None) => true,
        Ok(Some(origin)) => origin.parse::<Url>().is_ok_and(|origin| {
            origin.scheme() == "http"
                && origin.host_str().is_some_and(is_loopback)
                && origin.port_or_known_default().is_some_and(|port| own_ports.contains(&port))
        }),
        Err(Malformed) => false,
    }
}

fn is_loopback(name: &str) -> bool {
    matches!(name, "127.0.0.1" | "[::1]") || name.eq_ignore_ascii_case("localhost")
}

struct Malformed;

fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Malformed> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Malformed),
        (Some(_), Some(_)) => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn clock_advances_by_at_most_thirty_days() {
        let seconds = |body: &str| parse(body.as_bytes()).map(|by| by.as_secs());
        assert_eq!(seconds(r#"{"advance_seconds": 0}"#), Some(0));
        assert_eq!(seconds(r#"{"advance_seconds": 2592000}"#), Some(2_592_000));
        for body in [
            r#"{"advance_seconds": 2592001}"#,
            r#"{"advance_seconds": -1}"#,
            r#"{"advance_seconds": 1.5}"#,
            r#"{"advance_seconds": "1"}"#,
            r#"{"advance_seconds": null}"#,
            r#"{"advance_seconds": 1, "more": 1}"#,
            r#"{"advance_seconds": 1, "advance_seconds": 2}"#,
            "{}",
            "1",
            "",
        ] {
            assert_eq!(seconds(body), None, "{body}");
        }
    }

    #[test]
    fn only_loopback_hosts_are_local() {
        for host in ["127.0.0.1:4000", "localhost:4000", "LOCALHOST", "[::1]:4000"] {
            assert!(is_local_host(&headers(HOST, &[host])), "{host}");
        }
        for hosts in [
            &["evil.test"][..],
            &["evil.test:4000"],
            &["127.0.0.1.evil.test:4000"],
            &["localhost.evil.test"],
            &["127.0.0.1:4000", "evil.test"],
            &["0.0.0.0:4000"],
            &[""],
            &[],
        ] {
            assert!(!is_local_host(&headers(HOST, hosts)), "{hosts:?}");
        }
    }

    #[test]
    fn only_own_pages_are_an_own_origin() {
        let is_own =
            |values: &[&'static str]| is_own_origin(&headers(ORIGIN, values), &[4000, 4001]);
        for origins in [&[][..], &["http://127.0.0.1:4000"], &["http://localhost:4001"]] {
            assert!(is_own(origins), "{origins:?}");
        }
        for origins in [
            &["https://evil.test"][..],
            &["http://evil.test:4000"],
            &["http://localhost.evil.test:4000"],
            &["http://localhost:9"],
            &["http://localhost"],
            &["https://localhost:4000"],
            &["null"],
            &[""],
            &["http://localhost:4000", "http://evil.test"],
        ] {
            assert!(!is_own(origins), "{origins:?}");
        }
    }
}
