//! Rotation of the client secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use reelay_domain::link::GrantStatus;
use reelay_grants::GrantError;
use reqwest::Method;
use support::zoom_users::ADA;

use super::{ACCESS_TOKEN_ENDS, Scene, small};

const NEW: &str = "SIMnewClientSecret00000000000000";

/// Zoom ends the old secret at once, so every call fails until Secrets Manager has the new one.
#[tokio::test]
async fn grants_survive_client_secret_rotation() {
    let scene = Scene::linked(&["alice"]).await;
    let (system, user) = (&scene, scene.zoom_user(ADA));
    let statuses = async || {
        let links = system.app.links("alice").await;
        links.iter().map(|link| [link["id"].clone(), link["status"].clone()]).collect::<Vec<_>>()
    };
    let links = statuses().await;
    // An instance that has read the old secret and must refresh.
    let instance = scene.grants();
    instance.access_token(&user).await.unwrap();
    system.advance(ACCESS_TOKEN_ENDS);
    let change =
        |settings: &mut reelay_zoom_sim::Config| NEW.clone_into(&mut settings.client_secret);
    system.zoom().change_settings(change);
    let error = instance.access_token(&user).await.unwrap_err();
    assert!(matches!(error, GrantError::InvalidClient), "{error}");
    // A recording that only Zoom's API can deliver.
    let recording = system.complete_recording(small(ADA)).await;
    system.advance(SignedDuration::from_hours(25));
    system.stack.drain().await;
    assert_eq!(system.stored_files().await.len(), 0);
    assert_eq!(statuses().await, links);

    // The instance rereads the old secret just before the rotation.
    instance.access_token(&user).await.unwrap_err();
    scene.set_client_secret(NEW).await;
    system.advance(SignedDuration::from_mins(6));
    instance.access_token(&user).await.unwrap();
    let id = URL_SAFE_NO_PAD.encode(&recording.uuid);
    let path = format!("/v1/recordings/{id}/download");
    let response = system.app.call(Method::POST, &path, "alice").await;
    assert_eq!(response.status, 202);
    system.process_queues().await;
    assert_eq!(system.stored_files().await.len(), 1);
    assert_eq!(scene.snapshot(ADA).await.grant.unwrap().status, GrantStatus::Live);
    assert_eq!(statuses().await, links);
    scene.assert_notified("alice", [("activated", 1)]).await;
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn rejected_client_secret_is_reread_at_once() {
    let scene = Scene::linked(&["alice"]).await;
    let (system, user) = (&scene, scene.zoom_user(ADA));
    let instance = scene.grants();
    system.advance(ACCESS_TOKEN_ENDS);
    // This instance and the callback read the old secret less than five minutes ago.
    let token = instance.access_token(&user).await.unwrap();
    system.link("bob", ADA).await;
    let token_after_bob = instance.replace_token(&user, &token).await.unwrap();
    let change =
        |settings: &mut reelay_zoom_sim::Config| NEW.clone_into(&mut settings.client_secret);
    system.zoom().change_settings(change);
    scene.set_client_secret(NEW).await;
    system.advance(SignedDuration::from_secs(61));
    instance.replace_token(&user, &token_after_bob).await.unwrap();
    system.link("carol", ADA).await;
    scene.assert_served(ADA).await;
}
