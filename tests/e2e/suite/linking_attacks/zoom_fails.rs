//! Zoom rejects, fails, or grants too little during a consent.

use jiff::SignedDuration;
use reelay_domain::ids::ZoomUser;
use reelay_embedded_aws::Service;
use reelay_store::links::LinkTable;
use reelay_store::vault::{TokenOwner, Vault};
use reelay_zoom_sim::{Fault, Point};
use secrecy::ExposeSecret as _;
use serde_json::json;
use support::System;
use support::zoom_users::{ADA, BEN};

use super::record;
use crate::linking::{exchanges, parameter, with_parameter};

/// The stored access and refresh tokens of this user.
async fn stored_tokens(system: &System, zoom_user: &str) -> (String, String) {
    let environment = system.stack.function_environment("oauth-callback").unwrap();
    let user = system.zoom().users().into_iter().find(|user| user.id == zoom_user).unwrap();
    let zoom_user = ZoomUser {
        account_id: user.account_id.parse().unwrap(),
        user_id: user.id.parse().unwrap(),
    };
    let grant =
        LinkTable::new(environment).unwrap().snapshot(&zoom_user).await.unwrap().grant.unwrap();
    let vault = Vault::new(environment).unwrap();
    let tokens =
        vault.decrypt(&TokenOwner::Grant(zoom_user), &grant.tokens.unwrap()).await.unwrap();
    (
        tokens.access_token.expose_secret().to_owned(),
        tokens.refresh_token.expose_secret().to_owned(),
    )
}

/// The tokens that Zoom accepts.
fn live_tokens(system: &System, zoom_user: &str) -> (String, String) {
    let grant = system.zoom().live_grant(zoom_user).unwrap();
    (grant.access_token, grant.refresh_token)
}

/// Asserts that the stored tokens are the ones that Zoom accepts.
async fn assert_served(system: &System, zoom_user: &str) {
    let same = stored_tokens(system, zoom_user).await == live_tokens(system, zoom_user);
    assert!(same, "the stored pair is not the one that Zoom honours");
}

/// Exchanges whose tokens are saved and belong to no grant yet.
async fn interrupted_exchanges(system: &System) -> usize {
    let items = system.table_items(&system.tables().sessions).await;
    items.iter().filter(|item| item.contains("\"exchange#") && item.contains("encrypted")).count()
}

#[tokio::test]
async fn failed_exchange_redirects_and_keeps_links() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    let pair = live_tokens(&system, ADA);
    assert_served(&system, ADA).await;
    let status = |status| Fault::Status { status };
    let odd = |body: &str| Fault::Respond {
        status: 200,
        content_type: "application/json".into(),
        body: body.into(),
    };
    for (fault, code) in [
        (status(500), "zoom_unavailable"),
        (status(502), "zoom_unavailable"),
        (status(503), "zoom_unavailable"),
        (Fault::Close, "zoom_unavailable"),
        (Fault::Html, "zoom_unavailable"),
        (Fault::Redirect { to: "http://127.0.0.1:9/".into() }, "zoom_unavailable"),
        (odd("{}"), "zoom_unavailable"),
        (odd("[["), "zoom_unavailable"),
        (status(400), "zoom_rejected_code"),
        (status(401), "zoom_rejected_code"),
        (status(403), "zoom_rejected_code"),
        (status(404), "zoom_rejected_code"),
        (Fault::RateLimited { retry_after_seconds: None }, "zoom_rejected_code"),
    ] {
        // For the linked user, and for another user of the same Zoom account.
        for app_user in ["alice", "bob"] {
            let mut browser = system.browser();
            let callback = system.callback(&mut browser, app_user, ADA).await;
            system.fail_next(Point::TokenExchange, fault.clone(), 1);
            assert_eq!(browser.visit(&callback).await.zoom_error(), code, "{fault:?}");
            assert_eq!(browser.visit(&callback).await.error_page(), "session_spent", "{fault:?}");
        }
        assert_eq!(system.app.links("alice").await, std::slice::from_ref(&link), "{fault:?}");
        assert_eq!(
            (live_tokens(&system, ADA), stored_tokens(&system, ADA).await),
            (pair.clone(), pair.clone()),
            "{fault:?}"
        );
    }
    assert!(system.app.links("bob").await.is_empty());
    assert_eq!(interrupted_exchanges(&system).await, 0);
    record(&system, ADA).await;
    assert_eq!(system.app.recordings("alice").await.len(), 1);
    // Earlier failures block no later flow.
    system.link("bob", ADA).await;
}

