//! An API Gateway HTTP API look-alike: real events in, real answers out, and its limits and own answers
//! where a function can't say anything.

mod event;
mod reply;
mod routes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use http::header::{CACHE_CONTROL, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;
use lambda_http::{Context, LambdaEvent};
use percent_encoding::percent_decode_str;
use reelay_runtime::environment::Clock;
use reelay_runtime::random;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::event::Surroundings;
pub(crate) use self::routes::Routes;
use crate::config::DevConfig;
use crate::functions::HttpHandler;

/// API Gateway takes no more in one request.
const LARGEST_BODY: usize = 10 * 1024 * 1024;
/// What is beyond the limit is still read up to here, so that the client sees the answer and no reset.
const LARGEST_READ: usize = 8 * LARGEST_BODY;
/// Lambda takes no more in one event, and API Gateway answers as if the body were too long.
const LARGEST_EVENT: usize = 6 * 1024 * 1024;
/// API Gateway waits no longer for a function.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A function behind a route.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) function: String,
    pub(crate) timeout: Duration,
    pub(crate) handler: HttpHandler,
}

/// The API.
pub(crate) struct HttpApi {
    pub(crate) routes: Routes<Target>,
    /// Host and port it listens on.
    pub(crate) domain: String,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<DevConfig>,
}

/// Serves the API until `stop` becomes true.
pub(crate) fn serve(
    listener: TcpListener,
    api: HttpApi,
    mut stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let app = Router::new().fallback(answer).with_state(Arc::new(api));
    let serving = axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    );
    let serving = serving.with_graceful_shutdown(async move {
        // An error means that the stack is gone, which is the same news.
        stop.wait_for(|stop| *stop).await.ok();
    });
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the HTTP API stopped serving");
        }
    })
}

async fn answer(
    State(api): State<Arc<HttpApi>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    if request.uri().path() == "/_dev/config" && request.method() == Method::GET {
        return dev_config(&api, request.headers());
    }
    let [high, low]: [u64; 2] = [random::bytes(), random::bytes()].map(u64::from_be_bytes);
    let request_id = format!("{high:016x}{low:016x}");
    let mut response = api.answer(peer, request, &request_id).await;
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response
            .headers_mut()
            .insert(HeaderName::from_static("apigw-requestid"), id);
    }
    response
}

impl HttpApi {
    async fn answer(
        self: &Arc<Self>,
        peer: SocketAddr,
        request: Request,
        request_id: &str,
    ) -> Response {
        let (parts, body) = request.into_parts();
        let Ok(path) = percent_decode_str(parts.uri.path())
            .decode_utf8()
            .map(String::from)
        else {
            return reply::message(StatusCode::BAD_REQUEST, "Bad Request");
        };
        let body = match read(body).await {
            Ok(body) => body,
            Err(refusal) => return refusal.into_response(),
        };
        let Some(matched) = self.routes.find(parts.method.as_str(), &path) else {
            return reply::message(StatusCode::NOT_FOUND, "Not Found");
        };
        let around = Surroundings {
            domain: &self.domain,
            peer,
            now: self.clock.now(),
            request_id,
        };
        let event = event::build(
            &parts,
            &path,
            &body,
            matched.key,
            &matched.parameters,
            &around,
        );
        let text = event.to_string();
        if text.len() > LARGEST_EVENT {
            return Refusal::TooLarge.into_response();
        }
        invoke(matched.target.clone(), &text, LONGEST_WAIT).await
    }
}

/// Runs the function until its own timeout, or until `patience` (API Gateway's integration timeout), whichever comes first.
async fn invoke(target: Target, event: &str, patience: Duration) -> Response {
    let payload = match serde_json::from_str(event) {
        Ok(payload) => payload,
        Err(error) => {
            tracing::error!(%error, "the event does not read");
            return reply::internal_error();
        }
    };
    let Target {
        function,
        timeout,
        handler,
    } = target;
    // In a task of its own: on AWS, too, a function goes on when its caller hangs up.
    let limit = timeout.min(patience);
    let running = tokio::spawn(async move {
        tokio::time::timeout(
            limit,
            handler(LambdaEvent::new(payload, Context::default())),
        )
        .await
    });
    match running.await {
        Ok(Ok(Some(answer))) => reply::of(&answer),
        Ok(Ok(None)) => {
            tracing::error!(function, "the function's answer is no JSON");
            reply::internal_error()
        }
        // Lambda ends the function before API Gateway loses patience, or the other way round.
        Ok(Err(_)) if timeout < patience => {
            tracing::error!(
                function,
                seconds = timeout.as_secs(),
                "the function took too long"
            );
            reply::internal_error()
        }
        Ok(Err(_)) => {
            tracing::error!(function, "the function took longer than API Gateway waits");
            reply::message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
        }
        Err(error) => {
            tracing::error!(function, %error, "the function crashed");
            reply::internal_error()
        }
    }
}

enum Refusal {
    TooLarge,
    CutOff,
}

impl axum::response::IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::TooLarge => {
                reply::message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large")
            }
            Self::CutOff => reply::message(StatusCode::BAD_REQUEST, "Bad Request"),
        }
    }
}

async fn read(mut body: Body) -> Result<Bytes, Refusal> {
    let (mut kept, mut seen) = (BytesMut::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::CutOff)?.into_data() else {
            continue;
        };
        seen += data.len();
        if seen > LARGEST_READ {
            return Err(Refusal::TooLarge);
        }
        if seen <= LARGEST_BODY {
            kept.extend_from_slice(&data);
        }
    }
    if seen > LARGEST_BODY {
        Err(Refusal::TooLarge)
    } else {
        Ok(kept.freeze())
    }
}

/// Secrets and endpoints, for tests and tools on this machine. Whoever lures a browser to a name of
/// theirs that resolves to this machine is refused.
fn dev_config(api: &HttpApi, headers: &HeaderMap) -> Response {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if !matches!(name, "127.0.0.1" | "localhost" | "[::1]") {
        return reply::message(
            StatusCode::MISDIRECTED_REQUEST,
            "this is for 127.0.0.1 and localhost only",
        );
    }
    let mut response = axum::Json(&*api.config).into_response();
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EVENT: &str = r#"{"version": "2.0", "routeKey": "$default", "rawPath": "/", "headers": {}, "isBase64Encoded": false,
        "requestContext": {"http": {"method": "GET", "path": "/"}}}"#;

    async fn status(timeout: Duration, patience: Duration, handler: HttpHandler) -> u16 {
        let target = Target {
            function: "f".into(),
            timeout,
            handler,
        };
        invoke(target, EVENT, patience).await.status().as_u16()
    }

    #[tokio::test]
    async fn failed_invocations_get_the_gateways_own_responses() {
        let (now, hour) = (Duration::ZERO, Duration::from_secs(3600));
        let answers: HttpHandler =
            Arc::new(|_| Box::pin(async { Some(json!({"statusCode": 204})) }));
        let hangs: HttpHandler = Arc::new(|_| Box::pin(std::future::pending()));
        let no_json: HttpHandler = Arc::new(|_| Box::pin(async { None }));
        let panics: HttpHandler = Arc::new(|_| Box::pin(async { panic!("on purpose") }));
        for (timeout, patience, handler, expected) in [
            (hour, hour, &answers, 204),
            (now, hour, &hangs, 500),
            (hour, now, &hangs, 503),
            (hour, hour, &no_json, 500),
            (hour, hour, &panics, 500),
        ] {
            assert_eq!(status(timeout, patience, handler.clone()).await, expected);
        }
    }
}
