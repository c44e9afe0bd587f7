//! Recordings that are renamed, trashed, recovered or deleted at Zoom: the app is told, the bucket keeps.

use reelay_zoom_sim::{Created, NewRecording, RawEvent, RecordingChange, Selection, Target};
use serde_json::{Value, json};
use support::people::{ADA, BEN, CEM};
use support::{store, zoom};

use super::{assert_bucket_holds, kinds, linked, stored, three, told, view};

/// The changes that the app was told, in order, each with what it was told of the recording.
fn changes(system: &support::System) -> Vec<(String, Value)> {
    told(system, "alice")
        .into_iter()
        .filter(|(kind, ..)| kind == "recording.changed")
        .map(|(_, _, data)| {
            (
                data["change"].as_str().unwrap().to_owned(),
                data["recording"].clone(),
            )
        })
        .collect()
}

async fn delivered(system: &support::System, created: &Created) {
    zoom::arrived(system, created).await;
    system.work().await;
}

/// So that one event does not bear the time of the one before.
fn later(system: &support::System) {
    system.zoom().advance(1);
}

#[tokio::test]
async fn renamed_trashed_recovered_and_deleted_are_told_in_their_order() {
    let system = linked().await;
    let recording = stored(&system, NewRecording::of(ADA).with_files(three())).await;
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
        delivered(
            &system,
            &zoom.change_recording(key, disposal, &all).unwrap(),
        )
        .await;
    }
    let told = changes(&system);
    let names: Vec<_> = told
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
    assert!(
        told.iter()
            .all(|(_, recording)| recording["topic"] == "New")
    );
    let seen = view(&system, "alice", &recording).await;
    assert_eq!(
        (&seen["zoom_state"], &seen["status"]),
        (&json!("deleted"), &json!("stored"))
    );
    assert_eq!(seen["files"].as_array().unwrap().len(), 3);
    assert_bucket_holds(&system, &[&recording]).await;
    assert_eq!(store::dead(&system.stack).await, [""; 0]);
}

#[tokio::test]
async fn an_event_that_comes_twice_or_late_changes_and_tells_nothing_more() {
    let system = linked().await;
    let recording = stored(&system, NewRecording::of(ADA).with_files(three())).await;
    let (zoom, key, all) = (system.zoom(), &recording.key, Selection::default());
    later(&system);
    let trashed = zoom
        .change_recording(key, RecordingChange::Trash, &all)
        .unwrap();
    delivered(&system, &trashed).await;
    later(&system);
    delivered(
        &system,
        &zoom
            .change_recording(key, RecordingChange::Recover, &all)
            .unwrap(),
    )
    .await;

    // The first once more, under another request id, after the second.
    let again = zoom.duplicate(trashed.deliveries[0], false).unwrap();
    assert!(zoom.wait_for_attempts(again, 1).await.is_some());
    system.work().await;
    assert_eq!(
        view(&system, "alice", &recording).await["zoom_state"],
        "present"
    );
    let told = changes(&system);
    let names: Vec<_> = told.iter().map(|(change, _)| change.as_str()).collect();
    assert_eq!(names, ["trashed", "recovered"]);
}

#[tokio::test]
async fn a_batch_that_names_no_host_finds_each_recording_of_the_account_and_no_other() {
    let system = linked().await;
    system.link("bob", BEN).await;
    system.link("cem", CEM).await;
    let adas = stored(&system, NewRecording::of(ADA).with_files(three())).await;
    let bens = stored(&system, NewRecording::of(BEN).with_files(three())).await;
    let cems = stored(&system, NewRecording::of(CEM).with_files(three())).await;
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
        system.work().await;
        assert_eq!(view(&system, "alice", &adas).await["zoom_state"], state);
        assert_eq!(view(&system, "bob", &bens).await["zoom_state"], state);
        assert_eq!(view(&system, "cem", &cems).await["zoom_state"], "present");
    }
    assert_eq!(kinds(&system, "alice")["changed"], 4);
    assert_eq!(kinds(&system, "bob")["changed"], 4);
    assert!(!kinds(&system, "cem").contains_key("changed"));

    // Another account's word about the same meeting is about another meeting.
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
    system.work().await;
    assert_eq!(view(&system, "cem", &cems).await["zoom_state"], "present");
}

#[tokio::test]
async fn a_file_that_is_trashed_alone_does_not_trash_its_recording() {
    let system = linked().await;
    let recording = stored(&system, NewRecording::of(ADA).with_files(three())).await;
    let audio = recording.files.iter().find(|file| file.file_type == "M4A");
    let selection = Selection {
        files: Some(vec![audio.unwrap().id.clone()]),
        ..Selection::default()
    };
    later(&system);
    let trashed = system
        .zoom()
        .change_recording(&recording.key, RecordingChange::Trash, &selection)
        .unwrap();
    delivered(&system, &trashed).await;
    assert_eq!(
        view(&system, "alice", &recording).await["zoom_state"],
        "present"
    );
    assert!(changes(&system).is_empty());
}

#[tokio::test]
async fn a_recording_that_nobody_knows_is_changed_without_a_trace() {
    let system = linked().await;
    let unknown = NewRecording {
        silent: true,
        ..NewRecording::of(ADA).with_files(three())
    };
    let recording = system.zoom().create_recording(unknown).unwrap().recording;
    let all = Selection::default();
    later(&system);
    let trashed = system
        .zoom()
        .change_recording(&recording.key, RecordingChange::Trash, &all);
    delivered(&system, &trashed.unwrap()).await;
    later(&system);
    let recovered = system
        .zoom()
        .change_recording(&recording.key, RecordingChange::Recover, &all);
    delivered(&system, &recovered.unwrap()).await;
    let table = &system.stack.config().tables.recordings;
    assert_eq!(store::items(&system.stack, table).await, [""; 0]);
    assert_eq!(store::dead(&system.stack).await, [""; 0]);
}

#[tokio::test]
async fn what_is_trashed_before_it_was_fetched_is_fetched_when_it_is_recovered() {
    let system = linked().await;
    let recording = zoom::complete(&system, NewRecording::of(ADA).with_files(three())).await;
    let all = Selection {
        silent: true,
        ..Selection::default()
    };
    system
        .zoom()
        .change_recording(&recording.key, RecordingChange::Trash, &all)
        .unwrap();
    system.work().await;
    assert_eq!(view(&system, "alice", &recording).await["status"], "failed");
    assert!(store::files(&system.stack).await.is_empty());

    later(&system);
    let recovered = system.zoom().change_recording(
        &recording.key,
        RecordingChange::Recover,
        &Selection::default(),
    );
    delivered(&system, &recovered.unwrap()).await;
    assert_eq!(view(&system, "alice", &recording).await["status"], "stored");
    assert_bucket_holds(&system, &[&recording]).await;
}
