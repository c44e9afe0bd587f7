//! Events as Zoom sends them, and as forgers do: who is believed, what is kept, when Zoom is to come again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use embedded_aws::{Fault, Service};
use it::people::{ADA, BEN};
use it::{System, store, zoom};
use jiff::SignedDuration;
use serde_json::{Value, json};
use zoom_sim::{DeliveryState, NewFile, NewRecording, RawEvent, Target};

/// Both take the same events: operators mix the two up.
const ROUTES: [&str; 2] = ["/zoom/webhook", "/zoom/deauthorize"];
const JSON: &str = "application/json; charset=utf-8";

/// What is wrong, the body, and the headers of timestamp and signature.
type Case<'a> = (&'a str, &'a [u8], Option<(&'a str, &'a str)>);

/// A recording of somebody who never linked: stored in the queue if the signature is good, otherwise not.
fn event() -> Vec<u8> {
    zoom::completed(
        "AcctAAAAAAAAAAAAAAAAAA",
        "UserBBBBBBBBBBBBBBBBBB",
        "Zm9v+bar/bazQUJDREVGRw==",
        &[],
    )
}

fn now(system: &System) -> String {
    system.app.now().as_second().to_string()
}

async fn queued(system: &System) -> usize {
    store::depth(&system.stack, &system.stack.config().queues.events).await
}

/// Posts an event dated so far from now, within one second of the clock: its edge is what is tested.
async fn post_dated(system: &System, path: &str, seconds: i64) -> u16 {
    loop {
        let before = now(system);
        let status = zoom::post(system, path, &event(), &zoom::secret(system), seconds).await;
        if now(system) == before {
            return status.as_u16();
        }
    }
}

/// Counts AWS calls by service and operation from here on.
fn count_calls(system: &System) -> Arc<Mutex<BTreeMap<(Service, String), u64>>> {
    let seen: Arc<Mutex<BTreeMap<(Service, String), u64>>> = Arc::default();
    let noted = Arc::clone(&seen);
    system
        .stack
        .engines()
        .faults()
        .decide_with(move |service, operation| {
            *noted
                .lock()
                .unwrap()
                .entry((service, operation.to_owned()))
                .or_default() += 1;
            None
        });
    seen
}

fn zoom_secret(webhook_secret: &str) -> String {
    json!({"client_id": "id", "client_secret": "secret", "webhook_secret": webhook_secret})
        .to_string()
}

#[tokio::test]
async fn a_signed_event_is_queued_on_both_routes() {
    let system = System::start().await;
    for (sent, path) in ROUTES.iter().enumerate() {
        assert_eq!(
            zoom::post(&system, path, &event(), &zoom::secret(&system), 0).await,
            200,
            "{path}"
        );
        assert_eq!(queued(&system).await, sent + 1, "{path}");
    }
}

