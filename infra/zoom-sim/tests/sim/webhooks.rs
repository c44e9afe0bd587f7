use jiff::SignedDuration;
use reelay_zoom_sim::{
    DeliveryState, NewFile, NewRecording, RawEvent, RecordingChange, Selection, Simulator, Target,
};
use serde_json::Value;

use crate::receiver::{Event, Receiver};
use crate::{ADA, BEN, CEM, NORTHWIND, list, sim, sim_with};

const FILE_KEYS: &str = "id meeting_id recording_start recording_end file_type file_extension file_size play_url \
                         download_url status recording_type";

/// Creates a recording. Returns its key and the last event about it.
async fn complete(sim: &Simulator, receiver: &Receiver, new: NewRecording) -> (String, Event) {
    let created = sim.control().create_recording(new).expect("created");
    sim.control().wait_until_settled().await;
    (created.recording.key, receiver.last())
}

fn raw(body: &str) -> RawEvent {
    RawEvent { body: body.into(), ..RawEvent::default() }
}

#[tokio::test]
async fn completed_looks_like_zooms() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let new = NewRecording {
        topic: Some("Synthetic — été 会議".into()),
        participant_audio: 2,
        timezone: Some(String::new()),
        ..NewRecording::of(BEN)
    };
    let (_, event) = complete(&sim, &receiver, new).await;
    assert!(event.is_signed());
    for (name, value) in [
        ("content-type", "application/json; charset=utf-8"),
        ("user-agent", "Zoom Marketplace/1.0a"),
        ("clientid", "SIMclientID0000000000"),
    ] {
        assert_eq!(event.header(name), value);
    }
    assert_eq!(event.header("x-zm-request-timestamp").len(), 10);
    let groups = event.header("x-zm-request-id").split('_').map(str::len);
    assert_eq!(groups.collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    assert!(event.header("x-zm-trackingid").starts_with("v=2.0;clid="));
    assert!(event.header("traceparent").ends_with("-02"));

    let keys = "payload account_id object uuid id account_id host_id topic type start_time timezone host_email \
                duration total_size recording_count share_url recording_files";
    event.assert_key_order(&format!(
        "{keys} {FILE_KEYS} participant_audio_files file_name password recording_play_passcode on_prem \
         event_ts event download_token"
    ));
    let body = event.json();
    let object = &body["payload"]["object"];
    assert_eq!(body["payload"]["account_id"], NORTHWIND);
    assert_eq!(object["host_id"], BEN);
    assert_eq!(object["topic"], "Synthetic — été 会議");
    assert!(object["id"].is_u64());
    let milliseconds = body["event_ts"].as_i64();
    assert!(milliseconds.is_some_and(|time| time > 1_700_000_000_000));
    let files = list(&object["recording_files"]);
    let audio = list(&object["participant_audio_files"]);
    assert_eq!(files[0]["meeting_id"], object["uuid"]);
    assert_eq!(object["recording_count"], 6);
    let sizes = files.iter().chain(audio).map(|file| file["file_size"].as_u64());
    assert_eq!(object["total_size"].as_u64(), sizes.sum());
}

#[tokio::test]
async fn segments_share_an_event_or_have_their_own() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let given = NewFile { id: Some("given".into()), ..NewFile::new("MP4", 10) };
    let new = NewRecording::of(ADA).with_files(vec![given, NewFile::new("M4A", 5)]);
    let together = NewRecording { segments: 3, ..new.clone() };
    let (_, event) = complete(&sim, &receiver, together).await;
    let body = event.json();
    let files = list(&body["payload"]["object"]["recording_files"]);
    assert_eq!(files.len(), 6);
    let with_given_id = files.iter().filter(|file| file["id"] == "given");
    assert_eq!(with_given_id.count(), 1);
    assert_eq!(files[0]["recording_end"], files[2]["recording_start"]);

    let apart = NewRecording { segments: 2, event_per_segment: true, ..new };
    complete(&sim, &receiver, apart).await;
    let events = receiver.all();
    let [first, second] = &events[1..] else { panic!("two events") };
    let object = |event: &Event| event.json()["payload"]["object"].clone();
    assert_eq!(object(first)["uuid"], object(second)["uuid"]);
    assert_eq!(object(first)["recording_count"], 2);
    assert_eq!(object(second)["recording_count"], 2);
}

