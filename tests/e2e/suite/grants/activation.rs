//! What is listed when a link becomes active, comes back, or is confirmed again because of an issue.

use jiff::SignedDuration;
use reelay_embedded_aws::Service;
use reelay_zoom_sim::{ErrorForm, NewRecording, Point};
use serde_json::{Value, json};
use support::zoom_users::ADA;

use super::listing::{days, error, uuids};
use super::marking_revoked::invalid_grant;
use super::{Scene, backfill, small, unannounced};

#[tokio::test]
async fn activation_fetches_meeting_that_ended_in_window() {
    let scene = Scene::open().await;
    let new = |hours: i64, duration_minutes: u32| {
        let start_time = Some(scene.app.now() - SignedDuration::from_hours(hours));
        let new = NewRecording { start_time, silent: true, ..small(ADA) };
        let new = NewRecording { duration_minutes: Some(duration_minutes), ..new };
        scene.zoom().create_recording(new).unwrap().recording
    };
    let long = new(70, 25 * 60);
    new(100, 25 * 60);
    scene.link("alice", ADA).await;
    assert_eq!(scene.seen("alice").await, uuids([&long]));
}

#[tokio::test]
async fn activation_backfill_survives_crash_after_confirmation() {
    let scene = Scene::open().await;
    let missed = unannounced(&scene, SignedDuration::from_hours(10));
    let claim = scene.consent(&mut scene.browser(), "alice", ADA).await;
    let down = reelay_embedded_aws::Fault::error(500, "InternalError");
    scene.faults().fail_until_cleared(Service::Sqs, "SendMessageBatch", down);
    assert_eq!(scene.app.confirm("alice", &claim).await.status, 503);
    scene.faults().clear_all();
    scene.assert_status("alice", &["active"]).await;
    scene.process_queues().await;
    assert!(scene.seen("alice").await.is_empty());
    // The app does not confirm again: the maintenance run enqueues the pending job.
    scene.send_job(json!({"v": 1, "job": "run_maintenance"})).await;
    scene.settle().await;
    assert_eq!(scene.seen("alice").await, uuids([&missed]));
    assert!(scene.snapshot(ADA).await.jobs.is_empty());
}

#[tokio::test]
async fn revived_link_fetches_missed_recordings() {
    // Without reconciliation, which would also fetch the missed recordings.
    let scene = Scene::with(&[("ReconcileEveryHours", "0")]).await;
    scene.link("alice", ADA).await;
    scene.advance(days(10));
    scene.fail_next(Point::TokenRefresh, invalid_grant(), 1);
    scene.assert_refresh_finds_revocation().await;
    scene.advance(days(5));
    let missed = unannounced(&scene, days(4));
    unannounced(&scene, days(8));
    scene.grants().revive(&scene.zoom_user(ADA)).await.unwrap();
    // The instance that revived the grant enqueued nothing.
    scene.send_job(json!({"v": 1, "job": "run_maintenance"})).await;
    scene.settle().await;
    scene.assert_status("alice", &["active"]).await;
    assert_eq!(scene.seen("alice").await, uuids([&missed]));
}

#[tokio::test]
async fn reconnecting_ends_an_issue() {
    let scene = Scene::with(&[("ReconcileEveryHours", "0")]).await;
    scene.link("alice", ADA).await;
    let fault = scene.fail(Point::ListRecordings, error(400, 4711, ErrorForm::Api));
    let missed = unannounced(&scene, days(1));
    backfill(&scene, "alice", 3).await;
    assert_eq!(scene.issue("alice").await, "scope_missing");
    scene.zoom().clear_faults(Some(fault));
    scene.link("alice", ADA).await;
    scene.settle().await;
    assert_eq!(scene.issue("alice").await, Value::Null);
    assert_eq!(scene.seen("alice").await, uuids([&missed]));
}
