//! A link is given up, and with the last one the grant is revoked.

use reelay_domain::link::GrantStatus;
use reelay_grants::GrantError;
use reelay_zoom_sim::{Fault, GrantEndReason, NewFault, Point};
use reqwest::Method;
use serde_json::json;
use support::people::{ADA, CEM};
use support::{store, zoom};

use super::{ACCESS_TOKEN_ENDS, Scene, small};

#[tokio::test]
async fn giving_up_the_last_link_revokes_the_grant_and_leaves_nothing_of_it() {
    let scene = Scene::linked(&["alice"]).await;
    let cem = scene.system.link("bob", CEM).await;
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    let answer = scene.disconnect("alice", &id).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    scene.assert_status("alice", &[]).await;
    scene.settle().await;

    scene.assert_gone(ADA).await;
    assert_eq!(
        scene.system.zoom().grants()[0].end_reason,
        Some(GrantEndReason::Revoked)
    );
    scene
        .assert_told("alice", [("activated", 1), ("removed", 1)])
        .await;

    let again = scene.disconnect("alice", &id).await;
    assert_eq!((again.status, again.body.as_str()), (204, ""));
    scene.settle().await;
    scene
        .assert_told("alice", [("activated", 1), ("removed", 1)])
        .await;
    assert_eq!(scene.requests("/oauth/revoke"), 1);
    assert_eq!(scene.dead_jobs().await, [""; 0]);

    // Nobody else is concerned.
    assert_eq!(scene.system.app.links("bob").await, [cem]);
    scene.assert_served(CEM).await;
}

#[tokio::test]
async fn a_link_of_somebody_else_is_not_found_and_stays() {
    let scene = Scene::linked(&["alice"]).await;
    let link = scene.system.app.links("alice").await;
    let id = link[0]["id"].clone();
    let made_up = id.as_str().unwrap().chars().rev().collect::<String>();
    for (user, id) in [
        ("bob", id.clone()),
        ("Alice", id.clone()),
        ("alice2", id.clone()),
        ("alice", json!(made_up)),
        ("alice", json!("x")),
    ] {
        let answer = scene.disconnect(user, &id).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "link_not_found"),
            "{user} {id}"
        );
    }
    scene.settle().await;
    assert_eq!(scene.system.app.links("alice").await, link);
    scene.assert_told("alice", [("activated", 1)]).await;
    scene.assert_served(ADA).await;
    assert_eq!(scene.requests("/oauth/revoke"), 0);
}

#[tokio::test]
async fn a_grant_lives_as_long_as_somebody_needs_it_a_pending_link_too() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    let alices = scene.system.app.links("alice").await[0]["id"].clone();
    let bobs = scene.system.app.links("bob").await[0]["id"].clone();
    assert_eq!(scene.disconnect("alice", &alices).await.status, 204);
    scene.settle().await;
    scene.assert_status("bob", &["active"]).await;
    scene.assert_served(ADA).await;

    let claim = scene
        .system
        .consent(&mut scene.system.browser(), "carol", ADA)
        .await;
    assert_eq!(scene.disconnect("bob", &bobs).await.status, 204);
    scene.settle().await;
    scene.assert_served(ADA).await;
    assert_eq!(scene.requests("/oauth/revoke"), 0);
    assert_eq!(scene.system.app.confirm("carol", &claim).await.status, 200);

    let carols = scene.system.app.links("carol").await[0]["id"].clone();
    assert_eq!(scene.disconnect("carol", &carols).await.status, 204);
    scene.settle().await;
    scene.assert_gone(ADA).await;
    for user in ["alice", "bob", "carol"] {
        scene
            .assert_told(user, [("activated", 1), ("removed", 1)])
            .await;
    }
}

