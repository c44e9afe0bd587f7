//! Backfills on request: what is read, what interrupts them, and what ends them.

use jiff::SignedDuration;
use reelay_embedded_aws::Service;
use reelay_zoom_sim::{Fault, NewFault, NewRecording, Point};
use serde_json::{Value, json};
use support::zoom_users::{ADA, BEN};
use support::{DelayedMessages, SDK_ATTEMPTS};

use super::listing::{LIST, days, uuids};
use super::marking_revoked::invalid_grant;
use super::{ACCESS_TOKEN_ENDS, Scene, backfill, small, unannounced};

#[tokio::test]
async fn backfill_reads_only_requested_days() {
    let scene = Scene::linked(&["alice"]).await;
    let [later, wanted, _earlier] = [6, 7, 8].map(|age| unannounced(&scene, days(age)));
    let day = wanted.start_time.strftime("%Y-%m-%d").to_string();
    let body = json!({"from": day, "to": day}).to_string();
    assert_eq!(scene.app.post("/v1/backfill", "alice", body).await.status, 202);
    scene.process_queues().await;
    // `later` is on the list, because the window ends a day after `to`.
    assert_eq!(scene.seen("alice").await, uuids([&wanted]));
    assert_eq!(scene.fetch_count(&later.files[0].id), 0);
}

#[tokio::test]
async fn rate_limited_backfill_waits_without_attempts() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = unannounced(&scene, days(1));
    let delayed = DelayedMessages::of(&scene, &scene.queues().jobs);
    scene.zoom().clear_requests();
    let limit = Fault::RateLimited { retry_after_seconds: Some(3_600) };
    scene.fail_next(Point::ListRecordings, limit, 1);
    backfill(&scene, "alice", 200).await;
    assert_eq!(scene.requests(LIST), 1);
    // Until the limit has passed, each message only continues in another one.
    for _ in 0..14 {
        let waiting = delayed.deliver(&scene).await;
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting[0].seconds, 900);
        scene.process_queues().await;
    }
    assert_eq!(scene.requests(LIST), 1);
    scene.advance(SignedDuration::from_secs(3_601));
    delayed.deliver(&scene).await;
    scene.process_queues().await;
    assert_eq!(scene.seen("alice").await, uuids([&recording]));
    assert_eq!(scene.completed("alice").await, (1, 1, true));
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn interrupted_backfill_repeats_one_window() {
    let scene = Scene::with(&[("DownloadMode", "on-demand")]).await;
    scene.link("alice", ADA).await;
    let recordings: Vec<_> = (1..12).map(|n| unannounced(&scene, days(30 * n))).collect();
    scene.zoom().clear_requests();
    let failing = NewFault::times(Point::ListRecordings, Fault::Status { status: 500 }, 1);
    scene.zoom().arm(failing.skip_first(5)).unwrap();
    // The continuation message is lost once, after its window was read.
    let lost = reelay_embedded_aws::Fault::error(500, "InternalError");
    let body = json!({"from": recordings[10].start_time.strftime("%Y-%m-%d").to_string(),
        "to": scene.app.now().strftime("%Y-%m-%d").to_string()});
    let response = scene.app.post("/v1/backfill", "alice", body.to_string()).await;
    assert_eq!(response.status, 202);
    scene.faults().fail_next(Service::Sqs, "SendMessage", SDK_ATTEMPTS, lost);
    scene.process_queues().await;
    assert_eq!(scene.seen("alice").await, uuids(&recordings));
    assert_eq!(scene.completed("alice").await, (11, 11, true));
    // 331 days in windows of 27 days, one failed request, and one window that was read twice.
    assert_eq!(scene.requests(LIST), 13 + 1 + 1);
}

