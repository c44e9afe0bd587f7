//! Lambda's Runtime API for one instance, with the time of each request and response. Source: "Using the Lambda
//! runtime API for custom runtimes".

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

/// Time from an event to the deadline that the function is given.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(30);

/// A step of an instance.
#[derive(Debug)]
pub(crate) enum Step {
    NextRequested(Instant),
    EventSent(Instant),
    ResponseReceived(Instant, Bytes),
    ErrorReceived(Bytes),
}

#[derive(Debug)]
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    events: mpsc::UnboundedSender<String>,
    pub(super) steps: mpsc::UnboundedReceiver<Step>,
    server: JoinHandle<()>,
}

struct ApiState {
    events: Mutex<mpsc::UnboundedReceiver<String>>,
    steps: mpsc::UnboundedSender<Step>,
}

impl RuntimeApi {
    /// Listens on a free port until it is dropped.
    pub(crate) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (events, received_events) = mpsc::unbounded_channel();
        let (sent_steps, steps) = mpsc::unbounded_channel();
        let state = ApiState { events: Mutex::new(received_events), steps: sent_steps };
        let routes = Router::new()
            .route("/invocation/next", get(next))
            .route("/invocation/{id}/response", post(response))
            .route("/invocation/{id}/error", post(error))
            .route("/init/error", post(error))
            .with_state(Arc::new(state))
            .layer(DefaultBodyLimit::disable());
        let api = Router::new().nest("/2018-06-01/runtime", routes);
        let server = tokio::spawn(async move {
            // Without a server the instance's step timeout ends the benchmark.
            let _ = axum::serve(listener, api).await;
        });
        Ok(Self { address, events, steps, server })
    }

    /// Value of `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Sends an event with the response to the next `GET /next`.
    pub(crate) fn send(&self, event: String) {
        // The receiver belongs to the server, which this value keeps running.
        let _ = self.events.send(event);
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn next(State(state): State<Arc<ApiState>>) -> Response {
    let _ = state.steps.send(Step::NextRequested(Instant::now()));
    let Some(event) = state.events.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = SystemTime::now() + FUNCTION_TIMEOUT;
    let deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let headers = [
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:000000000000:function:bench".to_owned(),
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0".to_owned(),
        ),
        ("content-type", "application/json".to_owned()),
    ];
    let _ = state.steps.send(Step::EventSent(Instant::now()));
    (headers, event).into_response()
}

async fn response(State(state): State<Arc<ApiState>>, body: Bytes) -> StatusCode {
    let _ = state.steps.send(Step::ResponseReceived(Instant::now(), body));
    StatusCode::ACCEPTED
}

async fn error(State(state): State<Arc<ApiState>>, body: Bytes) -> StatusCode {
    let _ = state.steps.send(Step::ErrorReceived(body));
    StatusCode::ACCEPTED
}
