//! Events as they were seen in the field: odd values, missing times, changes before the recording.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use reelay_embedded_aws::Service;
use reelay_zoom_sim::{
    ErrorForm, Fault, NewFault, NewFile, NewRecording, Point, Recording, RecordingChange, Selection,
};
use serde_json::{Value, json};
use support::recordings::{folder, recording_path};
use support::zoom_users::ADA;
use support::{MIB, SDK_ATTEMPTS, System};

use super::{counts, kinds, linked, of_ada, three};

/// A recording that the simulator lists, and whose event is not sent.
pub(super) fn silent(system: &System, new: NewRecording) -> Recording {
    let new = NewRecording { silent: true, ..new };
    system.zoom().create_recording(new).unwrap().recording
}

/// Its `recording.completed`, without URLs and token: the files come from Zoom's API.
pub(crate) fn completed(system: &System, recording: &Recording) -> Value {
    let files = recording.files.iter().map(|file| {
        json!({
            "id": file.id, "file_type": file.file_type, "file_extension": file.file_extension,
            "file_size": file.declared_size, "recording_type": file.recording_type,
            "status": "completed", "recording_start": file.recording_start,
            "recording_end": file.recording_end,
        })
    });
    json!({
        "event": "recording.completed",
        "event_ts": system.app.now().as_millisecond(),
        "payload": {
            "account_id": recording.account_id,
            "object": {
                "uuid": recording.uuid, "id": recording.meeting_id, "type": 2,
                "account_id": recording.account_id, "host_id": recording.host_id,
                "topic": recording.topic, "start_time": recording.start_time,
                "timezone": recording.timezone, "duration": recording.duration_minutes,
                "recording_files": files.collect::<Vec<_>>(),
            },
        },
    })
}

/// Posts a signed body and processes what follows.
pub(crate) async fn post(system: &System, body: impl ToString) {
    let (body, secret) = (body.to_string(), system.webhook_secret());
    assert_eq!(system.post_event("/zoom/webhook", body.as_bytes(), &secret).await, 200, "{body}");
    system.process_queues().await;
}

/// An event about a change of the recording.
pub(crate) fn change(name: &str, recording: &Recording, object: Value) -> Value {
    let mut event = json!({
        "event": format!("recording.{name}"),
        "payload": {"account_id": recording.account_id, "object": {"uuid": recording.uuid}},
    });
    let fields = event["payload"]["object"].as_object_mut().unwrap();
    fields.extend(object.as_object().unwrap().clone());
    event
}

