//! Serves the HTTP API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use lambda_http::{Context, LambdaEvent};
use percent_encoding::percent_decode_str;
use reelay_runtime::environment::Clock;
use reelay_runtime::random;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::dev::{self, DevApi};
use super::event::{self, RequestContext};
use super::in_flight::{Call, InFlight};
use super::reply;
use super::routes::Routes;
use crate::functions::HttpHandler;

/// API Gateway's limit for a request body, in bytes.
const MAX_BODY: usize = 10 * 1024 * 1024;
/// Bytes that are read and discarded beyond the limit, so that the client receives the response instead of a reset.
const MAX_READ: usize = 8 * MAX_BODY;
/// Lambda's limit for an event, in bytes. API Gateway responds as to a body that is too large.
const MAX_EVENT: usize = 6 * 1024 * 1024;
/// Time that API Gateway waits for a function.
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The function of a route.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) function: String,
    pub(crate) timeout: Duration,
    pub(crate) handler: HttpHandler,
}

/// Routes and settings of the API.
pub(crate) struct HttpApi {
    pub(crate) routes: Routes<Target>,
    /// Host and port of the listener.
    pub(crate) domain: String,
    pub(crate) clock: Clock,
    pub(crate) in_flight: InFlight,
    pub(crate) dev: DevApi,
}

/// Serves the API until `stop` is true.
pub(crate) fn serve(
    listener: TcpListener,
    api: HttpApi,
    mut stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let app = Router::new().fallback(respond).with_state(Arc::new(api));
    let serving = axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>());
    let serving = serving.with_graceful_shutdown(async move {
        // An error means that the stack was dropped, which also ends the server.
        stop.wait_for(|stop| *stop).await.ok();
    });
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "HTTP API server failed");
        }
    })
}

async fn respond(
    State(api): State<Arc<HttpApi>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    if dev::is_dev(request.uri().path()) {
        return dev::respond(&api.dev, request).await;
    }
    let [high, low]: [u64; 2] = [random::bytes(), random::bytes()].map(u64::from_be_bytes);
    let request_id = format!("{high:016x}{low:016x}");
    let mut response = api.respond(peer, request, &request_id).await;
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(HeaderName::from_static("apigw-requestid"), id);
    }
    response
}

impl HttpApi {
    async fn respond(
        self: &Arc<Self>,
        peer: SocketAddr,
        request: Request,
        request_id: &str,
    ) -> Response {
        let (parts, body) = request.into_parts();
        let Ok(path) = percent_decode_str(parts.uri.path()).decode_utf8().map(String::from) else {
            return reply::message(StatusCode::BAD_REQUEST, "Bad Request");
        };
        let body = match read(body).await {
            Ok(body) => body,
            Err(error) => return error.into_response(),
        };
        let Some(matched) = self.routes.find(parts.method.as_str(), &path) else {
            return reply::message(StatusCode::NOT_FOUND, "Not Found");
        };
        let context =
            RequestContext { domain: &self.domain, peer, now: self.clock.now(), request_id };
        let event = event::build(&parts, &path, &body, matched.key, &matched.parameters, &context);
        let text = event.to_string();
        if text.len() > MAX_EVENT {
            return BodyError::TooLarge.into_response();
        }
        let call = self.in_flight.begin();
        invoke(matched.target.clone(), &text, INTEGRATION_TIMEOUT, call).await
    }
}

async fn invoke(
    target: Target,
    event: &str,
    integration_timeout: Duration,
    call: Call,
) -> Response {
    let payload = match serde_json::from_str(event) {
        Ok(payload) => payload,
        Err(error) => {
            tracing::error!(%error, "event not deserialized");
            return reply::internal_error();
        }
    };
    let Target { function, timeout, handler } = target;
    // In a separate task: a function continues when its caller disconnects, as on AWS.
    let limit = timeout.min(integration_timeout);
    let mut context = Context::default();
    context.deadline = epoch_milliseconds(SystemTime::now() + timeout);
    let running = tokio::spawn(async move {
        let _call = call;
        tokio::time::timeout(limit, handler(LambdaEvent::new(payload, context))).await
    });
    match running.await {
        Ok(Ok(Some(result))) => reply::from_result(&result),
        Ok(Ok(None)) => {
            tracing::error!(function, "function returned no JSON");
            reply::internal_error()
        }
        Ok(Err(_)) if timeout < integration_timeout => {
            tracing::error!(function, seconds = timeout.as_secs(), "function timed out");
            reply::internal_error()
        }
        Ok(Err(_)) => {
            tracing::error!(function, "function exceeded the integration timeout");
            reply::message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
        }
        Err(error) => {
            tracing::error!(function, %error, "function panicked");
            reply::internal_error()
        }
    }
}

fn epoch_milliseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

enum BodyError {
    TooLarge,
    Incomplete,
}

impl axum::response::IntoResponse for BodyError {
    fn into_response(self) -> Response {
        match self {
            Self::TooLarge => {
                reply::message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large")
            }
            Self::Incomplete => reply::message(StatusCode::BAD_REQUEST, "Bad Request"),
        }
    }
}

async fn read(mut body: Body) -> Result<Bytes, BodyError> {
    let (mut kept, mut seen) = (BytesMut::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Incomplete)?.into_data() else {
            continue;
        };
        seen += data.len();
        if seen > MAX_READ {
            return Err(BodyError::TooLarge);
        }
        if seen <= MAX_BODY {
            kept.extend_from_slice(&data);
        }
    }
    if seen > MAX_BODY { Err(BodyError::TooLarge) } else { Ok(kept.freeze()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EVENT: &str = r#"{"version": "2.0", "routeKey": "$default", "rawPath": "/", "headers": {}, "isBase64Encoded": false,
        "requestContext": {"http": {"method": "GET", "path": "/"}}}"#;

    async fn status(timeout: Duration, integration_timeout: Duration, handler: HttpHandler) -> u16 {
        let target = Target { function: "f".into(), timeout, handler };
        let call = InFlight::default().begin();
        let response = invoke(target, EVENT, integration_timeout, call).await;
        response.status().as_u16()
    }

    #[tokio::test]
    async fn failed_invocation_gets_the_gateways_response() {
        let (now, hour) = (Duration::ZERO, Duration::from_secs(3600));
        let responds: HttpHandler =
            Arc::new(|_| Box::pin(async { Some(json!({"statusCode": 204})) }));
        let hangs: HttpHandler = Arc::new(|_| Box::pin(std::future::pending()));
        let returns_nothing: HttpHandler = Arc::new(|_| Box::pin(async { None }));
        let panics: HttpHandler = Arc::new(|_| Box::pin(async { panic!("on purpose") }));
        for (timeout, integration_timeout, handler, expected) in [
            (hour, hour, &responds, 204),
            (now, hour, &hangs, 500),
            (hour, now, &hangs, 503),
            (hour, hour, &returns_nothing, 500),
            (hour, hour, &panics, 500),
        ] {
            let status = status(timeout, integration_timeout, handler.clone()).await;
            assert_eq!(status, expected);
        }
    }
}