#[tokio::test]
async fn retry_keeps_body_and_request_id() {
    let sim = sim().await;
    let control = sim.control();
    let receiver = Receiver::of(&sim).await;
    receiver.respond_with(&[500, 503, 502, 201]);
    let created = control.create_recording(NewRecording::of(ADA));
    let id = created.expect("created").deliveries[0];
    for (number, minutes) in [(1, 5), (2, 20), (3, 60)] {
        let delivery = control.wait_for_attempts(id, number).await;
        let attempt = &delivery.expect("delivery").attempts[number - 1];
        let delay = attempt.retry_at.expect("a retry").duration_since(attempt.at);
        let due = SignedDuration::from_mins(minutes);
        let tolerance = SignedDuration::from_secs(5);
        assert!(delay >= due && delay < due + tolerance, "{delay}");
        assert_eq!(receiver.all().len(), number);
        control.clock().advance(due + SignedDuration::from_secs(1));
    }
    let delivery = control.wait_for_attempts(id, 4).await.expect("delivery");
    assert_eq!(delivery.state, DeliveryState::Delivered, "201 to a retry");
    let events = receiver.all();
    assert_eq!(events.len(), 4);
    assert!(events.iter().all(Event::is_signed));
    for pair in events.windows(2) {
        assert_eq!(pair[0].body, pair[1].body);
        let headers = |name| (pair[0].header(name), pair[1].header(name));
        let (first, second) = headers("x-zm-request-id");
        assert_eq!(first, second);
        for name in ["x-zm-request-timestamp", "x-zm-signature", "x-zm-trackingid"] {
            let (first, second) = headers(name);
            assert_ne!(first, second, "{name}");
        }
    }
}

#[tokio::test]
async fn only_server_errors_are_retried() {
    let sim = sim_with(|config| config.retry_scale = 0.0).await;
    let control = sim.control();
    let receiver = Receiver::of(&sim).await;
    for (statuses, state, attempts) in [
        (&[204][..], DeliveryState::Delivered, 1),
        (&[201], DeliveryState::Failed, 1),
        (&[302], DeliveryState::Failed, 1),
        (&[404], DeliveryState::Failed, 1),
        (&[429], DeliveryState::Failed, 1),
        (&[500; 4], DeliveryState::Failed, 4),
    ] {
        receiver.respond_with(statuses);
        let id = control.send_raw(raw("{}"));
        control.wait_until_settled().await;
        let delivery = control.delivery(id).expect("delivery");
        assert_eq!((delivery.state, delivery.attempts.len()), (state, attempts), "{statuses:?}");
    }
    control.set_webhook_url("http://127.0.0.1:9/closed");
    let id = control.send_raw(raw("{}"));
    control.wait_until_settled().await;
    let attempts = control.delivery(id).expect("delivery").attempts;
    assert_eq!(attempts.len(), 4);
    assert_eq!(attempts[0].error.as_deref(), Some("no connection"));
}

#[tokio::test]
async fn disabled_webhooks_drop_events() {
    let sim = sim_with(|config| config.webhooks_enabled = false).await;
    let receiver = Receiver::of(&sim).await;
    let id = sim.control().send_raw(raw("{}"));
    sim.control().wait_until_settled().await;
    let delivery = sim.control().delivery(id).expect("delivery");
    assert_eq!(delivery.state, DeliveryState::Dropped);
    assert!(receiver.all().is_empty());
}

#[tokio::test]
async fn second_completed_has_other_urls_and_token() {
    let sim = sim().await;
    let control = sim.control();
    let receiver = Receiver::of(&sim).await;
    let (key, first) = complete(&sim, &receiver, NewRecording::of(ADA)).await;
    control.advance(2);
    control.complete(&key).expect("recording");
    control.wait_until_settled().await;
    let (one, two) = (first.json(), receiver.last().json());
    assert_ne!(one["download_token"], two["download_token"]);
    let all = |event: &Value, key: &str| -> Vec<Value> {
        let files = list(&event["payload"]["object"]["recording_files"]);
        files.iter().map(|file| file[key].clone()).collect()
    };
    assert_eq!(all(&one, "id"), all(&two, "id"));
    assert_ne!(all(&one, "download_url"), all(&two, "download_url"));

    for same_request_id in [true, false] {
        control.duplicate(1, same_request_id).expect("delivery");
        control.wait_until_settled().await;
        let last = receiver.last();
        assert_eq!(last.body, first.body);
        let id = |event: &Event| event.header("x-zm-request-id").to_owned();
        assert_eq!(id(&last) == id(&first), same_request_id);
    }
}

