//! Log of received requests, so that a test can assert "exactly one refresh" or "nothing was sent".

use std::collections::VecDeque;
use std::sync::Mutex;

use axum::extract::Request;
use axum::http::{HeaderName, header};
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;

use crate::sync::lock;

const MAX_ENTRIES: usize = 20_000;

/// A request from the system under test, without its query, body and token.
#[derive(Debug, Clone, Serialize)]
pub struct ReceivedRequest {
    /// Number of the request, from 1.
    pub id: u64,
    /// Time of receipt.
    pub at: Timestamp,
    /// Method.
    pub method: String,
    /// `Host`.
    pub host: String,
    /// Path without query.
    pub path: String,
    /// Scheme of `Authorization` (`Bearer`, `Basic`).
    pub authorization: Option<String>,
    /// `Range`.
    pub range: Option<String>,
    /// For token requests: `exchange` or `refresh`; for downloads: the file's id.
    pub detail: Option<String>,
    /// Status of the response; `None` while it is pending or if the connection was closed instead.
    pub status: Option<u16>,
}

/// Extension of a response that sets `detail`.
#[derive(Debug, Clone)]
pub(crate) struct Detail(pub(crate) String);

/// Extension of a response that is never sent, because the connection is closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotSent;

#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    entries: Mutex<(u64, VecDeque<ReceivedRequest>)>,
}

impl RequestLog {
    pub(crate) fn list(&self) -> Vec<ReceivedRequest> {
        lock(&self.entries).1.iter().cloned().collect()
    }

    /// The newest `count` requests, newest first.
    pub(crate) fn recent(&self, count: usize) -> Vec<ReceivedRequest> {
        let entries = lock(&self.entries);
        entries.1.iter().rev().take(count).cloned().collect()
    }

    pub(crate) fn clear(&self) {
        lock(&self.entries).1.clear();
    }

    /// Adds a request and returns its number.
    pub(crate) fn add(&self, request: &Request, at: Timestamp) -> u64 {
        let text = |name: HeaderName| {
            let value = request.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let scheme = |value: String| value.split(' ').next().unwrap_or_default().to_owned();
        let mut entries = lock(&self.entries);
        entries.0 += 1;
        let id = entries.0;
        entries.1.push_back(ReceivedRequest {
            id,
            at,
            method: request.method().to_string(),
            host: text(header::HOST).unwrap_or_default(),
            path: request.uri().path().to_owned(),
            authorization: text(header::AUTHORIZATION).map(scheme),
            range: text(header::RANGE),
            detail: None,
            status: None,
        });
        if entries.1.len() > MAX_ENTRIES {
            entries.1.pop_front();
        }
        id
    }

    /// Records the response to request `id`.
    pub(crate) fn complete(&self, id: u64, response: &Response) {
        let mut entries = lock(&self.entries);
        let Some(entry) = entries.1.iter_mut().rev().find(|entry| entry.id == id) else {
            return;
        };
        let extensions = response.extensions();
        entry.detail = extensions.get().map(|Detail(text)| text.clone());
        if extensions.get::<NotSent>().is_none() {
            entry.status = Some(response.status().as_u16());
        }
    }
}
