//! Signatures, on both routes. `reelay_domain::webhook::signature` tests the table of rejections.

use serde_json::{Value, json};
use support::System;

use super::{ROUTES, event, queued};

#[tokio::test]
async fn signed_event_is_queued_on_both_routes() {
    let system = System::start().await;
    let mut body: Value = serde_json::from_slice(&event()).unwrap();
    // The signature covers raw bytes, so a topic that is not ASCII must survive.
    let topic = "Synthetic — été 🎥 \u{202e}\u{0000}";
    body["payload"]["object"]["topic"] = json!(topic);
    let body = body.to_string().into_bytes();
    for path in ROUTES {
        let status = system.post_event(path, &body, &system.webhook_secret()).await;
        assert_eq!(status, 200, "{path}");
    }
    let messages = system.peek_messages(&system.queues().events).await;
    assert_eq!(messages.len(), 2);
    for message in messages {
        let message: Value = serde_json::from_str(&message).unwrap();
        assert_eq!(message["event"]["payload"]["object"]["topic"], topic);
    }
}

#[tokio::test]
async fn bad_signature_is_rejected_and_not_queued() {
    let system = System::start().await;
    let (body, secret) = (event(), system.webhook_secret());
    let now = system.app.now().as_second();
    let sign = |secret: &str, seconds: i64| {
        let timestamp = (now + seconds).to_string();
        let signature = reelay_zoom_sim::sign(secret, &timestamp, &body);
        Some((timestamp, signature))
    };
    for path in ROUTES {
        // API Gateway encodes a body as base64 unless its content type is text.
        for content_type in ["application/json", "application/octet-stream"] {
            for (case, headers) in [
                ("no headers", None),
                ("another secret", sign("another", 0)),
                ("empty secret", sign("", 0)),
                ("stale timestamp", sign(&secret, -310)),
            ] {
                let headers = headers.as_ref().map(|(time, signature)| (&**time, &**signature));
                let response = system.post_raw(path, &body, content_type, headers).await;
                assert_eq!(response.status(), 401, "{path}: {case}, {content_type}");
                assert_eq!(response.text().await.unwrap(), "", "{path}: {case}");
            }
        }
    }
    assert_eq!(queued(&system).await, 0);
}

#[tokio::test]
async fn base64_encoded_body_is_verified_as_signed() {
    let system = System::start().await;
    let (body, timestamp) = (event(), system.app.now().as_second().to_string());
    let signature = reelay_zoom_sim::sign(&system.webhook_secret(), &timestamp, &body);
    for path in ROUTES {
        let headers = Some((timestamp.as_str(), signature.as_str()));
        let sent = system.post_raw(path, &body, "application/octet-stream", headers);
        assert_eq!(sent.await.status(), 200);
    }
    assert_eq!(queued(&system).await, 2);
}
