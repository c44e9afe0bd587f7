//! Forgeries over HTTP, made as the hundred thousands of `tests/fuzz/tests/mutations.rs` are: none opens
//! anything, and none takes anything away from the good one that it was bent from.

use fuzz::mutation::{Random, bent};
use support::people::{ADA, BEN};
use support::{Browser, System, store, zoom};

use crate::linking::{exchanges, parameter, with_parameter};

/// Of each kind.
const FORGERIES: usize = 100;

const COOKIE: &str = "__Host-reelay-connect";

/// A forgery that HTTP carries in a header as it is: line ends and other than ASCII never leave, and white
/// space around a value is no part of it.
fn sendable(random: &mut Random, good: &str, other: &str) -> String {
    loop {
        let forged = bent(random, good, other);
        let trimmed = forged.trim();
        let plain = forged.bytes().all(|b| (b' '..=b'~').contains(&b));
        if plain && trimmed != good && trimmed != other {
            return forged;
        }
    }
}

/// The system, two browsers that are on their way back from Zoom, and where to.
async fn two_on_their_way(system: &System) -> [(Browser, String); 2] {
    let (mut alice, mut mallory) = (system.browser(), system.browser());
    let back = system.callback(&mut alice, "alice", ADA).await;
    let hers = system.callback(&mut mallory, "mallory", BEN).await;
    [(alice, back), (mallory, hers)]
}

#[tokio::test]
async fn no_forged_state_completes_a_link() {
    let system = System::start().await;
    let mut random = Random::from_environment();
    let [(mut alice, back), (_, hers)] = two_on_their_way(&system).await;
    let (good, other) = (parameter(&back, "state"), parameter(&hers, "state"));
    for _ in 0..FORGERIES {
        let forged = bent(&mut random, &good, &other);
        let visit = alice.visit(&with_parameter(&back, "state", &forged)).await;
        // A code without a state is what the Marketplace sends.
        let expected = if forged.is_empty() {
            "install_restart"
        } else {
            "state_invalid"
        };
        assert_eq!(visit.page(), expected, "{forged:?}");
    }
    assert_eq!(exchanges(&system), 0);
    let claim = alice.visit(&back).await.claim();
    assert_eq!(system.app.confirm("alice", &claim).await.status, 200);
}

#[tokio::test]
async fn no_forged_cookie_completes_a_link() {
    let system = System::start().await;
    let mut random = Random::from_environment();
    let [(mut alice, back), (mut forger, _)] = two_on_their_way(&system).await;
    let value = |browser: &Browser| {
        let cookie = browser.cookie.clone().unwrap();
        cookie.split_once('=').unwrap().1.to_owned()
    };
    let (good, other) = (value(&alice), value(&forger));
    for _ in 0..FORGERIES {
        let cookie = format!("{COOKIE}={}", sendable(&mut random, &good, &other));
        // What surrounds a pair is not the pair.
        let pair = format!("{COOKIE}={good}");
        if cookie.split(';').any(|part| part.trim() == pair) {
            continue;
        }
        forger.cookie = Some(cookie.clone());
        assert_eq!(
            forger.visit(&back).await.page(),
            "wrong_browser",
            "{cookie:?}"
        );
    }
    assert_eq!(exchanges(&system), 0);
    let claim = alice.visit(&back).await.claim();
    assert_eq!(system.app.confirm("alice", &claim).await.status, 200);
}

#[tokio::test]
async fn no_forged_claim_makes_a_link_active() {
    let system = System::start().await;
    let mut random = Random::from_environment();
    let [(mut alice, back), (mut mallory, hers)] = two_on_their_way(&system).await;
    let good = alice.visit(&back).await.claim();
    let other = mallory.visit(&hers).await.claim();
    for _ in 0..FORGERIES {
        let forged = bent(&mut random, &good, &other);
        let answer = system.app.confirm("alice", &forged).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (410, "claim_expired"),
            "{forged:?}"
        );
    }
    assert!(system.app.links("alice").await.is_empty());
    assert_eq!(system.app.confirm("alice", &good).await.status, 200);
    assert_eq!(system.app.confirm("mallory", &other).await.status, 200);
}

#[tokio::test]
async fn no_forged_connect_token_opens_a_session_and_no_forged_api_token_the_api() {
    let system = System::start().await;
    let mut random = Random::from_environment();
    let app = &system.app;
    let (connect, api) = (app.connect_token("alice"), app.api_token("alice"));
    let (of_mallory, hers) = (app.connect_token("mallory"), app.api_token("mallory"));
    let mut browser = system.browser();
    for n in 0..FORGERIES {
        // Each also against the same user's token for the other door.
        let others = if n % 2 == 0 {
            [&of_mallory, &hers]
        } else {
            [&api, &connect]
        };
        let forged = bent(&mut random, &connect, others[0]);
        let visit = browser.visit(&app.connect_url(&forged)).await;
        assert_eq!(visit.page(), "connect_token_invalid", "{forged:?}");

        let forged = sendable(&mut random, &api, others[1]);
        let path = "/v1/links";
        let answer = app
            .call_with(reqwest::Method::GET, path, Some(&forged), None)
            .await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (401, "token_invalid"),
            "{forged:?}"
        );
    }
    assert_eq!(browser.visit(&app.connect_url(&connect)).await.status, 302);
    assert!(app.links("alice").await.is_empty());
}

#[tokio::test]
async fn no_forged_webhook_is_queued() {
    let system = System::start().await;
    let mut random = Random::from_environment();
    let event = |account| zoom::completed(account, "UserB", "Zm9v+bar/bazQUJDREVGRw==", &[]);
    let [body, other_body] =
        ["AcctA", "AcctB"].map(|account| String::from_utf8(event(account)).unwrap());
    let (secret, now) = (zoom::secret(&system), system.app.now().as_second());
    let (time, later) = (now.to_string(), (now + 60).to_string());
    let good = reelay_zoom_sim::sign(&secret, &time, body.as_bytes());
    let other = reelay_zoom_sim::sign(&secret, &later, other_body.as_bytes());
    let post = async |time: &str, signature: &str, body: &str| {
        let headers = Some((time, signature));
        let kind = "application/json";
        let path = "/zoom/webhook";
        zoom::post_with(&system, path, body.as_bytes(), kind, headers).await
    };
    for n in 0..FORGERIES {
        let (time, signature, body) = match n % 4 {
            0 => (
                sendable(&mut random, &time, &later),
                good.clone(),
                body.clone(),
            ),
            1 => (
                time.clone(),
                good.clone(),
                bent(&mut random, &body, &other_body),
            ),
            _ => (
                time.clone(),
                sendable(&mut random, &good, &other),
                body.clone(),
            ),
        };
        let status = post(&time, &signature, &body).await;
        assert_eq!(status, 401, "{time:?} {signature:?} {body:?}");
    }
    let events = &system.stack.config().queues.events;
    assert_eq!(store::depth(&system.stack, events).await, 0);
    assert_eq!(post(&time, &good, &body).await, 200);
    assert_eq!(store::depth(&system.stack, events).await, 1);
}
