//! Receives Reelay's notifications, signed by the Standard Webhooks specification.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP};

use crate::app::App;
use crate::inbox::Notification;

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    timestamp: Timestamp,
}

/// Age of a signature, in either direction, beyond which it is rejected.
const MAX_AGE_SECONDS: u64 = 5 * 60;

/// Verifies the raw body before parsing it. 401 for an invalid signature, 400 for an invalid body.
///
/// While the secret is rotated the header holds several signatures; one valid signature suffices.
pub(crate) async fn receive(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let Some((id, signed_at, signature)) = verify(&app, &headers, &body) else {
        tracing::warn!("notification rejected: invalid signature");
        return StatusCode::UNAUTHORIZED;
    };
    let (Ok(Envelope { kind, timestamp }), Ok(value)) =
        (serde_json::from_slice(&body), serde_json::from_slice(&body))
    else {
        // A status other than 2xx makes the failed delivery visible to Reelay's operator.
        tracing::warn!(id, "notification rejected: invalid body");
        return StatusCode::BAD_REQUEST;
    };
    let is_new = app.inbox.add(Notification {
        id: id.to_owned(),
        kind: kind.clone(),
        timestamp,
        received_at: app.clock.now(),
        signed_at,
        signature: signature.to_owned(),
        body: value,
    });
    tracing::debug!(id, kind, is_new, "notification received");
    StatusCode::NO_CONTENT
}

/// Returns id, time in seconds and the matching signature. An app whose clock is the system's calls `Webhook::verify`,
/// which reads that clock.
fn verify<'a>(app: &App, headers: &'a HeaderMap, body: &[u8]) -> Option<(&'a str, i64, &'a str)> {
    let header = |name| headers.get(name)?.to_str().ok();
    let (id, sent) = (header(HEADER_WEBHOOK_ID)?, header(HEADER_WEBHOOK_TIMESTAMP)?.parse().ok()?);
    let age = app.clock.now().as_second().abs_diff(sent);
    let expected = app.webhook.sign(id, sent, body).ok().filter(|_| age <= MAX_AGE_SECONDS)?;
    let is_expected =
        |found: &&str| verify_slices_are_equal(found.as_bytes(), expected.as_bytes()).is_ok();
    Some((id, sent, header(HEADER_WEBHOOK_SIGNATURE)?.split(' ').find(is_expected)?))
}
