//! What is kept of an event, where, and what is not.

use jiff::SignedDuration;
use reelay_embedded_aws::{Fault, Service};
use reelay_zoom_sim::{DeliveryState, NewFile, NewRecording, RawEvent, Target};
use serde_json::{Value, json};
use support::people::{ADA, BEN};
use support::{System, store, zoom};

use super::{ROUTES, count_calls, event, queued};

#[tokio::test]
async fn when_sqs_refuses_zoom_is_told_so_and_its_retry_is_stored() {
    for fault in [
        Fault::error(503, "ServiceUnavailable"),
        Fault::error(400, "AccessDeniedException"),
        Fault::connection_closed(),
    ] {
        let system = System::start().await;
        system.link("alice", ADA).await;
        let faults = system.stack.engines().faults();
        faults.fail_until_cleared(Service::Sqs, "SendMessage", fault.clone());
        let created = system
            .zoom()
            .create_recording(NewRecording::of(ADA))
            .unwrap();
        let delivery = system
            .zoom()
            .wait_for_attempts(created.deliveries[0], 1)
            .await
            .unwrap();
        assert_eq!(
            delivery.attempts[0].status,
            Some(503),
            "{fault:?}: {:?}",
            delivery.attempts
        );
        assert!(
            delivery.attempts[0].latency_ms < 3_000,
            "{:?}",
            delivery.attempts
        );
        assert_eq!(queued(&system).await, 0);

        faults.clear_all();
        system.stack.advance(SignedDuration::from_mins(5));
        let delivery = system
            .zoom()
            .wait_for_attempts(created.deliveries[0], 2)
            .await
            .unwrap();
        assert_eq!(
            delivery.state,
            DeliveryState::Delivered,
            "{:?}",
            delivery.attempts
        );
        system.work().await;
        assert_eq!(
            store::files(&system.stack).await.len(),
            created.recording.files.len(),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_large_event_that_the_bucket_refuses_is_answered_503() {
    let system = System::start().await;
    let faults = system.stack.engines().faults();
    faults.fail_until_cleared(Service::S3, "PutObject", Fault::error(403, "AccessDenied"));
    let body = large(&system, ADA);
    assert_eq!(
        zoom::post(&system, ROUTES[0], &body, &zoom::secret(&system), 0).await,
        503
    );
    assert_eq!(queued(&system).await, 0);
    faults.clear_all();
    assert_eq!(
        zoom::post(&system, ROUTES[0], &body, &zoom::secret(&system), 0).await,
        200
    );
}

#[tokio::test]
async fn no_table_is_touched_between_zooms_request_and_its_answer() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let calls = count_calls(&system);
    let created = system
        .zoom()
        .create_recording(NewRecording::of(ADA))
        .unwrap();
    zoom::arrived(&system, &created).await;
    let secret = zoom::secret(&system);
    for body in [
        event(),
        large(&system, ADA),
        br#"{"event":"meeting.started"}"#.to_vec(),
        b"no event".to_vec(),
    ] {
        zoom::post(&system, ROUTES[0], &body, &secret, 0).await;
        zoom::post(&system, ROUTES[1], &body, "wrong", 0).await;
    }
    assert!(system.zoom().validate(Target::Webhook).await.ok);
    let calls = calls.lock().unwrap();
    let touched: Vec<_> = calls
        .keys()
        .filter(|(service, _)| matches!(service, Service::DynamoDb | Service::Kms))
        .collect();
    assert!(touched.is_empty(), "{touched:?}");
    assert_eq!(
        calls[&(Service::Sqs, "SendMessage".to_owned())],
        3,
        "one call an event: {calls:?}"
    );
}

#[tokio::test]
async fn a_large_event_goes_by_the_bucket_and_leaves_nothing_there() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    // The simulator's own event, dropped on its way and made larger than a message may be.
    system
        .zoom()
        .change_settings(|config| config.webhooks_enabled = false);
    let created = system
        .zoom()
        .create_recording(NewRecording::of(ADA))
        .unwrap();
    let dropped = system
        .zoom()
        .wait_for_attempts(created.deliveries[0], 1)
        .await
        .unwrap();
    system
        .zoom()
        .change_settings(|config| config.webhooks_enabled = true);
    let mut event: Value = serde_json::from_str(&dropped.body).unwrap();
    event["payload"]["object"]["unknown_field"] = json!("x".repeat(250 * 1024));
    let id = system.zoom().send_raw(RawEvent {
        body: event.to_string(),
        ..RawEvent::default()
    });
    assert_eq!(
        system.zoom().wait_for_attempts(id, 1).await.unwrap().state,
        DeliveryState::Delivered
    );
    let beside = store::objects(&system.stack, "events/").await;
    assert_eq!(beside.len(), 1);
    let body = beside.values().next().unwrap();
    assert!(body.len() > 200 * 1024, "{} bytes", body.len());
    let text = String::from_utf8(body.clone()).unwrap();
    for credential in zoom::credentials(&system) {
        assert!(
            !text.contains(&credential),
            "{credential} rests in the bucket"
        );
    }
    let message = store::peek(&system.stack, &system.stack.config().queues.events)
        .await
        .remove(0);
    assert!(message.len() < 1_000, "{message}");
    // Delivered twice: the second one finds nothing and is done.
    store::send(
        &system.stack,
        &system.stack.config().queues.events,
        &message,
    )
    .await;
    system.work().await;
    assert_eq!(
        store::files(&system.stack).await.len(),
        created.recording.files.len()
    );
    assert!(store::objects(&system.stack, "events/").await.is_empty());
    assert_eq!(store::dead(&system.stack).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_event_just_below_the_limit_travels_in_the_message() {
    let system = System::start().await;
    let mut event: Value = serde_json::from_slice(&event()).unwrap();
    event.as_object_mut().unwrap().remove("download_token");
    event["payload"]["object"]["topic"] = json!("");
    let rest = event.to_string().len();
    for (length, beside) in [(200 * 1024, 0), (200 * 1024 + 1, 1)] {
        event["payload"]["object"]["topic"] = json!("x".repeat(length - rest));
        assert_eq!(
            zoom::post(
                &system,
                ROUTES[0],
                event.to_string().as_bytes(),
                &zoom::secret(&system),
                0
            )
            .await,
            200
        );
        assert_eq!(
            store::objects(&system.stack, "events/").await.len(),
            beside,
            "{length}"
        );
    }
    system.work().await;
    assert!(store::objects(&system.stack, "events/").await.is_empty());
}

#[tokio::test]
async fn nothing_secret_rests_in_any_queue_or_table_before_the_download() {
    // On demand, so that the files lie in the table until the app asks.
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    let new = NewRecording {
        participant_audio: 2,
        ..NewRecording::of(ADA)
    };
    let recording = zoom::complete(&system, new).await;
    let created = system.zoom().add_transcript(&recording.key, None).unwrap();
    zoom::arrived(&system, &created).await;
    // One that can't be acted on, and so ends in the dead-letter queue.
    let mut broken: Value =
        serde_json::from_str(&system.zoom().deliveries().last().unwrap().body).unwrap();
    broken["payload"]["object"]["host_id"] = json!(null);
    let id = system.zoom().send_raw(RawEvent {
        body: broken.to_string(),
        ..RawEvent::default()
    });
    system.zoom().wait_for_attempts(id, 1).await;

    let (config, stack) = (system.stack.config(), &system.stack);
    let credentials = zoom::credentials(&system);
    assert!(credentials.len() > 15, "{credentials:?}");
    let clean = |place: &str, texts: &[String], number: usize| {
        assert_eq!(texts.len(), number, "{place}");
        for credential in &credentials {
            let found = texts.iter().find(|text| text.contains(credential.as_str()));
            assert!(found.is_none(), "{credential} rests in {place}: {found:?}");
        }
    };
    clean(
        "the events queue",
        &store::peek(stack, &config.queues.events).await,
        3,
    );
    system.work().await;
    clean(
        "the events' dead-letter queue",
        &store::peek(stack, &config.queues.events_dlq).await,
        1,
    );
    let files = recording.all_files().count() + 1;
    // The recording, its files, and the fact that it was detected.
    clean(
        "the table",
        &store::items(stack, &config.tables.recordings).await,
        files + 2,
    );
    let id = system.app.recordings("alice").await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let asked = system
        .app
        .call(
            reqwest::Method::POST,
            &format!("/v1/recordings/{id}/download"),
            "alice",
        )
        .await;
    assert_eq!(asked.status, 202);
    clean(
        "the downloads queue",
        &store::peek(stack, &config.queues.downloads).await,
        files,
    );
    system.work().await;
    assert_eq!(store::files(stack).await.len(), files);
}

#[tokio::test]
async fn an_event_of_a_colleague_who_never_linked_leaves_no_trace() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    zoom::complete(
        &system,
        NewRecording::of(BEN).with_files(vec![NewFile::new("MP4", 1_000)]),
    )
    .await;
    system.work().await;
    assert!(
        store::items(&system.stack, &system.stack.config().tables.recordings)
            .await
            .is_empty()
    );
    assert!(store::objects(&system.stack, "").await.is_empty());
    assert_eq!(store::dead(&system.stack).await, Vec::<String>::new());
}

/// A signed event that is too large for a message.
fn large(system: &System, host: &str) -> Vec<u8> {
    let account = system
        .zoom()
        .users()
        .into_iter()
        .find(|user| user.id == host)
        .unwrap()
        .account_id;
    let mut event: Value =
        serde_json::from_slice(&zoom::completed(&account, host, "large==", &[])).unwrap();
    event["payload"]["object"]["unknown_field"] = json!("x".repeat(250 * 1024));
    event.to_string().into_bytes()
}
