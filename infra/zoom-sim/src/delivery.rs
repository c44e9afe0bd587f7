//! Sending events: signature, deadline, retries, and a log of it all.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

use crate::lock;
use crate::signature::{hmac_hex, sign};
use crate::sim::Sim;

/// The receiver has this long to answer. Not scaled: it is the receiver's real time.
const DEADLINE: Duration = Duration::from_secs(3);
/// Minutes from each attempt to the next.
const RETRY_MINUTES: [f64; 3] = [5.0, 20.0, 60.0];
/// How many answers are awaited at the same time; Zoom's own number is unknown.
const AT_ONCE: usize = 128;
/// Answers are read up to here; only those of validations matter.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Which of the app's two endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// `webhook_url`
    #[default]
    Webhook,
    /// `deauthorize_url`
    Deauthorize,
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Under way, or waiting for a retry.
    Pending,
    /// Answered with 200 or 204, or any 2xx on a retry.
    Delivered,
    /// Given up: an answer that is never retried, or no retry left.
    Failed,
    /// Never sent: webhooks are off or there is no URL.
    Dropped,
}

/// One attempt.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// When it was sent.
    pub at: Timestamp,
    /// `x-zm-request-timestamp`
    pub timestamp: String,
    /// `x-zm-signature`
    pub signature: String,
    /// The answer's status, if there was one.
    pub status: Option<u16>,
    /// What went wrong on the way.
    pub error: Option<String>,
    /// Until the answer's head, in real time.
    pub latency_ms: u64,
    /// When the next attempt is due.
    pub retry_at: Option<Timestamp>,
}

/// An event on its way.
#[derive(Debug, Clone, Serialize)]
pub struct Delivery {
    /// Its number.
    pub id: u64,
    /// The event's name.
    pub event: String,
    /// Which endpoint.
    pub target: Target,
    /// `x-zm-request-id`: the same on every attempt.
    pub request_id: String,
    /// The very body.
    pub body: String,
    /// When it came to be.
    pub created_at: Timestamp,
    /// How it stands.
    pub state: DeliveryState,
    /// What was tried.
    pub attempts: Vec<Attempt>,
    #[serde(skip)]
    forgery: Forgery,
}

/// How to sign wrongly, to see what the receiver makes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Forgery {
    /// Sign with this secret instead of the app's.
    pub secret: Option<String>,
    /// Claim to have been sent so many seconds later (negative: earlier).
    pub timestamp_skew_seconds: i64,
    /// Leave signature and timestamp out.
    pub unsigned: bool,
}

/// What became of a URL validation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Validation {
    /// Whether Zoom would accept the URL.
    pub ok: bool,
    /// The answer's status.
    pub status: Option<u16>,
    /// What was wrong.
    pub reason: Option<String>,
}

pub(crate) struct Deliveries {
    list: Mutex<Vec<Delivery>>,
    changed: watch::Sender<u64>,
    slots: Semaphore,
}

struct Answer {
    status: Option<u16>,
    error: Option<String>,
    body: Vec<u8>,
    latency: Duration,
}

impl Deliveries {
    pub(crate) fn new() -> Self {
        Self {
            list: Mutex::default(),
            changed: watch::Sender::new(0),
            slots: Semaphore::new(AT_ONCE),
        }
    }

    pub(crate) fn list(&self) -> Vec<Delivery> {
        lock(&self.list).clone()
    }

    /// The newest, newest first.
    pub(crate) fn recent(&self, count: usize) -> Vec<Delivery> {
        lock(&self.list).iter().rev().take(count).cloned().collect()
    }

    pub(crate) fn get(&self, id: u64) -> Option<Delivery> {
        lock(&self.list).get(place(id)?).cloned()
    }

    /// Waits until `done` holds for the deliveries as they are.
    pub(crate) async fn wait(&self, done: impl Fn(&[Delivery]) -> bool) {
        let mut changed = self.changed.subscribe();
        while !done(&lock(&self.list)) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    fn add(&self, make: impl FnOnce(u64) -> Delivery) -> u64 {
        let mut list = lock(&self.list);
        let id = list.len() as u64 + 1;
        list.push(make(id));
        drop(list);
        self.changed.send_modify(|version| *version += 1);
        id
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Delivery)) {
        if let Some(place) = place(id) {
            lock(&self.list).get_mut(place).map(change);
            self.changed.send_modify(|version| *version += 1);
        }
    }
}

