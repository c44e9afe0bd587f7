//! Responses to signed requests.

use reelay_zoom_sim::Target;
use serde_json::{Value, json};
use support::System;
use support::zoom::completed_event;
use support::zoom_users::ADA;

use super::{ROUTES, queued, zoom_secret};

#[tokio::test]
async fn signed_body_that_is_no_event_is_kept_encrypted() {
    let system = System::start().await;
    let secret = system.webhook_secret();
    let bodies: [&[u8]; 10] = [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"\"event\"",
        br#"{"event":1}"#,
        br#"{"event":null}"#,
        br#"{"event":"#,
        b"\xff",
        b"[{\"event\":\"x\"}]",
    ];
    for path in ROUTES {
        for body in bodies {
            let shown = String::from_utf8_lossy(body);
            assert_eq!(system.post_event(path, body, &secret).await, 200, "{path} {shown}");
            assert_eq!(system.post_event(path, body, "wrong").await, 401, "{path} {shown}");
        }
    }
    assert_eq!(queued(&system).await, 2 * bodies.len());
    system.process_queues().await;
    let kept = system.objects("events/unparsed/").await;
    assert_eq!(kept.len(), 2 * bodies.len());
    assert_eq!(system.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn unknown_events_are_acknowledged_and_dropped() {
    let system = System::start().await;
    for name in [
        "meeting.started",
        "recording.started",
        "recording.unheard_of",
        "",
        "x".repeat(5_000).as_str(),
    ] {
        let body = json!({"event": name, "payload": {"marker": "kept-nowhere"}}).to_string();
        for path in ROUTES {
            assert_eq!(
                system.post_event(path, body.as_bytes(), &system.webhook_secret()).await,
                200,
                "{name}"
            );
        }
    }
    assert_eq!(queued(&system).await, 0);
    assert!(system.objects("").await.is_empty());
    assert!(system.table_items(&system.tables().recordings).await.is_empty());
}

#[tokio::test]
async fn malformed_signed_events_never_get_5xx() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let account = &system.zoom().users()[0].account_id.clone();
    let valid: Value =
        serde_json::from_slice(&completed_event(account, ADA, "uuid==", &[])).unwrap();
    let bend = |pointer: &str, value: Value| {
        let mut event = valid.clone();
        *event.pointer_mut(pointer).unwrap() = value;
        event
    };
    let mut events = vec![
        json!({"event": "recording.completed"}),
        json!({"event": "recording.completed", "payload": null}),
        json!({"event": "recording.completed", "payload": []}),
        json!({"event": "recording.completed", "payload": {"object": {}}}),
        json!({"event": "recording.transcript_completed", "payload": {"account_id": account, "object": "x"}}),
        bend("/payload/object/recording_files", json!("none")),
        bend("/payload/object/recording_files", json!([null, 1, "x", {}])),
        bend("/payload/object/host_id", json!("UserNobody00000000000x")),
        bend("/download_token", json!({"not": "a text"})),
        bend("/payload/object/duration", json!(-1)),
        bend("/payload/object/start_time", json!("yesterday")),
    ];
    for pointer in ["/payload/account_id", "/payload/object/host_id", "/payload/object/uuid"] {
        for value in [
            json!(null),
            json!(7),
            json!(""),
            json!("../../etc/passwd"),
            json!("a b#c"),
            json!("é".repeat(500)),
        ] {
            events.push(bend(pointer, value));
        }
    }
    for event in &events {
        let status = system
            .post_event(ROUTES[0], event.to_string().as_bytes(), &system.webhook_secret())
            .await;
        assert_eq!(status, 200, "{event}");
    }
    system.process_queues().await;
    assert!(system.stored_files().await.is_empty());
}

#[tokio::test]
async fn url_validation_matches_zooms_documented_vector() {
    let system = System::start().await;
    system.rotate_secret("ZoomSecretName", &zoom_secret("test-secret-token-000")).await;
    let body = br#"{"payload":{"plainToken":"synthPlainToken0000001"},"event_ts":1767225600123,"event":"endpoint.url_validation"}"#;
    for path in ROUTES {
        let response = system.post_signed(path, body, "test-secret-token-000").await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(
            response.json::<Value>().await.unwrap(),
            json!({
                "plainToken": "synthPlainToken0000001",
                "encryptedToken": "a2dd0d59791cec43a9f4f3d0af9f0e18aaac9f8d4179afbe2547e0e44c2245a8"
            })
        );
        let forged = system.post_signed(path, body, "wrong").await;
        assert_eq!(forged.status(), 401, "a forged validation got a response");
    }
    assert_eq!(queued(&system).await, 0);
}

#[tokio::test]
async fn simulator_validates_both_endpoints() {
    let system = System::start().await;
    for target in [Target::Webhook, Target::Deauthorize] {
        let validation = system.zoom().validate(target).await;
        assert!(validation.ok, "{validation:?}");
    }
}
