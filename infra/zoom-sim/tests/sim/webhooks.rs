use jiff::SignedDuration;
use reelay_zoom_sim::{
    DeliveryState, Forgery, NewFile, NewRecording, Progress, RawEvent, RecordingChange, Selection,
    Simulator, Target, UserChange,
};
use serde_json::Value;

use crate::receiver::{Arrived, Receiver};
use crate::{ADA, BEN, CEM, NORTHWIND, sim, sim_with};

/// Checks that `keys` occur in the body in this order.
fn in_order(body: &str, keys: &[&str]) {
    let mut at = 0;
    for key in keys {
        let found = body[at..]
            .find(&format!("\"{key}\":"))
            .unwrap_or_else(|| panic!("{key} after {at} in {body}"));
        at += found + key.len();
    }
}

async fn created(sim: &Simulator, receiver: &Receiver, new: NewRecording) -> (String, Arrived) {
    let created = sim.control().create_recording(new).expect("created");
    sim.control().wait_until_settled().await;
    (created.recording.key, receiver.last())
}

#[tokio::test]
async fn completed_looks_and_is_signed_like_zooms() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let new = NewRecording {
        topic: Some("Synthetic — été 会議".into()),
        participant_audio: 2,
        timezone: Some(String::new()),
        ..NewRecording::of(BEN)
    };
    let (_, event) = created(&sim, &receiver, new).await;
    assert!(event.is_signed());
    assert_eq!(
        event.header("content-type"),
        "application/json; charset=utf-8"
    );
    assert_eq!(event.header("user-agent"), "Zoom Marketplace/1.0a");
    assert_eq!(event.header("x-zm-request-timestamp").len(), 10);
    assert_eq!(
        event
            .header("x-zm-request-id")
            .split('_')
            .map(str::len)
            .collect::<Vec<_>>(),
        [8, 4, 4, 4, 12]
    );
    assert!(event.header("x-zm-trackingid").starts_with("v=2.0;clid="));
    assert!(
        event.header("traceparent").starts_with("00-")
            && event.header("traceparent").ends_with("-02")
    );
    assert_eq!(event.header("clientid"), "SIMclientID0000000000");

    let text = event.text();
    assert!(text.starts_with("{\"payload\":") && text.contains("Synthetic — été 会議"));
    in_order(
        &text,
        &[
            "payload",
            "account_id",
            "object",
            "uuid",
            "id",
            "account_id",
            "host_id",
            "topic",
            "type",
            "start_time",
            "timezone",
            "host_email",
            "duration",
            "total_size",
            "recording_count",
            "share_url",
            "recording_files",
            "id",
            "meeting_id",
            "recording_start",
            "recording_end",
            "file_type",
            "file_extension",
            "file_size",
            "play_url",
            "download_url",
            "status",
            "recording_type",
            "participant_audio_files",
            "file_name",
            "password",
            "recording_play_passcode",
            "on_prem",
            "event_ts",
            "event",
            "download_token",
        ],
    );
    let body = event.json();
    let object = &body["payload"]["object"];
    assert_eq!(
        (&body["payload"]["account_id"], &object["host_id"]),
        (&NORTHWIND.into(), &BEN.into())
    );
    assert!(
        object["id"].is_u64()
            && body["event_ts"]
                .as_i64()
                .is_some_and(|millis| millis > 1_700_000_000_000)
    );
    assert_eq!(object["recording_files"][0]["meeting_id"], object["uuid"]);
    assert_eq!(object["recording_count"], 6);
    let sizes = object["recording_files"]
        .as_array()
        .into_iter()
        .chain(object["participant_audio_files"].as_array())
        .flatten();
    assert_eq!(
        object["total_size"],
        sizes
            .filter_map(|file| file["file_size"].as_u64())
            .sum::<u64>()
    );
    let claims: Vec<&str> = body["download_token"]
        .as_str()
        .expect("token")
        .split('.')
        .collect();
    assert_eq!(claims.len(), 3);
}

#[tokio::test]
async fn segments_come_together_or_apart() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let files = vec![
        NewFile {
            id: Some("given".into()),
            ..NewFile::new("MP4", 10)
        },
        NewFile::new("M4A", 5),
    ];
    let (_, event) = created(
        &sim,
        &receiver,
        NewRecording {
            segments: 3,
            ..NewRecording::of(ADA).with_files(files.clone())
        },
    )
    .await;
    let list = event.json()["payload"]["object"]["recording_files"]
        .as_array()
        .expect("list")
        .clone();
    assert_eq!(list.len(), 6);
    assert_eq!(list.iter().filter(|file| file["id"] == "given").count(), 1);
    assert_eq!(list[0]["recording_end"], list[2]["recording_start"]);

    created(
        &sim,
        &receiver,
        NewRecording {
            segments: 2,
            event_per_segment: true,
            ..NewRecording::of(ADA).with_files(files)
        },
    )
    .await;
    let apart: Vec<Value> = receiver.all()[1..].iter().map(Arrived::json).collect();
    assert_eq!(apart.len(), 2);
    assert_eq!(
        apart[0]["payload"]["object"]["uuid"],
        apart[1]["payload"]["object"]["uuid"]
    );
    assert!(
        apart
            .iter()
            .all(|event| event["payload"]["object"]["recording_count"] == 2)
    );
}

