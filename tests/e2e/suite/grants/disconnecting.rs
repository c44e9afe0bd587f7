//! Disconnecting links; the last one revokes the grant.

use reelay_domain::link::GrantStatus;
use reelay_zoom_sim::{Fault, GrantEndReason, Point};
use reqwest::Method;
use serde_json::json;
use support::zoom_users::{ADA, CEM};

use super::{ACCESS_TOKEN_ENDS, Scene, small};

#[tokio::test]
async fn last_disconnect_revokes_and_erases_grant() {
    let scene = Scene::linked(&["alice"]).await;
    let cem = scene.link("bob", CEM).await;
    let id = scene.link_id("alice").await;
    let response = scene.disconnect("alice", &id).await;
    assert_eq!((response.status, response.body.as_str()), (204, ""));
    scene.assert_status("alice", &[]).await;
    scene.settle().await;

    scene.assert_gone(ADA).await;
    assert_eq!(scene.zoom().grants()[0].end_reason, Some(GrantEndReason::Revoked));
    scene.assert_notified("alice", [("activated", 1), ("removed", 1)]).await;

    let again = scene.disconnect("alice", &id).await;
    assert_eq!((again.status, again.body.as_str()), (204, ""));
    scene.settle().await;
    scene.assert_notified("alice", [("activated", 1), ("removed", 1)]).await;
    assert_eq!(scene.requests("/oauth/revoke"), 1);
    assert_eq!(scene.dead_jobs().await, [""; 0]);

    // Other grants are unaffected.
    assert_eq!(scene.app.links("bob").await, [cem]);
    scene.assert_served(CEM).await;
}

#[tokio::test]
async fn another_users_link_is_not_found() {
    let scene = Scene::linked(&["alice"]).await;
    let link = scene.app.links("alice").await;
    let id = link[0]["id"].clone();
    let made_up = id.as_str().unwrap().chars().rev().collect::<String>();
    for (user, id) in [
        ("bob", id.clone()),
        ("Alice", id.clone()),
        ("alice2", id.clone()),
        ("alice", json!(made_up)),
        ("alice", json!("x")),
    ] {
        let response = scene.disconnect(user, &id).await;
        assert_eq!(
            (response.status, response.code().as_str()),
            (404, "link_not_found"),
            "{user} {id}"
        );
    }
    scene.settle().await;
    assert_eq!(scene.app.links("alice").await, link);
    scene.assert_notified("alice", [("activated", 1)]).await;
    scene.assert_served(ADA).await;
    assert_eq!(scene.requests("/oauth/revoke"), 0);
}

#[tokio::test]
async fn grant_lives_while_any_link_needs_it() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    let alices = scene.link_id("alice").await;
    let bobs = scene.link_id("bob").await;
    assert_eq!(scene.disconnect("alice", &alices).await.status, 204);
    scene.settle().await;
    scene.assert_status("bob", &["active"]).await;
    scene.assert_served(ADA).await;

    let claim = scene.consent(&mut scene.browser(), "carol", ADA).await;
    assert_eq!(scene.disconnect("bob", &bobs).await.status, 204);
    scene.settle().await;
    scene.assert_served(ADA).await;
    assert_eq!(scene.requests("/oauth/revoke"), 0);
    assert_eq!(scene.app.confirm("carol", &claim).await.status, 200);

    let carols = scene.link_id("carol").await;
    assert_eq!(scene.disconnect("carol", &carols).await.status, 204);
    scene.settle().await;
    scene.assert_gone(ADA).await;
    for user in ["alice", "bob", "carol"] {
        scene.assert_notified(user, [("activated", 1), ("removed", 1)]).await;
    }
}

#[tokio::test]
async fn concurrent_disconnects_revoke_grant_once() {
    let scene = Scene::linked(&["alice", "bob", "carol"]).await;
    let mut ids = Vec::new();
    for user in ["alice", "bob", "carol"] {
        ids.push(scene.link_id(user).await);
    }
    let responses = tokio::join!(
        scene.disconnect("alice", &ids[0]),
        scene.disconnect("alice", &ids[0]),
        scene.disconnect("bob", &ids[1]),
        scene.disconnect("carol", &ids[2]),
    );
    let statuses = [responses.0.status, responses.1.status, responses.2.status, responses.3.status];
    assert_eq!(statuses, [204; 4]);
    scene.settle().await;
    scene.assert_gone(ADA).await;
    for user in ["alice", "bob", "carol"] {
        scene.assert_notified(user, [("activated", 1), ("removed", 1)]).await;
    }
}

#[tokio::test]
async fn disconnected_user_no_longer_sees_recordings() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    let recording = scene.complete_recording(small(ADA)).await;
    scene.process_queues().await;
    let seen = scene.app.recordings("alice").await;
    assert_eq!(seen.len(), 1);
    let path = format!("/v1/recordings/{}", seen[0]["id"].as_str().unwrap());
    assert_eq!(scene.app.get(&path, "alice").await.status, 200);

    scene.disconnect_first("alice").await;
    scene.settle().await;
    assert!(scene.app.recordings("alice").await.is_empty());
    assert_eq!(scene.app.get(&path, "alice").await.code(), "recording_not_found");
    let download = format!("{path}/download");
    let response = scene.app.call(Method::POST, &download, "alice").await;
    assert_eq!(response.code(), "recording_not_found");
    assert_eq!(scene.app.recordings("bob").await.len(), 1);

    // Later recordings belong to Bob alone.
    let later = scene.complete_recording(small(ADA)).await;
    scene.process_queues().await;
    assert_eq!(scene.app.recordings("bob").await.len(), 2);
    let notified = scene.peek_messages(&scene.bus).await;
    let to_alice = |uuid: &str| {
        let uuid = json!(uuid).to_string();
        notified.iter().any(|event| event.contains(&uuid) && event.contains("\"alice\""))
    };
    assert!(to_alice(&recording.uuid) && !to_alice(&later.uuid));
}

