//! Zoom refuses, does not answer, or grants too little, at any step of a consent.

use jiff::SignedDuration;
use reelay_domain::ids::ZoomUser;
use reelay_embedded_aws::Service;
use reelay_store::links::LinkTable;
use reelay_store::vault::{TokenOwner, Vault};
use reelay_zoom_sim::{Fault, NewFault, Point};
use secrecy::ExposeSecret as _;
use serde_json::json;
use support::people::{ADA, BEN};
use support::{System, store};

use super::record;
use crate::linking::{exchanges, parameter, with_parameter};

/// The pair of tokens that serves this user's links: access and refresh token.
async fn stored_pair(system: &System, zoom_user: &str) -> (String, String) {
    let environment = system.stack.function_environment("oauth-callback").unwrap();
    let user = system
        .zoom()
        .users()
        .into_iter()
        .find(|user| user.id == zoom_user)
        .unwrap();
    let zoom_user = ZoomUser {
        account_id: user.account_id.parse().unwrap(),
        user_id: user.id.parse().unwrap(),
    };
    let grant = LinkTable::new(environment)
        .unwrap()
        .snapshot(&zoom_user)
        .await
        .unwrap()
        .grant
        .unwrap();
    let vault = Vault::new(environment).unwrap();
    let tokens = vault
        .decrypt(&TokenOwner::Grant(zoom_user), &grant.tokens.unwrap())
        .await
        .unwrap();
    (
        tokens.access_token.expose_secret().to_owned(),
        tokens.refresh_token.expose_secret().to_owned(),
    )
}

/// The pair that Zoom honours.
fn live_pair(system: &System, zoom_user: &str) -> (String, String) {
    let grant = system.zoom().live_grant(zoom_user).unwrap();
    (grant.access_token, grant.refresh_token)
}

/// The links' tokens are those that Zoom honours.
async fn assert_served(system: &System, zoom_user: &str) {
    let same = stored_pair(system, zoom_user).await == live_pair(system, zoom_user);
    assert!(same, "the stored pair is not the one that Zoom honours");
}

/// Exchanges whose tokens are saved and belong to no grant yet.
async fn interrupted_exchanges(system: &System) -> usize {
    let items = store::items(&system.stack, &system.stack.config().tables.sessions).await;
    items
        .iter()
        .filter(|item| item.contains("\"exchange#") && item.contains("sealed"))
        .count()
}

#[tokio::test]
async fn an_exchange_that_zoom_refuses_or_cannot_serve_is_told_to_the_app_and_leaves_links_as_they_are()
 {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    let pair = live_pair(&system, ADA);
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
        (
            Fault::Redirect {
                to: "http://127.0.0.1:9/".into(),
            },
            "zoom_unavailable",
        ),
        (odd("{}"), "zoom_unavailable"),
        (odd("[["), "zoom_unavailable"),
        (status(400), "zoom_rejected_code"),
        (status(401), "zoom_rejected_code"),
        (status(403), "zoom_rejected_code"),
        (status(404), "zoom_rejected_code"),
        (
            Fault::RateLimited {
                retry_after_seconds: None,
            },
            "zoom_rejected_code",
        ),
    ] {
        // The linked user again, and another one to the same Zoom user.
        for app_user in ["alice", "bob"] {
            let mut browser = system.browser();
            let back = system.callback(&mut browser, app_user, ADA).await;
            system
                .zoom()
                .arm(NewFault::times(Point::TokenExchange, fault.clone(), 1))
                .unwrap();
            assert_eq!(browser.visit(&back).await.zoom_error(), code, "{fault:?}");
            assert_eq!(
                browser.visit(&back).await.page(),
                "session_spent",
                "{fault:?}"
            );
        }
        assert_eq!(
            system.app.links("alice").await,
            std::slice::from_ref(&link),
            "{fault:?}"
        );
        assert_eq!(
            (live_pair(&system, ADA), stored_pair(&system, ADA).await),
            (pair.clone(), pair.clone()),
            "{fault:?}"
        );
    }
    assert!(system.app.links("bob").await.is_empty());
    assert_eq!(interrupted_exchanges(&system).await, 0);
    record(&system, ADA).await;
    assert_eq!(system.app.recordings("alice").await.len(), 1);
    // Nobody is locked out by what went wrong before.
    system.link("bob", ADA).await;
}

