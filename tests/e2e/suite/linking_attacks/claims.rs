//! Claims of another user, expired claims, and pending links.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use serde_json::json;
use support::System;
use support::zoom_users::{ADA, CEM};

use super::{assert_untouched, record};

/// Recording items and objects.
async fn traces_of_recordings(system: &System) -> usize {
    let items = system.table_items(&system.tables().recordings).await;
    items.len() + system.objects("").await.len()
}

#[tokio::test]
async fn claim_of_another_user_is_invalidated() {
    let system = System::start().await;
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    assert_eq!(system.app.confirm("mallory", &claim).await.code(), "claim_belongs_to_another_user");
    assert_eq!(system.app.confirm("alice", &claim).await.code(), "claim_expired", "still valid");
    assert_eq!(system.app.confirm("mallory", &claim).await.code(), "claim_expired");
    for user in ["alice", "mallory"] {
        assert!(system.app.links(user).await.is_empty(), "{user}");
    }
    // Alice connects again, once the unused grant is revoked.
    system.process_queues().await;
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    let link = system.app.confirm("alice", &claim).await;
    assert_eq!(link.status, 200);
    // After the confirmation the claim is still useless to Mallory, and its invalidation keeps Alice's link.
    assert_eq!(system.app.confirm("mallory", &claim).await.code(), "claim_belongs_to_another_user");
    assert_eq!(system.app.confirm("alice", &claim).await.code(), "claim_expired");
    assert_eq!(system.app.links("alice").await, [link.json()]);
    assert!(system.app.links("mallory").await.is_empty());
}

#[tokio::test]
async fn expired_or_unknown_claim_is_rejected() {
    let system = System::start().await;
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    let random = URL_SAFE_NO_PAD.encode([7; 32]);
    for unknown in [
        random.as_str(),
        "",
        "x",
        &format!("{claim}="),
        &claim[..42],
        &claim.to_lowercase(),
        "é",
        "\0",
    ] {
        assert_eq!(system.app.confirm("alice", unknown).await.code(), "claim_expired", "{unknown}");
    }
    system.advance(SignedDuration::from_mins(10));
    assert_eq!(system.app.confirm("alice", &claim).await.code(), "claim_expired");
    assert_eq!(
        system.app.confirm("mallory", &claim).await.code(),
        "claim_expired",
        "the error reveals the owner"
    );
    assert!(system.app.links("alice").await.is_empty());
}

#[tokio::test]
async fn victim_following_attackers_connect_link_reveals_nothing() {
    let system = System::start().await;
    // Mallory sends her own connect link to Ada, who consents while signed in as Alice.
    let token = system.app.connect_token_with("mallory", json!({"jti": "bait"}));
    let mut victim = system.browser();
    let authorize = system.authorize(&mut victim, &token).await;
    let callback = system.allow(&mut victim, &authorize, ADA).await;
    let claim = victim.visit(&callback).await.claim();

    // Mallory learns nothing, before or after.
    let assert_attacker_sees_nothing = async || {
        record(&system, ADA).await;
        assert_eq!(traces_of_recordings(&system).await, 0);
        assert!(system.app.links("mallory").await.is_empty());
        assert!(system.app.recordings("mallory").await.is_empty());
        assert!(system.stack.demo_app().unwrap().received().is_empty(), "the app was notified");
    };
    assert_attacker_sees_nothing().await;
    // The app confirms the claim in the session in which it arrived.
    assert_eq!(system.app.confirm("alice", &claim).await.code(), "claim_belongs_to_another_user");
    assert_eq!(system.app.confirm("mallory", &claim).await.code(), "claim_expired");
    assert!(system.app.links("alice").await.is_empty());
    assert_attacker_sees_nothing().await;
    // Mallory's browser has no session for the victim's callback.
    assert_eq!(system.browser().visit(&callback).await.error_page(), "session_spent");
}

#[tokio::test]
async fn victim_sent_attackers_callback_links_nothing() {
    let system = System::start().await;
    let (mut mallory, mut victim) = (system.browser(), system.browser());
    let authorize = system.authorize(&mut mallory, &system.app.connect_token("mallory")).await;
    // The victim consents on Mallory's consent page.
    let consented = system.allow(&mut victim, &authorize, ADA).await;
    assert_eq!(victim.visit(&consented).await.error_page(), "wrong_browser");
    // The victim opens the callback of Mallory's own consent.
    let mallorys = system.allow(&mut mallory, &authorize, CEM).await;
    assert_eq!(victim.visit(&mallorys).await.error_page(), "wrong_browser");
    assert_untouched(&system).await;
    // The victim brings Mallory's claim into the app.
    let claim = mallory.visit(&mallorys).await.claim();
    assert_eq!(system.app.confirm("alice", &claim).await.code(), "claim_belongs_to_another_user");
    assert!(system.app.links("alice").await.is_empty());
}

#[tokio::test]
async fn pending_link_is_never_listed_or_notified() {
    let system = System::start().await;
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    record(&system, ADA).await;
    assert!(system.app.links("alice").await.is_empty());
    assert!(system.app.recordings("alice").await.is_empty());
    assert_eq!(traces_of_recordings(&system).await, 0);
    assert!(system.stack.demo_app().unwrap().received().is_empty());

    // A pending link beside an active link of the same Zoom user receives nothing either.
    system.link("bob", ADA).await;
    record(&system, ADA).await;
    assert!(!system.app.recordings("bob").await.is_empty());
    assert!(system.app.recordings("alice").await.is_empty());
    let notified = system.stack.demo_app().unwrap().received();
    assert!(!notified.is_empty() && !format!("{notified:?}").contains("alice"), "{notified:?}");

    assert_eq!(system.app.confirm("alice", &claim).await.status, 200);
    record(&system, ADA).await;
    assert!(!system.app.recordings("alice").await.is_empty());
}