#[tokio::test]
async fn used_or_expired_code_is_rejected() {
    let system = System::start().await;
    let mut browser = system.browser();
    let used = system.callback(&mut browser, "alice", ADA).await;
    browser.visit(&used).await.claim();
    let code = parameter(&used, "code");
    let fresh = system.callback(&mut browser, "alice", ADA).await;
    let visit = browser.visit(&with_parameter(&fresh, "code", &code)).await;
    assert_eq!(visit.zoom_error(), "zoom_rejected_code");

    let late = system.callback(&mut browser, "alice", ADA).await;
    // Zoom's codes live for five minutes, sessions for ten.
    system.advance(SignedDuration::from_mins(6));
    assert_eq!(browser.visit(&late).await.zoom_error(), "zoom_rejected_code");
}

#[tokio::test]
async fn failed_users_me_keeps_tokens_and_links() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    let faults = [
        Fault::Status { status: 500 },
        Fault::Status { status: 503 },
        Fault::RateLimited { retry_after_seconds: None },
        Fault::Close,
        Fault::LoseResponse,
        Fault::Html,
        Fault::Respond { status: 200, content_type: "application/json".into(), body: "{}".into() },
        Fault::Respond {
            status: 200,
            content_type: "application/json".into(),
            body: json!({"id": "a#b", "account_id": "a/b"}).to_string(),
        },
    ];
    for (before, fault) in faults.into_iter().enumerate() {
        let mut browser = system.browser();
        let callback = system.callback(&mut browser, "bob", ADA).await;
        system.fail_next(Point::UsersMe, fault.clone(), 1);
        assert_eq!(browser.visit(&callback).await.zoom_error(), "zoom_unavailable", "{fault:?}");
        assert_eq!(browser.visit(&callback).await.error_page(), "session_spent", "{fault:?}");
        // The Zoom user is unknown, so the tokens wait under the exchange's key.
        assert_eq!(interrupted_exchanges(&system).await, before + 1, "{fault:?}");
        assert_eq!(system.app.links("alice").await, std::slice::from_ref(&link));
        assert!(system.app.links("bob").await.is_empty());
    }
    let (access, refresh) = live_tokens(&system, ADA);
    let sessions = system.table_items(&system.tables().sessions).await.join("\n");
    assert!(!sessions.contains(&access) && !sessions.contains(&refresh), "plaintext tokens");

    record(&system, ADA).await;
    assert_eq!(system.app.recordings("alice").await.len(), 1);
    // The next successful flow serves both links.
    system.link("bob", ADA).await;
    assert_served(&system, ADA).await;
}

#[tokio::test]
async fn lost_exchange_response_is_recovered_by_next_flow() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    let mut browser = system.browser();
    let callback = system.callback(&mut browser, "alice", ADA).await;
    system.fail_next(Point::TokenExchange, Fault::LoseResponse, 1);
    assert_eq!(browser.visit(&callback).await.zoom_error(), "zoom_unavailable");
    assert_eq!(exchanges(&system), 2, "the code was sent again");
    assert_eq!(system.app.links("alice").await, std::slice::from_ref(&link));

    let again = system.link("alice", ADA).await;
    assert_eq!(again["id"], link["id"]);
    assert_served(&system, ADA).await;
}

