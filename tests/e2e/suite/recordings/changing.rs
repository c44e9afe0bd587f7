//! Recordings that are renamed, trashed, recovered or deleted at Zoom.

use reelay_embedded_aws::{Fault, Service};
use reelay_zoom_sim::{
    Created, NewRecording, RawEvent, Recording, RecordingChange, Selection, Target,
};
use serde_json::{Value, json};
use support::System;
use support::zoom_users::{BEN, CEM};

use super::odd_events::{change, completed, post, silent};
use super::{kinds, linked, notified, of_ada, three};

/// The `recording.changed` notifications: the change and the recording.
fn changes(system: &System) -> Vec<(String, Value)> {
    notified(system, "alice")
        .into_iter()
        .filter(|(kind, ..)| kind == "recording.changed")
        .map(|(_, _, data)| {
            (data["change"].as_str().unwrap().to_owned(), data["recording"].clone())
        })
        .collect()
}

async fn delivered(system: &System, created: &Created) {
    system.await_deliveries(created).await;
    system.process_queues().await;
}

/// Separates the timestamps of two events.
fn later(system: &System) {
    system.zoom().advance(1);
}

#[tokio::test]
async fn recording_changes_are_notified_in_order() {
    let system = linked().await;
    let recording = system.record(of_ada(three())).await;
    let (zoom, key, all) = (system.zoom(), &recording.key, Selection::default());
    later(&system);
    delivered(&system, &zoom.rename(key, "New", &all).unwrap()).await;
    for disposal in [
        RecordingChange::Trash,
        RecordingChange::Recover,
        RecordingChange::Trash,
        RecordingChange::Delete,
    ] {
        later(&system);
        delivered(&system, &zoom.change_recording(key, disposal, &all).unwrap()).await;
    }
    let notified = changes(&system);
    let names: Vec<_> = notified
        .iter()
        .map(|(change, recording)| (change.as_str(), recording["zoom_state"].as_str().unwrap()))
        .collect();
    assert_eq!(
        names,
        [
            ("renamed", "present"),
            ("trashed", "trashed"),
            ("recovered", "present"),
            ("trashed", "trashed"),
            ("deleted", "deleted"),
        ]
    );
    assert!(notified.iter().all(|(_, recording)| recording["topic"] == "New"));
    let seen = system.view("alice", &recording).await;
    assert_eq!((&seen["zoom_state"], &seen["status"]), (&json!("deleted"), &json!("stored")));
    assert_eq!(seen["files"].as_array().unwrap().len(), 3);
    system.assert_bucket_holds(&[&recording]).await;
    assert_eq!(system.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn repeated_or_late_change_is_ignored() {
    let system = linked().await;
    let recording = system.record(of_ada(three())).await;
    let (zoom, key, all) = (system.zoom(), &recording.key, Selection::default());
    later(&system);
    let trashed = zoom.change_recording(key, RecordingChange::Trash, &all).unwrap();
    delivered(&system, &trashed).await;
    later(&system);
    delivered(&system, &zoom.change_recording(key, RecordingChange::Recover, &all).unwrap()).await;

    // The first event again, with another request id.
    let again = zoom.duplicate(trashed.deliveries[0], false).unwrap();
    assert!(zoom.wait_for_attempts(again, 1).await.is_some());
    system.process_queues().await;
    assert_eq!(system.view("alice", &recording).await["zoom_state"], "present");
    let notified = changes(&system);
    let names: Vec<_> = notified.iter().map(|(change, _)| change.as_str()).collect();
    assert_eq!(names, ["trashed", "recovered"]);
}

/// An event about a new topic, and a later event that shows the topic, too.
fn rename_and_later_event(system: &System, recording: &Recording, name: &str) -> [Value; 2] {
    let object = json!({"topic": "New", "host_id": recording.host_id});
    let mut rename = change("renamed", recording, object.clone());
    let mut later = match name {
        "completed" => completed(system, recording),
        _ => change(name, recording, object),
    };
    later["payload"]["object"]["topic"] = json!("New");
    let now = system.app.now().as_millisecond();
    rename["event_ts"] = json!(now + 1_000);
    later["event_ts"] = json!(now + 2_000);
    [rename, later]
}

fn renames(system: &System, recording: &Recording) -> usize {
    let changes = changes(system).into_iter();
    let is_rename = |(change, notified): &(String, Value)| {
        change == "renamed" && notified["meeting_uuid"] == recording.uuid
    };
    changes.filter(is_rename).count()
}

#[tokio::test]
async fn rename_is_notified_once_although_another_event_shows_it_first() {
    let system = linked().await;
    for (name, is_rename_first) in
        [("completed", false), ("completed", true), ("trashed", false), ("trashed", true)]
    {
        let recording = system.record(of_ada(three())).await;
        let mut events = rename_and_later_event(&system, &recording, name);
        if !is_rename_first {
            events.reverse();
        }
        // Each event is delivered again at the end.
        for event in events.iter().chain(&events) {
            post(&system, event).await;
        }
        assert_eq!(renames(&system, &recording), 1, "{name} {is_rename_first}");
        assert_eq!(system.view("alice", &recording).await["topic"], "New");
    }
}

#[tokio::test]
async fn interrupted_rename_is_notified_after_a_later_event() {
    let system = linked().await;
    let recording = system.record(of_ada(three())).await;
    let [rename, later] = rename_and_later_event(&system, &recording, "completed");
    let rejected = Fault::error(400, "AccessDeniedException");
    system.faults().fail_until_cleared(Service::DynamoDb, "TransactWriteItems", rejected);
    post(&system, rename).await;
    system.faults().clear_all();
    post(&system, later).await;
    assert_eq!(renames(&system, &recording), 0);
    let queues = system.queues();
    for message in system.take_messages(&queues.events_dlq).await {
        system.send_message(&queues.events, &message).await;
    }
    system.process_queues().await;
    assert_eq!(renames(&system, &recording), 1);
}

#[tokio::test]
async fn batch_event_changes_only_its_accounts_recordings() {
    let system = linked().await;
    system.link("bob", BEN).await;
    system.link("cem", CEM).await;
    let adas = system.record(of_ada(three())).await;
    let bens = system.record(NewRecording::of(BEN).with_files(three())).await;
    let cems = system.record(NewRecording::of(CEM).with_files(three())).await;
    for (disposal, state) in [
        (RecordingChange::Trash, "trashed"),
        (RecordingChange::Recover, "present"),
        (RecordingChange::Trash, "trashed"),
        (RecordingChange::Delete, "deleted"),
    ] {
        later(&system);
        let names = [adas.key.clone(), bens.key.clone()];
        let id = system.zoom().change_recordings(&names, disposal).unwrap();
        assert!(system.zoom().wait_for_attempts(id, 1).await.is_some());
        system.process_queues().await;
        assert_eq!(system.view("alice", &adas).await["zoom_state"], state);
        assert_eq!(system.view("bob", &bens).await["zoom_state"], state);
        assert_eq!(system.view("cem", &cems).await["zoom_state"], "present");
    }
    assert_eq!(kinds(&system, "alice")["changed"], 4);
    assert_eq!(kinds(&system, "bob")["changed"], 4);
    assert!(!kinds(&system, "cem").contains_key("changed"));

    // The same meeting UUID in another account is another recording.
    later(&system);
    let body = json!({
        "event": "recording.batch_trashed",
        "event_ts": system.app.now().as_millisecond() + 60_000,
        "payload": {"account_id": adas.account_id, "object": {"meeting_uuids": [cems.uuid]}},
    });
    let id = system.zoom().send_raw(RawEvent {
        body: body.to_string(),
        target: Target::Webhook,
        request_id: None,
    });
    assert!(system.zoom().wait_for_attempts(id, 1).await.is_some());
    system.process_queues().await;
    assert_eq!(system.view("cem", &cems).await["zoom_state"], "present");
}

#[tokio::test]
async fn trashed_file_does_not_trash_recording() {
    let system = linked().await;
    let recording = system.record(of_ada(three())).await;
    let audio = recording.files.iter().find(|file| file.file_type == "M4A");
    let selection =
        Selection { files: Some(vec![audio.unwrap().id.clone()]), ..Selection::default() };
    later(&system);
    let trashed =
        system.zoom().change_recording(&recording.key, RecordingChange::Trash, &selection).unwrap();
    delivered(&system, &trashed).await;
    assert_eq!(system.view("alice", &recording).await["zoom_state"], "present");
    assert!(changes(&system).is_empty());
}

#[tokio::test]
async fn recording_is_trashed_with_its_last_file() {
    let system = linked().await;
    let recording = system.record(of_ada(three())).await;
    let of_type = |kind: &str| {
        let file = recording.files.iter().find(|file| file.file_type == kind);
        Selection { files: Some(vec![file.unwrap().id.clone()]), ..Selection::default() }
    };
    for (kind, disposal, state) in [
        ("M4A", RecordingChange::Trash, "present"),
        ("M4A", RecordingChange::Recover, "present"),
        ("MP4", RecordingChange::Trash, "present"),
        ("M4A", RecordingChange::Trash, "trashed"),
    ] {
        later(&system);
        let changed = system.zoom().change_recording(&recording.key, disposal, &of_type(kind));
        delivered(&system, &changed.unwrap()).await;
        assert_eq!(system.view("alice", &recording).await["zoom_state"], state, "{kind}");
    }
    assert_eq!(changes(&system).last().unwrap().0, "trashed");
}

#[tokio::test]
async fn recording_is_trashed_without_a_file_that_zoom_replaced() {
    let system = linked().await;
    let recording = silent(&system, of_ada(three()));
    let mut event = completed(&system, &recording);
    let placeholder = json!({"id": "placeholder", "file_type": "MP4", "status": "completed"});
    let files = event["payload"]["object"]["recording_files"].as_array_mut().unwrap();
    files.push(placeholder);
    post(&system, event).await;
    assert_eq!(system.view("alice", &recording).await["status"], "failed");
    later(&system);
    let all = Selection::default();
    let trashed = system.zoom().change_recording(&recording.key, RecordingChange::Trash, &all);
    delivered(&system, &trashed.unwrap()).await;
    assert_eq!(system.view("alice", &recording).await["zoom_state"], "trashed");
}

#[tokio::test]
async fn recovered_unknown_recording_is_fetched() {
    let system = linked().await;
    let unknown = NewRecording { silent: true, ..of_ada(three()) };
    let recording = system.zoom().create_recording(unknown).unwrap().recording;
    let all = Selection::default();
    later(&system);
    let trashed = system.zoom().change_recording(&recording.key, RecordingChange::Trash, &all);
    delivered(&system, &trashed.unwrap()).await;
    assert!(system.stored_files().await.is_empty());
    later(&system);
    let recovered = system.zoom().change_recording(&recording.key, RecordingChange::Recover, &all);
    delivered(&system, &recovered.unwrap()).await;
    assert_eq!(system.view("alice", &recording).await["status"], "stored");
    assert_eq!(system.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn recovered_recording_is_fetched() {
    let system = linked().await;
    let recording = system.complete_recording(of_ada(three())).await;
    let all = Selection { silent: true, ..Selection::default() };
    system.zoom().change_recording(&recording.key, RecordingChange::Trash, &all).unwrap();
    system.process_queues().await;
    assert_eq!(system.view("alice", &recording).await["status"], "detected");
    assert!(system.stored_files().await.is_empty());

    later(&system);
    let recovered = system.zoom().change_recording(
        &recording.key,
        RecordingChange::Recover,
        &Selection::default(),
    );
    delivered(&system, &recovered.unwrap()).await;
    assert_eq!(system.view("alice", &recording).await["status"], "stored");
    system.assert_bucket_holds(&[&recording]).await;
}
