//! Reelay's notifications, by Standard Webhooks: verify the raw bytes first, read them afterwards.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use standardwebhooks::{HEADER_WEBHOOK_ID, Webhook, WebhookError};

use crate::App;
use crate::inbox::VerifiedNotification;

/// Checks signatures: any of those in the header will do, so that the secret can be rotated.
pub(crate) struct Verifier(Webhook);

impl Verifier {
    pub(crate) fn new(secret: &str) -> Result<Self, WebhookError> {
        Webhook::new(secret).map(Self)
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    timestamp: Timestamp,
}

pub(crate) async fn receive(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    if let Err(error) = app.verifier.0.verify(&body, &headers) {
        tracing::warn!(%error, "a notification without a good signature");
        return StatusCode::UNAUTHORIZED;
    }
    let Some(id) = headers
        .get(HEADER_WEBHOOK_ID)
        .and_then(|id| id.to_str().ok())
    else {
        return StatusCode::UNAUTHORIZED;
    };
    let (Ok(envelope), Ok(value)) = (
        serde_json::from_slice::<Envelope>(&body),
        serde_json::from_slice(&body),
    ) else {
        // Signed, yet not understood: 400 makes the sender notice, where 200 would hide it.
        tracing::warn!(id, "a signed notification that is not understood");
        return StatusCode::BAD_REQUEST;
    };
    let kind = envelope.kind.clone();
    let fresh = app.inbox.add(VerifiedNotification {
        id: id.to_owned(),
        kind: envelope.kind,
        timestamp: envelope.timestamp,
        received_at: Timestamp::now(),
        body: value,
    });
    tracing::debug!(id, kind, fresh, "notification");
    StatusCode::NO_CONTENT
}
