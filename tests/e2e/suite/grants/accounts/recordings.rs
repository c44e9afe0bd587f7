//! Recordings of a Zoom user who changed accounts.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use reelay_zoom_sim::{Fault, NewRecording, Point, RawEvent, Target};
use reqwest::Method;
use serde_json::{Value, json};
use support::recordings::recording_path;
use support::zoom_users::ADA;

use super::ELSEWHERE;
use crate::grants::{ACCESS_TOKEN_ENDS, Scene, small};
use crate::recordings::odd_events::{change, completed, post};

impl Scene {
    /// Delivers an event about a change of a recording. Zoom names the account in which the user is now.
    async fn changed_elsewhere(&self, name: &str, object: Value) {
        let event = json!({
            "event": format!("recording.{name}"), "event_ts": self.app.now().as_millisecond(),
            "payload": {"account_id": ELSEWHERE, "object": object},
        });
        let (body, target) = (event.to_string(), Target::Webhook);
        let id = self.zoom().send_raw(RawEvent { body, target, request_id: None });
        self.delivered(id).await;
        self.settle().await;
    }
}

#[tokio::test]
async fn waiting_and_failed_files_are_stored_after_account_change() {
    let scene = Scene::linked(&["alice"]).await;
    let mut recordings = Vec::new();
    for (status, expected) in [(410, "failed"), (503, "queued")] {
        scene.zoom().clear_faults(None);
        scene.fail(Point::Download, Fault::Status { status });
        let recording = scene.complete_recording(small(ADA)).await;
        scene.settle().await;
        assert_eq!(scene.view("alice", &recording).await["files"][0]["status"], expected);
        recordings.push(recording);
    }
    // Older than what is read from Zoom's list after the move; the URLs of the events have expired.
    scene.advance(SignedDuration::from_hours(3 * 24));
    scene.zoom().move_user(ADA, ELSEWHERE).unwrap();
    scene.complete_recording(small(ADA)).await;
    scene.settle().await;
    assert_eq!(scene.app.links("alice").await[0]["zoom"]["account_id"], ELSEWHERE);
    scene.zoom().clear_faults(None);
    scene.pass(SignedDuration::from_hours(30)).await;
    for recording in recordings {
        let seen = scene.view("alice", &recording).await;
        assert_eq!(seen["status"], "stored", "{seen}");
    }
}

#[tokio::test]
async fn change_after_an_account_change_is_one_of_the_stored_recording() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = scene.complete_recording(small(ADA)).await;
    scene.settle().await;
    scene.advance(SignedDuration::from_hours(5 * 24));
    scene.zoom().move_user(ADA, ELSEWHERE).unwrap();
    scene.complete_recording(small(ADA)).await;
    scene.settle().await;
    for (name, state) in [("trashed", "trashed"), ("recovered", "present")] {
        scene.advance(SignedDuration::from_secs(1));
        let start_time = recording.start_time.to_string();
        let object = json!({"uuid": recording.uuid, "host_id": ADA, "start_time": start_time});
        scene.changed_elsewhere(name, object).await;
        let seen = scene.view("alice", &recording).await;
        assert_eq!((&seen["status"], &seen["zoom_state"]), (&json!("stored"), &json!(state)));
        assert_eq!(scene.app.recordings("alice").await.len(), 2);
    }
}

#[tokio::test]
async fn erased_recording_stays_erased_in_another_account() {
    // After the end of the first link, and beside it.
    for (app_user, is_ended) in [("alice", true), ("bob", true), ("bob", false)] {
        let scene = Scene::linked(&["alice"]).await;
        let recording = scene.record(small(ADA)).await;
        let path = recording_path(&recording);
        assert_eq!(scene.app.call(Method::DELETE, &path, "alice").await.status, 204);
        scene.settle().await;
        if is_ended {
            scene.app.disconnect_all("alice").await;
            scene.settle().await;
        }
        scene.advance(SignedDuration::from_hours(12));
        scene.zoom().move_user(ADA, ELSEWHERE).unwrap();
        scene.link(app_user, ADA).await;
        scene.pass(SignedDuration::from_hours(1)).await;
        assert!(scene.app.recordings(app_user).await.is_empty(), "{app_user}");
        assert!(scene.stored_files().await.is_empty(), "{app_user}");
        // Zoom's event about a new topic does not say when the meeting was.
        let object = json!({"uuid": recording.uuid, "host_id": ADA, "topic": "Erased topic"});
        scene.changed_elsewhere("renamed", object).await;
        let items = scene.table_items(&scene.tables().recordings).await;
        assert!(!items.iter().any(|item| item.contains("Erased topic")), "{app_user} {items:?}");
    }
}

#[tokio::test]
async fn moved_link_is_notified_of_what_others_received_before() {
    let scene = Scene::linked(&["alice"]).await;
    let old = scene.zoom_user(ADA);
    let before = scene.complete_recording(small(ADA)).await;
    scene.settle().await;
    scene.zoom().move_user(ADA, ELSEWHERE).unwrap();
    scene.link("bob", ADA).await;
    let missed = scene.complete_recording(small(ADA)).await;
    scene.settle().await;
    // Alice's link moves when its tokens are used.
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.grants().access_token(&old).await.unwrap_err();
    scene.pass(SignedDuration::from_mins(16)).await;

    let events = scene.peek_messages(&scene.bus).await;
    let events = events.iter().map(|event| serde_json::from_str::<Value>(event).unwrap());
    let details: Vec<Value> = events.map(|event| event["detail"].clone()).collect();
    for (app_user, recording) in [("alice", &before), ("alice", &missed), ("bob", &missed)] {
        let about = |it: &&Value| {
            let data = &it["data"];
            data["app_user_id"] == app_user && data["recording"]["meeting_uuid"] == recording.uuid
        };
        for kind in ["recording.detected", "recording.stored"] {
            let ids = details.iter().filter(about).filter(|it| it["type"] == kind);
            let ids: BTreeSet<_> = ids.map(|it| it["id"].as_str().unwrap()).collect();
            assert_eq!(ids.len(), 1, "{app_user} {kind} {}", recording.key);
        }
    }
}

#[tokio::test]
async fn late_event_that_names_the_left_account_counts() {
    let scene = Scene::linked(&["alice"]).await;
    let stored = scene.complete_recording(small(ADA)).await;
    scene.settle().await;
    let missed = scene.zoom().create_recording(NewRecording { silent: true, ..small(ADA) });
    let missed = missed.unwrap().recording;
    let late = completed(&scene, &missed);
    // Older than what is read from Zoom's list after the move.
    scene.advance(SignedDuration::from_hours(5 * 24));
    scene.zoom().move_user(ADA, ELSEWHERE).unwrap();
    scene.complete_recording(small(ADA)).await;
    scene.settle().await;
    post(&scene, late).await;
    scene.settle().await;
    assert_eq!(scene.view("alice", &missed).await["status"], "stored");
    scene.advance(SignedDuration::from_secs(1));
    let object =
        json!({"uuid": stored.uuid, "host_id": ADA, "start_time": stored.start_time.to_string()});
    let mut trashed = change("trashed", &stored, object);
    trashed["event_ts"] = json!(scene.app.now().as_millisecond());
    post(&scene, trashed).await;
    assert_eq!(scene.view("alice", &stored).await["zoom_state"], "trashed");
}