#[tokio::test]
async fn retries_are_signed_anew_and_keep_body_and_id() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    receiver.answer_with(&[500, 503, 502, 201]);
    let id = sim
        .control()
        .create_recording(NewRecording::of(ADA))
        .expect("created")
        .deliveries[0];
    for (number, minutes) in [(1, 5), (2, 20), (3, 60)] {
        let delivery = sim
            .control()
            .wait_for_attempts(id, number)
            .await
            .expect("known");
        let attempt = &delivery.attempts[number - 1];
        let wait = attempt
            .retry_at
            .expect("a retry")
            .duration_since(attempt.at);
        let due = SignedDuration::from_mins(minutes);
        assert!(
            wait >= due && wait < due + SignedDuration::from_secs(5),
            "{wait}"
        );
        assert_eq!(receiver.all().len(), number);
        sim.control()
            .clock()
            .advance(due + SignedDuration::from_secs(1));
    }
    let delivery = sim.control().wait_for_attempts(id, 4).await.expect("known");
    assert_eq!(
        delivery.state,
        DeliveryState::Delivered,
        "201 counts on a retry"
    );
    let all = receiver.all();
    assert_eq!(all.len(), 4);
    for pair in all.windows(2) {
        assert_eq!(pair[0].body, pair[1].body);
        assert_eq!(
            pair[0].header("x-zm-request-id"),
            pair[1].header("x-zm-request-id")
        );
        assert_ne!(
            pair[0].header("x-zm-request-timestamp"),
            pair[1].header("x-zm-request-timestamp")
        );
        assert_ne!(
            pair[0].header("x-zm-signature"),
            pair[1].header("x-zm-signature")
        );
        assert_ne!(
            pair[0].header("x-zm-trackingid"),
            pair[1].header("x-zm-trackingid")
        );
    }
    assert!(all.iter().all(Arrived::is_signed));
}

#[tokio::test]
async fn what_zoom_does_not_retry() {
    let sim = sim_with(|config| config.retry_scale = 0.0).await;
    let receiver = Receiver::of(&sim).await;
    for (answer, state, attempts) in [
        (204, DeliveryState::Delivered, 1),
        (201, DeliveryState::Failed, 1),
        (302, DeliveryState::Failed, 1),
        (401, DeliveryState::Failed, 1),
        (404, DeliveryState::Failed, 1),
        (429, DeliveryState::Failed, 1),
    ] {
        receiver.answer_with(&[answer]);
        let id = sim.control().send_raw(RawEvent {
            body: "{\"event\":\"some.event\"}".into(),
            ..RawEvent::default()
        });
        sim.control().wait_until_settled().await;
        let delivery = sim.control().delivery(id).expect("known");
        assert_eq!(
            (delivery.state, delivery.attempts.len()),
            (state, attempts),
            "{answer}"
        );
    }
    receiver.answer_with(&[500; 4]);
    let id = sim.control().send_raw(RawEvent {
        body: "{\"event\":\"some.event\"}".into(),
        ..RawEvent::default()
    });
    sim.control().wait_until_settled().await;
    let delivery = sim.control().delivery(id).expect("known");
    assert_eq!(
        (delivery.state, delivery.attempts.len()),
        (DeliveryState::Failed, 4)
    );

    sim.control().set_webhook_url("http://127.0.0.1:9/nobody");
    let id = sim.control().send_raw(RawEvent {
        body: "{}".into(),
        ..RawEvent::default()
    });
    sim.control().wait_until_settled().await;
    let delivery = sim.control().delivery(id).expect("known");
    assert_eq!(
        (
            delivery.attempts.len(),
            delivery.attempts[0].error.as_deref()
        ),
        (4, Some("no connection"))
    );
}

#[tokio::test]
async fn switched_off_means_dropped() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    sim.control()
        .change_settings(|config| config.webhooks_enabled = false);
    let id = sim
        .control()
        .create_recording(NewRecording::of(ADA))
        .expect("created")
        .deliveries[0];
    sim.control().wait_until_settled().await;
    assert_eq!(
        sim.control().delivery(id).map(|delivery| delivery.state),
        Some(DeliveryState::Dropped)
    );
    assert!(receiver.all().is_empty());
}

