//! Sends events: signature, deadline, retries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::deliveries::{Attempt, Delivery, DeliveryState, Outcome, Target, Validation};
use crate::events;
use crate::grants::GrantEndReason;
use crate::signature::{hmac_hex, sign};
use crate::state::{Shared, Sim};
use crate::sync::lock;

/// Time in which the receiver must respond; real time, because the receiver's clock is real.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Minutes from each attempt to the next.
const RETRY_MINUTES: [f64; 3] = [5.0, 20.0, 60.0];
/// Bytes of a response that are read; only the body of a validation matters.
const MAX_RESPONSE: usize = 64 * 1024;

/// Sends an event in the background, with retries. Returns the number of the delivery.
pub(crate) fn send(sim: &Shared, target: Target, body: String, request_id: Option<String>) -> u64 {
    let id = add(sim, target, body, request_id);
    let sim = Arc::clone(sim);
    tokio::spawn(async move {
        tokio::select! {
            () = deliver(&sim, id) => {}
            () = sim.stopped() => {}
        }
    });
    id
}

/// Ends the grant that the user gave to a client, if `reason` is given, and sends `app_deauthorized`.
/// `None` if the user is unknown.
pub(crate) fn send_deauthorized(
    sim: &Shared,
    user_id: &str,
    client_id: &str,
    reason: Option<GrantEndReason>,
) -> Option<u64> {
    let user = {
        let mut world = lock(&sim.world);
        if let Some(reason) = reason {
            world.grants.end(user_id, Some(client_id), reason);
        }
        world.user(user_id).cloned()?
    };
    let config = sim.config();
    let parts = [user.id.as_bytes(), user.account_id.as_bytes()];
    let legacy = hmac_hex(&config.webhook_secret, &parts);
    let body = events::app_deauthorized(&user, client_id, &legacy, sim.clock.now());
    Some(send(sim, Target::Deauthorize, body, None))
}

fn add(sim: &Sim, target: Target, body: String, request_id: Option<String>) -> u64 {
    let parsed: Value = serde_json::from_str(&body).unwrap_or_default();
    let event = parsed["event"].as_str().unwrap_or("(not an event)");
    sim.deliveries.add(|id| Delivery {
        id,
        event: event.to_owned(),
        target,
        request_id: request_id.unwrap_or_else(|| sim.ids.request()),
        body,
        state: DeliveryState::Pending,
        attempts: Vec::new(),
    })
}

async fn deliver(sim: &Sim, id: u64) {
    for number in 1.. {
        let Some(outcome) = attempt(sim, id, number).await else {
            let drop = |delivery: &mut Delivery| delivery.state = DeliveryState::Dropped;
            return sim.deliveries.change(id, drop);
        };
        let is_accepted = match outcome.status {
            Some(200 | 204) => true,
            Some(status) => number > 1 && (200..300).contains(&status),
            None => false,
        };
        let can_retry = outcome.status.is_none_or(|status| status >= 500);
        let retry_at = can_retry.then(|| retry_at(sim, number)).flatten();
        sim.deliveries.change(id, |delivery| {
            delivery.record(&outcome, retry_at);
            if is_accepted {
                delivery.state = DeliveryState::Delivered;
            } else if retry_at.is_none() {
                delivery.state = DeliveryState::Failed;
            }
        });
        match retry_at {
            Some(retry_at) if !is_accepted => sim.clock.sleep_until(retry_at).await,
            _ => return,
        }
    }
}

/// Time of the attempt after attempt `number`, if there is one.
fn retry_at(sim: &Sim, number: u32) -> Option<Timestamp> {
    let minutes = RETRY_MINUTES.get(number as usize - 1)?;
    let seconds = minutes * 60.0 * sim.config().retry_scale.max(0.0);
    let delay = SignedDuration::try_from_secs_f64(seconds).unwrap_or_default();
    sim.clock.now().saturating_add(delay).ok()
}

