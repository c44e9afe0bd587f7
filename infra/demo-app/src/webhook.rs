//! Receives Reelay's notifications, signed by the Standard Webhooks specification.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use standardwebhooks::{
    HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, WebhookError,
};

use crate::app::App;
use crate::inbox::Notification;

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    timestamp: Timestamp,
}

/// Age of a signature, in either direction, from which it is rejected.
const MAX_AGE: SignedDuration = SignedDuration::from_mins(5);

/// Verifies the raw body before parsing it. 401 for an invalid signature, 400 for an invalid body.
///
/// While the secret is rotated the header holds several signatures; one valid signature suffices.
pub(crate) async fn receive(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let id = match verify(&app, &headers, &body) {
        Ok(id) => id,
        Err(error) => {
            tracing::warn!(%error, "notification rejected: invalid signature");
            return StatusCode::UNAUTHORIZED;
        }
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
        body: value,
    });
    tracing::debug!(id, kind, is_new, "notification received");
    StatusCode::NO_CONTENT
}

/// Returns the notification's id if a signature is valid. An app whose clock is the system's calls `Webhook::verify`,
/// which reads that clock.
fn verify<'a>(app: &App, headers: &'a HeaderMap, body: &[u8]) -> Result<&'a str, WebhookError> {
    let header = |name| {
        let value = headers.get(name).ok_or(WebhookError::MissingHeader(name))?;
        value.to_str().map_err(|_| WebhookError::InvalidHeader(name))
    };
    let id = header(HEADER_WEBHOOK_ID)?;
    let sent: i64 =
        header(HEADER_WEBHOOK_TIMESTAMP)?.parse().map_err(|_| WebhookError::InvalidTimestamp)?;
    let age = app.clock.now().as_second().saturating_sub(sent);
    if age > MAX_AGE.as_secs() {
        return Err(WebhookError::TimestampTooOldError);
    }
    if age < -MAX_AGE.as_secs() {
        return Err(WebhookError::FutureTimestampError);
    }
    let expected = app.webhook.sign(id, sent, body)?;
    let is_expected = |signature: &str| {
        verify_slices_are_equal(signature.as_bytes(), expected.as_bytes()).is_ok()
    };
    let mut signatures = header(HEADER_WEBHOOK_SIGNATURE)?.split(' ');
    signatures.any(is_expected).then_some(id).ok_or(WebhookError::InvalidSignature)
}