/// Ids are places in the list, from 1.
fn place(id: u64) -> Option<usize> {
    usize::try_from(id.checked_sub(1)?).ok()
}

/// Sends an event, with retries, in the background. Returns its number.
pub(crate) fn send(
    sim: &Arc<Sim>,
    target: Target,
    body: String,
    request_id: Option<String>,
    forgery: Forgery,
) -> u64 {
    let id = add(sim, target, body, request_id, forgery);
    let sim = Arc::clone(sim);
    tokio::spawn(async move {
        tokio::select! {
            () = run(&sim, id) => {}
            () = sim.stopped() => {}
        }
    });
    id
}

fn add(
    sim: &Sim,
    target: Target,
    body: String,
    request_id: Option<String>,
    forgery: Forgery,
) -> u64 {
    let event = serde_json::from_str::<serde_json::Value>(&body)
        .ok()
        .and_then(|body| Some(body.get("event")?.as_str()?.to_owned()));
    sim.deliveries.add(|id| Delivery {
        id,
        event: event.unwrap_or_else(|| "(not an event)".into()),
        target,
        request_id: request_id.unwrap_or_else(|| sim.ids.request()),
        body,
        created_at: sim.clock.now(),
        state: DeliveryState::Pending,
        attempts: Vec::new(),
        forgery,
    })
}

async fn run(sim: &Sim, id: u64) {
    for number in 1..=4 {
        let Some(answer) = attempt(sim, id, number).await else {
            sim.deliveries
                .change(id, |delivery| delivery.state = DeliveryState::Dropped);
            return;
        };
        let accepted = match answer.status {
            Some(200 | 204) => true,
            Some(status) => number > 1 && (200..300).contains(&status),
            None => false,
        };
        let again = answer.status.is_none_or(|status| status >= 500);
        let delay = RETRY_MINUTES
            .get(number as usize - 1)
            .filter(|_| again)
            .map(|minutes| {
                let scaled = minutes * 60.0 * sim.config().retry_scale.max(0.0);
                SignedDuration::try_from_secs_f64(scaled).unwrap_or(SignedDuration::ZERO)
            });
        let due = delay.and_then(|delay| sim.clock.now().saturating_add(delay).ok());
        sim.deliveries.change(id, |delivery| {
            if let Some(attempt) = delivery.attempts.last_mut() {
                (attempt.status, attempt.error) = (answer.status, answer.error);
                attempt.latency_ms = u64::try_from(answer.latency.as_millis()).unwrap_or(u64::MAX);
                attempt.retry_at = due;
            }
            if accepted {
                delivery.state = DeliveryState::Delivered;
            } else if due.is_none() {
                delivery.state = DeliveryState::Failed;
            }
        });
        match due {
            Some(due) if !accepted => sim.clock.sleep_until(due).await,
            _ => return,
        }
    }
}

