//! What differs from Zoom's lists is put right: changes, and files without an event.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use reelay_zoom_sim::{NewFile, NewRecording, RecordingChange, Selection};
use serde_json::{Value, json};
use support::recordings::recording_id;
use support::zoom_users::ADA;

use super::super::{Scene, backfill, small, unannounced};
use super::hours;

#[tokio::test]
async fn changes_without_event_are_notified() {
    let scene = Scene::linked(&["alice"]).await;
    let [renamed, trashed] = [scene.record(small(ADA)).await, scene.record(small(ADA)).await];
    let silent = Selection { silent: true, ..Selection::default() };
    scene.zoom().rename(&renamed.key, "Another topic", &silent).unwrap();
    let change = |change| scene.zoom().change_recording(&trashed.key, change, &silent).unwrap();
    change(RecordingChange::Trash);
    scene.reconcile_after(hours(25)).await;
    assert_eq!(scene.view("alice", &renamed).await["topic"], "Another topic");
    assert_eq!(scene.view("alice", &trashed).await["zoom_state"], "trashed");
    let reasons: Vec<_> =
        scene.differences("alice").await.iter().map(|it| it["reason"].clone()).collect();
    assert_eq!(reasons, ["topic", "state"]);

    change(RecordingChange::Recover);
    scene.reconcile_after(hours(25)).await;
    assert_eq!(scene.view("alice", &trashed).await["zoom_state"], "present");
    assert_eq!(scene.notified_changes().await, ["recovered", "renamed", "trashed"]);
    scene.reconcile_after(hours(25)).await;
    assert_eq!(scene.differences("alice").await, [] as [Value; 0]);
}

#[tokio::test]
async fn changes_that_a_backfill_finds_are_notified() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = scene.record(small(ADA)).await;
    let silent = Selection { silent: true, ..Selection::default() };
    let zoom = scene.zoom();
    zoom.change_recording(&recording.key, RecordingChange::Trash, &Selection::default()).unwrap();
    scene.settle().await;
    zoom.change_recording(&recording.key, RecordingChange::Recover, &silent).unwrap();
    zoom.rename(&recording.key, "Another topic", &silent).unwrap();
    scene.advance(hours(1));
    backfill(&scene, "alice", 2).await;
    assert_eq!(scene.notified_changes().await, ["recovered", "renamed", "trashed"]);
    let manifest = scene.manifest(&recording).await;
    assert_eq!(manifest["recording"]["topic"], "Another topic");
}

#[tokio::test]
async fn lost_batch_change_is_reconciled() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = unannounced(&scene, hours(1));
    let silently = Selection { silent: true, ..Selection::default() };
    scene.zoom().change_recording(&recording.key, RecordingChange::Trash, &silently).unwrap();
    let secret = scene.webhook_secret();
    let batch = json!({
        "event": "recording.batch_trashed",
        "event_ts": scene.app.now().as_millisecond(),
        "payload": {
            "account_id": recording.account_id,
            "object": {"meeting_uuids": [recording.uuid]},
        },
    });
    let posted = scene.post_event("/zoom/webhook", batch.to_string().as_bytes(), &secret).await;
    assert_eq!(posted, 200);
    // The event names no host, and its meeting is not known in time.
    scene.advance(SignedDuration::from_mins(11));
    scene.process_queues().await;
    let file = &recording.files[0];
    let files = [(file.id.as_str(), "MP4", 100, "http://127.0.0.1:9/rec")];
    let (account, host) = (&recording.account_id, &recording.host_id);
    let late = support::zoom::completed_event(account, host, &recording.uuid, &files);
    assert_eq!(scene.post_event("/zoom/webhook", &late, &secret).await, 200);
    scene.process_queues().await;
    assert_eq!(scene.view("alice", &recording).await["zoom_state"], "present");
    scene.reconcile_after(hours(25)).await;
    assert_eq!(scene.view("alice", &recording).await["zoom_state"], "trashed");
    assert_eq!(scene.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn late_file_is_fetched() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = scene.record(small(ADA)).await;
    let url = scene.zoom().settings().webhook_url;
    scene.zoom().change_settings(|config| config.webhook_url = None);
    let late = scene.zoom().add_transcript(&recording.key, None).unwrap().recording;
    scene.zoom().change_settings(|config| config.webhook_url = url);
    scene.reconcile_after(hours(25)).await;
    let difference = json!({
        "recording_id": recording_id(&recording), "file_id": late.files[1].id,
        "reason": "file_missing",
    });
    assert_eq!(scene.differences("alice").await, [difference]);
    scene.assert_stored(&recording, "with transcript").await;
    assert_eq!(scene.queued(&recording), 1);
}

