//! Receives Reelay's notifications, signed by the Standard Webhooks specification.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use standardwebhooks::HEADER_WEBHOOK_ID;

use crate::app::App;
use crate::inbox::Notification;

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    timestamp: Timestamp,
}

/// Verifies the raw body before parsing it. 401 for an invalid signature, 400 for an invalid body.
///
/// While the secret is rotated the header holds several signatures; one valid signature suffices.
pub(crate) async fn receive(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    if let Err(error) = app.webhook.verify(&body, &headers) {
        tracing::warn!(%error, "notification rejected: invalid signature");
        return StatusCode::UNAUTHORIZED;
    }
    let Some(Ok(id)) = headers.get(HEADER_WEBHOOK_ID).map(|id| id.to_str()) else {
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
        received_at: Timestamp::now(),
        body: value,
    });
    tracing::debug!(id, kind, is_new, "notification received");
    StatusCode::NO_CONTENT
}
