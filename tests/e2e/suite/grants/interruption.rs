//! Interrupted consents and links that are never confirmed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::SignedDuration;
use reelay_embedded_aws::Service;
use reelay_store::sessions::SessionTable;
use reelay_zoom_sim::{Fault, Point};
use support::zoom_users::{ADA, CEM};

use super::{ACCESS_TOKEN_ENDS, Scene, backfill, unannounced};

#[tokio::test]
async fn interrupted_consent_serves_existing_links() {
    let scene = Scene::linked(&["alice"]).await;
    let link = scene.app.links("alice").await;
    let exchange = scene.interrupted("bob").await;
    scene.finish(&exchange).await;
    scene.assert_served(ADA).await;
    assert_eq!(scene.app.links("alice").await, link);
    scene.assert_status("bob", &[]).await;
    assert!((&scene.exchanges().await & &exchange).is_empty());
    let before = scene.snapshot(ADA).await;
    scene.finish(&exchange).await;
    assert_eq!(scene.snapshot(ADA).await, before, "the repeated job changed something");
    scene.assert_notified("alice", [("activated", 1)]).await;
    scene.assert_notified("bob", []).await;
    assert_eq!(scene.requests("/oauth/revoke"), 0);
}

#[tokio::test]
async fn unneeded_interrupted_consent_is_revoked() {
    let scene = Scene::open().await;
    let exchange = scene.interrupted("bob").await;
    assert!(scene.zoom().live_grant(ADA).is_some());
    scene.finish(&exchange).await;
    scene.assert_gone(ADA).await;
    assert!(scene.exchanges().await.is_empty());
    scene.finish(&exchange).await;
    assert_eq!(scene.requests("/oauth/revoke"), 1);
    scene.assert_notified("bob", []).await;
}

#[tokio::test]
async fn interrupted_consent_waits_for_days() {
    let scene = Scene::open().await;
    let exchange = scene.interrupted("bob").await;
    scene.advance(SignedDuration::from_hours(6 * 24));
    // What the hourly maintenance finds.
    let sessions = SessionTable::new(scene.environment()).unwrap();
    let open = sessions.open_exchanges(scene.grants().links(), scene.app.now()).await.unwrap();
    let open: BTreeSet<String> = open.into_iter().map(|open| open.key).collect();
    assert_eq!(open, exchange);
    scene.finish(&exchange).await;
    scene.assert_gone(ADA).await;
    assert_eq!(scene.requests("/oauth/revoke"), 1);
}

#[tokio::test]
async fn unneeded_consent_without_scope_is_revoked() {
    for lacking in ["cloud_recording:read:list_user_recordings", "user:read:user"] {
        let scene = Scene::open().await;
        let mut scopes = scene.zoom().settings().scopes;
        scopes.retain(|scope| scope != lacking);
        scene.zoom().set_scopes(ADA, Some(scopes)).unwrap();
        let mut browser = scene.browser();
        let callback = scene.callback(&mut browser, "alice", ADA).await;
        assert_eq!(browser.visit(&callback).await.zoom_error(), "zoom_scope_missing");
        scene.finish_all().await;
        assert_eq!(scene.dead_jobs().await, [""; 0], "{lacking}");
        scene.assert_gone(ADA).await;
        assert!(scene.exchanges().await.is_empty(), "{lacking}");
    }
}

#[tokio::test]
async fn live_tokens_win_between_two_interrupted_consents() {
    for newer_first in [true, false] {
        let scene = Scene::linked(&["alice"]).await;
        let older = scene.interrupted("bob").await;
        let newer = scene.interrupted("carol").await;
        for exchange in if newer_first { [&newer, &older] } else { [&older, &newer] } {
            scene.finish(exchange).await;
        }
        scene.assert_served(ADA).await;
        scene.assert_status("alice", &["active"]).await;
        scene.assert_notified("alice", [("activated", 1)]).await;
    }
}

#[tokio::test]
async fn late_finish_job_keeps_interrupted_consent() {
    for linked in [true, false] {
        let scene = Scene::linked(if linked { &["alice"] } else { &[] }).await;
        let exchange = scene.interrupted("bob").await;
        // Zoom's API was down for longer than an access token lives.
        scene.advance(ACCESS_TOKEN_ENDS);
        scene.finish(&exchange).await;
        if linked {
            scene.assert_served(ADA).await;
            scene.assert_status("alice", &["active"]).await;
        } else {
            scene.assert_gone(ADA).await;
        }
    }
}