/// Sends one signed request. `None` if webhooks are disabled or there is no URL.
async fn attempt(sim: &Sim, id: u64, number: u32) -> Option<Outcome> {
    let delivery = sim.deliveries.get(id)?;
    let config = sim.config();
    let url = match delivery.target {
        Target::Webhook => config.webhook_url,
        Target::Deauthorize => config.deauthorize_url,
    };
    let url = url.filter(|_| config.webhooks_enabled)?;
    let _slot = sim.deliveries.slots.acquire().await.ok()?;

    let now = sim.clock.now();
    let timestamp = now.as_second().to_string();
    let signature = sign(&config.webhook_secret, &timestamp, delivery.body.as_bytes());
    let (trace, span) = (sim.trace_ids.hex::<16>(), sim.trace_ids.hex::<8>());
    let request = sim
        .http
        .post(&url)
        .timeout(RESPONSE_TIMEOUT)
        .header("content-type", "application/json; charset=utf-8")
        .header("user-agent", "Zoom Marketplace/1.0a")
        .header("accept-encoding", "gzip")
        .header("x-zm-request-id", &delivery.request_id)
        .header("x-zm-trackingid", sim.trace_ids.tracking())
        .header("traceparent", format!("00-{trace}-{span}-02"))
        .header("zm-trace-upstream", "Meeting_Web_marketplace-consumer")
        .header("clientid", &config.client_id)
        .header("x-zm-request-timestamp", timestamp)
        .header("x-zm-signature", signature);
    let attempt =
        Attempt { number, at: now, status: None, error: None, latency_ms: 0, retry_at: None };
    sim.deliveries.change(id, |delivery| delivery.attempts.push(attempt));
    let started = Instant::now();
    let response = request.body(delivery.body).send().await;
    let latency = started.elapsed();
    let mut outcome = Outcome { status: None, error: None, body: Vec::new(), latency };
    match response {
        Ok(mut response) => {
            outcome.status = Some(response.status().as_u16());
            while outcome.body.len() <= MAX_RESPONSE
                && let Ok(Some(chunk)) = response.chunk().await
            {
                outcome.body.extend_from_slice(&chunk);
            }
        }
        Err(error) => {
            let reason = match error {
                error if error.is_timeout() => "no response within 3 s",
                error if error.is_connect() => "no connection",
                error if error.is_builder() => "not a URL",
                _ => "connection lost",
            };
            outcome.error = Some(reason.into());
        }
    }
    Some(outcome)
}

/// Sends a URL validation, which is never retried, and checks the response.
pub(crate) async fn validate(sim: &Sim, target: Target) -> Validation {
    let plain = sim.ids.opaque::<16>();
    let body = events::url_validation(&plain, sim.clock.now());
    let id = add(sim, target, body, None);
    let outcome = attempt(sim, id, 1).await;
    let checked = check(outcome.as_ref(), &plain, &sim.config().webhook_secret);
    sim.deliveries.change(id, |delivery| {
        delivery.state = match &outcome {
            None => DeliveryState::Dropped,
            Some(_) if checked.is_ok() => DeliveryState::Delivered,
            Some(_) => DeliveryState::Failed,
        };
        if let Some(outcome) = &outcome {
            delivery.record(outcome, None);
        }
    });
    Validation {
        ok: checked.is_ok(),
        status: outcome.and_then(|outcome| outcome.status),
        reason: checked.err(),
    }
}

fn check(outcome: Option<&Outcome>, plain: &str, secret: &str) -> Result<(), String> {
    let outcome = outcome.ok_or("no URL, or webhooks are disabled")?;
    let no_response = || outcome.error.clone().unwrap_or_default();
    if outcome.status.ok_or_else(no_response)? != 200 {
        return Err("the status is not 200".into());
    }
    let body: Value =
        serde_json::from_slice(&outcome.body).map_err(|_| "the response is not JSON")?;
    if body["plainToken"] != plain {
        return Err("plainToken is wrong".into());
    }
    if body["encryptedToken"] != hmac_hex(secret, &[plain.as_bytes()]) {
        return Err("encryptedToken is wrong".into());
    }
    Ok(())
}