#[tokio::test]
async fn transcript_completed_names_the_new_file() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let (key, _) = complete(&sim, &receiver, NewRecording::of(ADA)).await;
    let created = sim.control().add_transcript(&key, None).expect("recording");
    assert_eq!(created.recording.files.len(), 5);
    sim.control().wait_until_settled().await;
    let event = receiver.last();
    event.assert_key_order(
        "event event_ts download_token payload object id uuid host_id account_id host_email \
         recording_files file_size file_extension recording_type",
    );
    let body = event.json();
    assert_eq!(body["event"], "recording.transcript_completed");
    let files = list(&body["payload"]["object"]["recording_files"]);
    assert_eq!(files.len(), 1);
    assert_eq!(files[0]["recording_type"], "audio_transcript");
    assert_eq!(files[0]["file_extension"], "VTT");
}

#[tokio::test]
async fn changes_send_their_events() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let control = sim.control();
    let (key, _) = complete(&sim, &receiver, NewRecording::of(ADA)).await;
    let by_ben = Selection { operator_id: Some(BEN.into()), ..Selection::default() };
    control.rename(&key, "New topic", &by_ben).expect("recording");
    control.wait_until_settled().await;
    let event = receiver.last();
    event.assert_key_order(
        "event event_ts payload account_id operator operator_id time_stamp object old_object",
    );
    let payload = event.json()["payload"].clone();
    assert_eq!(payload["operator_id"], BEN);
    assert_eq!(payload["object"]["topic"], "New topic");
    assert_eq!(payload["old_object"]["topic"], "Weekly sync");

    for (change, name, has_token) in [
        (RecordingChange::Trash, "recording.trashed", true),
        (RecordingChange::Recover, "recording.recovered", true),
        (RecordingChange::Delete, "recording.deleted", false),
    ] {
        control.change_recording(&key, change, &by_ben).expect("recording");
        control.wait_until_settled().await;
        let body = receiver.last().json();
        assert_eq!(body["event"], name);
        assert_eq!(body.get("download_token").is_some(), has_token);
        let object = &body["payload"]["object"];
        assert_eq!(list(&object["recording_files"]).len(), 4);
        for absent in ["on_prem", "recording_play_passcode", "password"] {
            assert!(object.get(absent).is_none(), "{absent}");
        }
    }
}

#[tokio::test]
async fn batch_names_no_host() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let control = sim.control();
    let mut keys = Vec::new();
    for host in [ADA, BEN, CEM] {
        keys.push(complete(&sim, &receiver, NewRecording::of(host)).await.0);
    }
    let change = |keys: &[String], change| control.change_recordings(keys, change);
    for (of, name, meetings) in [
        (RecordingChange::Trash, "recording.batch_trashed", "meeting_uuids"),
        (RecordingChange::Delete, "recording.batch_deleted", "meetings"),
    ] {
        change(&keys[..2], of).expect("one account");
        control.wait_until_settled().await;
        let body = receiver.last().json();
        assert_eq!(body["event"], name);
        assert_eq!(list(&body["payload"]["object"][meetings]).len(), 2);
        assert!(!body.to_string().contains("host_id"));
        let operation = &body["payload"]["operation"];
        assert_eq!(operation == "trash_user_recordings", of == RecordingChange::Trash);
    }
    let body = receiver.last().json();
    let files = &body["payload"]["object"]["meetings"][0]["recording_file_ids"];
    assert_eq!(list(files).len(), 4);
    assert!(change(&keys, RecordingChange::Trash).is_err(), "two accounts");
}

#[tokio::test]
async fn deauthorization_ends_the_grant() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let control = sim.control();
    control.authorize(ADA).expect("user");
    control.deauthorize(ADA).expect("user");
    control.wait_until_settled().await;
    let event = receiver.last();
    event.assert_key_order(
        "event event_ts payload account_id user_id signature deauthorization_time client_id",
    );
    assert!(event.is_signed() && control.live_grant(ADA).is_none());

    control.authorize(BEN).expect("user");
    control.send_deauthorized_event(BEN).expect("user");
    control.wait_until_settled().await;
    assert_eq!(receiver.last().json()["payload"]["user_id"], BEN);
    assert!(control.live_grant(BEN).is_some(), "the event alone");
}

#[tokio::test]
async fn validation_checks_the_response() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let valid = sim.control().validate(Target::Webhook).await;
    assert!(valid.ok, "{valid:?}");
    assert!(receiver.last().is_signed());
    let event = receiver.last();
    event.assert_key_order("payload plainToken event_ts event");
    receiver.respond_with(&[204]);
    let empty = sim.control().validate(Target::Webhook).await;
    assert_eq!((empty.ok, empty.status), (false, Some(204)));
    let change = |config: &mut reelay_zoom_sim::Config| config.webhook_secret = "another".into();
    sim.control().change_settings(change);
    let wrong = sim.control().validate(Target::Deauthorize).await;
    assert_eq!(wrong.reason.as_deref(), Some("encryptedToken is wrong"));
}