#[tokio::test]
async fn backfill_completes_after_last_zoom_user() {
    let scene = Scene::linked(&["alice"]).await;
    scene.link("alice", BEN).await;
    for zoom_user in [ADA, BEN] {
        let start_time = Some(scene.app.now() - days(10));
        let new = NewRecording { start_time, silent: true, ..small(zoom_user) };
        scene.zoom().create_recording(new).unwrap();
    }
    let limited = Fault::RateLimited { retry_after_seconds: Some(60) };
    let limited = NewFault::times(Point::ListRecordings, limited, 1).only_for(BEN);
    scene.zoom().arm(limited).unwrap();
    let delayed = DelayedMessages::of(&scene, &scene.queues().jobs);
    let today = scene.app.now().strftime("%Y-%m-%d").to_string();
    let from = (scene.app.now() - days(12)).strftime("%Y-%m-%d").to_string();
    let body = json!({"from": from, "to": today}).to_string();
    let response = scene.app.post("/v1/backfill", "alice", body).await.json();
    assert_eq!(response["status"], "accepted");
    scene.process_queues().await;
    assert_eq!(scene.published("alice", "backfill.completed").await, [] as [Value; 0]);

    scene.advance(SignedDuration::from_secs(61));
    for later in delayed.deliver(&scene).await {
        assert!(later.seconds >= 60);
    }
    // The invocation that ends the backfill fails before it publishes `backfill.completed`.
    let down = reelay_embedded_aws::Fault::error(500, "InternalError");
    scene.faults().fail_next(Service::Sqs, "SendMessage", SDK_ATTEMPTS, down);
    scene.process_queues().await;
    let published = scene.published("alice", "backfill.completed").await;
    assert_eq!(
        published,
        [json!({
            "app_user_id": "alice", "backfill_id": response["backfill_id"], "from": from,
            "to": today, "recordings": 2, "files": 2, "complete": true,
        })]
    );
    let left = scene.table_items(&scene.tables().links).await;
    assert!(!left.iter().any(|item| item.contains("backfill##")), "{left:?}");
}

#[tokio::test]
async fn backfill_without_active_link_is_rejected() {
    let scene = Scene::open().await;
    let body = json!({"from": "2026-01-01", "to": "2026-01-02"}).to_string();
    let request = async || scene.app.post("/v1/backfill", "alice", body.clone()).await;
    request().await.assert_problem(409, "no_active_link", "without a link");
    scene.consent(&mut scene.browser(), "alice", ADA).await;
    request().await.assert_problem(409, "no_active_link", "with a pending link");
    scene.link("alice", ADA).await;
    assert_eq!(request().await.status, 202);
    scene.process_queues().await;
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.fail_next(Point::TokenRefresh, invalid_grant(), 1);
    scene.assert_refresh_finds_revocation().await;
    request().await.assert_problem(409, "no_active_link", "with an ended grant");
}

#[tokio::test]
async fn backfill_ends_with_its_link() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    unannounced(&scene, days(10));
    let today = scene.app.now().strftime("%Y-%m-%d").to_string();
    let body = json!({"from": "2026-01-01", "to": today}).to_string();
    assert_eq!(scene.app.post("/v1/backfill", "alice", body).await.status, 202);
    scene.disconnect_first("alice").await;
    scene.zoom().clear_requests();
    scene.settle().await;
    // Bob's link keeps the grant, but he requested no backfill.
    assert_eq!(scene.requests(LIST), 0);
    assert_eq!(scene.completed("alice").await, (0, 0, false));
    assert!(scene.seen("bob").await.is_empty());
}

#[tokio::test]
async fn backfill_ends_with_its_consent() {
    let scene = Scene::linked(&["alice"]).await;
    let old = unannounced(&scene, days(10));
    let today = scene.app.now().strftime("%Y-%m-%d").to_string();
    let body = json!({"from": "2026-01-01", "to": today}).to_string();
    assert_eq!(scene.app.post("/v1/backfill", "alice", body).await.status, 202);
    // The app user connects again before the job runs.
    let jobs = scene.take_messages(&scene.queues().jobs).await;
    scene.disconnect_first("alice").await;
    scene.settle().await;
    scene.advance(SignedDuration::from_mins(1));
    scene.link("alice", ADA).await;
    for job in jobs {
        scene.send_message(&scene.queues().jobs, &job).await;
    }
    scene.settle().await;
    assert!(scene.seen("alice").await.is_empty(), "{} was fetched", old.uuid);
    assert_eq!(scene.completed("alice").await, (0, 0, false));
}
