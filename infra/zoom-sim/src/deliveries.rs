//! The log of event deliveries.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

use crate::sync::lock;

/// Number of responses that are awaited at the same time. Zoom's number is unknown.
const CONCURRENCY: usize = 128;

/// An endpoint of the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// `webhook_url`
    #[default]
    Webhook,
    /// `deauthorize_url`
    Deauthorize,
}

/// State of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// In flight, or waiting for a retry.
    Pending,
    /// The response was 200 or 204, or any 2xx to a retry.
    Delivered,
    /// The response is never retried, or no retry is left.
    Failed,
    /// Not sent, because webhooks are disabled or there is no URL.
    Dropped,
}

/// An attempt to deliver an event.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// Number of the attempt, from 1.
    pub number: u32,
    /// Time of the request.
    pub at: Timestamp,
    /// Status of the response.
    pub status: Option<u16>,
    /// Reason why there is no response.
    pub error: Option<String>,
    /// Milliseconds until the head of the response, in real time.
    pub latency_ms: u64,
    /// Time of the next attempt.
    pub retry_at: Option<Timestamp>,
}

/// An event to deliver.
#[derive(Debug, Clone, Serialize)]
pub struct Delivery {
    /// Number of the delivery.
    pub id: u64,
    /// Name of the event.
    pub event: String,
    /// The endpoint.
    pub target: Target,
    /// `x-zm-request-id`: the same for every attempt.
    pub request_id: String,
    /// The raw body.
    pub body: String,
    /// State.
    pub state: DeliveryState,
    /// Attempts so far.
    pub attempts: Vec<Attempt>,
}

/// Result of a URL validation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Validation {
    /// Whether Zoom would accept the URL.
    pub ok: bool,
    /// Status of the response.
    pub status: Option<u16>,
    /// Reason why Zoom would not accept it.
    pub reason: Option<String>,
}

/// Result of one attempt.
pub(crate) struct Outcome {
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) latency: Duration,
}

#[derive(Default)]
struct List {
    by_id: BTreeMap<u64, Delivery>,
    /// Number of deliveries ever added, forgotten ones included: the last id.
    added: u64,
}

pub(crate) struct Deliveries {
    list: Mutex<List>,
    version: watch::Sender<u64>,
    pub(crate) slots: Semaphore,
}

impl Deliveries {
    pub(crate) fn new() -> Self {
        Self {
            list: Mutex::default(),
            version: watch::Sender::new(0),
            slots: Semaphore::new(CONCURRENCY),
        }
    }

    pub(crate) fn list(&self) -> Vec<Delivery> {
        lock(&self.list).by_id.values().cloned().collect()
    }

    /// The newest `count` deliveries, newest first.
    pub(crate) fn recent(&self, count: usize) -> Vec<Delivery> {
        lock(&self.list).by_id.values().rev().take(count).cloned().collect()
    }

    pub(crate) fn get(&self, id: u64) -> Option<Delivery> {
        lock(&self.list).by_id.get(&id).cloned()
    }

    /// Whether `holds` is true of every delivery.
    pub(crate) fn all(&self, holds: impl Fn(&Delivery) -> bool) -> bool {
        lock(&self.list).by_id.values().all(holds)
    }

    /// The time of the first retry that waits.
    pub(crate) fn next_retry_at(&self) -> Option<Timestamp> {
        lock(&self.list).by_id.values().filter_map(Delivery::waits_until).min()
    }

    /// Waits until `is_done` holds for all deliveries.
    pub(crate) async fn wait_for_all(&self, is_done: impl Fn(&Delivery) -> bool) {
        let mut changes = self.version.subscribe();
        while !self.all(&is_done) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn add(&self, new: impl FnOnce(u64) -> Delivery) -> u64 {
        let mut list = lock(&self.list);
        list.added += 1;
        let id = list.added;
        list.by_id.insert(id, new(id));
        drop(list);
        self.version.send_modify(|version| *version += 1);
        id
    }

    pub(crate) fn change(&self, id: u64, change: impl FnOnce(&mut Delivery)) {
        lock(&self.list).by_id.get_mut(&id).map(change);
        self.version.send_modify(|version| *version += 1);
    }

    /// Removes the settled deliveries.
    pub(crate) fn forget_settled(&self) {
        lock(&self.list).by_id.retain(|_, delivery| !delivery.is_settled());
    }
}

impl Delivery {
    /// Returns whether no attempt is in flight and no retry is left.
    pub(crate) fn is_settled(&self) -> bool {
        self.state != DeliveryState::Pending
    }

    /// The time of the retry that this delivery waits for.
    pub(crate) fn waits_until(&self) -> Option<Timestamp> {
        let attempt = self.attempts.last().filter(|_| !self.is_settled())?;
        attempt.retry_at
    }

    /// Returns whether no attempt is in flight, and none is due at this time.
    pub(crate) fn is_idle_at(&self, now: Timestamp) -> bool {
        self.is_settled() || self.waits_until().is_some_and(|retry_at| retry_at > now)
    }

    /// Records the result of the last attempt.
    pub(crate) fn record(&mut self, outcome: &Outcome, retry_at: Option<Timestamp>) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.status = outcome.status;
            attempt.error.clone_from(&outcome.error);
            attempt.latency_ms = u64::try_from(outcome.latency.as_millis()).unwrap_or(u64::MAX);
            attempt.retry_at = retry_at;
        }
    }
}
