//! Consents that were cut off, and links that were never confirmed.

use jiff::SignedDuration;
use support::people::{ADA, CEM};

use super::{ACCESS_TOKEN_ENDS, Scene, backfill, unannounced};

#[tokio::test]
async fn an_interrupted_consent_serves_the_links_that_exist() {
    let scene = Scene::linked(&["alice"]).await;
    let link = scene.system.app.links("alice").await;
    let exchange = scene.interrupted("bob").await;
    scene.finish(&exchange).await;
    scene.assert_served(ADA).await;
    assert_eq!(scene.system.app.links("alice").await, link);
    scene.assert_status("bob", &[]).await;
    assert!((&scene.exchanges().await & &exchange).is_empty());
    let before = scene.holding(ADA).await;
    scene.finish(&exchange).await;
    assert_eq!(
        scene.holding(ADA).await,
        before,
        "the order repeated changed something"
    );
    scene.assert_told("alice", [("activated", 1)]).await;
    scene.assert_told("bob", []).await;
    assert_eq!(scene.requests("/oauth/revoke"), 0);
}

#[tokio::test]
async fn an_interrupted_consent_that_nobody_needs_is_revoked() {
    let scene = Scene::open().await;
    let exchange = scene.interrupted("bob").await;
    assert!(scene.system.zoom().live_grant(ADA).is_some());
    scene.finish(&exchange).await;
    scene.assert_gone(ADA).await;
    assert!(scene.exchanges().await.is_empty());
    scene.finish(&exchange).await;
    assert_eq!(scene.requests("/oauth/revoke"), 1);
    scene.assert_told("bob", []).await;
}

#[tokio::test]
async fn a_consent_without_a_needed_scope_that_nobody_needs_is_revoked() {
    for lacking in [
        "cloud_recording:read:list_user_recordings",
        "user:read:user",
    ] {
        let scene = Scene::open().await;
        let mut scopes = scene.system.zoom().settings().scopes;
        scopes.retain(|scope| scope != lacking);
        scene.system.zoom().set_scopes(ADA, Some(scopes)).unwrap();
        let mut browser = scene.system.browser();
        let back = scene.system.callback(&mut browser, "alice", ADA).await;
        assert_eq!(
            browser.visit(&back).await.zoom_error(),
            "zoom_scope_missing"
        );
        scene.finish(&scene.exchanges().await).await;
        assert_eq!(scene.dead_jobs().await, [""; 0], "{lacking}");
        scene.assert_gone(ADA).await;
        assert!(scene.exchanges().await.is_empty(), "{lacking}");
    }
}

#[tokio::test]
async fn of_two_interrupted_consents_the_pair_that_zoom_honours_is_kept_in_any_order() {
    for newer_first in [true, false] {
        let scene = Scene::linked(&["alice"]).await;
        let older = scene.interrupted("bob").await;
        let newer = scene.interrupted("carol").await;
        for exchange in if newer_first {
            [&newer, &older]
        } else {
            [&older, &newer]
        } {
            scene.finish(exchange).await;
        }
        scene.assert_served(ADA).await;
        scene.assert_status("alice", &["active"]).await;
        scene.assert_told("alice", [("activated", 1)]).await;
    }
}