#[tokio::test]
async fn one_rejected_access_token_does_not_lose_the_exchange() {
    let scene = Scene::linked(&["alice"]).await;
    let exchange = scene.interrupted("bob").await;
    scene.fail_next(Point::UsersMe, Fault::Status { status: 401 }, 1);
    scene.finish(&exchange).await;
    scene.assert_served(ADA).await;
    assert!((&scene.exchanges().await & &exchange).is_empty());
    scene.assert_notified("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn exchange_that_sessions_cannot_take_is_kept_in_links() {
    let scene = Scene::linked(&["alice"]).await;
    let mut browser = scene.browser();
    let callback = scene.callback(&mut browser, "bob", ADA).await;
    let before = scene.exchanges().await;
    // The first two announce and begin the exchange. The next six save its tokens, with the SDK's retries; then
    // the other table is tried.
    let writes = AtomicUsize::new(0);
    scene.faults().decide_with(move |service, operation| {
        let is_write = service == Service::DynamoDb && operation == "PutItem";
        let nth = if is_write { writes.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
        let down = reelay_embedded_aws::Fault::error(500, "InternalServerError");
        (3..=8).contains(&nth).then_some(down)
    });
    scene.fail_next(Point::UsersMe, Fault::Status { status: 500 }, 1);
    assert_eq!(browser.visit(&callback).await.zoom_error(), "zoom_unavailable");
    scene.faults().clear_all();
    let spare = async || {
        let items = scene.table_items(&scene.tables().links).await;
        items.iter().filter(|item| item.contains("spare##")).count()
    };
    assert_eq!(spare().await, 1);
    scene.finish(&(&scene.exchanges().await - &before)).await;
    scene.assert_served(ADA).await;
    assert_eq!(spare().await, 0);
    scene.assert_notified("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn kms_outage_consumes_no_code() {
    let scene = Scene::linked(&["alice"]).await;
    let mut browser = scene.browser();
    let callback = scene.callback(&mut browser, "bob", ADA).await;
    let down = reelay_embedded_aws::Fault::error(500, "KMSInternalException");
    scene.faults().fail_until_cleared(Service::Kms, "GenerateDataKey", down);
    assert_eq!(browser.visit(&callback).await.zoom_error(), "zoom_unavailable");
    scene.faults().clear_all();
    // No request reached Zoom, so Alice's tokens are valid.
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn code_is_not_sent_just_before_the_function_ends() {
    let scene = Scene::linked(&["alice"]).await;
    let mut browser = scene.browser();
    let callback = scene.callback(&mut browser, "bob", ADA).await;
    scene.delay_kms(SignedDuration::from_secs(14));
    assert_eq!(browser.visit(&callback).await.zoom_error(), "zoom_unavailable");
    scene.faults().clear_all();
    // No request reached Zoom, so Alice's tokens are valid.
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn interrupted_consent_keeps_working_links_tokens() {
    let scene = Scene::linked(&["alice"]).await;
    scene.interrupted("bob").await;
    // Bob's exchange is not finished yet.
    let missed = unannounced(&scene, SignedDuration::from_hours(1));
    backfill(&scene, "alice", 1).await;
    scene.assert_notified("alice", [("activated", 1)]).await;
    scene.assert_status("alice", &["active"]).await;
    assert_eq!(scene.app.recordings("alice").await[0]["meeting_uuid"], missed.uuid);
}

#[tokio::test]
async fn unconfirmed_link_is_dropped_and_grant_revoked() {
    let scene = Scene::open().await;
    let claim = scene.consent(&mut scene.browser(), "alice", ADA).await;
    let exchange = scene.exchanges().await;
    assert_eq!(exchange.len(), 1);
    scene.pass(SignedDuration::from_secs(603)).await;
    scene.settle().await;
    scene.assert_gone(ADA).await;
    assert!(scene.exchanges().await.is_empty());
    scene.assert_notified("alice", []).await;
    assert_eq!(scene.app.confirm("alice", &claim).await.code(), "claim_expired");
    scene.finish(&exchange).await;
    assert_eq!(scene.requests("/oauth/revoke"), 1);
}

#[tokio::test]
async fn early_finish_job_leaves_work_to_later() {
    let scene = Scene::open().await;
    // The consent is stored but its response says otherwise, so the callback enqueues the finish job at once.
    let rejected = reelay_embedded_aws::Fault::error(400, "AccessDeniedException").after_effect();
    let faults = scene.faults();
    let mut browser = scene.browser();
    let callback = scene.callback(&mut browser, "alice", ADA).await;
    let dynamodb = Service::DynamoDb;
    faults.fail_next(dynamodb, "TransactWriteItems", 1, rejected);
    assert_eq!(browser.visit(&callback).await.zoom_error(), "zoom_unavailable");
    let exchange = scene.exchanges().await;
    scene.settle().await;
    assert_eq!(scene.snapshot(ADA).await.links.len(), 1, "still confirmable");

    scene.advance(SignedDuration::from_secs(900));
    scene.finish(&exchange).await;
    scene.assert_gone(ADA).await;
    assert!(scene.exchanges().await.is_empty());
    scene.assert_notified("alice", []).await;
}

#[tokio::test]
async fn dropped_pending_link_keeps_shared_grant() {
    let scene = Scene::linked(&["alice"]).await;
    scene.consent(&mut scene.browser(), "bob", ADA).await;
    scene.advance(SignedDuration::from_secs(900));
    scene.finish_all().await;
    assert_eq!(scene.snapshot(ADA).await.links.len(), 1);
    scene.assert_served(ADA).await;
    scene.assert_status("alice", &["active"]).await;
    scene.assert_notified("bob", []).await;
    assert_eq!(scene.requests("/oauth/revoke"), 0);
}

#[tokio::test]
async fn restarted_pending_link_waits_for_later_claim() {
    let scene = Scene::open().await;
    let system = &scene;
    let first = system.consent(&mut system.browser(), "alice", ADA).await;
    let firsts = scene.exchanges().await;
    system.advance(SignedDuration::from_secs(595));
    let second = system.consent(&mut system.browser(), "alice", ADA).await;
    system.advance(SignedDuration::from_secs(305));
    scene.finish(&firsts).await;
    assert_eq!(system.app.confirm("alice", &first).await.code(), "claim_expired");
    assert_eq!(system.app.confirm("alice", &second).await.status, 200);
    // A confirmed link survives later jobs.
    system.advance(SignedDuration::from_secs(600));
    scene.finish_all().await;
    scene.assert_status("alice", &["active"]).await;
    scene.assert_served(ADA).await;

    // An unconfirmed link is dropped with its last claim.
    system.consent(&mut system.browser(), "bob", CEM).await;
    system.advance(SignedDuration::from_secs(595));
    system.consent(&mut system.browser(), "bob", CEM).await;
    system.advance(SignedDuration::from_secs(600));
    scene.finish_all().await;
    scene.assert_gone(CEM).await;
}
