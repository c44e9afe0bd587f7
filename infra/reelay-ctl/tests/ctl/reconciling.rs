//! `reconcile`, `report`, `retry` and `trash-preview`.

use jiff::SignedDuration;
use reelay_zoom_sim::{Fault, NewRecording, Point};
use serde_json::json;
use support::System;
use support::recordings::video;
use support::zoom_users::ADA;

use crate::run;

/// Advances the clock by a minute, and runs the work that becomes due.
async fn pass_a_minute(system: &System) {
    let url = format!("{}/_dev/clock", system.stack.url());
    let request = reqwest::Client::new().post(url).json(&json!({"advance_seconds": 60}));
    assert_eq!(request.send().await.unwrap().status(), 200);
    system.process_queues().await;
}

#[tokio::test]
async fn reconciliation_is_enqueued_and_reported() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let output = run::on(&system, "report --user alice").await;
    assert!(output.out.contains("not yet"), "{output:?}");
    let missed = system.zoom().create_recording(NewRecording { silent: true, ..video(100) });
    let missed = missed.unwrap().recording;
    let zoom_user = format!("{}/{}", missed.account_id, missed.host_id);
    for (selection, recordings) in
        [("--user alice".to_owned(), 0), (format!("--zoom {zoom_user}"), 1), ("--all".into(), 1)]
    {
        let output = run::on(&system, &format!("reconcile {selection} --json")).await;
        assert_eq!((output.code, &output.json()["enqueued"]), (0, &json!(1)), "{output:?}");
        pass_a_minute(&system).await;
        let report = run::on(&system, "report --json").await.json();
        let total = &report["total"];
        assert_eq!(total["zoom"]["recordings"], 1, "{report}");
        assert_eq!(total["stored"]["recordings"], recordings, "{selection}: {report}");
        assert_eq!(report["links"][0]["app_user_id"], "alice");
    }
    system.assert_stored(&missed, "missed").await;
    let output = run::on(&system, "reconcile --user nobody").await;
    assert_eq!(output.out.trim(), "0 reconciliations enqueued.", "{output:?}");
}

#[tokio::test]
async fn failed_files_are_counted_then_queued_again() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let fault = system.fail(Point::Download, Fault::Status { status: 410 });
    let recording = system.record(video(100)).await;
    assert_eq!(system.first_file(&recording).await["reason"], "gone");
    system.zoom().clear_faults(Some(fault));

    let counted = run::on(&system, "retry --json").await.json();
    let expected = json!({"files": 1, "not_covered": 0, "reasons": {"gone": 1}, "dry_run": true});
    assert_eq!(counted, expected);
    let later = system.app.now() + SignedDuration::from_hours(1);
    for none in
        ["retry --yes --reason not_found --json", &format!("retry --yes --since {later} --json")]
    {
        assert_eq!(run::on(&system, none).await.json()["files"], 0, "{none}");
    }
    let unknown = run::on(&system, "retry --reason nonsense").await;
    assert!(unknown.err.contains("not selected: gone."), "{unknown:?}");
    system.process_queues().await;
    assert_eq!(system.first_file(&recording).await["status"], "failed");
    let output = run::on(&system, "retry --yes --reason gone").await;
    assert!(output.out.contains("1 failed file queued again."), "{output:?}");
    system.process_queues().await;
    system.assert_stored(&recording, "queued again").await;
}

#[tokio::test]
async fn failed_files_without_link_are_left_out() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system.fail(Point::Download, Fault::Status { status: 410 });
    system.record(video(100)).await;
    system.app.disconnect_all("alice").await;
    system.process_queues().await;
    let counted = run::on(&system, "retry --yes --json").await.json();
    assert_eq!((&counted["files"], &counted["not_covered"]), (&json!(0), &json!(1)), "{counted}");
}

#[tokio::test]
async fn trash_preview_counts_by_reason() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system.record(video(100)).await;
    let fault = system.fail(Point::Download, Fault::Status { status: 410 });
    system.record(video(200)).await;
    system.zoom().clear_faults(Some(fault));
    let preview = async || run::on(&system, "trash-preview --after-days 7 --json").await.json();
    let kept = json!({"recordings": 1, "stored_bytes": 0});
    let stored = json!({"recordings": 1, "stored_bytes": 100});
    let expected = json!({"too_recent": stored, "not_all_stored": kept});
    assert_eq!(preview().await, json!({"after_days": 7, "outcomes": expected}));
    system.app.disconnect_all("alice").await;
    system.process_queues().await;
    assert_eq!(preview().await["outcomes"], json!({}));
}
