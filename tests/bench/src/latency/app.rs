//! The app's webhook: verifies each notification and records when it arrived.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use standardwebhooks::{
    HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook,
};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::error::BenchError;

/// Notifications about each recording with one file.
pub(super) const TYPES: [&str; 3] =
    ["recording.detected", "recording.file_stored", "recording.stored"];

/// What the app has received so far.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Ids of all notifications, to find repeated deliveries.
    ids: HashSet<String>,
    /// First arrival of each of [`TYPES`] by meeting UUID.
    arrivals: HashMap<String, [Option<Instant>; TYPES.len()]>,
    /// Number of arrivals.
    pub(super) arrived: usize,
    /// Number of deliveries whose id was known.
    pub(super) repeated: usize,
    /// Number of requests without a valid signature.
    pub(super) rejected: usize,
}

impl Inbox {
    /// When the first notification of each of [`TYPES`] about a meeting arrived.
    pub(super) fn arrivals(&self, meeting_uuid: &str) -> [Option<Instant>; TYPES.len()] {
        self.arrivals.get(meeting_uuid).copied().unwrap_or_default()
    }

    fn add(&mut self, id: &str, kind: &str, meeting_uuid: &str, at: Instant) {
        if !self.ids.insert(id.to_owned()) {
            self.repeated += 1;
        } else if let Some(index) = TYPES.iter().position(|it| *it == kind) {
            let arrival = &mut self.arrivals.entry(meeting_uuid.to_owned()).or_default()[index];
            self.arrived += usize::from(arrival.is_none());
            arrival.get_or_insert(at);
        }
    }
}

struct App {
    webhook: Webhook,
    inbox: watch::Sender<Inbox>,
}

/// Serves the webhook; the receiver sees each notification.
pub(super) fn serve(
    listener: TcpListener,
    secret: &str,
) -> Result<watch::Receiver<Inbox>, BenchError> {
    let webhook = Webhook::new(secret).map_err(|error| BenchError::client("the app", error))?;
    let (inbox, received) = watch::channel(Inbox::default());
    let app = Arc::new(App { webhook, inbox });
    let router = Router::new().route("/", post(receive)).with_state(app);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(received)
}

async fn receive(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let at = Instant::now();
    let header = |name| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let id = header(HEADER_WEBHOOK_ID);
    // `Webhook::verify` would compare the time of signing with the system's clock, which is not the devstack's.
    let sent = header(HEADER_WEBHOOK_TIMESTAMP).parse().unwrap_or_default();
    let is_valid = app.webhook.sign(id, sent, &body).is_ok_and(|expected| {
        header(HEADER_WEBHOOK_SIGNATURE).split(' ').any(|found| found == expected)
    });
    let notification: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |pointer| notification.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (kind, uuid) = (text("/type"), text("/data/recording/meeting_uuid"));
    app.inbox.send_modify(|inbox| match is_valid {
        true => inbox.add(id, kind, uuid, at),
        false => inbox.rejected += 1,
    });
    if is_valid { StatusCode::NO_CONTENT } else { StatusCode::UNAUTHORIZED }
}
