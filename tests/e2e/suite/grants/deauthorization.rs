//! Zoom says that somebody removed the app: true, late, forged, or impossible to check.

use reelay_store::links::GrantSnapshot;
use reelay_zoom_sim::{Fault, NewFault, Point, RawEvent, Target};
use serde_json::Value;
use support::people::{ADA, BEN, CEM};

use super::{ACCESS_TOKEN_ENDS, Scene};

#[tokio::test]
async fn whoever_removes_the_app_at_zoom_ends_all_links_of_the_grant() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    let cem = scene.system.link("alice", CEM).await;
    scene
        .system
        .consent(&mut scene.system.browser(), "carol", ADA)
        .await;
    let id = scene.system.zoom().deauthorize(ADA).unwrap();
    scene.delivered(id).await;
    scene.assert_gone(ADA).await;
    assert_eq!(scene.system.app.links("alice").await, [cem]);
    scene.assert_status("bob", &[]).await;
    scene
        .assert_told("alice", [("activated", 2), ("removed", 1)])
        .await;
    scene
        .assert_told("bob", [("activated", 1), ("removed", 1)])
        .await;
    scene.assert_told("carol", []).await;
    let twin = scene.system.zoom().duplicate(id, false).unwrap();
    scene.delivered(twin).await;
    scene
        .assert_told("bob", [("activated", 1), ("removed", 1)])
        .await;
    // Zoom has ended it; nothing is left to revoke.
    assert_eq!(scene.requests("/oauth/revoke"), 0);
}

/// Every known form of `app_deauthorized`, about Ada.
fn forms(scene: &Scene, client_id: &str) -> Vec<(&'static str, String)> {
    [
        (
            "usual",
            include_str!("../../../fixtures/zoom/app_deauthorized.json"),
        ),
        (
            "legacy",
            include_str!("../../../fixtures/zoom/app_deauthorized_legacy.json"),
        ),
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
            .replace(
                "AcctAAAAAAAAAAAAAAAAAA",
                scene.zoom_user(ADA).account_id.as_str(),
            )
            .replace("UserBBBBBBBBBBBBBBBBBB", ADA)
            .replace("SYNTHclientID000000000", client_id);
        (form, body)
    })
    .into()
}

#[tokio::test]
async fn a_deauthorization_is_understood_in_every_form_on_both_routes() {
    let scene = Scene::open().await;
    let client_id = scene.system.stack.config().secrets.zoom_client_id.clone();
    let mut times = 0;
    for target in [Target::Webhook, Target::Deauthorize] {
        let mut forms = forms(&scene, &client_id);
        let mut nameless: Value = serde_json::from_str(&forms[0].1).unwrap();
        nameless["payload"]
            .as_object_mut()
            .unwrap()
            .remove("client_id");
        forms.push(("without a client", nameless.to_string()));
        for (form, body) in forms {
            scene.system.link("alice", ADA).await;
            scene.remove_silently(ADA).await;
            let id = scene.system.zoom().send_raw(RawEvent {
                body,
                target,
                ..RawEvent::default()
            });
            scene.delivered(id).await;
            times += 1;
            assert_eq!(
                scene.holding(ADA).await,
                GrantSnapshot::default(),
                "{form} at {target:?}"
            );
            scene.assert_status("alice", &[]).await;
            assert_eq!(scene.removals("alice").await, times, "{form} at {target:?}");
        }
    }
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn a_deauthorization_of_another_app_is_none_of_ours() {
    let scene = Scene::linked(&["alice"]).await;
    let link = scene.system.app.links("alice").await;
    // Even if Zoom would confirm it.
    scene.remove_silently(ADA).await;
    for (form, body) in forms(&scene, "AnotherAppsClientId000") {
        let id = scene.system.zoom().send_raw(RawEvent {
            body,
            ..RawEvent::default()
        });
        scene.delivered(id).await;
        assert_eq!(scene.system.app.links("alice").await, link, "{form}");
    }
    scene.assert_told("alice", [("activated", 1)]).await;
    assert!(scene.holding(ADA).await.grant.unwrap().tokens.is_some());
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn a_late_or_forged_deauthorization_does_not_end_a_grant_that_zoom_honours() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    let link = scene.system.link("alice", ADA).await;
    let late = async || {
        let id = scene.system.zoom().send_deauthorized_event(ADA).unwrap();
        scene.delivered(id).await;
        assert_eq!(
            scene.system.app.links("alice").await.as_slice(),
            std::slice::from_ref(&link)
        );
        scene.assert_served(ADA).await;
    };
    late().await;
    // Nor when Zoom refuses the access token for no reason, or when it has expired.
    scene.arm(NewFault::times(
        Point::UsersMe,
        Fault::Status { status: 401 },
        1,
    ));
    late().await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    late().await;
    assert_eq!(scene.refreshes(), 2);
    // Of a Zoom user whom nobody linked nothing is asked.
    scene.system.zoom().clear_requests();
    let id = scene.system.zoom().send_deauthorized_event(BEN).unwrap();
    scene.delivered(id).await;
    assert!(scene.system.zoom().requests().is_empty());
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn while_zoom_does_not_answer_a_deauthorization_ends_nothing_and_is_decided_later() {
    let limited = Fault::RateLimited {
        retry_after_seconds: None,
    };
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
            scene.system.stack.advance(ACCESS_TOKEN_ENDS);
        }
        let link = scene.system.app.links("alice").await;
        scene.arm(NewFault::always(point, fault.clone()));
        let id = scene.system.zoom().deauthorize(ADA).unwrap();
        scene.delivered(id).await;
        assert_eq!(
            scene.system.app.links("alice").await,
            link,
            "{fault:?} at {point:?}"
        );
        scene.assert_told("alice", [("activated", 1)]).await;
        let dead = scene.dead_jobs().await;
        assert_eq!(dead.len(), 1, "{fault:?} at {point:?}: {dead:?}");

        scene.system.zoom().clear_faults(None);
        scene.order(serde_json::from_str(&dead[0]).unwrap()).await;
        scene.settle().await;
        scene.assert_gone(ADA).await;
        assert_eq!(scene.removals("alice").await, 1, "{fault:?} at {point:?}");
    }
}

#[tokio::test]
async fn a_deauthorization_that_our_client_secret_cannot_check_ends_nothing() {
    let scene = Scene::linked(&["alice"]).await;
    let link = scene.system.app.links("alice").await;
    scene.set_client_secret("wrong").await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    let id = scene.system.zoom().send_deauthorized_event(ADA).unwrap();
    scene.delivered(id).await;
    assert_eq!(scene.system.app.links("alice").await, link);
    scene.assert_told("alice", [("activated", 1)]).await;
    assert_eq!(scene.dead_jobs().await.len(), 1);
}