#[tokio::test]
async fn every_bad_signature_is_refused_alike_and_nothing_is_queued() {
    let system = System::start().await;
    let (body, secret, timestamp) = (event(), zoom::secret(&system), now(&system));
    let good = zoom_sim::sign(&secret, &timestamp, &body);
    let later = (system.app.now().as_second() + 60).to_string();
    let reserialised =
        serde_json::to_vec_pretty(&serde_json::from_slice::<Value>(&body).unwrap()).unwrap();
    let other = zoom_sim::sign("another secret", &timestamp, &body);
    let empty = zoom_sim::sign("", &timestamp, &body);
    let flipped = format!(
        "v0={}",
        if good.ends_with('0') {
            good[3..].replace('0', "1")
        } else {
            good[3..66].to_owned() + "0"
        }
    );
    let cases: [Case<'_>; 12] = [
        ("no headers", &body, None),
        ("another secret", &body, Some((&timestamp, &other))),
        ("the empty secret", &body, Some((&timestamp, &empty))),
        ("another digest", &body, Some((&timestamp, &flipped))),
        ("written again", &reserialised, Some((&timestamp, &good))),
        ("another time", &body, Some((&later, &good))),
        ("cut", &body, Some((&timestamp, &good[..60]))),
        ("longer", &body, Some((&timestamp, &format!("{good}00")))),
        ("without its prefix", &body, Some((&timestamp, &good[3..]))),
        ("empty headers", &body, Some(("", ""))),
        ("a time that is none", &body, Some(("now", &good))),
        ("no body", b"", Some((&timestamp, &good))),
    ];
    for path in ROUTES {
        for (case, body, headers) in &cases {
            for content_type in [JSON, "application/octet-stream"] {
                let status = zoom::post_with(&system, path, body, content_type, *headers).await;
                assert_eq!(status, 401, "{path}: {case}, as {content_type}");
            }
        }
    }
    assert_eq!(queued(&system).await, 0);
    // The signature that all of these were bent from is a good one.
    let status = zoom::post_with(&system, ROUTES[0], &body, JSON, Some((&timestamp, &good))).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn refusals_tell_a_forger_nothing() {
    let system = System::start().await;
    let mut answers = Vec::new();
    for (body, secret) in [
        (event(), "wrong"),
        (b"not json".to_vec(), "wrong"),
        (event(), ""),
    ] {
        let answer = zoom::ask(&system, ROUTES[0], &body, secret).await;
        answers.push((answer.status().as_u16(), answer.text().await.unwrap()));
    }
    assert!(
        answers.iter().all(|answer| *answer == (401, String::new())),
        "{answers:?}"
    );
}

#[tokio::test]
async fn five_minutes_either_side_are_fresh_and_a_second_more_is_stale() {
    let system = System::start().await;
    for path in ROUTES {
        for (seconds, expected) in [(-300, 200), (300, 200), (-301, 401), (301, 401)] {
            assert_eq!(
                post_dated(&system, path, seconds).await,
                expected,
                "{path} {seconds}"
            );
        }
    }
}

#[tokio::test]
async fn a_non_ascii_topic_verifies_over_the_raw_bytes() {
    let system = System::start().await;
    let topic = "Synthetic — été 🎥 \u{202e}\u{0000}";
    let mut body: Value = serde_json::from_slice(&event()).unwrap();
    body["payload"]["object"]["topic"] = json!(topic);
    let body = body.to_string().into_bytes();
    for path in ROUTES {
        assert_eq!(
            zoom::post(&system, path, &body, &zoom::secret(&system), 0).await,
            200
        );
    }
    let queue = &system.stack.config().queues.events;
    for message in store::peek(&system.stack, queue).await {
        let message: Value = serde_json::from_str(&message).unwrap();
        assert_eq!(message["event"]["payload"]["object"]["topic"], topic);
    }
}

#[tokio::test]
async fn a_body_that_arrives_base64_encoded_verifies_as_it_was_signed() {
    let system = System::start().await;
    let (body, timestamp) = (event(), now(&system));
    let signature = zoom_sim::sign(&zoom::secret(&system), &timestamp, &body);
    for path in ROUTES {
        // API Gateway hands over what is not text as base64.
        let headers = Some((timestamp.as_str(), signature.as_str()));
        assert_eq!(
            zoom::post_with(&system, path, &body, "application/octet-stream", headers).await,
            200
        );
    }
    assert_eq!(queued(&system).await, 2);
}

#[tokio::test]
async fn only_a_signed_body_is_told_that_it_is_no_event() {
    let system = System::start().await;
    let secret = zoom::secret(&system);
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
            assert_eq!(
                zoom::post(&system, path, body, &secret, 0).await,
                400,
                "{path} {shown}"
            );
            assert_eq!(
                zoom::post(&system, path, body, "wrong", 0).await,
                401,
                "{path} {shown}"
            );
        }
    }
    assert_eq!(queued(&system).await, 0);
}

