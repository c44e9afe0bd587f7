//! Deauthorization events: genuine, stale, forged, or impossible to check.

use jiff::SignedDuration;
use reelay_zoom_sim::{Fault, Point, RawEvent, Target};
use serde_json::{Value, json};
use support::DelayedMessages;
use support::zoom_users::{ADA, BEN, CEM};

use super::marking_revoked::invalid_grant;
use super::{ACCESS_TOKEN_ENDS, Scene, is_empty};

#[tokio::test]
async fn deauthorization_removes_all_links_of_grant() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    let cem = scene.link("alice", CEM).await;
    scene.consent(&mut scene.browser(), "carol", ADA).await;
    let id = scene.zoom().deauthorize(ADA).unwrap();
    scene.delivered(id).await;
    scene.assert_gone(ADA).await;
    assert_eq!(scene.app.links("alice").await, [cem]);
    scene.assert_status("bob", &[]).await;
    scene.assert_notified("alice", [("activated", 2), ("removed", 1)]).await;
    scene.assert_notified("bob", [("activated", 1), ("removed", 1)]).await;
    scene.assert_notified("carol", []).await;
    let twin = scene.zoom().duplicate(id, false).unwrap();
    scene.delivered(twin).await;
    scene.assert_notified("bob", [("activated", 1), ("removed", 1)]).await;
    // Zoom has revoked the grant already.
    assert_eq!(scene.requests("/oauth/revoke"), 0);
}

/// Every known format of `app_deauthorized`, about Ada.
fn forms(scene: &Scene, client_id: &str) -> Vec<(&'static str, String)> {
    [
        ("usual", include_str!("../../../fixtures/zoom/app_deauthorized.json")),
        ("legacy", include_str!("../../../fixtures/zoom/app_deauthorized_legacy.json")),
        (
            "time inside",
            include_str!("../../../fixtures/zoom/app_deauthorized_event_ts_inside.json"),
        ),
        (
            "time as text",
            include_str!("../../../fixtures/zoom/app_deauthorized_event_ts_text.json"),
        ),
    ]
    .map(|(form, body)| {
        let body = body
            .replace("AcctAAAAAAAAAAAAAAAAAA", scene.zoom_user(ADA).account_id.as_str())
            .replace("UserBBBBBBBBBBBBBBBBBB", ADA)
            .replace("SYNTHclientID000000000", client_id);
        (form, body)
    })
    .into()
}

