//! The client secret turns over.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use reelay_domain::link::GrantStatus;
use reelay_grants::GrantError;
use reqwest::Method;
use support::people::ADA;
use support::{store, zoom};

use super::{ACCESS_TOKEN_ENDS, Scene, small};

const NEW: &str = "SIMnewClientSecret00000000000000";

/// Zoom lets the old secret live on for as long as it is told to. Here it is told to end it at once, and so
/// refuses every call until ours has changed, too.
#[tokio::test]
async fn while_the_client_secret_turns_over_nobody_is_condemned_and_all_goes_on_after_it() {
    let scene = Scene::linked(&["alice"]).await;
    let (system, user) = (&scene.system, scene.zoom_user(ADA));
    let links = system.app.links("alice").await;
    // An instance that has read the old secret, and has to refresh.
    let instance = scene.grants();
    instance.access_token(&user).await.unwrap();
    system.stack.advance(ACCESS_TOKEN_ENDS);
    let change =
        |settings: &mut reelay_zoom_sim::Config| NEW.clone_into(&mut settings.client_secret);
    system.zoom().change_settings(change);
    let error = instance.access_token(&user).await.unwrap_err();
    assert!(matches!(error, GrantError::InvalidClient), "{error}");
    // A recording that is there only for who asks Zoom's API.
    let recording = zoom::complete(system, small(ADA)).await;
    system.stack.advance(SignedDuration::from_hours(25));
    system.stack.drain().await;
    assert_eq!(store::files(&system.stack).await.len(), 0);
    assert_eq!(system.app.links("alice").await, links);

    // It reads the old secret once more, a moment before the new one is put.
    instance.access_token(&user).await.unwrap_err();
    scene.set_client_secret(NEW).await;
    system.stack.advance(SignedDuration::from_mins(6));
    instance.access_token(&user).await.unwrap();
    let id = URL_SAFE_NO_PAD.encode(&recording.uuid);
    let path = format!("/v1/recordings/{id}/download");
    let asked = system.app.call(Method::POST, &path, "alice").await;
    assert_eq!(asked.status, 202);
    system.work().await;
    assert_eq!(store::files(&system.stack).await.len(), 1);
    assert_eq!(
        scene.holding(ADA).await.grant.unwrap().status,
        GrantStatus::Live
    );
    assert_eq!(system.app.links("alice").await, links);
    scene.assert_told("alice", [("activated", 1)]).await;
    assert_eq!(scene.dead_jobs().await, Vec::<String>::new());
}

#[tokio::test]
async fn whoever_is_told_that_the_client_secret_is_wrong_reads_it_again_at_once() {
    let scene = Scene::linked(&["alice"]).await;
    let (system, user) = (&scene.system, scene.zoom_user(ADA));
    let instance = scene.grants();
    system.stack.advance(ACCESS_TOKEN_ENDS);
    // Both this instance and the callback have read the old secret less than five minutes ago.
    let token = instance.access_token(&user).await.unwrap();
    system.link("bob", ADA).await;
    let token_after_bob = instance.replace_token(&user, &token).await.unwrap();
    let change =
        |settings: &mut reelay_zoom_sim::Config| NEW.clone_into(&mut settings.client_secret);
    system.zoom().change_settings(change);
    scene.set_client_secret(NEW).await;
    system.stack.advance(SignedDuration::from_secs(61));
    instance
        .replace_token(&user, &token_after_bob)
        .await
        .unwrap();
    system.link("carol", ADA).await;
    scene.assert_served(ADA).await;
}