#[tokio::test]
async fn twins_differ_in_urls_and_token_alone() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let (key, first) = created(&sim, &receiver, NewRecording::of(ADA)).await;
    sim.control().advance(2);
    sim.control().complete(&key).expect("known");
    sim.control().wait_until_settled().await;
    let (first, twin) = (first.json(), receiver.last().json());
    assert_ne!(first["download_token"], twin["download_token"]);
    let ids = |event: &Value| -> Vec<Value> {
        event["payload"]["object"]["recording_files"]
            .as_array()
            .expect("list")
            .iter()
            .map(|file| file["id"].clone())
            .collect()
    };
    let url =
        |event: &Value| event["payload"]["object"]["recording_files"][0]["download_url"].clone();
    assert_eq!(ids(&first), ids(&twin));
    assert_ne!(url(&first), url(&twin));

    sim.control().duplicate(1, true).expect("known");
    sim.control().wait_until_settled().await;
    let all = receiver.all();
    assert_eq!(all[2].body, all[0].body);
    assert_eq!(
        all[2].header("x-zm-request-id"),
        all[0].header("x-zm-request-id")
    );
    sim.control().duplicate(1, false).expect("known");
    sim.control().wait_until_settled().await;
    assert_ne!(
        receiver.last().header("x-zm-request-id"),
        all[0].header("x-zm-request-id")
    );
}

#[tokio::test]
async fn progress_and_late_transcripts() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let control = sim.control();
    let new = NewRecording {
        processing: true,
        ..NewRecording::of(ADA)
    };
    let key = control
        .create_recording(new)
        .expect("created")
        .recording
        .key;
    for (progress, name, ended) in [
        (Progress::Started, "recording.started", false),
        (Progress::Paused, "recording.paused", true),
        (Progress::Resumed, "recording.resumed", false),
        (Progress::Stopped, "recording.stopped", true),
    ] {
        control.progress(&key, progress).expect("known");
        control.wait_until_settled().await;
        let event = receiver.last();
        in_order(
            &event.text(),
            &[
                "event",
                "payload",
                "account_id",
                "object",
                "uuid",
                "id",
                "host_id",
                "topic",
                "duration",
                "recording_file",
                "recording_start",
                "recording_end",
                "event_ts",
            ],
        );
        let body = event.json();
        assert_eq!(body["event"], name);
        assert_eq!(
            body["payload"]["object"]["recording_file"]["recording_end"].is_string(),
            ended
        );
        assert!(
            body.get("download_token").is_none()
                && body["payload"]["object"].get("host_email").is_none()
        );
    }
    control.complete(&key).expect("known");
    control.add_transcript(&key, None).expect("known");
    control.wait_until_settled().await;
    let event = receiver
        .all()
        .into_iter()
        .find(|event| event.json()["event"] == "recording.transcript_completed")
        .expect("sent");
    in_order(
        &event.text(),
        &[
            "event",
            "event_ts",
            "download_token",
            "payload",
            "object",
            "id",
            "uuid",
            "host_id",
            "account_id",
            "host_email",
            "recording_files",
            "file_size",
            "file_extension",
            "recording_type",
        ],
    );
    let files = event.json()["payload"]["object"]["recording_files"].clone();
    assert_eq!(
        (
            files.as_array().map(Vec::len),
            &files[0]["recording_type"],
            &files[0]["file_extension"]
        ),
        (Some(1), &"audio_transcript".into(), &"VTT".into())
    );
    assert_eq!(control.recording(&key).expect("known").files.len(), 5);
}

