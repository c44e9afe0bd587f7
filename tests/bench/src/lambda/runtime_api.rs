//! Lambda's Runtime API, as an instance of a function meets it ("Using the Lambda runtime API for custom
//! runtimes"), with the moments at which it was asked and answered.

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

/// How long an invocation may take, for the deadline that the function is told.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What a function did.
#[derive(Debug)]
pub(crate) enum Did {
    /// It asked for an event.
    Asked(Instant),
    /// An event was handed to it.
    Began(Instant),
    /// It gave an answer.
    Answered(Instant, Bytes),
    /// It said that it failed.
    Failed(Bytes),
}

/// A Runtime API for one instance.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    events: mpsc::UnboundedSender<String>,
    pub(super) did: mpsc::UnboundedReceiver<Did>,
    server: JoinHandle<()>,
}

struct Sides {
    events: Mutex<mpsc::UnboundedReceiver<String>>,
    did: mpsc::UnboundedSender<Did>,
}

impl RuntimeApi {
    /// Listens on a port of its own.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (events, to_give) = mpsc::unbounded_channel();
        let (did, told) = mpsc::unbounded_channel();
        let sides = Sides { events: Mutex::new(to_give), did };
        let routes = Router::new()
            .route("/invocation/next", get(next))
            .route("/invocation/{id}/response", post(answered))
            .route("/invocation/{id}/error", post(failed))
            .route("/init/error", post(failed))
            .with_state(Arc::new(sides))
            .layer(DefaultBodyLimit::disable());
        let api = Router::new().nest("/2018-06-01/runtime", routes);
        let server = tokio::spawn(async move {
            // It serves until it is aborted; an accept that fails ends the benchmark by its time limit.
            let _ = axum::serve(listener, api).await;
        });
        Ok(Self { address, events, did: told, server })
    }

    /// `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Gives an event to the function when it asks.
    pub(crate) fn give(&self, event: String) {
        // The receiver lives as long as the server, and so as long as this.
        let _ = self.events.send(event);
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn next(State(sides): State<Arc<Sides>>) -> Response {
    let _ = sides.did.send(Did::Asked(Instant::now()));
    let Some(event) = sides.events.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = SystemTime::now() + TIMEOUT;
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
    let _ = sides.did.send(Did::Began(Instant::now()));
    (headers, event).into_response()
}

async fn answered(State(sides): State<Arc<Sides>>, answer: Bytes) -> StatusCode {
    let _ = sides.did.send(Did::Answered(Instant::now(), answer));
    StatusCode::ACCEPTED
}

async fn failed(State(sides): State<Arc<Sides>>, error: Bytes) -> StatusCode {
    let _ = sides.did.send(Did::Failed(error));
    StatusCode::ACCEPTED
}
