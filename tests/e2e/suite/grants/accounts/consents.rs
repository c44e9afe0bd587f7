//! Consents and disconnects in another account of the Zoom user.

use jiff::SignedDuration;
use reelay_grants::GrantError;
use reqwest::Method;
use support::zoom_users::ADA;

use super::{ELSEWHERE, pair_of};
use crate::grants::{ACCESS_TOKEN_ENDS, Scene, is_empty, small};

#[tokio::test]
async fn account_change_keeps_the_later_pair() {
    let scene = Scene::linked(&["alice"]).await;
    let old = scene.zoom_user(ADA);
    let grants = scene.grants();
    let before = scene.under(&old).await.grant.unwrap();
    scene.zoom().move_user(ADA, ELSEWHERE).unwrap();
    // A consent in the other account ends the older pair while it is being moved.
    scene.link("bob", ADA).await;
    let new = scene.zoom_user(ADA);
    let later = scene.under(&new).await.grant.unwrap();
    let tokens = pair_of(&before);
    let moved =
        grants.links().move_to_account(&old, before.version, &new, &tokens, scene.app.now());
    assert!(moved.await.unwrap().is_some());
    let kept = scene.under(&new).await;
    assert_eq!(kept.grant.unwrap().tokens, later.tokens);
    assert_eq!(kept.links.len(), 2);
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn consent_in_another_account_keeps_earlier_links() {
    let scene = Scene::linked(&["alice"]).await;
    let old = scene.zoom_user(ADA);
    scene.zoom().move_user(ADA, ELSEWHERE).unwrap();
    scene.link("bob", ADA).await;
    // That consent has ended the older pair.
    scene.advance(ACCESS_TOKEN_ENDS);
    let error = scene.grants().access_token(&old).await.unwrap_err();
    assert!(matches!(error, GrantError::Moved), "{error}");
    scene.settle().await;
    scene.assert_status("alice", &["active"]).await;
    assert_eq!(scene.snapshot(ADA).await.links.len(), 2);
    // The end of Bob's link leaves Alice's.
    scene.app.disconnect_all("bob").await;
    scene.settle().await;
    scene.assert_status("alice", &["active"]).await;
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn abandoned_consent_in_another_account_keeps_earlier_links() {
    let scene = Scene::linked(&["alice"]).await;
    scene.zoom().move_user(ADA, ELSEWHERE).unwrap();
    scene.consent(&mut scene.browser(), "bob", ADA).await;
    scene.pass(SignedDuration::from_mins(20)).await;
    scene.assert_status("bob", &[]).await;
    scene.assert_status("alice", &["active"]).await;
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn disconnect_in_another_account_keeps_earlier_links() {
    let scene = Scene::linked(&["alice"]).await;
    scene.zoom().move_user(ADA, ELSEWHERE).unwrap();
    scene.link("bob", ADA).await;
    scene.app.disconnect_all("bob").await;
    scene.settle().await;
    let recording = scene.complete_recording(small(ADA)).await;
    scene.settle().await;
    scene.assert_status("alice", &["active"]).await;
    assert!(scene.app.links("bob").await.is_empty());
    assert_eq!(scene.view("alice", &recording).await["status"], "stored");
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn revocation_ends_although_a_consent_in_another_account_replaced_the_tokens() {
    let scene = Scene::linked(&["alice"]).await;
    let old = scene.zoom_user(ADA);
    scene.zoom().move_user(ADA, ELSEWHERE).unwrap();
    scene.link("bob", ADA).await;
    scene.app.disconnect_all("alice").await;
    scene.settle().await;
    let ended = scene.under(&old).await;
    assert!(is_empty(&ended), "{ended:?}");
    scene.assert_status("bob", &["active"]).await;
    scene.assert_served(ADA).await;
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn disconnect_ends_every_link_of_the_id() {
    let scene = Scene::linked(&["alice"]).await;
    let old = scene.zoom_user(ADA);
    scene.zoom().move_user(ADA, ELSEWHERE).unwrap();
    scene.complete_recording(small(ADA)).await;
    scene.settle().await;
    // Back in the first account, a consent makes a link under its key, with the id that the moved one kept.
    scene.zoom().move_user(ADA, old.account_id.as_str()).unwrap();
    scene.link("alice", ADA).await;
    let links = scene.app.links("alice").await;
    assert_eq!((links.len(), &links[0]["id"]), (2, &links[1]["id"]));
    let path = format!("/v1/links/{}", links[0]["id"].as_str().unwrap());
    assert_eq!(scene.app.call(Method::DELETE, &path, "alice").await.status, 204);
    scene.assert_status("alice", &[]).await;
}