/// One signed request; `None` if there is nowhere to send it.
async fn attempt(sim: &Sim, id: u64, number: u32) -> Option<Answer> {
    let delivery = sim.deliveries.get(id)?;
    let config = sim.config();
    let url = match delivery.target {
        Target::Webhook => config.webhook_url,
        Target::Deauthorize => config.deauthorize_url,
    };
    let url = url.filter(|_| config.webhooks_on)?;
    let _slot = sim.deliveries.slots.acquire().await.ok()?;

    let now = sim.clock.now();
    let timestamp = (now.as_second() + delivery.forgery.timestamp_skew_seconds).to_string();
    let secret = delivery
        .forgery
        .secret
        .as_deref()
        .unwrap_or(&config.webhook_secret);
    let signature = sign(secret, &timestamp, delivery.body.as_bytes());
    let mut request = sim
        .http
        .post(&url)
        .timeout(DEADLINE)
        .header("content-type", "application/json; charset=utf-8")
        .header("user-agent", "Zoom Marketplace/1.0a")
        .header("accept-encoding", "gzip")
        .header("x-zm-request-id", &delivery.request_id)
        .header(
            "x-zm-trackingid",
            format!("v=2.0;clid=us06;rid=WEB_{}", sim.noise.hex::<16>()),
        )
        .header(
            "traceparent",
            format!("00-{}-{}-02", sim.noise.hex::<16>(), sim.noise.hex::<8>()),
        )
        .header("zm-trace-upstream", "Meeting_Web_marketplace-consumer")
        .header("clientid", &config.client_id);
    if !delivery.forgery.unsigned {
        request = request
            .header("x-zm-request-timestamp", &timestamp)
            .header("x-zm-signature", &signature);
    }
    sim.deliveries.change(id, |delivery| {
        delivery.attempts.push(Attempt {
            number,
            at: now,
            timestamp,
            signature,
            status: None,
            error: None,
            latency_ms: 0,
            retry_at: None,
        });
    });
    let began = Instant::now();
    let sent = request.body(delivery.body).send().await;
    let latency = began.elapsed();
    Some(match sent {
        Ok(mut response) => {
            let mut body = Vec::new();
            while let Ok(Some(chunk)) = response.chunk().await {
                body.extend_from_slice(&chunk);
                if body.len() > ANSWER_LIMIT {
                    break;
                }
            }
            Answer {
                status: Some(response.status().as_u16()),
                error: None,
                body,
                latency,
            }
        }
        Err(error) => {
            let kind = if error.is_timeout() {
                "no answer within 3 s"
            } else if error.is_connect() {
                "no connection"
            } else if error.is_builder() {
                "not a URL"
            } else {
                "connection lost"
            };
            Answer {
                status: None,
                error: Some(kind.into()),
                body: Vec::new(),
                latency,
            }
        }
    })
}

/// Sends a URL validation and checks the answer. Never retried.
pub(crate) async fn validate(sim: &Arc<Sim>, target: Target) -> Validation {
    let plain = sim.ids.opaque::<16>();
    let body = crate::events::url_validation(&plain, sim.clock.now());
    let id = add(sim, target, body, None, Forgery::default());
    let answer = attempt(sim, id, 1).await;
    let validation = judge(answer.as_ref(), &plain, &sim.config().webhook_secret);
    sim.deliveries.change(id, |delivery| {
        if let (Some(attempt), Some(answer)) = (delivery.attempts.last_mut(), answer) {
            (attempt.status, attempt.error) = (answer.status, answer.error);
            attempt.latency_ms = u64::try_from(answer.latency.as_millis()).unwrap_or(u64::MAX);
        }
        delivery.state = match (delivery.attempts.is_empty(), validation.ok) {
            (true, _) => DeliveryState::Dropped,
            (false, true) => DeliveryState::Delivered,
            (false, false) => DeliveryState::Failed,
        };
    });
    validation
}

fn judge(answer: Option<&Answer>, plain: &str, secret: &str) -> Validation {
    let refuse = |status, reason: &str| Validation {
        ok: false,
        status,
        reason: Some(reason.into()),
    };
    let Some(answer) = answer else {
        return refuse(None, "no URL, or webhooks are off");
    };
    let Some(status) = answer.status else {
        return refuse(None, answer.error.as_deref().unwrap_or("no answer"));
    };
    if status != 200 {
        return refuse(Some(status), "the status is not 200");
    }
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(&answer.body) else {
        return refuse(Some(status), "the answer is not JSON");
    };
    let text = |key: &str| body.get(key).and_then(serde_json::Value::as_str);
    if text("plainToken") != Some(plain) {
        return refuse(Some(status), "plainToken is not the one that was sent");
    }
    if text("encryptedToken") != Some(&hmac_hex(secret, &[plain.as_bytes()])) {
        return refuse(Some(status), "encryptedToken is wrong");
    }
    Validation {
        ok: true,
        status: Some(status),
        reason: None,
    }
}