#[tokio::test]
async fn an_interrupted_consent_that_is_looked_after_late_is_not_lost() {
    for linked in [true, false] {
        let scene = Scene::linked(if linked { &["alice"] } else { &[] }).await;
        let exchange = scene.interrupted("bob").await;
        // Zoom's API was down for longer than an access token lives.
        scene.system.stack.advance(ACCESS_TOKEN_ENDS);
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
async fn an_interrupted_consent_does_not_take_the_tokens_from_a_link_that_works() {
    let scene = Scene::linked(&["alice"]).await;
    scene.interrupted("bob").await;
    // Nobody has looked after bob's exchange yet.
    let missed = unannounced(&scene, SignedDuration::from_hours(1));
    backfill(&scene, "alice", 1).await;
    scene.assert_told("alice", [("activated", 1)]).await;
    scene.assert_status("alice", &["active"]).await;
    assert_eq!(
        scene.system.app.recordings("alice").await[0]["meeting_uuid"],
        missed.uuid
    );
}

#[tokio::test]
async fn a_link_that_is_never_confirmed_is_dropped_and_its_grant_revoked() {
    let scene = Scene::open().await;
    let claim = scene
        .system
        .consent(&mut scene.system.browser(), "alice", ADA)
        .await;
    let exchange = scene.exchanges().await;
    assert_eq!(exchange.len(), 1);
    scene.system.stack.advance(SignedDuration::from_secs(600));
    scene.finish(&exchange).await;
    scene.assert_gone(ADA).await;
    assert!(scene.exchanges().await.is_empty());
    scene.assert_told("alice", []).await;
    assert_eq!(
        scene.system.app.confirm("alice", &claim).await.code(),
        "claim_expired"
    );
    scene.finish(&exchange).await;
    assert_eq!(scene.requests("/oauth/revoke"), 1);
}

#[tokio::test]
async fn an_order_that_comes_too_early_leaves_the_later_one_its_work() {
    let scene = Scene::open().await;
    // The consent is stored, and its callback is told that it is not: so it orders to finish at once.
    let refused = reelay_embedded_aws::Fault::error(400, "AccessDeniedException").after_effect();
    let faults = scene.system.stack.engines().faults();
    let mut browser = scene.system.browser();
    let back = scene.system.callback(&mut browser, "alice", ADA).await;
    let dynamodb = reelay_embedded_aws::Service::DynamoDb;
    faults.fail_next(dynamodb, "TransactWriteItems", 1, refused);
    assert_eq!(browser.visit(&back).await.zoom_error(), "zoom_unavailable");
    let exchange = scene.exchanges().await;
    scene.settle().await;
    assert_eq!(
        scene.holding(ADA).await.links.len(),
        1,
        "it may be confirmed"
    );

    scene.system.stack.advance(SignedDuration::from_secs(900));
    scene.finish(&exchange).await;
    scene.assert_gone(ADA).await;
    assert!(scene.exchanges().await.is_empty());
    scene.assert_told("alice", []).await;
}

#[tokio::test]
async fn a_pending_link_that_is_dropped_leaves_the_others_their_grant() {
    let scene = Scene::linked(&["alice"]).await;
    scene
        .system
        .consent(&mut scene.system.browser(), "bob", ADA)
        .await;
    scene.system.stack.advance(SignedDuration::from_secs(900));
    scene.finish(&scene.exchanges().await).await;
    assert_eq!(scene.holding(ADA).await.links.len(), 1);
    scene.assert_served(ADA).await;
    scene.assert_status("alice", &["active"]).await;
    scene.assert_told("bob", []).await;
    assert_eq!(scene.requests("/oauth/revoke"), 0);
}

#[tokio::test]
async fn a_pending_link_begun_again_waits_for_the_later_claim() {
    let scene = Scene::open().await;
    let system = &scene.system;
    let first = system.consent(&mut system.browser(), "alice", ADA).await;
    let firsts = scene.exchanges().await;
    system.stack.advance(SignedDuration::from_secs(595));
    let second = system.consent(&mut system.browser(), "alice", ADA).await;
    system.stack.advance(SignedDuration::from_secs(305));
    scene.finish(&firsts).await;
    assert_eq!(
        system.app.confirm("alice", &first).await.code(),
        "claim_expired"
    );
    assert_eq!(system.app.confirm("alice", &second).await.status, 200);
    // Once confirmed it stays, whatever order comes.
    system.stack.advance(SignedDuration::from_secs(600));
    scene.finish(&scene.exchanges().await).await;
    scene.assert_status("alice", &["active"]).await;
    scene.assert_served(ADA).await;

    // Not confirmed, it goes with its last claim.
    system.consent(&mut system.browser(), "bob", CEM).await;
    system.stack.advance(SignedDuration::from_secs(595));
    system.consent(&mut system.browser(), "bob", CEM).await;
    system.stack.advance(SignedDuration::from_secs(600));
    scene.finish(&scene.exchanges().await).await;
    scene.assert_gone(CEM).await;
}