#[tokio::test]
async fn late_file_is_fetched_after_an_account_change() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = scene.record(small(ADA)).await;
    // Older than what the move reads from Zoom's list.
    scene.advance(hours(5 * 24));
    scene.zoom().move_user(ADA, "AcctElsewhere000000001").unwrap();
    scene.record(small(ADA)).await;
    scene.reconcile_after(hours(25)).await;
    assert_eq!(scene.view("alice", &recording).await["files"].as_array().unwrap().len(), 1);
    scene.zoom().change_settings(|config| config.webhooks_enabled = false);
    scene.zoom().add_transcript(&recording.key, None).unwrap();
    scene.reconcile_after(hours(25)).await;
    let seen = scene.view("alice", &recording).await;
    assert_eq!((&seen["status"], seen["files"].as_array().unwrap().len()), (&json!("stored"), 2));
    assert_eq!(scene.dead_jobs().await, [""; 0]);
    // Each notification about the later copy is newer than those about the first one.
    let sequences = async |kind| {
        let notified = scene.notified_recordings(kind).await.into_iter();
        let about = notified.filter(|data| data["recording"]["meeting_uuid"] == recording.uuid);
        about.map(|data| data["sequence"].as_u64().unwrap()).collect::<BTreeSet<_>>()
    };
    let (detected, stored) =
        (sequences("recording.detected").await, sequences("recording.stored").await);
    assert!(detected.last() > stored.first(), "{detected:?} {stored:?}");
}

#[tokio::test]
async fn recovery_is_found_after_an_account_change() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = scene.record(small(ADA)).await;
    let selection = Selection::default();
    let zoom = scene.zoom();
    zoom.change_recording(&recording.key, RecordingChange::Trash, &selection).unwrap();
    scene.settle().await;
    scene.advance(hours(5 * 24));
    zoom.move_user(ADA, "AcctElsewhere000000001").unwrap();
    scene.record(small(ADA)).await;
    let silent = Selection { silent: true, ..Selection::default() };
    zoom.change_recording(&recording.key, RecordingChange::Recover, &silent).unwrap();
    scene.reconcile_after(hours(25)).await;
    let seen = scene.view("alice", &recording).await;
    assert_eq!((&seen["status"], &seen["zoom_state"]), (&json!("stored"), &json!("present")));
}

#[tokio::test]
async fn participant_audio_of_the_details_is_stored_before_recording_stored() {
    let scene = Scene::linked(&["alice"]).await;
    let start_time = Some(scene.app.now() - hours(24 * 5));
    let new = NewRecording { participant_audio: 2, start_time, silent: true, ..small(ADA) };
    let recording = scene.zoom().create_recording(new).unwrap().recording;
    backfill(&scene, "alice", 10).await;
    scene.assert_stored(&recording, "audio").await;
    let stored = scene.notified_recordings("recording.stored").await;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0]["recording"]["files"].as_array().unwrap().len(), 3);
    // The list shows only the video, and the count of all.
    scene.zoom().clear_requests();
    scene.reconcile_after(hours(25)).await;
    assert_eq!(scene.differences("alice").await, [] as [Value; 0]);
    assert_eq!(scene.requests("/v2/meetings/"), 0);
}

#[tokio::test]
async fn processing_file_of_the_list_is_read_from_details() {
    let scene = Scene::linked(&["alice"]).await;
    let processing = NewFile { status: Some("processing".into()), ..NewFile::new("MP4", 400) };
    let start_time = Some(scene.app.now() - hours(24 * 5));
    let new = NewRecording { start_time, silent: true, ..NewRecording::of(ADA) };
    let recording = scene.zoom().create_recording(new.with_files(vec![processing])).unwrap();
    scene.zoom().clear_requests();
    backfill(&scene, "alice", 10).await;
    assert!(scene.requests("/v2/meetings/") > 0);
    let seen = scene.view("alice", &recording.recording).await;
    assert_eq!(seen["files"].as_array().unwrap().len(), 1, "{seen}");
}
