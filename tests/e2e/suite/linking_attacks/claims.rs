//! Claims in the hands of another, too late, or never posted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use serde_json::json;
use support::people::{ADA, CEM};
use support::{System, store};

use super::{assert_untouched, record};

/// What a recording leaves behind anywhere.
async fn traces_of_recordings(system: &System) -> usize {
    let items = store::items(&system.stack, &system.stack.config().tables.recordings).await;
    items.len() + store::objects(&system.stack, "").await.len()
}

#[tokio::test]
async fn a_claim_confirmed_as_another_user_is_refused_and_burnt() {
    let system = System::start().await;
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    assert_eq!(
        system.app.confirm("mallory", &claim).await.code(),
        "claim_belongs_to_another_user"
    );
    assert_eq!(
        system.app.confirm("alice", &claim).await.code(),
        "claim_expired",
        "it is not burnt"
    );
    assert_eq!(
        system.app.confirm("mallory", &claim).await.code(),
        "claim_expired"
    );
    for user in ["alice", "mallory"] {
        assert!(system.app.links(user).await.is_empty(), "{user}");
    }
    // Alice connects again, and that works.
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    let link = system.app.confirm("alice", &claim).await;
    assert_eq!(link.status, 200);
    // Afterwards it is as worthless to mallory, and alice's link does not go with the claim.
    assert_eq!(
        system.app.confirm("mallory", &claim).await.code(),
        "claim_belongs_to_another_user"
    );
    assert_eq!(
        system.app.confirm("alice", &claim).await.code(),
        "claim_expired"
    );
    assert_eq!(system.app.links("alice").await, [link.json()]);
    assert!(system.app.links("mallory").await.is_empty());
}

#[tokio::test]
async fn an_expired_or_unknown_claim_is_refused() {
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
        assert_eq!(
            system.app.confirm("alice", unknown).await.code(),
            "claim_expired",
            "{unknown}"
        );
    }
    system.stack.advance(SignedDuration::from_mins(10));
    assert_eq!(
        system.app.confirm("alice", &claim).await.code(),
        "claim_expired"
    );
    assert_eq!(
        system.app.confirm("mallory", &claim).await.code(),
        "claim_expired",
        "it tells whose it was"
    );
    assert!(system.app.links("alice").await.is_empty());
}

#[tokio::test]
async fn a_victim_who_follows_the_attackers_connect_link_gives_nothing_away() {
    let system = System::start().await;
    // Mallory has the app make her a link, and sends it to ada, who consents and is signed in as alice.
    let token = system
        .app
        .connect_token_with("mallory", json!({"jti": "bait"}));
    let mut victim = system.browser();
    let authorize = system.authorize(&mut victim, &token).await;
    let back = system.allow(&mut victim, &authorize, ADA).await;
    let claim = victim.visit(&back).await.claim();

    // Meanwhile, and ever after, there is nothing to see for mallory.
    let learns_nothing = async || {
        record(&system, ADA).await;
        assert_eq!(traces_of_recordings(&system).await, 0);
        assert!(system.app.links("mallory").await.is_empty());
        assert!(system.app.recordings("mallory").await.is_empty());
        assert!(
            system.stack.demo_app().unwrap().received().is_empty(),
            "the app is told"
        );
    };
    learns_nothing().await;
    // The app confirms what came back in the session in which it came back.
    assert_eq!(
        system.app.confirm("alice", &claim).await.code(),
        "claim_belongs_to_another_user"
    );
    assert_eq!(
        system.app.confirm("mallory", &claim).await.code(),
        "claim_expired"
    );
    assert!(system.app.links("alice").await.is_empty());
    learns_nothing().await;
    // Mallory, in her own browser, has no session that the victim's consent would serve.
    assert_eq!(system.browser().visit(&back).await.page(), "session_spent");
}

#[tokio::test]
async fn a_victim_who_is_sent_the_attackers_consent_page_or_callback_links_nothing() {
    let system = System::start().await;
    let (mut mallory, mut victim) = (system.browser(), system.browser());
    let authorize = system
        .authorize(&mut mallory, &system.app.connect_token("mallory"))
        .await;
    // The victim consents on the page that mallory began, hoping to finish herself.
    let consented = system.allow(&mut victim, &authorize, ADA).await;
    assert_eq!(victim.visit(&consented).await.page(), "wrong_browser");
    // The other way round: mallory's own consent, to be finished by the victim.
    let mallorys = system.allow(&mut mallory, &authorize, CEM).await;
    assert_eq!(victim.visit(&mallorys).await.page(), "wrong_browser");
    assert_untouched(&system).await;
    // Or finished by mallory up to the claim, which the victim carries into the app.
    let claim = mallory.visit(&mallorys).await.claim();
    assert_eq!(
        system.app.confirm("alice", &claim).await.code(),
        "claim_belongs_to_another_user"
    );
    assert!(system.app.links("alice").await.is_empty());
}

#[tokio::test]
async fn a_pending_link_is_never_listed_routed_to_or_notified() {
    let system = System::start().await;
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    record(&system, ADA).await;
    assert!(system.app.links("alice").await.is_empty());
    assert!(system.app.recordings("alice").await.is_empty());
    assert_eq!(traces_of_recordings(&system).await, 0);
    assert!(system.stack.demo_app().unwrap().received().is_empty());

    // Beside an active link of the same Zoom user, it gets nothing either.
    system.link("bob", ADA).await;
    record(&system, ADA).await;
    assert!(!system.app.recordings("bob").await.is_empty());
    assert!(system.app.recordings("alice").await.is_empty());
    let told = system.stack.demo_app().unwrap().received();
    assert!(
        !told.is_empty() && !format!("{told:?}").contains("alice"),
        "{told:?}"
    );

    assert_eq!(system.app.confirm("alice", &claim).await.status, 200);
    record(&system, ADA).await;
    assert!(!system.app.recordings("alice").await.is_empty());
}
