//! Backfill: recordings from before the link, and on request.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use reelay_zoom_sim::{Fault, NewRecording, Point};
use serde_json::json;
use support::zoom_users::{ADA, BEN, CEM};

use super::{Scene, backfill, small, unannounced};

#[tokio::test]
async fn new_link_fetches_previous_two_days_once() {
    let scene = Scene::open().await;
    let hours = SignedDuration::from_hours;
    let missed = [hours(1), hours(47)].map(|age| unannounced(&scene, age));
    let too_old = unannounced(&scene, hours(24 * 5));
    let others = NewRecording { silent: true, ..small(BEN) };
    scene.zoom().create_recording(others).unwrap();
    // Nothing is read before the app confirms.
    let claim = scene.consent(&mut scene.browser(), "alice", ADA).await;
    scene.process_queues().await;
    assert_eq!(scene.requests("/recordings"), 0);
    assert_eq!(scene.app.confirm("alice", &claim).await.status, 200);
    scene.process_queues().await;

    let recordings = scene.app.recordings("alice").await;
    let uuids: Vec<_> = recordings.iter().map(|recording| &recording["meeting_uuid"]).collect();
    assert_eq!(uuids, [&missed[0].uuid, &missed[1].uuid]);
    assert!(recordings.iter().all(|recording| recording["status"] == "stored"), "{recordings:?}");

    // Late events and a second link fetch nothing again.
    for recording in &missed {
        let id = scene.zoom().complete(&recording.key).unwrap();
        scene.delivered(id).await;
    }
    scene.link("bob", ADA).await;
    scene.settle().await;
    for recording in &missed {
        assert_eq!(scene.fetch_count(&recording.files[0].id), 1, "{}", recording.uuid);
    }
    assert_eq!(scene.fetch_count(&too_old.files[0].id), 0);
    assert_eq!(scene.app.recordings("alice").await.len(), 2);
    assert_eq!(scene.stored_files().await.len(), 2);
}

#[tokio::test]
async fn backfill_days_extends_initial_backfill() {
    let scene = Scene::with(&[("BackfillDays", "10")]).await;
    let hours = SignedDuration::from_hours;
    let missed = unannounced(&scene, hours(24 * 9));
    unannounced(&scene, hours(24 * 12));
    scene.link("alice", ADA).await;
    let recordings = scene.app.recordings("alice").await;
    let uuids: Vec<_> = recordings.iter().map(|recording| &recording["meeting_uuid"]).collect();
    assert_eq!(uuids, [&missed.uuid]);
}

#[tokio::test]
async fn long_backfill_reads_all_windows_and_pages() {
    let scene = Scene::with(&[("DownloadMode", "on-demand")]).await;
    scene.link("alice", ADA).await;
    scene.link("alice", CEM).await;
    let mut expected = BTreeSet::new();
    // More than one page of 300 on one day, and one recording every nine days for a year.
    for n in 0..310 {
        let age = SignedDuration::from_hours(24 * 100) + SignedDuration::from_secs(n * 60);
        expected.insert(unannounced(&scene, age).uuid);
    }
    for n in 1..=40 {
        expected.insert(unannounced(&scene, SignedDuration::from_hours(24 * 9 * n)).uuid);
    }
    let outside = unannounced(&scene, SignedDuration::from_hours(24 * 366));
    scene.zoom().clear_requests();
    backfill(&scene, "alice", 365).await;

    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/recordings?limit=100{cursor}");
        let page = scene.app.get(&path, "alice").await.json();
        let uuids = page["recordings"].as_array().unwrap().iter();
        found.extend(uuids.map(|recording| recording["meeting_uuid"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let unique: BTreeSet<_> = found.iter().cloned().collect();
    assert_eq!(found.len(), unique.len(), "a recording is listed twice");
    assert!(!unique.contains(&outside.uuid));
    assert_eq!(unique, expected);
    // 366 days in windows of 28 days, for two Zoom users, and one second page.
    assert_eq!(scene.requests("/users/me/recordings"), 14 * 2 + 1);
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn interrupted_backfill_is_completed() {
    let scene = Scene::linked(&["alice"]).await;
    let missed = unannounced(&scene, SignedDuration::from_hours(24 * 20));
    for fault in
        [Fault::Status { status: 500 }, Fault::Status { status: 401 }, Fault::Html, Fault::Close]
    {
        scene.fail_next(Point::ListRecordings, fault, 1);
    }
    backfill(&scene, "alice", 30).await;
    assert_eq!(scene.app.recordings("alice").await[0]["meeting_uuid"], missed.uuid);
    scene.assert_notified("alice", [("activated", 1)]).await;
    assert_eq!(scene.dead_jobs().await, [""; 0]);

    // A backfill after its link ended reads nothing.
    scene.zoom().clear_requests();
    scene.disconnect_first("alice").await;
    scene.settle().await;
    let user = scene.zoom_user(ADA);
    scene.send_job(json!({"v": 1, "job": "backfill", "zoom_user": user, "from": "2026-01-01", "to": "2026-02-01"})).await;
    scene.settle().await;
    assert_eq!(scene.requests("/recordings"), 0);
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn list_entry_that_is_no_object_is_ignored() {
    let scene = Scene::linked(&["alice"]).await;
    let body = json!({"total_records": 1, "next_page_token": "", "meetings": ["odd"]}).to_string();
    let content_type = "application/json".to_owned();
    scene.fail(Point::ListRecordings, Fault::Respond { status: 200, content_type, body });
    backfill(&scene, "alice", 2).await;
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn invalid_backfill_is_rejected() {
    let scene = Scene::linked(&["alice"]).await;
    scene.zoom().clear_requests();
    for (body, named) in [
        ("{\"from\":\"2026-02-30\",\"to\":\"2026-03-01\"}", "`from` is not a date that exists"),
        ("{\"from\":\"2026-01-01\",\"to\":\"2026-13-01\"}", "`to` is not a date that exists"),
        ("{\"from\":\"2026-01-01\",\"until\":\"2026-01-02\"}", "The field `until` is unknown."),
    ] {
        let response = scene.app.post("/v1/backfill", "alice", body.to_owned()).await;
        assert_eq!((response.status, response.code().as_str()), (400, "request_invalid"), "{body}");
        assert!(response.body.contains(named), "{response:?}");
    }
    for body in [
        "",
        "{}",
        "[]",
        "null",
        "not json",
        r#"{"from":"2026-01-01"}"#,
        r#"{"to":"2026-01-01"}"#,
        r#"{"from":"2026-01-02","to":"2026-01-01"}"#,
        r#"{"from":"2025-01-01","to":"2026-06-01"}"#,
        r#"{"from":"-009999-01-01","to":"9999-12-31"}"#,
        r#"{"from":"2026-02-30","to":"2026-03-01"}"#,
        r#"{"from":"yesterday","to":"today"}"#,
        r#"{"from":1,"to":2}"#,
        r#"{"from":["2026-01-01"],"to":"2026-01-02"}"#,
        r#"{"from":null,"to":null}"#,
        r#"{"from":"2026-01-01","to":"2026-01-02","until":"2026-01-03"}"#,
        r#"{"from":"2026-01-01","from":"2026-01-01","to":"2026-01-02"}"#,
    ] {
        let response = scene.app.post("/v1/backfill", "alice", body.to_owned()).await;
        assert_eq!((response.status, response.code().as_str()), (400, "request_invalid"), "{body}");
    }
    scene.process_queues().await;
    assert!(scene.zoom().requests().is_empty());
}
