//! Listings that are rate limited for days, or take longer than an invocation.

use std::time::Instant;

use jiff::SignedDuration;
use reconciler::Reconciler;
use reelay_zoom_sim::{Fault, Point};
use serde_json::{Value, json};
use support::DelayedMessages;

use super::{Scene, backfill, unannounced};

const LIST: &str = "/users/me/recordings";

#[tokio::test]
async fn job_that_is_limited_for_retry_days_becomes_dead_letter() {
    let scene = Scene::with(&[("RetryDays", "2")]).await;
    scene.link("alice", support::zoom_users::ADA).await;
    let recording = unannounced(&scene, SignedDuration::from_hours(24 * 10));
    let delayed = DelayedMessages::of(&scene, &scene.queues().jobs);
    let limit = Fault::RateLimited { retry_after_seconds: Some(3_600) };
    let fault = scene.fail(Point::ListRecordings, limit);
    backfill(&scene, "alice", 20).await;
    for hours in (6..=42).step_by(6) {
        scene.advance(SignedDuration::from_hours(6));
        assert_eq!(delayed.deliver(&scene).await.len(), 1, "{hours}");
        scene.process_queues().await;
        assert_eq!(scene.dead_jobs().await, [""; 0], "{hours}");
    }
    scene.advance(SignedDuration::from_hours(6));
    delayed.deliver(&scene).await;
    scene.process_queues().await;
    let dead = scene.dead_jobs().await;
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert!(delayed.deliver(&scene).await.is_empty(), "deferred again");

    // Redriven once the limit has passed, it continues.
    scene.zoom().clear_faults(Some(fault));
    scene.advance(SignedDuration::from_hours(2));
    scene.redrive(&dead).await;
    assert!(scene.app.recordings("alice").await[0]["meeting_uuid"] == recording.uuid.as_str());
}

/// Runs the waiting jobs, which are of this kind, in an invocation that has no time left after a first page.
async fn run_without_time(scene: &Scene, kind: &str) {
    let environment = scene.stack.function_environment("reconciler").unwrap();
    let function = Reconciler::new(environment).unwrap();
    let messages = scene.take_messages(&scene.queues().jobs).await;
    assert!(!messages.is_empty());
    for body in messages {
        let job: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(job["job"], kind);
        let record = json!({"messageId": "m", "body": body, "messageAttributes": {},
            "attributes": {"ApproximateReceiveCount": "1"}, "eventSource": "aws:sqs"});
        let batch = serde_json::from_value(json!({"Records": [record]})).unwrap();
        let response = function.handle(batch, Instant::now()).await;
        assert!(response.batch_item_failures.is_empty(), "{response:?}");
    }
}

#[tokio::test]
async fn window_that_takes_too_long_is_split() {
    let scene = Scene::with(&[("DownloadMode", "on-demand")]).await;
    scene.link("alice", support::zoom_users::ADA).await;
    // Two pages in one window.
    for n in 0..310 {
        unannounced(&scene, SignedDuration::from_mins(n * 60 + 10));
    }
    let now = scene.app.now();
    let day = |at: jiff::Timestamp| at.strftime("%Y-%m-%d").to_string();
    let body = json!({"from": day(now - SignedDuration::from_hours(24 * 20)), "to": day(now)});
    scene.zoom().clear_requests();
    let response = scene.app.post("/v1/backfill", "alice", body.to_string()).await;
    assert_eq!(response.status, 202);
    run_without_time(&scene, "backfill").await;
    assert_eq!(scene.requests(LIST), 1);
    scene.process_queues().await;
    assert_eq!(scene.requests(LIST), 1 + 2, "two halves of a page each");
    let completed = scene.completed("alice").await;
    assert_eq!(completed, (310, 310, true));

    // A run of a reconciliation counts each recording once as well.
    scene.advance(SignedDuration::from_hours(25));
    let retries = json!({"v": 1, "job": "run_retries"});
    scene.send_message(&scene.queues().jobs, &retries.to_string()).await;
    run_without_time(&scene, "run_retries").await;
    run_without_time(&scene, "reconcile").await;
    scene.finish_runs().await;
    let report = scene.report("alice").await;
    assert_eq!(report["zoom"]["recordings"], 310, "{report}");
}