#[tokio::test]
async fn a_code_that_is_used_or_expired_is_rejected() {
    let system = System::start().await;
    let mut browser = system.browser();
    let used = system.callback(&mut browser, "alice", ADA).await;
    browser.visit(&used).await.claim();
    let code = parameter(&used, "code");
    let fresh = system.callback(&mut browser, "alice", ADA).await;
    let visit = browser.visit(&with_parameter(&fresh, "code", &code)).await;
    assert_eq!(visit.zoom_error(), "zoom_rejected_code");

    let late = system.callback(&mut browser, "alice", ADA).await;
    // Zoom's codes live five minutes, our sessions ten.
    system.stack.advance(SignedDuration::from_mins(6));
    assert_eq!(
        browser.visit(&late).await.zoom_error(),
        "zoom_rejected_code"
    );
}

#[tokio::test]
async fn when_users_me_fails_the_exchanged_pair_is_safe_and_links_go_on() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    let faults = [
        Fault::Status { status: 500 },
        Fault::Status { status: 503 },
        Fault::RateLimited {
            retry_after_seconds: None,
        },
        Fault::Close,
        Fault::LoseResponse,
        Fault::Html,
        Fault::Respond {
            status: 200,
            content_type: "application/json".into(),
            body: "{}".into(),
        },
        Fault::Respond {
            status: 200,
            content_type: "application/json".into(),
            body: json!({"id": "a#b", "account_id": "a/b"}).to_string(),
        },
    ];
    for (before, fault) in faults.into_iter().enumerate() {
        let mut browser = system.browser();
        let back = system.callback(&mut browser, "bob", ADA).await;
        system
            .zoom()
            .arm(NewFault::times(Point::UsersMe, fault.clone(), 1))
            .unwrap();
        assert_eq!(
            browser.visit(&back).await.zoom_error(),
            "zoom_unavailable",
            "{fault:?}"
        );
        assert_eq!(
            browser.visit(&back).await.page(),
            "session_spent",
            "{fault:?}"
        );
        // Whose it is nobody knows yet, so it waits under a key of its own.
        assert_eq!(
            interrupted_exchanges(&system).await,
            before + 1,
            "{fault:?}"
        );
        assert_eq!(system.app.links("alice").await, std::slice::from_ref(&link));
        assert!(system.app.links("bob").await.is_empty());
    }
    let (access, refresh) = live_pair(&system, ADA);
    let sessions = store::items(&system.stack, &system.stack.config().tables.sessions)
        .await
        .join("\n");
    assert!(
        !sessions.contains(&access) && !sessions.contains(&refresh),
        "tokens in the clear"
    );

    record(&system, ADA).await;
    assert_eq!(system.app.recordings("alice").await.len(), 1);
    // The next flow that goes well brings a pair that serves both.
    system.link("bob", ADA).await;
    assert_served(&system, ADA).await;
}

#[tokio::test]
async fn an_exchange_whose_answer_is_lost_leaves_the_link_to_the_next_flow() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    let mut browser = system.browser();
    let back = system.callback(&mut browser, "alice", ADA).await;
    system
        .zoom()
        .arm(NewFault::times(
            Point::TokenExchange,
            Fault::LoseResponse,
            1,
        ))
        .unwrap();
    assert_eq!(browser.visit(&back).await.zoom_error(), "zoom_unavailable");
    assert_eq!(exchanges(&system), 2, "a code is handed in once");
    assert_eq!(system.app.links("alice").await, std::slice::from_ref(&link));

    let again = system.link("alice", ADA).await;
    assert_eq!(again["id"], link["id"]);
    assert_served(&system, ADA).await;
}