#[tokio::test]
async fn all_links_of_a_grant_given_up_at_once_end_it_once() {
    let scene = Scene::linked(&["alice", "bob", "carol"]).await;
    let mut ids = Vec::new();
    for user in ["alice", "bob", "carol"] {
        ids.push(scene.system.app.links(user).await[0]["id"].clone());
    }
    let answers = tokio::join!(
        scene.disconnect("alice", &ids[0]),
        scene.disconnect("alice", &ids[0]),
        scene.disconnect("bob", &ids[1]),
        scene.disconnect("carol", &ids[2]),
    );
    let statuses = [
        answers.0.status,
        answers.1.status,
        answers.2.status,
        answers.3.status,
    ];
    assert_eq!(statuses, [204; 4]);
    scene.settle().await;
    scene.assert_gone(ADA).await;
    for user in ["alice", "bob", "carol"] {
        scene
            .assert_told(user, [("activated", 1), ("removed", 1)])
            .await;
    }
}

#[tokio::test]
async fn recordings_are_not_seen_any_more_by_whoever_gave_up_the_link() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    let recording = zoom::complete(&scene.system, small(ADA)).await;
    scene.system.work().await;
    let seen = scene.system.app.recordings("alice").await;
    assert_eq!(seen.len(), 1);
    let path = format!("/v1/recordings/{}", seen[0]["id"].as_str().unwrap());
    assert_eq!(scene.system.app.get(&path, "alice").await.status, 200);

    let id = scene.system.app.links("alice").await[0]["id"].clone();
    assert_eq!(scene.disconnect("alice", &id).await.status, 204);
    scene.settle().await;
    assert!(scene.system.app.recordings("alice").await.is_empty());
    assert_eq!(
        scene.system.app.get(&path, "alice").await.code(),
        "recording_not_found"
    );
    let download = format!("{path}/download");
    let asked = scene
        .system
        .app
        .call(Method::POST, &download, "alice")
        .await;
    assert_eq!(asked.code(), "recording_not_found");
    assert_eq!(scene.system.app.recordings("bob").await.len(), 1);

    // What comes later is bob's alone.
    let later = zoom::complete(&scene.system, small(ADA)).await;
    scene.system.work().await;
    assert_eq!(scene.system.app.recordings("bob").await.len(), 2);
    let told = store::peek(&scene.system.stack, &scene.bus).await;
    let to_alice = |uuid: &str| {
        let uuid = json!(uuid).to_string();
        told.iter()
            .any(|event| event.contains(&uuid) && event.contains("\"alice\""))
    };
    assert!(to_alice(&recording.uuid) && !to_alice(&later.uuid));
}

#[tokio::test]
async fn our_own_revocation_comes_back_and_ends_no_link_made_right_after() {
    let scene = Scene::linked(&["alice"]).await;
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    assert_eq!(scene.disconnect("alice", &id).await.status, 204);
    // Also when it is looked at before the revocation is done.
    let user = scene.zoom_user(ADA);
    let check = json!({"v": 1, "job": "verify_deauthorization", "zoom_user": user});
    scene.order(check.clone()).await;
    scene.settle().await;
    scene.assert_gone(ADA).await;
    scene
        .assert_told("alice", [("activated", 1), ("removed", 1)])
        .await;

    let link = scene.system.link("alice", ADA).await;
    let deliveries = scene.system.zoom().deliveries();
    let ours = deliveries
        .iter()
        .find(|delivery| delivery.body.contains("app_deauthorized"))
        .unwrap();
    let twin = scene.system.zoom().duplicate(ours.id, false).unwrap();
    scene.delivered(twin).await;
    // And the order that is sent ahead, in case we die in between, comes a minute later.
    scene
        .order(json!({"v": 1, "job": "revoke_grant", "zoom_user": user}))
        .await;
    scene.settle().await;
    assert_eq!(scene.system.app.links("alice").await, [link]);
    scene.assert_served(ADA).await;
    scene
        .assert_told("alice", [("activated", 2), ("removed", 1)])
        .await;
}

