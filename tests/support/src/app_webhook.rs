//! The app's webhook, with responses that a test decides.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{HeaderMap, Response};
use reelay_zoom_sim::Recording;
use serde_json::Value;

use crate::TestServer;

/// A delivery that the app's webhook received.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`.
    pub timestamp: i64,
    /// `webhook-signature`.
    pub signature: String,
    /// Body.
    pub body: String,
    /// Status of the response.
    pub status: u16,
}

impl Received {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Status, and a header if there is one.
type CannedResponse = (u16, Option<(&'static str, String)>);

/// An app's webhook that responds with 204 unless a test queued another response. Unlike the demo app it
/// accepts timestamps of an advanced clock.
#[derive(Debug)]
pub struct AppWebhook {
    /// For `AppWebhookUrl`.
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
    responses: Arc<Mutex<VecDeque<CannedResponse>>>,
    /// Status of responses that are not queued.
    status: Arc<AtomicU16>,
}

impl AppWebhook {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let responses: Arc<Mutex<VecDeque<CannedResponse>>> = Arc::default();
        let status = Arc::new(AtomicU16::new(204));
        let (log, queued, usual) =
            (Arc::clone(&received), Arc::clone(&responses), Arc::clone(&status));
        let server = TestServer::start(Ipv4Addr::LOCALHOST, move |headers, body| {
            let header = |name| HeaderMap::get(&headers, name).unwrap().to_str().unwrap();
            let (status, response_header) = queued
                .lock()
                .unwrap()
                .pop_front()
                .unwrap_or_else(|| (usual.load(Ordering::SeqCst), None));
            log.lock().unwrap().push(Received {
                id: header("webhook-id").to_owned(),
                timestamp: header("webhook-timestamp").parse().unwrap(),
                signature: header("webhook-signature").to_owned(),
                body: String::from_utf8(body.to_vec()).unwrap(),
                status,
            });
            let mut response = Response::builder().status(status);
            if let Some((name, value)) = response_header {
                response = response.header(name, value);
            }
            response.body(Body::empty()).unwrap()
        });
        let url = format!("http://{}/hook", server.await.address);
        Self { url, received, responses, status }
    }

    /// Sets the status of all responses that are not queued.
    pub fn respond_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Queues the statuses of the next responses.
    pub fn respond_next(&self, statuses: impl IntoIterator<Item = u16>) {
        let responses = statuses.into_iter().map(|status| (status, None));
        self.responses.lock().unwrap().extend(responses);
    }

    /// Queues a redirect.
    pub fn redirect_next(&self, status: u16, location: &str) {
        let response = (status, Some(("location", location.to_owned())));
        self.responses.lock().unwrap().push_back(response);
    }

    /// Queues a response with `Retry-After`.
    pub fn retry_after_next(&self, status: u16, retry_after: &str) {
        let response = (status, Some(("retry-after", retry_after.to_owned())));
        self.responses.lock().unwrap().push_back(response);
    }

    /// Accepts from now on.
    pub fn recover(&self) {
        self.responses.lock().unwrap().clear();
    }

    /// The types of all deliveries so far, rejected ones too.
    pub fn types(&self) -> Vec<String> {
        let kind = |received: &Received| received.json()["type"].as_str().unwrap().to_owned();
        self.received().iter().map(kind).collect()
    }

    /// All deliveries so far, rejected ones too.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Distinct notifications about a recording, counted by type.
    pub fn counts(&self, recording: &Recording) -> BTreeMap<String, usize> {
        let (mut counts, mut seen) = (BTreeMap::new(), BTreeSet::new());
        for received in self.received() {
            let body = received.json();
            if body["data"]["recording"]["meeting_uuid"] == recording.uuid
                && seen.insert(received.id)
            {
                let kind = body["type"].as_str().unwrap();
                *counts.entry(kind.to_owned()).or_default() += 1;
            }
        }
        counts
    }
}