#[tokio::test]
async fn unknown_events_are_acknowledged_and_not_kept() {
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
                zoom::post(&system, path, body.as_bytes(), &zoom::secret(&system), 0).await,
                200,
                "{name}"
            );
        }
    }
    assert_eq!(queued(&system).await, 0);
    assert!(store::objects(&system.stack, "").await.is_empty());
    assert!(
        store::items(&system.stack, &system.stack.config().tables.recordings)
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn what_zoom_could_resend_in_vain_is_never_answered_5xx() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let account = &system.zoom().users()[0].account_id.clone();
    let good: Value =
        serde_json::from_slice(&zoom::completed(account, ADA, "uuid==", &[])).unwrap();
    let bend = |pointer: &str, value: Value| {
        let mut event = good.clone();
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
    for pointer in [
        "/payload/account_id",
        "/payload/object/host_id",
        "/payload/object/uuid",
    ] {
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
        let status = zoom::post(
            &system,
            ROUTES[0],
            event.to_string().as_bytes(),
            &zoom::secret(&system),
            0,
        )
        .await;
        assert_eq!(status, 200, "{event}");
    }
    system.work().await;
    assert!(store::files(&system.stack).await.is_empty());
}

#[tokio::test]
async fn url_validation_is_answered_as_zoom_documents_it() {
    let system = System::start().await;
    store::turn_over(
        &system.stack,
        "ZoomSecretName",
        &zoom_secret("test-secret-token-000"),
    )
    .await;
    let body = br#"{"payload":{"plainToken":"synthPlainToken0000001"},"event_ts":1767225600123,"event":"endpoint.url_validation"}"#;
    for path in ROUTES {
        let answer = zoom::ask(&system, path, body, "test-secret-token-000").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(
            answer.json::<Value>().await.unwrap(),
            json!({
                "plainToken": "synthPlainToken0000001",
                "encryptedToken": "a2dd0d59791cec43a9f4f3d0af9f0e18aaac9f8d4179afbe2547e0e44c2245a8"
            })
        );
        let forged = zoom::ask(&system, path, body, "wrong").await;
        assert_eq!(
            forged.status(),
            401,
            "nobody else learns what the secret makes of a token"
        );
    }
    assert_eq!(queued(&system).await, 0);
}

#[tokio::test]
async fn the_simulator_accepts_both_endpoints() {
    let system = System::start().await;
    for target in [Target::Webhook, Target::Deauthorize] {
        let validation = system.zoom().validate(target).await;
        assert!(validation.ok, "{validation:?}");
    }
}

#[tokio::test]
async fn while_the_secret_turns_over_both_verify_and_validation_uses_the_one_that_signed() {
    let system = System::start().await;
    let (old, new) = (zoom::secret(&system), "the new secret");
    // The instance has read the old one by now.
    assert_eq!(zoom::post(&system, ROUTES[0], &event(), &old, 0).await, 200);
    store::turn_over(&system.stack, "ZoomSecretName", &zoom_secret(new)).await;
    let body = br#"{"payload":{"plainToken":"plain"},"event":"endpoint.url_validation"}"#;
    for secret in [new, &old, new] {
        assert_eq!(
            zoom::post(&system, ROUTES[0], &event(), secret, 0).await,
            200
        );
        let answer = zoom::ask(&system, ROUTES[0], body, secret)
            .await
            .json::<Value>()
            .await
            .unwrap();
        assert_eq!(
            answer["encryptedToken"],
            zoom_sim::hmac_hex(secret, &[b"plain"]),
            "{secret}"
        );
    }
    // Turned over once more, the oldest is dead as soon as the secret is read again.
    store::turn_over(&system.stack, "ZoomSecretName", &zoom_secret("the newest")).await;
    system.stack.advance(SignedDuration::from_mins(6));
    assert_eq!(zoom::post(&system, ROUTES[0], &event(), &old, 0).await, 401);
    for secret in [new, "the newest"] {
        assert_eq!(
            zoom::post(&system, ROUTES[0], &event(), secret, 0).await,
            200,
            "{secret}"
        );
    }
}

#[tokio::test]
async fn forgeries_make_the_secret_be_read_again_once_a_minute_at_most() {
    let system = System::start().await;
    assert_eq!(
        zoom::post(&system, ROUTES[0], &event(), &zoom::secret(&system), 0).await,
        200
    );
    let calls = count_calls(&system);
    let reads = || {
        calls
            .lock()
            .unwrap()
            .get(&(Service::SecretsManager, "GetSecretValue".to_owned()))
            .copied()
            .unwrap_or(0)
    };
    for _ in 0..20 {
        assert_eq!(
            zoom::post(&system, ROUTES[0], &event(), "forged", 0).await,
            401
        );
    }
    assert_eq!(reads(), 2, "both stages, once");
    system.stack.advance(SignedDuration::from_secs(61));
    assert_eq!(
        zoom::post(&system, ROUTES[0], &event(), "forged", 0).await,
        401
    );
    assert_eq!(reads(), 4);
}

#[tokio::test]
async fn an_unconfigured_secret_is_answered_503_and_verifies_nothing() {
    let system = System::start().await;
    let empty = json!({"client_id": "", "client_secret": "", "webhook_secret": ""}).to_string();
    // Twice, so that the previous version is empty as well.
    for _ in 0..2 {
        store::turn_over(&system.stack, "ZoomSecretName", &empty).await;
    }
    for path in ROUTES {
        for secret in ["", "SIMwebhookSecret000000"] {
            assert_eq!(
                zoom::post(&system, path, &event(), secret, 0).await,
                503,
                "{path} {secret:?}"
            );
        }
    }
    assert_eq!(queued(&system).await, 0);
}

#[tokio::test]
async fn an_unreadable_secret_is_answered_503_and_what_was_read_before_serves_on() {
    let system = System::start().await;
    let faults = system.stack.engines().faults();
    let refused = || Fault::error(400, "AccessDeniedException");
    faults.fail_until_cleared(Service::SecretsManager, "GetSecretValue", refused());
    assert_eq!(
        zoom::post(&system, ROUTES[0], &event(), &zoom::secret(&system), 0).await,
        503
    );
    faults.clear_all();
    assert_eq!(
        zoom::post(&system, ROUTES[0], &event(), &zoom::secret(&system), 0).await,
        200
    );
    faults.fail_until_cleared(Service::SecretsManager, "GetSecretValue", refused());
    system.stack.advance(SignedDuration::from_hours(1));
    assert_eq!(
        zoom::post(&system, ROUTES[0], &event(), &zoom::secret(&system), 0).await,
        200
    );
    // It may be one that we could not read: 401 would lose it for good.
    assert_eq!(
        zoom::post(&system, ROUTES[0], &event(), "turned over", 0).await,
        503
    );
}

#[tokio::test]
async fn when_sqs_refuses_zoom_is_told_so_and_its_retry_is_stored() {
    for fault in [
        Fault::error(503, "ServiceUnavailable"),
        Fault::error(400, "AccessDeniedException"),
        Fault::connection_cut(),
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
            .attempted(created.deliveries[0], 1)
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
            .attempted(created.deliveries[0], 2)
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
        .change_settings(|config| config.webhooks_on = false);
    let created = system
        .zoom()
        .create_recording(NewRecording::of(ADA))
        .unwrap();
    let dropped = system
        .zoom()
        .attempted(created.deliveries[0], 1)
        .await
        .unwrap();
    system
        .zoom()
        .change_settings(|config| config.webhooks_on = true);
    let mut event: Value = serde_json::from_str(&dropped.body).unwrap();
    event["payload"]["object"]["unknown_field"] = json!("x".repeat(250 * 1024));
    let id = system.zoom().send_raw(RawEvent {
        body: event.to_string(),
        ..RawEvent::default()
    });
    assert_eq!(
        system.zoom().attempted(id, 1).await.unwrap().state,
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
    system.zoom().attempted(id, 1).await;

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