#[tokio::test]
async fn a_claim_that_was_used_does_not_show_the_pending_link_of_a_later_consent() {
    let scene = Scene::open().await;
    let system = &scene.system;
    let first = system.consent(&mut system.browser(), "alice", ADA).await;
    let link = system.app.confirm("alice", &first).await.json();
    assert_eq!(scene.disconnect("alice", &link["id"]).await.status, 204);
    scene.settle().await;
    assert_eq!(
        system.app.confirm("alice", &first).await.code(),
        "claim_expired"
    );

    let second = system.consent(&mut system.browser(), "alice", ADA).await;
    let replayed = system.app.confirm("alice", &first).await;
    assert_eq!(replayed.status, 410, "{}", replayed.body);
    scene.assert_status("alice", &[]).await;
    let confirmed = system.app.confirm("alice", &second).await;
    assert_eq!(
        (confirmed.status, &confirmed.json()["status"]),
        (200, &json!("active"))
    );
}

#[tokio::test]
async fn a_grant_without_tokens_ends_without_zoom() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    let error = scene
        .grants()
        .access_token(&scene.zoom_user(ADA))
        .await
        .unwrap_err();
    assert!(
        matches!(error, GrantError::ReauthorizationRequired),
        "{error}"
    );
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    assert_eq!(scene.disconnect("alice", &id).await.status, 204);
    scene.settle().await;
    scene.assert_gone(ADA).await;
    assert_eq!(scene.requests("/oauth/revoke"), 0);
}

#[tokio::test]
async fn a_revocation_that_fails_is_done_later_and_in_the_meantime_nobody_begins_anew() {
    let scene = Scene::linked(&["alice"]).await;
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    scene.arm(NewFault::always(
        Point::Revoke,
        Fault::Status { status: 500 },
    ));
    assert_eq!(scene.disconnect("alice", &id).await.status, 204);
    scene.settle().await;
    scene.assert_status("alice", &[]).await;
    let holding = scene.holding(ADA).await;
    assert_eq!(holding.grant.unwrap().status, GrantStatus::Revoking);
    let dead = scene.dead_jobs().await;
    assert_eq!(dead.len(), 1, "{dead:?}");

    scene.system.zoom().clear_faults(None);
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    scene.order(serde_json::from_str(&dead[0]).unwrap()).await;
    scene.settle().await;
    scene.assert_gone(ADA).await;
    scene
        .assert_told("alice", [("activated", 1), ("removed", 1)])
        .await;
}

#[tokio::test]
async fn a_consent_that_meets_an_ending_grant_leaves_nothing_behind() {
    let scene = Scene::linked(&["alice"]).await;
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    assert_eq!(scene.disconnect("alice", &id).await.status, 204);
    let mut browser = scene.system.browser();
    let back = scene.system.callback(&mut browser, "bob", ADA).await;
    assert_eq!(browser.visit(&back).await.zoom_error(), "zoom_unavailable");
    scene.settle().await;
    scene.finish(&scene.exchanges().await).await;
    scene.assert_gone(ADA).await;
    scene.assert_status("bob", &[]).await;
    scene.system.link("bob", ADA).await;
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn a_consent_that_is_finished_before_the_revocation_it_met_leaves_nothing_behind() {
    let scene = Scene::linked(&["alice"]).await;
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    // Revoking fails for so long that the order to finish comes first.
    scene.arm(NewFault::always(
        Point::Revoke,
        Fault::Status { status: 500 },
    ));
    assert_eq!(scene.disconnect("alice", &id).await.status, 204);
    let mut browser = scene.system.browser();
    let back = scene.system.callback(&mut browser, "bob", ADA).await;
    assert_eq!(browser.visit(&back).await.zoom_error(), "zoom_unavailable");
    scene.finish(&scene.exchanges().await).await;
    let dead = scene.dead_jobs().await;
    assert!(!dead.is_empty());
    scene.system.zoom().clear_faults(None);
    for order in dead {
        scene.order(serde_json::from_str(&order).unwrap()).await;
    }
    scene.settle().await;
    scene.assert_gone(ADA).await;
    scene.assert_status("bob", &[]).await;
}