#[tokio::test]
async fn renaming_trashing_and_batches() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let control = sim.control();
    let (key, _) = created(&sim, &receiver, NewRecording::of(ADA)).await;
    let (second, _) = created(&sim, &receiver, NewRecording::of(BEN)).await;
    let by_ben = Selection {
        operator_id: Some(BEN.into()),
        ..Selection::default()
    };

    control.rename(&key, "New topic", &by_ben).expect("known");
    control.wait_until_settled().await;
    let event = receiver.last();
    in_order(
        &event.text(),
        &[
            "event",
            "event_ts",
            "payload",
            "account_id",
            "operator",
            "operator_id",
            "time_stamp",
            "object",
            "old_object",
        ],
    );
    let payload = event.json()["payload"].clone();
    assert_eq!(
        (
            &payload["operator_id"],
            &payload["object"]["topic"],
            &payload["old_object"]["topic"]
        ),
        (&BEN.into(), &"New topic".into(), &"Weekly sync".into())
    );

    for (disposal, name, token) in [
        (RecordingChange::Trash, "recording.trashed", true),
        (RecordingChange::Recover, "recording.recovered", true),
        (RecordingChange::Delete, "recording.deleted", false),
    ] {
        control
            .change_recording(&key, disposal, &by_ben)
            .expect("known");
        control.wait_until_settled().await;
        let body = receiver.last().json();
        assert_eq!(
            (&body["event"], body.get("download_token").is_some()),
            (&name.into(), token)
        );
        let object = &body["payload"]["object"];
        assert_eq!(object["recording_files"].as_array().map(Vec::len), Some(4));
        for absent in ["on_prem", "recording_play_passcode", "password"] {
            assert!(object.get(absent).is_none(), "{absent}");
        }
    }

    let both = [key.clone(), second.clone()];
    control
        .change_recordings(&both, RecordingChange::Trash)
        .expect("one account");
    control.wait_until_settled().await;
    let trashed = receiver.last().json();
    assert_eq!(
        (&trashed["event"], &trashed["payload"]["operation"]),
        (
            &"recording.batch_trashed".into(),
            &"trash_user_recordings".into()
        )
    );
    assert_eq!(
        trashed["payload"]["object"]["meeting_uuids"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    assert!(!receiver.last().text().contains("host_id"));
    control
        .change_recordings(&both, RecordingChange::Delete)
        .expect("one account");
    control.wait_until_settled().await;
    let deleted = receiver.last().json();
    assert_eq!(deleted["event"], "recording.batch_deleted");
    assert_eq!(
        deleted["payload"]["object"]["meetings"][0]["recording_file_ids"]
            .as_array()
            .map(Vec::len),
        Some(4)
    );

    let (elsewhere, _) = created(&sim, &receiver, NewRecording::of(CEM)).await;
    assert!(
        control
            .change_recordings(&[key, elsewhere], RecordingChange::Trash)
            .is_err()
    );
}

#[tokio::test]
async fn leaving_the_app_and_the_account() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let control = sim.control();
    control.authorize(ADA).expect("user");
    control.deauthorize(ADA).expect("user");
    control.wait_until_settled().await;
    let event = receiver.last();
    in_order(
        &event.text(),
        &[
            "event",
            "event_ts",
            "payload",
            "account_id",
            "user_id",
            "signature",
            "deauthorization_time",
            "client_id",
        ],
    );
    assert!(event.is_signed() && control.live_grant(ADA).is_none());

    control.authorize(BEN).expect("user");
    control.send_deauthorized_event(BEN).expect("user");
    control.wait_until_settled().await;
    assert_eq!(receiver.last().json()["payload"]["user_id"], BEN);
    assert!(control.live_grant(BEN).is_some(), "only said so");

    control
        .send_user_event(BEN, UserChange::Deactivated)
        .expect("user");
    control.wait_until_settled().await;
    let body = receiver.last().json();
    assert_eq!(
        (&body["event"], &body["payload"]["object"]["id"]),
        (&"user.deactivated".into(), &BEN.into())
    );
}

#[tokio::test]
async fn endpoints_are_validated() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let good = sim.control().validate(Target::Webhook).await;
    assert!(good.ok, "{good:?}");
    assert!(receiver.last().is_signed());
    in_order(
        &receiver.last().text(),
        &["payload", "plainToken", "event_ts", "event"],
    );
    receiver.answer_with(&[204]);
    let bad = sim.control().validate(Target::Webhook).await;
    assert_eq!((bad.ok, bad.status), (false, Some(204)));
    sim.control()
        .change_settings(|config| config.webhook_secret = "another".into());
    let bad = sim.control().validate(Target::Deauthorize).await;
    assert_eq!(bad.reason.as_deref(), Some("encryptedToken is wrong"));
}

#[tokio::test]
async fn forgeries_can_be_sent() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let send = async |forgery: Forgery| {
        let id = sim.control().send_raw(RawEvent {
            body: "{\"event\":\"x\"}".into(),
            forgery,
            ..RawEvent::default()
        });
        sim.control().wait_for_attempts(id, 1).await;
        receiver.last()
    };
    assert!(send(Forgery::default()).await.is_signed());
    assert!(
        !send(Forgery {
            secret: Some("guess".into()),
            ..Forgery::default()
        })
        .await
        .is_signed()
    );
    assert_eq!(
        send(Forgery {
            unsigned: true,
            ..Forgery::default()
        })
        .await
        .header("x-zm-signature"),
        ""
    );
    let old = send(Forgery {
        timestamp_skew_seconds: -301,
        ..Forgery::default()
    })
    .await;
    let age = sim.control().clock().now().as_second()
        - old
            .header("x-zm-request-timestamp")
            .parse::<i64>()
            .expect("seconds");
    assert!(old.is_signed() && age >= 301);
}
