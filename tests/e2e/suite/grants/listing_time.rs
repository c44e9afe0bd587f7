//! Listings that are rate limited for days.

use jiff::SignedDuration;
use reelay_zoom_sim::{Fault, Point};
use support::DelayedMessages;

use super::{Scene, backfill, unannounced};

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
