//! Before a grant is marked revoked, open consents are tried; and the meaning of Zoom's error codes.

use jiff::SignedDuration;
use reelay_domain::link::GrantChange;
use reelay_domain::refresh_breaker::Rejection;
use reelay_grants::GrantError;
use reelay_zoom_sim::{Fault, NewFault, Point};
use secrecy::ExposeSecret as _;
use serde_json::json;
use support::zoom_users::{ADA, BEN, CEM};

use super::refresh::hold_calls;

use super::{ACCESS_TOKEN_ENDS, Scene};

#[tokio::test]
async fn saved_exchange_prevents_grant_revocation() {
    let scene = Scene::linked(&["alice"]).await;
    scene.interrupted("bob").await;
    scene.advance(ACCESS_TOKEN_ENDS - SignedDuration::from_secs(300));

    // Alice's tokens are revoked by Bob's consent, and expired.
    let user = scene.zoom_user(ADA);
    let rejected = {
        let stale = scene.grants().access_token(&user).await.unwrap();
        scene.grants().replace_token(&user, &stale).await
    };
    let token = rejected.unwrap();
    assert_eq!(token.token.expose_secret(), &scene.zoom().live_grant(ADA).unwrap().access_token);
    scene.assert_served(ADA).await;
    scene.settle().await;
    scene.assert_served(ADA).await;
    scene.assert_notified("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn unrelated_consent_does_not_keep_revoked_grant() {
    let scene = Scene::linked(&["alice"]).await;
    // Cem's consent is open when Ada's grant turns out to be revoked.
    let mut browser = scene.browser();
    let callback = scene.callback(&mut browser, "cem", CEM).await;
    scene.fail_next(Point::UsersMe, Fault::Status { status: 500 }, 1);
    browser.visit(&callback).await;
    scene.remove_silently(ADA).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.assert_refresh_finds_revocation().await;
    scene.settle().await;
    scene.assert_notified("alice", [("activated", 1), ("reauthorization_required", 1)]).await;
}

#[tokio::test]
async fn users_me_outage_prevents_marking_revoked() {
    let scene = Scene::linked(&["alice"]).await;
    scene.interrupted("bob").await;
    let user = scene.zoom_user(ADA);
    let stale = scene.grants().access_token(&user).await.unwrap();
    let outage = NewFault::always(Point::UsersMe, Fault::Status { status: 503 });
    let outage = scene.zoom().arm(outage).unwrap();
    let rejected = scene.grants().replace_token(&user, &stale).await;
    assert!(matches!(rejected, Err(GrantError::Transient(_))), "{rejected:?}");
    scene.assert_status("alice", &["active"]).await;
    scene.zoom().clear_faults(Some(outage));
    scene.grants().replace_token(&user, &stale).await.unwrap();
    scene.assert_served(ADA).await;
    scene.settle().await;
    scene.assert_notified("alice", [("activated", 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn consent_in_progress_delays_marking_revoked() {
    let scene = Scene::linked(&["alice"]).await;
    let user = scene.zoom_user(ADA);
    let stale = scene.grants().access_token(&user).await.unwrap();

    // Zoom has responded to Bob's exchange, but the tokens are not saved yet. The first PutItem opens the
    // session, the second begins the exchange, the third saves the tokens.
    let [save] = hold_calls(&scene, [("PutItem", 3)]);
    let mut browser = scene.browser();
    let callback = scene.callback(&mut browser, "bob", ADA).await;
    let visit = tokio::spawn(async move { browser.visit(&callback).await });
    save.reached.notified().await;

    let grants = scene.grants();
    let (rejected, for_user) = (stale.clone(), user.clone());
    let use_it = tokio::spawn(async move { grants.replace_token(&for_user, &rejected).await });
    // The request waits for the consent, after Zoom rejected its token.
    while scene.refreshes() == 0 {
        tokio::task::yield_now().await;
    }
    scene.assert_status("alice", &["active"]).await;
    save.go.send(()).unwrap();
    use_it.await.unwrap().unwrap();
    visit.await.unwrap().claim();
    scene.settle().await;
    scene.assert_served(ADA).await;
    scene.assert_notified("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn callback_does_not_restore_already_refreshed_tokens() {
    let scene = Scene::linked(&["alice"]).await;
    let begun = scene.interrupted("bob").await;
    let user = scene.zoom_user(ADA);
    let stale = scene.grants().access_token(&user).await.unwrap();
    let adopted = scene.grants().replace_token(&user, &stale).await.unwrap();
    // The refresh revoked the tokens of the exchange.
    let refreshed = scene.grants().replace_token(&user, &adopted).await.unwrap();
    assert_ne!(refreshed.token.expose_secret(), adopted.token.expose_secret());
    scene.finish(&begun).await;
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn admin_removal_requires_reauthorization() {
    for code in [4735, 4738, 4737, 4741] {
        let scene = Scene::linked(&["alice"]).await;
        scene.advance(ACCESS_TOKEN_ENDS);
        scene.fail(Point::TokenRefresh, numbered(code));
        let rejected = scene.grants().access_token(&scene.zoom_user(ADA)).await;
        assert!(
            matches!(rejected, Err(GrantError::ReauthorizationRequired)),
            "{code}: {rejected:?}"
        );
        scene.assert_status("alice", &["reauthorization_required"]).await;
    }
}

#[tokio::test]
async fn disabled_app_keeps_grants() {
    // 4711: the app's scopes changed; 4717: the app is disabled.
    for code in [4702, 4704, 4711, 4717] {
        let scene = Scene::linked(&["alice"]).await;
        scene.advance(ACCESS_TOKEN_ENDS);
        scene.fail(Point::TokenRefresh, numbered(code));
        let rejected = scene.grants().access_token(&scene.zoom_user(ADA)).await;
        let is_expected = match code {
            4702 | 4704 => matches!(rejected, Err(GrantError::InvalidClient)),
            _ => matches!(rejected, Err(GrantError::Rejected { .. })),
        };
        assert!(is_expected, "{code}: {rejected:?}");
        scene.assert_status("alice", &["active"]).await;
    }
}

/// `users/me` fails permanently for one exchange, which must not affect any other grant.
#[tokio::test]
async fn broken_exchange_delays_no_other_grant() {
    let odd = |status: u16, body: &str| Fault::Respond {
        status,
        content_type: "application/json".to_owned(),
        body: body.to_owned(),
    };
    for fault in [
        Fault::Status { status: 403 },
        odd(400, r#"{"code":300,"message":"…"}"#),
        odd(404, r#"{"code":1001,"message":"User does not exist"}"#),
        odd(200, r#"{"id":"UserWithoutAccount"}"#),
    ] {
        let scene = Scene::linked(&["alice"]).await;
        scene.link("ben", BEN).await;
        let mut browser = scene.browser();
        let callback = scene.callback(&mut browser, "cem", CEM).await;
        let ben = scene.zoom_user(BEN);
        scene.remove_silently(ADA).await;
        scene.remove_silently(BEN).await;
        scene.advance(ACCESS_TOKEN_ENDS);
        scene.fail(Point::UsersMe, fault.clone());
        browser.visit(&callback).await;
        scene.assert_refresh_finds_revocation().await;
        let job = json!({"v": 1, "job": "verify_deauthorization", "zoom_user": ben});
        scene.send_job(job).await;
        scene.process_queues().await;
        scene.assert_status("ben", &[]).await;
    }
}

#[tokio::test]
async fn unreachable_exchange_defers_marking_for_minutes_only() {
    let scene = Scene::linked(&["alice"]).await;
    let mut browser = scene.browser();
    let callback = scene.callback(&mut browser, "cem", CEM).await;
    scene.fail(Point::UsersMe, Fault::Status { status: 503 });
    browser.visit(&callback).await;
    scene.remove_silently(ADA).await;
    let user = scene.zoom_user(ADA);
    let stale = scene.grants().access_token(&user).await.unwrap();
    let rejected = scene.grants().replace_token(&user, &stale).await;
    assert!(matches!(rejected, Err(GrantError::Transient(_))), "{rejected:?}");
    scene.advance(SignedDuration::from_secs(301));
    let rejected = scene.grants().replace_token(&user, &stale).await;
    assert!(matches!(rejected, Err(GrantError::ReauthorizationRequired)), "{rejected:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn marking_requires_the_lease() {
    let scene = Scene::linked(&["alice"]).await;
    let (user, version) = (scene.zoom_user(ADA), scene.snapshot(ADA).await.grant.unwrap().version);
    let (now, ttl) = (scene.app.now(), SignedDuration::from_secs(30));
    let (grants, other) = (scene.grants(), scene.grants());
    let expired = grants.links().acquire_lease(&user, version, now, ttl).await.unwrap();
    let [mark] = hold_calls(&scene, [("TransactWriteItems", 1)]);
    let of = user.clone();
    let marked = tokio::spawn(async move {
        let change = GrantChange::RequireReauthorization { reason: Rejection::InvalidGrant };
        grants.links().change_under_lease(&of, &expired, &change, None, now).await
    });
    mark.reached.notified().await;
    // Another instance has acquired the lease, and may have refreshed already.
    let later = now + SignedDuration::from_secs(31);
    other.links().acquire_lease(&user, version, later, ttl).await.unwrap();
    mark.go.send(()).unwrap();
    assert_eq!(marked.await.unwrap().unwrap(), None);
    scene.assert_status("alice", &["active"]).await;
}

/// `invalid_grant` without a code, as for an unknown refresh token.
pub(super) fn invalid_grant() -> Fault {
    Fault::Respond {
        status: 400,
        content_type: "application/json".to_owned(),
        body: r#"{"reason":"Invalid Token!","error":"invalid_grant"}"#.to_owned(),
    }
}

/// A token endpoint error with one of Zoom's documented codes.
fn numbered(code: i64) -> Fault {
    Fault::Respond {
        status: 400,
        content_type: "application/json".to_owned(),
        body: format!(r#"{{"error":"invalid_request","code":{code},"reason":"…"}}"#),
    }
}