#[tokio::test]
async fn a_grant_without_a_needed_scope_makes_no_link() {
    let system = System::start().await;
    let all = system.zoom().settings().scopes;
    for lacking in [
        "user:read:user",
        "cloud_recording:read:list_user_recordings",
        "cloud_recording:read:list_recording_files",
    ] {
        let scopes = all
            .iter()
            .filter(|scope| *scope != lacking)
            .cloned()
            .collect();
        system.zoom().set_scopes(ADA, Some(scopes)).unwrap();
        let mut browser = system.browser();
        let back = system.callback(&mut browser, "alice", ADA).await;
        assert_eq!(
            browser.visit(&back).await.zoom_error(),
            "zoom_scope_missing",
            "{lacking}"
        );
        assert_eq!(
            browser.visit(&back).await.page(),
            "session_spent",
            "{lacking}"
        );
        // Nothing of the attempt stands in the way of the next one.
        system.work().await;
    }
    let tables = &system.stack.config().tables;
    for (table, kind) in [(&tables.links, "link#"), (&tables.sessions, "claim#")] {
        let items = store::items(&system.stack, table).await;
        assert!(!items.iter().any(|item| item.contains(kind)), "{items:?}");
    }

    system.zoom().set_scopes(ADA, None).unwrap();
    system.link("alice", ADA).await;
    // Classic scopes, of an app registered before the granular ones, are as good.
    let classic = ["user:read", "recording:read"].map(str::to_owned).to_vec();
    system.zoom().set_scopes(BEN, Some(classic)).unwrap();
    system.link("alice", BEN).await;
}

#[tokio::test]
async fn a_consent_without_a_needed_scope_still_serves_the_links_that_exist() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    let before = stored_pair(&system, ADA).await;
    system
        .zoom()
        .set_scopes(ADA, Some(vec!["user:read:user".into()]))
        .unwrap();
    for app_user in ["alice", "bob"] {
        let mut browser = system.browser();
        let back = system.callback(&mut browser, app_user, ADA).await;
        assert_eq!(
            browser.visit(&back).await.zoom_error(),
            "zoom_scope_missing"
        );
        // Zoom has ended the older pair, so alice's link gets the new one.
        assert_served(&system, ADA).await;
    }
    assert_ne!(stored_pair(&system, ADA).await, before);
    assert_eq!(interrupted_exchanges(&system).await, 0);
    assert_eq!(system.app.links("alice").await, [link]);
    assert!(system.app.links("bob").await.is_empty());
    record(&system, ADA).await;
    assert_eq!(system.app.recordings("alice").await.len(), 1);
    assert!(system.app.recordings("bob").await.is_empty());
}

#[tokio::test]
async fn of_two_consents_of_one_zoom_user_the_pair_that_zoom_honours_serves_both() {
    let system = System::start().await;
    let (mut alice, mut bob) = (system.browser(), system.browser());
    let alices = system.callback(&mut alice, "alice", ADA).await;
    let bobs = system.callback(&mut bob, "bob", ADA).await;
    let claims = [
        ("alice", alice.visit(&alices).await.claim()),
        ("bob", bob.visit(&bobs).await.claim()),
    ];
    for (user, claim) in claims {
        assert_eq!(system.app.confirm(user, &claim).await.status, 200, "{user}");
    }
    assert_served(&system, ADA).await;
}

#[tokio::test]
async fn a_consent_that_is_stored_late_does_not_replace_the_pair_of_a_newer_one() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    let (mut bob, mut carol) = (system.browser(), system.browser());
    let bobs = system.callback(&mut bob, "bob", ADA).await;
    let carols = system.callback(&mut carol, "carol", ADA).await;
    // Bob's pair is exchanged, and storing it fails twice; the function tries again after a pause. In
    // this pause carol's consent ends bob's pair at Zoom and is stored.
    let faults = system.stack.engines().faults();
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
    // Whatever sets things right afterwards may do so first.
    system.work().await;
    assert_served(&system, ADA).await;
    assert_eq!(system.app.links("alice").await, [link]);
}
