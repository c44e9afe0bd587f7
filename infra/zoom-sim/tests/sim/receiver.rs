//! The app's endpoint: keeps what arrives, and responds as configured.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use reelay_zoom_sim::{Simulator, hmac_hex, sign};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::SECRET;

#[derive(Clone)]
pub(crate) struct Event {
    headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Clone, Default)]
pub(crate) struct Receiver {
    events: Arc<Mutex<Vec<Event>>>,
    /// Statuses of the next responses; then 200.
    statuses: Arc<Mutex<VecDeque<u16>>>,
}

impl Receiver {
    /// Listens, and becomes the target of all events of `sim`.
    pub(crate) async fn of(sim: &Simulator) -> Self {
        let receiver = Self::default();
        let app = Router::new().fallback(handle).with_state(receiver.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let control = sim.control();
        control.change_settings(|config| {
            config.webhook_url = Some(format!("{url}/zoom/webhook"));
            config.deauthorize_url = Some(format!("{url}/zoom/deauthorize"));
        });
        receiver
    }

    pub(crate) fn respond_with(&self, statuses: &[u16]) {
        self.statuses.lock().expect("lock").extend(statuses);
    }

    pub(crate) fn all(&self) -> Vec<Event> {
        self.events.lock().expect("lock").clone()
    }

    pub(crate) fn last(&self) -> Event {
        self.all().pop().expect("an event")
    }
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }

    pub(crate) fn is_signed(&self) -> bool {
        let timestamp = self.header("x-zm-request-timestamp");
        self.header("x-zm-signature") == sign(SECRET, timestamp, &self.body)
    }

    /// Asserts that `keys` (separated by spaces) occur in the body in this order.
    pub(crate) fn assert_key_order(&self, keys: &str) {
        let body = std::str::from_utf8(&self.body).expect("UTF-8");
        let mut rest = body;
        for key in keys.split_whitespace() {
            let found = rest.split_once(&format!("\"{key}\":"));
            rest = found.unwrap_or_else(|| panic!("{key} in {body}")).1;
        }
    }
}

async fn handle(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    let event = Event { headers, body };
    let body = event.json();
    receiver.events.lock().expect("lock").push(event);
    let status = receiver.statuses.lock().expect("lock").pop_front();
    if body["event"] == "endpoint.url_validation" && status.is_none() {
        let plain = body["payload"]["plainToken"].as_str().expect("token");
        let encrypted = hmac_hex(SECRET, &[plain.as_bytes()]);
        let response = json!({ "plainToken": plain, "encryptedToken": encrypted });
        return axum::Json(response).into_response();
    }
    let status = StatusCode::from_u16(status.unwrap_or(200));
    status.expect("status").into_response()
}