#[tokio::test]
async fn odd_values_cost_only_themselves() {
    let system = linked().await;
    let numeric = NewFile { id: Some("4815162342".into()), ..NewFile::new("MP4", 1_000) };
    for (case, pointer, value) in [
        ("null among the files", "/payload/object/recording_files/1", json!(null)),
        ("numeric id", "/payload/object/recording_files/0/id", json!(4_815_162_342_u64)),
        ("no time", "/event_ts", json!(null)),
        ("time as a text", "/event_ts", json!("2024-09-08 15:58:40")),
        ("empty time zone", "/payload/object/timezone", json!("")),
        ("no extension", "/payload/object/recording_files/0/file_extension", json!(null)),
        ("unknown status", "/payload/object/recording_files/0/status", json!("brand_new")),
        ("size 0", "/payload/object/recording_files/0/file_size", json!(0)),
        ("topic of another kind", "/payload/object/topic", json!({"a": [1]})),
    ] {
        let mut new = of_ada(vec![numeric.clone(), NewFile::new("CHAT", 100)]);
        new.uuid = Some(format!("{}==", case.replace(' ', "-")));
        let recording = silent(&system, new);
        let mut event = completed(&system, &recording);
        *event.pointer_mut(pointer).unwrap() = value;
        post(&system, event).await;
        let seen = system.view("alice", &recording).await;
        assert_eq!(seen["status"], "stored", "{case}: {seen}");
        assert!(
            seen["files"].as_array().unwrap().iter().any(|file| file["id"] == "4815162342"),
            "{case}: {seen}"
        );
    }
    assert_eq!(system.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn event_that_strict_json_rejects_is_processed() {
    let system = linked().await;
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    for (case, odd) in [
        ("surrogate", r#""topic":"\ud83d lone","x":0"#.to_owned()),
        ("number", r#""topic":"t","x":1e999"#.to_owned()),
        ("nesting", format!(r#""topic":"t","x":{deep}"#)),
    ] {
        let mut new = of_ada(three());
        new.uuid = Some(format!("{case}=="));
        let recording = silent(&system, new);
        let mut event = completed(&system, &recording);
        event["payload"]["object"]["topic"] = json!("REPLACED");
        post(&system, event.to_string().replace(r#""topic":"REPLACED""#, &odd)).await;
        let seen = system.view("alice", &recording).await;
        assert_eq!(seen["status"], "stored", "{case}: {seen}");
    }
}

#[tokio::test]
async fn unknown_duration_is_taken_from_the_files() {
    let system = System::with(&[("MinimumMinutes", "5")]).await;
    system.link("alice", ADA).await;
    let recording = silent(&system, of_ada(three()));
    let mut event = completed(&system, &recording);
    event["payload"]["object"]["duration"] = json!(0);
    post(&system, event).await;
    let seen = system.view("alice", &recording).await;
    assert_eq!((&seen["status"], &seen["duration_minutes"]), (&json!("stored"), &json!(30)));

    // Too short, until a newer event corrects it.
    let short = silent(&system, of_ada(three()));
    let mut event = completed(&system, &short);
    event["payload"]["object"]["duration"] = json!(2);
    post(&system, event).await;
    let reason = system.first_file(&short).await["reason"].clone();
    assert_eq!(reason, "shorter_than_minimum");
    system.advance(SignedDuration::from_secs(1));
    post(&system, completed(&system, &short)).await;
    assert_eq!(system.view("alice", &short).await["status"], "stored");

    // The app's request overrides the filter.
    let requested = silent(&system, NewRecording { duration_minutes: Some(2), ..of_ada(three()) });
    post(&system, completed(&system, &requested)).await;
    assert_eq!(system.first_file(&requested).await["status"], "skipped");
    system.request_download(&requested).await;
    system.process_queues().await;
    assert_eq!(system.view("alice", &requested).await["status"], "stored");
}

#[tokio::test]
async fn recording_without_files_is_empty_until_one_comes() {
    let system = linked().await;
    let recording = silent(&system, of_ada(three()));
    let mut event = completed(&system, &recording);
    event["payload"]["object"].as_object_mut().unwrap().remove("recording_files");
    post(&system, event).await;
    assert_eq!(system.view("alice", &recording).await["status"], "empty");
    system.advance(SignedDuration::from_secs(1));
    post(&system, completed(&system, &recording)).await;
    assert_eq!(system.view("alice", &recording).await["status"], "stored");
    assert_eq!(kinds(&system, "alice")["detected"], 1);
}

#[tokio::test]
async fn change_without_time_or_host_is_applied() {
    let system = linked().await;
    let recording = system.record(of_ada(three())).await;
    let mut renamed = change("renamed", &recording, json!({"topic": "New title", "type": 2}));
    renamed["payload"]["old_object"] = json!({"uuid": recording.uuid, "topic": "Old title"});
    renamed["payload"]["time_stamp"] = json!(system.app.now().as_millisecond() + 1);
    post(&system, renamed).await;
    assert_eq!(system.view("alice", &recording).await["topic"], "New title");
    for (name, state) in [("trashed", "trashed"), ("recovered", "present")] {
        system.advance(SignedDuration::from_secs(1));
        post(&system, change(name, &recording, json!({"host_id": recording.host_id}))).await;
        assert_eq!(system.view("alice", &recording).await["zoom_state"], state);
    }
    assert_eq!(kinds(&system, "alice")["changed"], 3);
}

#[tokio::test]
async fn change_before_the_recording_counts() {
    let system = linked().await;
    let recording = silent(&system, of_ada(three()));
    let start_time = recording.start_time.to_string();
    let host = json!({"host_id": recording.host_id, "start_time": start_time});
    let event = completed(&system, &recording);
    system.advance(SignedDuration::from_secs(5));
    let later = system.app.now().as_millisecond();
    for (name, object) in [
        ("trashed", host.clone()),
        ("renamed", json!({"host_id": recording.host_id, "topic": "Newest"})),
    ] {
        let mut event = change(name, &recording, object);
        event["event_ts"] = json!(later);
        // Twice: a repeated change of an unknown recording is not notified, either.
        post(&system, &event).await;
        post(&system, event).await;
    }
    assert_eq!(kinds(&system, "alice"), counts([]));
    assert_eq!(system.app.recordings("alice").await, [json!(null); 0]);
    post(&system, event).await;
    let seen = system.view("alice", &recording).await;
    assert_eq!((&seen["topic"], &seen["zoom_state"]), (&json!("Newest"), &json!("trashed")));
    assert_eq!(seen["start_time"], format!("{:.3}", recording.start_time));
    assert_eq!(kinds(&system, "alice")["detected"], 1);
}

#[tokio::test]
async fn file_at_unlisted_host_waits() {
    let system = linked().await;
    let recording = silent(&system, of_ada(vec![NewFile::new("MP4", 1_000)]));
    let mut event = completed(&system, &recording);
    event["download_token"] = json!("synthetic.download.token");
    event["payload"]["object"]["recording_files"][0]["download_url"] =
        json!("https://example-gmbh.zoom-x.de/rec/webhook_download/synthetic");
    // Zoom's API does not know it, either.
    let unlisted = NewFault::always(Point::MeetingRecordings, Fault::Status { status: 404 });
    let armed = system.zoom().arm(unlisted).unwrap();
    post(&system, event).await;
    let file = system.first_file(&recording).await;
    assert_eq!(
        (&file["status"], &file["reason"]),
        (&json!("queued"), &json!("download_host_not_allowed"))
    );
    assert!(file["next_attempt_at"].is_string());
    assert_eq!(system.dead_letters().await, [""; 0]);
    system.zoom().clear_faults(Some(armed));
    system.maintain_after(SignedDuration::from_hours(1)).await;
    system.assert_stored(&recording, "by Zoom's API").await;
}

#[tokio::test]
async fn size_that_never_matches_is_stored_after_an_hour() {
    // The last one is a stream of more than a part.
    for (size, declared, omits_length) in
        [(4_900, 5_000, false), (20 * MIB, 17 * MIB, false), (20 * MIB, 17 * MIB, true)]
    {
        let system = linked().await;
        if omits_length {
            system.fail(Point::Content, Fault::OmitLength);
        }
        let file = NewFile { declared_size: Some(declared), ..NewFile::new("MP4", size) };
        let recording = system.record(of_ada(vec![file])).await;
        assert_eq!(system.first_file(&recording).await["reason"], "length_differs");
        system.maintain_after(SignedDuration::from_mins(40)).await;
        assert_eq!(system.first_file(&recording).await["status"], "queued");
        system.maintain_after(SignedDuration::from_mins(60)).await;
        let file = system.first_file(&recording).await;
        assert_eq!(file["status"], "stored", "{file}");
        assert_eq!((&file["size"], &file["bytes_stored"]), (&json!(declared), &json!(size)));
        assert_eq!(system.objects(&folder(&recording)).await.len(), 2);
        assert_eq!(system.open_uploads().await, 0);
    }
}

#[tokio::test]
async fn unavailable_file_is_stored_later() {
    let system = linked().await;
    for status in [404, 503] {
        for point in [Point::Download, Point::MeetingRecordings] {
            system.fail_next(point, Fault::Status { status }, 3);
        }
        let recording = system.record(of_ada(vec![NewFile::new("MP4", 1_000)])).await;
        assert_eq!(system.first_file(&recording).await["status"], "queued", "{status}");
        let (hours, step) = (SignedDuration::from_hours(6), SignedDuration::from_hours(1));
        system.maintain_for(hours, step).await;
        system.assert_stored(&recording, &status.to_string()).await;
        system.zoom().clear_faults(None);
    }
}

#[tokio::test]
async fn processing_file_waits_for_zoom() {
    let system = linked().await;
    let recording = silent(&system, of_ada(vec![NewFile::new("MP4", 1_000)]));
    let mut event = completed(&system, &recording);
    event["payload"]["object"]["recording_files"][0]["status"] = json!("processing");
    post(&system, event).await;
    let file = system.first_file(&recording).await;
    assert_eq!((&file["status"], &file["attempts"]), (&json!("queued"), &json!(0)));
    assert_eq!(system.requests("/rec/"), 0);
    system.advance(SignedDuration::from_secs(1));
    post(&system, completed(&system, &recording)).await;
    system.assert_stored(&recording, "").await;
    let path = recording_path(&recording);
    assert_eq!(system.app.get(&path, "alice").await.json()["status"], "stored");
}

#[tokio::test]
async fn late_start_time_moves_no_object() {
    let system = linked().await;
    let start_time = system.app.now() - SignedDuration::from_hours(48);
    let new = NewRecording { start_time: Some(start_time), ..of_ada(three()) };
    let recording = silent(&system, new);
    let mut event = completed(&system, &recording);
    let object = &mut event["payload"]["object"];
    object["start_time"] = json!(null);
    let mut first = object["recording_files"][0].clone();
    first["recording_start"] = json!(null);
    object["recording_files"] = json!([first]);
    post(&system, event).await;
    assert_eq!(system.objects("recordings/").await.len(), 2, "a file and the manifest");
    system.advance(SignedDuration::from_secs(1));
    post(&system, completed(&system, &recording)).await;
    let seen = system.view("alice", &recording).await;
    let start_time = format!("{start_time:.3}");
    assert_eq!((&seen["status"], &seen["start_time"]), (&json!("stored"), &json!(start_time)));
    let keys: Vec<String> = system.objects("recordings/").await.into_keys().collect();
    let folders: BTreeSet<_> = keys.iter().map(|key| key.rsplit_once('/').unwrap().0).collect();
    assert_eq!((keys.len(), folders.len()), (4, 1), "{keys:?}");
}

#[tokio::test]
async fn not_found_counts_behind_an_expired_token() {
    let system = linked().await;
    system.fail(Point::Download, Fault::Status { status: 401 });
    let not_found = Fault::ErrorCode { status: 404, code: 3301, form: ErrorForm::Api };
    system.fail(Point::MeetingRecordings, not_found);
    let recording = system.record(of_ada(vec![NewFile::new("MP4", 1_000)])).await;
    assert_eq!(system.first_file(&recording).await["reason"], "not_found");
    let hour = SignedDuration::from_hours(1);
    system.maintain_for(hour * 22, hour).await;
    assert_eq!(system.first_file(&recording).await["status"], "queued");
    system.maintain_for(hour * 12, hour).await;
    let file = system.first_file(&recording).await;
    assert_eq!((&file["status"], &file["reason"]), (&json!("failed"), &json!("not_found")));
}

#[tokio::test]
async fn event_that_cannot_be_parsed_is_filed_once() {
    let system = linked().await;
    let recording = silent(&system, of_ada(three()));
    let mut event = completed(&system, &recording);
    event["payload"]["object"].as_object_mut().unwrap().remove("uuid");
    let no_event = json!([event]);
    let filed = format!("events/{}/{}/", recording.account_id, recording.host_id);
    for (body, count) in [(event, 1), (no_event, 2)] {
        let (body, secret) = (body.to_string(), system.webhook_secret());
        assert_eq!(system.post_event("/zoom/webhook", body.as_bytes(), &secret).await, 200);
        let messages = system.take_messages(&system.queues().events).await;
        // SQS delivers it twice, and the first invocation ends before it has deleted the original.
        let fault = reelay_embedded_aws::Fault::error(500, "InternalError");
        system.faults().fail_next(Service::S3, "DeleteObject", SDK_ATTEMPTS, fault);
        for message in messages.iter().chain(&messages) {
            system.send_message(&system.queues().events, message).await;
        }
        system.process_queues().await;
        system.faults().clear_all();
        assert_eq!(system.objects(&filed).await.len(), count);
        assert_eq!(system.objects("events/unparsed/").await.len(), 0);
    }
    assert_eq!(system.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn renamed_recording_from_before_the_window_is_not_fetched() {
    let system = linked().await;
    let start_time = system.app.now() - SignedDuration::from_hours(24 * 365);
    let recording =
        silent(&system, NewRecording { start_time: Some(start_time), ..of_ada(three()) });
    let times = json!({"host_id": recording.host_id, "start_time": start_time.to_string()});
    for (name, object) in [
        ("renamed", json!({"host_id": recording.host_id, "topic": "Renamed"})),
        ("trashed", times.clone()),
        ("recovered", completed(&system, &recording)["payload"]["object"].clone()),
    ] {
        system.advance(SignedDuration::from_secs(5));
        let mut event = change(name, &recording, object);
        event["event_ts"] = json!(system.app.now().as_millisecond());
        post(&system, event).await;
    }
    assert_eq!(kinds(&system, "alice"), counts([]));
    assert!(system.stored_files().await.is_empty());
}

#[tokio::test]
async fn recovered_recording_of_a_long_window_is_fetched() {
    let system = System::with(&[("BackfillDays", "90")]).await;
    let start_time = system.app.now() - SignedDuration::from_hours(24 * 60);
    let recording =
        silent(&system, NewRecording { start_time: Some(start_time), ..of_ada(three()) });
    let silent = Selection { silent: true, ..Selection::default() };
    system.zoom().change_recording(&recording.key, RecordingChange::Trash, &silent).unwrap();
    system.link("alice", ADA).await;
    assert!(system.stored_files().await.is_empty());
    system.zoom().change_recording(&recording.key, RecordingChange::Recover, &silent).unwrap();
    system.advance(SignedDuration::from_secs(5));
    let object = completed(&system, &recording)["payload"]["object"].clone();
    let mut event = change("recovered", &recording, object);
    event["event_ts"] = json!(system.app.now().as_millisecond());
    post(&system, event).await;
    system.assert_stored(&recording, "recovered").await;
}