#[tokio::test]
async fn own_revocation_event_keeps_new_link() {
    let scene = Scene::linked(&["alice"]).await;
    scene.disconnect_first("alice").await;
    // The same holds if the grant is checked before the revocation is done.
    let user = scene.zoom_user(ADA);
    let check = json!({"v": 1, "job": "verify_deauthorization", "zoom_user": user});
    scene.send_job(check.clone()).await;
    scene.settle().await;
    scene.assert_gone(ADA).await;
    scene.assert_notified("alice", [("activated", 1), ("removed", 1)]).await;

    let link = scene.link("alice", ADA).await;
    let deliveries = scene.zoom().deliveries();
    let ours =
        deliveries.iter().find(|delivery| delivery.body.contains("app_deauthorized")).unwrap();
    let twin = scene.zoom().duplicate(ours.id, false).unwrap();
    scene.delivered(twin).await;
    // The job that was enqueued ahead arrives a minute later.
    scene.run_job("revoke_grant").await;
    assert_eq!(scene.app.links("alice").await, [link]);
    scene.assert_served(ADA).await;
    scene.assert_notified("alice", [("activated", 2), ("removed", 1)]).await;
}

#[tokio::test]
async fn used_claim_does_not_reveal_later_pending_link() {
    let scene = Scene::open().await;
    let system = &scene;
    let first = system.consent(&mut system.browser(), "alice", ADA).await;
    let link = system.app.confirm("alice", &first).await.json();
    assert_eq!(scene.disconnect("alice", &link["id"]).await.status, 204);
    scene.settle().await;
    assert_eq!(system.app.confirm("alice", &first).await.code(), "claim_expired");

    let second = system.consent(&mut system.browser(), "alice", ADA).await;
    let replayed = system.app.confirm("alice", &first).await;
    assert_eq!(replayed.status, 410, "{}", replayed.body);
    scene.assert_status("alice", &[]).await;
    let confirmed = system.app.confirm("alice", &second).await;
    assert_eq!((confirmed.status, &confirmed.json()["status"]), (200, &json!("active")));
}

#[tokio::test]
async fn grant_without_tokens_ends_without_zoom() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.assert_refresh_finds_revocation().await;
    scene.disconnect_first("alice").await;
    scene.settle().await;
    scene.assert_gone(ADA).await;
    assert_eq!(scene.requests("/oauth/revoke"), 0);
}

#[tokio::test]
async fn failed_revocation_is_retried_and_blocks_new_consent() {
    let scene = Scene::linked(&["alice"]).await;
    let id = scene.link_id("alice").await;
    scene.fail(Point::Revoke, Fault::Status { status: 500 });
    assert_eq!(scene.disconnect("alice", &id).await.status, 204);
    scene.settle().await;
    scene.assert_status("alice", &[]).await;
    let snapshot = scene.snapshot(ADA).await;
    assert_eq!(snapshot.grant.unwrap().status, GrantStatus::Revoking);
    let dead = scene.dead_jobs().await;
    assert_eq!(dead.len(), 1, "{dead:?}");

    scene.zoom().clear_faults(None);
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.redrive(&dead).await;
    scene.assert_gone(ADA).await;
    scene.assert_notified("alice", [("activated", 1), ("removed", 1)]).await;
}

#[tokio::test]
async fn consent_during_revocation_leaves_nothing() {
    let scene = Scene::linked(&["alice"]).await;
    scene.disconnect_first("alice").await;
    let mut browser = scene.browser();
    let callback = scene.callback(&mut browser, "bob", ADA).await;
    assert_eq!(browser.visit(&callback).await.zoom_error(), "zoom_unavailable");
    scene.settle().await;
    scene.finish_all().await;
    scene.assert_gone(ADA).await;
    scene.assert_status("bob", &[]).await;
    scene.link("bob", ADA).await;
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn consent_finished_before_revocation_leaves_nothing() {
    let scene = Scene::linked(&["alice"]).await;
    let id = scene.link_id("alice").await;
    // Revocation keeps failing until after the finish job.
    scene.fail(Point::Revoke, Fault::Status { status: 500 });
    assert_eq!(scene.disconnect("alice", &id).await.status, 204);
    let mut browser = scene.browser();
    let callback = scene.callback(&mut browser, "bob", ADA).await;
    assert_eq!(browser.visit(&callback).await.zoom_error(), "zoom_unavailable");
    scene.finish_all().await;
    let dead = scene.dead_jobs().await;
    assert!(!dead.is_empty());
    scene.zoom().clear_faults(None);
    scene.redrive(&dead).await;
    scene.assert_gone(ADA).await;
    scene.assert_status("bob", &[]).await;
}