#[tokio::test]
async fn missing_scope_makes_no_link() {
    let system = System::start().await;
    let all = system.zoom().settings().scopes;
    for lacking in [
        "user:read:user",
        "cloud_recording:read:list_user_recordings",
        "cloud_recording:read:list_recording_files",
    ] {
        let scopes = all.iter().filter(|scope| *scope != lacking).cloned().collect();
        system.zoom().set_scopes(ADA, Some(scopes)).unwrap();
        let mut browser = system.browser();
        let callback = system.callback(&mut browser, "alice", ADA).await;
        assert_eq!(browser.visit(&callback).await.zoom_error(), "zoom_scope_missing", "{lacking}");
        assert_eq!(browser.visit(&callback).await.error_page(), "session_spent", "{lacking}");
        // The next flow is not blocked.
        system.process_queues().await;
    }
    let tables = &system.tables();
    for (table, kind) in [(&tables.links, "link#"), (&tables.sessions, "claim#")] {
        let items = system.table_items(table).await;
        assert!(!items.iter().any(|item| item.contains(kind)), "{items:?}");
    }

    system.zoom().set_scopes(ADA, None).unwrap();
    system.link("alice", ADA).await;
    // Classic scopes of older app registrations are sufficient.
    let classic = ["user:read", "recording:read"].map(str::to_owned).to_vec();
    system.zoom().set_scopes(BEN, Some(classic)).unwrap();
    system.link("alice", BEN).await;
}

#[tokio::test]
async fn consent_without_scope_serves_existing_links() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    let before = stored_tokens(&system, ADA).await;
    system.zoom().set_scopes(ADA, Some(vec!["user:read:user".into()])).unwrap();
    for app_user in ["alice", "bob"] {
        let mut browser = system.browser();
        let callback = system.callback(&mut browser, app_user, ADA).await;
        assert_eq!(browser.visit(&callback).await.zoom_error(), "zoom_scope_missing");
        // Zoom revoked the older tokens, so Alice's link gets the new ones.
        assert_served(&system, ADA).await;
    }
    assert_ne!(stored_tokens(&system, ADA).await, before);
    assert_eq!(interrupted_exchanges(&system).await, 0);
    assert_eq!(system.app.links("alice").await, [link]);
    assert!(system.app.links("bob").await.is_empty());
    record(&system, ADA).await;
    assert_eq!(system.app.recordings("alice").await.len(), 1);
    assert!(system.app.recordings("bob").await.is_empty());
}

#[tokio::test]
async fn newest_tokens_serve_both_links() {
    let system = System::start().await;
    let (mut alice, mut bob) = (system.browser(), system.browser());
    let alices = system.callback(&mut alice, "alice", ADA).await;
    let bobs = system.callback(&mut bob, "bob", ADA).await;
    let claims =
        [("alice", alice.visit(&alices).await.claim()), ("bob", bob.visit(&bobs).await.claim())];
    for (user, claim) in claims {
        assert_eq!(system.app.confirm(user, &claim).await.status, 200, "{user}");
    }
    assert_served(&system, ADA).await;
}

#[tokio::test]
async fn late_consent_does_not_replace_newer_tokens() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    let (mut bob, mut carol) = (system.browser(), system.browser());
    let bobs = system.callback(&mut bob, "bob", ADA).await;
    let carols = system.callback(&mut carol, "carol", ADA).await;
    // Storing Bob's tokens fails twice and is retried after a pause, in which Carol's consent revokes them.
    let faults = system.faults();
    faults.reset_calls();
    faults.fail_next(
        Service::DynamoDb,
        "TransactWriteItems",
        2,
        reelay_embedded_aws::Fault::error(500, "InternalServerError"),
    );
    let late = tokio::spawn(async move { bob.visit(&bobs).await });
    while faults.calls(Service::DynamoDb, "TransactWriteItems") < 2 {
        tokio::task::yield_now().await;
    }
    carol.visit(&carols).await.claim();
    late.await.unwrap();
    system.process_queues().await;
    assert_served(&system, ADA).await;
    assert_eq!(system.app.links("alice").await, [link]);
}
