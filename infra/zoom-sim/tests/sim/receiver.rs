//! An app's endpoint: keeps what arrives and answers as told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use reelay_zoom_sim::{Simulator, hmac_hex, sign};
use serde_json::{Value, json};

use crate::SECRET;

#[derive(Clone)]
pub(crate) struct Arrived {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Clone, Default)]
pub(crate) struct Receiver {
    arrived: Arc<Mutex<Vec<Arrived>>>,
    /// Statuses of the next answers; then 200.
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Receiver {
    /// Listens, and is made the target of both kinds of events.
    pub(crate) async fn of(sim: &Simulator) -> Self {
        let receiver = Self::default();
        let app = Router::new().fallback(handle).with_state(receiver.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("port");
        let address: SocketAddr = listener.local_addr().expect("address");
        tokio::spawn(async move { axum::serve(listener, app).await });
        sim.control()
            .set_webhook_url(format!("http://{address}/zoom/webhook"));
        sim.control()
            .set_deauthorize_url(format!("http://{address}/zoom/deauthorize"));
        receiver
    }

    pub(crate) fn answer_with(&self, statuses: &[u16]) {
        self.answers.lock().expect("lock").extend(statuses);
    }

    pub(crate) fn all(&self) -> Vec<Arrived> {
        self.arrived.lock().expect("lock").clone()
    }

    pub(crate) fn last(&self) -> Arrived {
        self.all().pop().expect("something arrived")
    }
}

impl Arrived {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("UTF-8")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    pub(crate) fn is_signed(&self) -> bool {
        self.header("x-zm-signature")
            == sign(SECRET, self.header("x-zm-request-timestamp"), &self.body)
    }
}

async fn handle(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    let arrived = Arrived { headers, body };
    let json = arrived.json();
    receiver.arrived.lock().expect("lock").push(arrived);
    let status = receiver
        .answers
        .lock()
        .expect("lock")
        .pop_front()
        .unwrap_or(200);
    if json["event"] == "endpoint.url_validation" && status == 200 {
        let plain = json["payload"]["plainToken"].as_str().expect("token");
        return axum::Json(
            json!({ "plainToken": plain, "encryptedToken": hmac_hex(SECRET, &[plain.as_bytes()]) }),
        )
        .into_response();
    }
    StatusCode::from_u16(status)
        .expect("status")
        .into_response()
}
