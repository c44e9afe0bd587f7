//! Connect tokens: one invalid token per endpoint, expiry, and `jti`.
//!
//! The tests of `reelay_domain::jwt` hold the table of rejected tokens.

use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, Header};
use serde_json::json;
use support::System;
use support::zoom_users::{ADA, BEN, CEM};

#[tokio::test]
async fn invalid_connect_token_is_rejected() {
    let system = System::start().await;
    let app = &system.app;
    let mut browser = system.browser();
    let url = format!("{}/zoom/connect", system.stack.url());
    let valid = app.connect_token("alice");
    let claims = app.claims("reelay:connect", "alice");
    let forged = app.sign_with(&claims, &Header::new(Algorithm::HS256), "attacker");
    for query in [
        "",
        "?token",
        "?other=1",
        "?token=%FF",
        "?token=a%20b",
        &format!("?token={forged}"),
        &format!("?token={valid}&token={valid}"),
    ] {
        let visit = browser.visit(&format!("{url}{query}")).await;
        assert_eq!(visit.error_page(), "connect_token_invalid", "{query}");
    }
    let sessions = system.table_items(&system.tables().sessions).await;
    assert!(sessions.is_empty(), "{sessions:?}");
    let visit = browser.visit(&app.connect_url(&valid)).await;
    assert_eq!(visit.status, 302, "{visit:?}");
}

#[tokio::test]
async fn page_of_a_devstack_says_why_a_token_is_rejected() {
    let system = System::start().await;
    let app = &system.app;
    let elsewhere = json!({"return_to": "https://elsewhere.test/"});
    let claims = app.claims("reelay:connect", "alice");
    let forged = app.sign_with(&claims, &Header::new(Algorithm::HS256), "attacker");
    for (token, reason) in [
        (app.connect_token_with("alice", json!({"sub": 12345})), "The claim `sub` is not a string"),
        (app.api_token("alice"), "The claim `aud` is not `reelay:connect`."),
        (app.connect_token_with("alice", elsewhere), "The claim `return_to` is not one of"),
        (forged, "The token’s signature is not that of the app secret"),
        ("x".to_owned(), "The token is not a signed JWT."),
    ] {
        let visit = system.browser().visit(&app.connect_url(&token)).await;
        visit.error_page();
        assert!(visit.body.contains(reason), "{reason}: {}", visit.body);
    }
}

#[tokio::test]
async fn expired_connect_token_is_rejected() {
    let system = System::start().await;
    let app = &system.app;
    let url = app.connect_url(&app.connect_token("alice"));
    // A lifetime of five minutes and one minute of leeway.
    system.advance(SignedDuration::from_secs(350));
    assert_eq!(system.browser().visit(&url).await.status, 302);
    system.advance(SignedDuration::from_secs(10));
    let expired = system.browser().visit(&url).await;
    assert_eq!(expired.error_page(), "connect_token_expired");
    // The page does not reveal to a forger that the token has expired.
    let mut claims = app.claims("reelay:connect", "alice");
    let now = app.now().as_second();
    claims["iat"] = json!(now - 300);
    claims["exp"] = json!(now - 100);
    let forged = app.sign_with(&claims, &Header::new(Algorithm::HS256), "attacker");
    let visit = system.browser().visit(&app.connect_url(&forged)).await;
    assert_eq!(visit.error_page(), "connect_token_invalid");
}

/// Two claims of Alice from one connect token with a `jti`, for two Zoom users.
async fn two_claims(system: &System, token: &str) -> Vec<String> {
    let mut browser = system.browser();
    let mut claims = Vec::new();
    for zoom_user in [ADA, BEN] {
        let authorize = system.authorize(&mut browser, token).await;
        let callback = system.allow(&mut browser, &authorize, zoom_user).await;
        claims.push(browser.visit(&callback).await.claim());
    }
    claims
}

#[tokio::test]
async fn consumed_jti_makes_no_second_link() {
    let system = System::start().await;
    let app = &system.app;
    let mut browser = system.browser();
    let token = app.connect_token_with("alice", json!({"jti": "one"}));
    let claims = two_claims(&system, &token).await;
    let unfinished = system.authorize(&mut browser, &token).await;
    let first = app.confirm("alice", &claims[0]).await;
    assert_eq!(first.status, 200);
    let again = json!({"jti": "one", "exp": app.now().as_second() + 200});
    for token in [&token, &app.connect_token_with("alice", again)] {
        let visit = browser.visit(&app.connect_url(token)).await;
        assert_eq!(visit.error_page(), "connect_token_spent");
    }
    // Neither the other claim nor a flow in progress makes a link.
    let callback = system.allow(&mut browser, &unfinished, CEM).await;
    let third = browser.visit(&callback).await.claim();
    for claim in [&claims[1], &third] {
        assert_eq!(app.confirm("alice", claim).await.code(), "claim_expired");
    }
    let repeated = app.confirm("alice", &claims[0]).await;
    assert_eq!(repeated.body, first.body);
    assert_eq!(app.links("alice").await, [first.json()]);
}

#[tokio::test]
async fn concurrent_claims_with_one_jti_make_one_link() {
    let system = System::start().await;
    let app = &system.app;
    let token = app.connect_token_with("alice", json!({"jti": "one"}));
    let claims = two_claims(&system, &token).await;
    let (one, two) =
        tokio::join!(app.confirm("alice", &claims[0]), app.confirm("alice", &claims[1]));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 410], "{one:?} {two:?}");
    assert_eq!(app.links("alice").await.len(), 1);
}
