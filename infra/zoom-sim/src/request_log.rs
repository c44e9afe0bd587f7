//! What was received, so that a test can say "exactly one refresh" or "nothing was sent at all".

use std::collections::VecDeque;
use std::sync::Mutex;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;

use crate::lock;
use crate::sim::Shared;

const KEPT: usize = 20_000;

/// One request from the system under test. Never its query, its body or a token.
#[derive(Debug, Clone, Serialize)]
pub struct ReceivedRequest {
    /// Its number, from 1.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// Method.
    pub method: String,
    /// `Host`.
    pub host: String,
    /// Path without query.
    pub path: String,
    /// The scheme of its `Authorization` (`Bearer`, `Basic`), if it had one.
    pub authorization: Option<String>,
    /// `Range`.
    pub range: Option<String>,
    /// For token calls: `exchange` or `refresh`; for downloads: the file's id.
    pub detail: Option<String>,
    /// The answer's status; missing while under way, or when the connection was closed instead.
    pub status: Option<u16>,
}

/// Set by handlers on their response to fill `detail`.
#[derive(Debug, Clone)]
pub(crate) struct Detail(pub(crate) String);

/// Set on a response that will never be seen, because the connection is closed instead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unseen;

#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    entries: Mutex<(u64, VecDeque<ReceivedRequest>)>,
}

impl RequestLog {
    pub(crate) fn list(&self) -> Vec<ReceivedRequest> {
        lock(&self.entries).1.iter().cloned().collect()
    }

    /// The newest, newest first.
    pub(crate) fn recent(&self, count: usize) -> Vec<ReceivedRequest> {
        lock(&self.entries)
            .1
            .iter()
            .rev()
            .take(count)
            .cloned()
            .collect()
    }

    pub(crate) fn clear(&self) {
        lock(&self.entries).1.clear();
    }

    fn push(&self, make: impl FnOnce(u64) -> ReceivedRequest) -> u64 {
        let mut entries = lock(&self.entries);
        entries.0 += 1;
        let id = entries.0;
        entries.1.push_back(make(id));
        if entries.1.len() > KEPT {
            entries.1.pop_front();
        }
        id
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut ReceivedRequest)) {
        if let Some(entry) = lock(&self.entries)
            .1
            .iter_mut()
            .rev()
            .find(|entry| entry.id == id)
        {
            change(entry);
        }
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Notes a request when it arrives, and its status when it is answered.
pub(crate) async fn record(State(sim): State<Shared>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let id = sim.requests.push(|id| ReceivedRequest {
        id,
        at: sim.clock.now(),
        method: request.method().to_string(),
        host: text(headers, header::HOST).unwrap_or_default(),
        path: request.uri().path().to_owned(),
        authorization: text(headers, header::AUTHORIZATION)
            .map(|value| value.split(' ').next().unwrap_or_default().to_owned()),
        range: text(headers, header::RANGE),
        detail: None,
        status: None,
    });
    let response = next.run(request).await;
    sim.requests.change(id, |entry| {
        entry.detail = response
            .extensions()
            .get::<Detail>()
            .map(|detail| detail.0.clone());
        if response.extensions().get::<Unseen>().is_none() {
            entry.status = Some(response.status().as_u16());
        }
    });
    response
}
