//! Storage of events, and the parts that are not stored.

use jiff::SignedDuration;
use reelay_embedded_aws::{Fault, Service};
use reelay_zoom_sim::{DeliveryState, NewRecording, RawEvent, Target};
use serde_json::{Value, json};
use support::System;
use support::zoom::completed_event;
use support::zoom_users::ADA;

use super::{ROUTES, count_calls, event, queued};

#[tokio::test]
async fn sqs_failure_gets_503_and_retry_is_stored() {
    for fault in [
        Fault::error(503, "ServiceUnavailable"),
        Fault::error(400, "AccessDeniedException"),
        Fault::connection_closed(),
    ] {
        let system = System::start().await;
        system.link("alice", ADA).await;
        let faults = system.faults();
        faults.fail_until_cleared(Service::Sqs, "SendMessage", fault.clone());
        let created = system.zoom().create_recording(NewRecording::of(ADA)).unwrap();
        let delivery = system.zoom().wait_for_attempts(created.deliveries[0], 1).await.unwrap();
        assert_eq!(delivery.attempts[0].status, Some(503), "{fault:?}: {:?}", delivery.attempts);
        assert!(delivery.attempts[0].latency_ms < 3_000, "{:?}", delivery.attempts);
        assert_eq!(queued(&system).await, 0);

        faults.clear_all();
        system.advance(SignedDuration::from_mins(5));
        let delivery = system.zoom().wait_for_attempts(created.deliveries[0], 2).await.unwrap();
        assert_eq!(delivery.state, DeliveryState::Delivered, "{:?}", delivery.attempts);
        system.process_queues().await;
        assert_eq!(system.stored_files().await.len(), created.recording.files.len(), "{fault:?}");
    }
}

#[tokio::test]
async fn large_event_gets_503_when_s3_fails() {
    let system = System::start().await;
    let faults = system.faults();
    faults.fail_until_cleared(Service::S3, "PutObject", Fault::error(403, "AccessDenied"));
    let body = large(&system, ADA);
    assert_eq!(system.post_event(ROUTES[0], &body, &system.webhook_secret()).await, 503);
    assert_eq!(queued(&system).await, 0);
    faults.clear_all();
    assert_eq!(system.post_event(ROUTES[0], &body, &system.webhook_secret()).await, 200);
}

#[tokio::test]
async fn webhook_touches_no_table() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let calls = count_calls(&system);
    let created = system.zoom().create_recording(NewRecording::of(ADA)).unwrap();
    system.await_deliveries(&created).await;
    let secret = system.webhook_secret();
    for body in [
        event(),
        large(&system, ADA),
        br#"{"event":"meeting.started"}"#.to_vec(),
        b"no event".to_vec(),
    ] {
        system.post_event(ROUTES[0], &body, &secret).await;
        system.post_event(ROUTES[1], &body, "wrong").await;
    }
    assert!(system.zoom().validate(Target::Webhook).await.ok);
    let calls = calls.lock().unwrap();
    let touched: Vec<_> = calls
        .keys()
        .filter(|(service, _)| matches!(service, Service::DynamoDb | Service::Kms))
        .collect();
    assert!(touched.is_empty(), "{touched:?}");
    // The body that is no event is kept, too.
    assert_eq!(calls[&(Service::Sqs, "SendMessage".to_owned())], 4, "one call an event: {calls:?}");
}

#[tokio::test]
async fn large_event_passes_through_bucket_temporarily() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    // The simulator's own event, enlarged beyond the message limit.
    system.zoom().change_settings(|config| config.webhooks_enabled = false);
    let created = system.zoom().create_recording(NewRecording::of(ADA)).unwrap();
    let dropped = system.zoom().wait_for_attempts(created.deliveries[0], 1).await.unwrap();
    system.zoom().change_settings(|config| config.webhooks_enabled = true);
    let mut event: Value = serde_json::from_str(&dropped.body).unwrap();
    event["payload"]["object"]["timezone"] = json!("x".repeat(250 * 1024));
    let id = system.zoom().send_raw(RawEvent { body: event.to_string(), ..RawEvent::default() });
    assert_eq!(
        system.zoom().wait_for_attempts(id, 1).await.unwrap().state,
        DeliveryState::Delivered
    );
    let beside = system.objects("events/").await;
    assert_eq!(beside.len(), 1);
    let body = beside.values().next().unwrap();
    assert!(body.len() > 200 * 1024, "{} bytes", body.len());
    let text = String::from_utf8(body.clone()).unwrap();
    system.assert_no_credentials(&[text]);
    let message = system.peek_messages(&system.queues().events).await.remove(0);
    assert!(message.len() < 1_000, "{message}");
    // The second delivery finds no object and is done.
    system.send_message(&system.queues().events, &message).await;
    system.process_queues().await;
    assert_eq!(system.stored_files().await.len(), created.recording.files.len());
    assert!(system.objects("events/").await.is_empty());
    assert_eq!(system.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn event_below_limit_stays_in_message() {
    let system = System::start().await;
    let mut event: Value = serde_json::from_slice(&event()).unwrap();
    event.as_object_mut().unwrap().remove("download_token");
    event["payload"]["object"]["topic"] = json!("");
    let rest = event.to_string().len();
    for (length, beside) in [(200 * 1024, 0), (200 * 1024 + 1, 1)] {
        event["payload"]["object"]["topic"] = json!("x".repeat(length - rest));
        assert_eq!(
            system
                .post_event(ROUTES[0], event.to_string().as_bytes(), &system.webhook_secret())
                .await,
            200
        );
        assert_eq!(system.objects("events/").await.len(), beside, "{length}");
    }
    system.process_queues().await;
    assert!(system.objects("events/").await.is_empty());
}

/// Zoom adds fields without notice, and some of them are credentials.
#[tokio::test]
async fn unknown_fields_of_events_are_stored_nowhere() {
    let system = System::start().await;
    let marker = "SYNTHETICunknown";
    for mut event in
        [event(), large(&system, ADA)].map(|body| serde_json::from_slice::<Value>(&body).unwrap())
    {
        event["viewer_key"] = json!(marker);
        event["payload"]["pin"] = json!({"value": [marker]});
        event["payload"]["object"]["recording_files"] = json!([{"id": "f", "stream_key": marker}]);
        let body = event.to_string().into_bytes();
        assert_eq!(system.post_event(ROUTES[0], &body, &system.webhook_secret()).await, 200);
    }
    let mut stored = system.peek_messages(&system.queues().events).await;
    assert_eq!(stored.len(), 2);
    let objects = system.objects("events/").await.into_values();
    stored.extend(objects.map(|body| String::from_utf8(body).unwrap()));
    assert_eq!(stored.len(), 3);
    assert!(!stored.iter().any(|text| text.contains(marker)), "{stored:?}");
}

/// A signed event above the message limit.
fn large(system: &System, host: &str) -> Vec<u8> {
    let account =
        system.zoom().users().into_iter().find(|user| user.id == host).unwrap().account_id;
    let mut event: Value =
        serde_json::from_slice(&completed_event(&account, host, "large==", &[])).unwrap();
    event["payload"]["object"]["timezone"] = json!("x".repeat(250 * 1024));
    event.to_string().into_bytes()
}
