//! Before a grant is condemned: a consent may have brought it other tokens, which just have not found
//! their way to it. And what Zoom's numbers say about whose fault it is.

use reelay_grants::GrantError;
use reelay_zoom_sim::{Fault, NewFault, Point};
use secrecy::ExposeSecret as _;
use support::people::ADA;

use super::refresh::hold;
use super::{ACCESS_TOKEN_ENDS, Scene};

#[tokio::test]
async fn a_consent_that_is_saved_and_not_with_its_grant_yet_keeps_it_from_being_condemned() {
    let scene = Scene::linked(&["alice"]).await;
    scene.interrupted("bob").await;
    scene
        .system
        .stack
        .advance(ACCESS_TOKEN_ENDS - jiff::SignedDuration::from_secs(300));

    // Alice's own pair is dead since Bob's consent, and expired for us as well.
    let user = scene.zoom_user(ADA);
    let refused = {
        let stale = scene.grants().access_token(&user).await.unwrap();
        scene.grants().replace_token(&user, &stale).await
    };
    let token = refused.unwrap();
    assert_eq!(
        token.token.expose_secret(),
        &scene.system.zoom().live_grant(ADA).unwrap().access_token
    );
    scene.assert_served(ADA).await;
    scene.settle().await;
    scene.assert_served(ADA).await;
    scene.assert_told("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn a_consent_of_somebody_else_does_not_keep_a_dead_grant_alive() {
    let scene = Scene::linked(&["alice"]).await;
    // Cem's consent is open while Ada's grant is found dead.
    let mut browser = scene.system.browser();
    let back = scene
        .system
        .callback(&mut browser, "cem", support::people::CEM)
        .await;
    scene.arm(NewFault::times(
        Point::UsersMe,
        Fault::Status { status: 500 },
        1,
    ));
    browser.visit(&back).await;
    scene.remove_silently(ADA).await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    let user = scene.zoom_user(ADA);
    let refused = scene.grants().access_token(&user).await;
    assert!(
        matches!(refused, Err(GrantError::ReauthorizationRequired)),
        "{refused:?}"
    );
    scene.settle().await;
    scene
        .assert_told("alice", [("activated", 1), ("reauthorization_required", 1)])
        .await;
}

#[tokio::test]
async fn while_it_cannot_be_asked_whose_an_open_consent_is_nobody_is_condemned() {
    let scene = Scene::linked(&["alice"]).await;
    scene.interrupted("bob").await;
    let user = scene.zoom_user(ADA);
    let stale = scene.grants().access_token(&user).await.unwrap();
    let outage = NewFault::always(Point::UsersMe, Fault::Status { status: 503 });
    let outage = scene.system.zoom().arm(outage).unwrap();
    let refused = scene.grants().replace_token(&user, &stale).await;
    assert!(
        matches!(refused, Err(GrantError::Transient(_))),
        "{refused:?}"
    );
    scene.assert_status("alice", &["active"]).await;
    scene.system.zoom().clear_faults(Some(outage));
    scene.grants().replace_token(&user, &stale).await.unwrap();
    scene.assert_served(ADA).await;
    scene.settle().await;
    scene.assert_told("alice", [("activated", 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_consent_at_zoom_is_waited_for_before_its_older_pair_is_condemned() {
    let scene = Scene::linked(&["alice"]).await;
    let user = scene.zoom_user(ADA);
    let stale = scene.grants().access_token(&user).await.unwrap();

    // Zoom has answered Bob's exchange, and the answer is on its way to the table: the item says no more
    // than that the exchange was begun. (The first PutItem opens the session, the second begins.)
    let [save] = hold(&scene, [("PutItem", 3)]);
    let mut browser = scene.system.browser();
    let back = scene.system.callback(&mut browser, "bob", ADA).await;
    let visit = tokio::spawn(async move { browser.visit(&back).await });
    save.reached.notified().await;

    let grants = scene.grants();
    let (asking, for_user) = (stale.clone(), user.clone());
    let use_it = tokio::spawn(async move { grants.replace_token(&for_user, &asking).await });
    // Refused by Zoom by now, and waiting.
    while scene.refreshes() == 0 {
        tokio::task::yield_now().await;
    }
    scene.assert_status("alice", &["active"]).await;
    save.go.send(()).unwrap();
    use_it.await.unwrap().unwrap();
    visit.await.unwrap().claim();
    scene.settle().await;
    scene.assert_served(ADA).await;
    scene.assert_told("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn a_pair_that_was_taken_in_and_refreshed_is_not_put_back_by_its_own_callback() {
    let scene = Scene::linked(&["alice"]).await;
    let begun = scene.interrupted("bob").await;
    let user = scene.zoom_user(ADA);
    let stale = scene.grants().access_token(&user).await.unwrap();
    let taken_in = scene.grants().replace_token(&user, &stale).await.unwrap();
    // Refreshed since: the pair that the exchange brought is dead.
    let refreshed = scene
        .grants()
        .replace_token(&user, &taken_in)
        .await
        .unwrap();
    assert_ne!(
        refreshed.token.expose_secret(),
        taken_in.token.expose_secret()
    );
    scene.finish(&begun).await;
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn whoever_was_removed_or_disabled_by_an_admin_must_connect_again() {
    for code in [4735, 4738, 4737, 4741, 4711] {
        let scene = Scene::linked(&["alice"]).await;
        scene.system.stack.advance(ACCESS_TOKEN_ENDS);
        scene.arm(numbered(code));
        let refused = scene.grants().access_token(&scene.zoom_user(ADA)).await;
        assert!(
            matches!(refused, Err(GrantError::ReauthorizationRequired)),
            "{code}: {refused:?}"
        );
        scene
            .assert_status("alice", &["reauthorization_required"])
            .await;
    }
}

#[tokio::test]
async fn an_app_that_zoom_disabled_for_all_condemns_nobody() {
    for code in [4702, 4704, 4717] {
        let scene = Scene::linked(&["alice"]).await;
        scene.system.stack.advance(ACCESS_TOKEN_ENDS);
        scene.arm(numbered(code));
        let refused = scene.grants().access_token(&scene.zoom_user(ADA)).await;
        assert!(
            matches!(refused, Err(GrantError::InvalidClient)),
            "{code}: {refused:?}"
        );
        scene.assert_status("alice", &["active"]).await;
    }
}

/// A refusal of the token endpoint as Zoom's list of errors numbers it.
fn numbered(code: i64) -> NewFault {
    let answer = Fault::Respond {
        status: 400,
        content_type: "application/json".to_owned(),
        body: format!(r#"{{"error":"invalid_request","code":{code},"reason":"…"}}"#),
    };
    NewFault::always(Point::TokenRefresh, answer)
}
