//! Zoom rejects the tokens of many accounts at once: no grant is marked for a day.

use jiff::SignedDuration;
use reelay_domain::refresh_breaker::RefreshCounts;
use reelay_grants::GrantError;
use support::zoom_users::ADA;

use super::{ACCESS_TOKEN_ENDS, Scene};

/// Other instances' refreshes of four accounts: rejected, and successful.
async fn count(scene: &Scene, rejected: u32, succeeded: u32) {
    let mut counts = RefreshCounts::default();
    for (number, is_valid) in [(rejected, false), (succeeded, true)] {
        for n in 0..number {
            counts.add(&format!("AnotherAccount{}", n % 4).parse().unwrap(), is_valid);
        }
    }
    scene.grants().links().count_refreshes(&counts, scene.app.now()).await.unwrap();
}

async fn assert_kept(scene: &Scene) {
    let rejected = scene.grants().access_token(&scene.zoom_user(ADA)).await;
    assert!(matches!(rejected, Err(GrantError::ManyRejected)), "{rejected:?}");
    scene.assert_status("alice", &["active"]).await;
}

#[tokio::test]
async fn many_rejections_delay_marking_by_a_day() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    count(&scene, 19, 3).await;
    assert_kept(&scene).await;
    scene.advance(SignedDuration::from_hours(23));
    count(&scene, 25, 0).await;
    assert_kept(&scene).await;
    scene.advance(SignedDuration::from_hours(1));
    count(&scene, 25, 0).await;
    scene.assert_refresh_finds_revocation().await;
    scene.assert_status("alice", &["reauthorization_required"]).await;
}

#[tokio::test]
async fn grant_is_kept_if_zoom_recovers() {
    let scene = Scene::linked(&["alice"]).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    count(&scene, 25, 0).await;
    scene.fail_next(
        reelay_zoom_sim::Point::TokenRefresh,
        super::marking_revoked::invalid_grant(),
        1,
    );
    assert_kept(&scene).await;
    scene.grants().access_token(&scene.zoom_user(ADA)).await.unwrap();
    scene.assert_served(ADA).await;
    assert_eq!(scene.snapshot(ADA).await.grant.unwrap().failing_since, None);
    scene.settle().await;
    scene.assert_notified("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn few_rejections_mark_at_once() {
    for (rejected, succeeded) in [(18, 0), (25, 26)] {
        let scene = Scene::linked(&["alice"]).await;
        scene.remove_silently(ADA).await;
        scene.advance(ACCESS_TOKEN_ENDS);
        count(&scene, rejected, succeeded).await;
        scene.assert_refresh_finds_revocation().await;
    }
    // Refreshes from more than ten minutes ago do not count.
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    count(&scene, 25, 0).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.assert_refresh_finds_revocation().await;
}
