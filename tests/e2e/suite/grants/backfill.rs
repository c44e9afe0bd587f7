//! What completed before the link was made is fetched.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use reelay_zoom_sim::{Fault, NewFault, NewRecording, Point};
use serde_json::json;
use support::people::{ADA, BEN, CEM};
use support::{store, zoom};

use super::{Scene, ask_backfill, backfill, small, unannounced};

#[tokio::test]
async fn a_new_link_brings_what_completed_in_the_two_days_before_it_once() {
    let scene = Scene::open().await;
    let hours = SignedDuration::from_hours;
    let missed = [hours(1), hours(47)].map(|age| unannounced(&scene, age));
    let too_old = unannounced(&scene, hours(24 * 5));
    let others = NewRecording {
        silent: true,
        ..small(BEN)
    };
    scene.system.zoom().create_recording(others).unwrap();
    // As long as the app has not confirmed, nothing is read.
    let claim = scene
        .system
        .consent(&mut scene.system.browser(), "alice", ADA)
        .await;
    scene.system.work().await;
    assert_eq!(scene.requests("/recordings"), 0);
    assert_eq!(scene.system.app.confirm("alice", &claim).await.status, 200);
    scene.system.work().await;

    let recordings = scene.system.app.recordings("alice").await;
    let uuids: Vec<_> = recordings
        .iter()
        .map(|recording| &recording["meeting_uuid"])
        .collect();
    assert_eq!(uuids, [&missed[0].uuid, &missed[1].uuid]);
    assert!(
        recordings
            .iter()
            .all(|recording| recording["status"] == "stored"),
        "{recordings:?}"
    );

    // The events come after all, and a second user links: nothing is fetched again.
    for recording in &missed {
        let id = scene.system.zoom().complete(&recording.key).unwrap();
        scene.delivered(id).await;
    }
    scene.system.link("bob", ADA).await;
    scene.settle().await;
    for recording in &missed {
        assert_eq!(
            zoom::fetches(&scene.system, &recording.files[0].id),
            1,
            "{}",
            recording.uuid
        );
    }
    assert_eq!(zoom::fetches(&scene.system, &too_old.files[0].id), 0);
    assert_eq!(scene.system.app.recordings("alice").await.len(), 2);
    assert_eq!(store::files(&scene.system.stack).await.len(), 2);
}

#[tokio::test]
async fn the_operator_may_have_more_than_two_days_fetched() {
    let scene = Scene::with(&[("BackfillDays", "10")]).await;
    let hours = SignedDuration::from_hours;
    let missed = unannounced(&scene, hours(24 * 9));
    unannounced(&scene, hours(24 * 12));
    scene.system.link("alice", ADA).await;
    let recordings = scene.system.app.recordings("alice").await;
    let uuids: Vec<_> = recordings
        .iter()
        .map(|recording| &recording["meeting_uuid"])
        .collect();
    assert_eq!(uuids, [&missed.uuid]);
}

#[tokio::test]
async fn a_backfill_over_months_reads_all_windows_and_all_pages() {
    let scene = Scene::with(&[("DownloadMode", "on-demand")]).await;
    scene.system.link("alice", ADA).await;
    scene.system.link("alice", CEM).await;
    let mut expected = BTreeSet::new();
    // One page is 300; this day has more. And one recording every nine days for a year.
    for n in 0..310 {
        let age = SignedDuration::from_hours(24 * 100) + SignedDuration::from_secs(n * 60);
        expected.insert(unannounced(&scene, age).uuid);
    }
    for n in 1..=40 {
        expected.insert(unannounced(&scene, SignedDuration::from_hours(24 * 9 * n)).uuid);
    }
    let outside = unannounced(&scene, SignedDuration::from_hours(24 * 366));
    scene.system.zoom().clear_requests();
    backfill(&scene, "alice", 365).await;

    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/recordings?limit=100{cursor}");
        let page = scene.system.app.get(&path, "alice").await.json();
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
    // 366 days in windows of 28, for two Zoom users, and one page more.
    assert_eq!(scene.requests("/users/me/recordings"), 14 * 2 + 1);
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn a_backfill_that_zoom_interrupts_is_completed_and_one_without_a_grant_is_dropped() {
    let scene = Scene::linked(&["alice"]).await;
    let missed = unannounced(&scene, SignedDuration::from_hours(24 * 20));
    for fault in [
        Fault::Status { status: 500 },
        Fault::Status { status: 401 },
        Fault::RateLimited {
            retry_after_seconds: None,
        },
        Fault::Html,
        Fault::Close,
    ] {
        scene.arm(NewFault::times(Point::ListRecordings, fault, 1));
    }
    backfill(&scene, "alice", 30).await;
    assert_eq!(
        scene.system.app.recordings("alice").await[0]["meeting_uuid"],
        missed.uuid
    );
    scene.assert_told("alice", [("activated", 1)]).await;
    assert_eq!(scene.dead_jobs().await, [""; 0]);

    // A user who has no link asks for nothing, and an order that outlives its link reads nothing.
    scene.system.zoom().clear_requests();
    backfill(&scene, "bob", 30).await;
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    scene.disconnect("alice", &id).await;
    scene.settle().await;
    let user = scene.zoom_user(ADA);
    scene.order(json!({"v": 1, "job": "backfill", "zoom_user": user, "from": "2026-01-01", "to": "2026-02-01"})).await;
    scene.settle().await;
    assert_eq!(scene.requests("/recordings"), 0);
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn a_backfill_that_makes_no_sense_is_refused() {
    let scene = Scene::linked(&["alice"]).await;
    scene.system.zoom().clear_requests();
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
        r#"{"from":"2026-01-01","from":"2026-01-01","to":"2026-01-02"}"#,
    ] {
        let answer = ask_backfill(&scene, "alice", body.to_owned()).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "request_invalid"),
            "{body}"
        );
    }
    scene.system.work().await;
    assert!(scene.system.zoom().requests().is_empty());
}