#[tokio::test]
async fn every_deauthorization_format_works_on_both_routes() {
    let scene = Scene::open().await;
    let client_id = scene.config().secrets.zoom_client_id.clone();
    let mut times = 0;
    for target in [Target::Webhook, Target::Deauthorize] {
        let mut forms = forms(&scene, &client_id);
        let mut nameless: Value = serde_json::from_str(&forms[0].1).unwrap();
        nameless["payload"].as_object_mut().unwrap().remove("client_id");
        forms.push(("without a client", nameless.to_string()));
        for (form, body) in forms {
            scene.link("alice", ADA).await;
            scene.remove_silently(ADA).await;
            let id = scene.zoom().send_raw(RawEvent { body, target, ..RawEvent::default() });
            scene.delivered(id).await;
            times += 1;
            let ended = scene.snapshot(ADA).await;
            assert!(is_empty(&ended), "{form} at {target:?}: {ended:?}");
            scene.assert_status("alice", &[]).await;
            assert_eq!(scene.removals("alice").await, times, "{form} at {target:?}");
        }
    }
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn deauthorization_of_another_app_is_ignored() {
    let scene = Scene::linked(&["alice"]).await;
    let link = scene.app.links("alice").await;
    // Zoom would confirm it, but the event names another app.
    scene.remove_silently(ADA).await;
    for (form, body) in forms(&scene, "AnotherAppsClientId000") {
        let id = scene.zoom().send_raw(RawEvent { body, ..RawEvent::default() });
        scene.delivered(id).await;
        assert_eq!(scene.app.links("alice").await, link, "{form}");
    }
    scene.assert_notified("alice", [("activated", 1)]).await;
    assert!(scene.snapshot(ADA).await.grant.unwrap().tokens.is_some());
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn stale_deauthorization_keeps_live_grant() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    let link = scene.link("alice", ADA).await;
    let late = async || {
        let id = scene.zoom().send_deauthorized_event(ADA).unwrap();
        scene.delivered(id).await;
        assert_eq!(scene.app.links("alice").await.as_slice(), std::slice::from_ref(&link));
        scene.assert_served(ADA).await;
    };
    late().await;
    // The grant also stays if Zoom rejects the access token once, or if it has expired.
    scene.fail_next(Point::UsersMe, Fault::Status { status: 401 }, 1);
    late().await;
    scene.advance(ACCESS_TOKEN_ENDS);
    late().await;
    assert_eq!(scene.refreshes(), 2);
    // An event about an unlinked user causes no request.
    scene.zoom().clear_requests();
    let id = scene.zoom().send_deauthorized_event(BEN).unwrap();
    scene.delivered(id).await;
    assert!(scene.zoom().requests().is_empty());
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn deauthorization_that_overtakes_zoom_is_verified_again() {
    let scene = Scene::linked(&["alice"]).await;
    let delayed = DelayedMessages::of(&scene, &scene.queues().jobs);
    let id = scene.zoom().send_deauthorized_event(ADA).unwrap();
    scene.delivered(id).await;
    scene.assert_status("alice", &["active"]).await;
    // Zoom still accepts the access token, but no longer refreshes it.
    scene.fail(Point::TokenRefresh, invalid_grant());
    delayed.deliver(&scene).await;
    scene.settle().await;
    scene.assert_status("alice", &[]).await;
    assert_eq!(scene.removals("alice").await, 1);
}

#[tokio::test]
async fn late_deauthorization_ends_links_that_are_older() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    scene.remove_silently(ADA).await;
    let removed_at = scene.app.now();
    // Before the event arrives, Ada connects again, for Bob and Carol. Alice's link has the new grant's tokens.
    scene.advance(SignedDuration::from_secs(1));
    for app_user in ["bob", "carol"] {
        scene.link(app_user, ADA).await;
    }
    scene.assert_status("alice", &["active"]).await;
    let client_id = scene.config().secrets.zoom_client_id.clone();
    let mut event: Value = serde_json::from_str(&forms(&scene, &client_id)[0].1).unwrap();
    for (at, left) in [(removed_at - SignedDuration::from_hours(1), true), (removed_at, false)] {
        event["payload"]["deauthorization_time"] = json!(at.to_string());
        let id = scene.zoom().send_raw(RawEvent { body: event.to_string(), ..RawEvent::default() });
        scene.delivered(id).await;
        scene.assert_status("alice", if left { &["active"] } else { &[] }).await;
        scene.assert_status("bob", &["active"]).await;
        scene.assert_status("carol", &["active"]).await;
    }
    assert_eq!(scene.removals("alice").await, 1);
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn deauthorization_waits_for_zoom_outage() {
    let limited = Fault::RateLimited { retry_after_seconds: None };
    for (point, fault) in [
        (Point::UsersMe, Fault::Status { status: 500 }),
        (Point::UsersMe, Fault::Close),
        (Point::UsersMe, Fault::Html),
        (Point::UsersMe, limited),
        (Point::TokenRefresh, Fault::Status { status: 503 }),
        (Point::TokenRefresh, Fault::Close),
    ] {
        let scene = Scene::linked(&["alice"]).await;
        if point == Point::TokenRefresh {
            scene.advance(ACCESS_TOKEN_ENDS);
        }
        let link = scene.app.links("alice").await;
        scene.fail(point, fault.clone());
        let id = scene.zoom().deauthorize(ADA).unwrap();
        scene.delivered(id).await;
        assert_eq!(scene.app.links("alice").await, link, "{fault:?} at {point:?}");
        scene.assert_notified("alice", [("activated", 1)]).await;
        let dead = scene.dead_jobs().await;
        assert_eq!(dead.len(), 1, "{fault:?} at {point:?}: {dead:?}");

        scene.zoom().clear_faults(None);
        scene.redrive(&dead).await;
        scene.assert_gone(ADA).await;
        assert_eq!(scene.removals("alice").await, 1, "{fault:?} at {point:?}");
    }
}

#[tokio::test]
async fn deauthorization_without_valid_client_secret_waits() {
    let scene = Scene::linked(&["alice"]).await;
    let link = scene.app.links("alice").await;
    scene.set_client_secret("wrong").await;
    scene.advance(ACCESS_TOKEN_ENDS);
    let id = scene.zoom().send_deauthorized_event(ADA).unwrap();
    scene.delivered(id).await;
    assert_eq!(scene.app.links("alice").await, link);
    scene.assert_notified("alice", [("activated", 1)]).await;
    assert_eq!(scene.dead_jobs().await.len(), 1);
}
