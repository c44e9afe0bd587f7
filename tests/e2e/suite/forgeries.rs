//! Forgeries over HTTP: none is accepted, and none affects the genuine value. `tests/fuzz` makes many more.

use fuzz::mutation::{Random, mutate};
use support::zoom::completed_event;
use support::zoom_users::{ADA, BEN};
use support::{Browser, System};

use crate::linking::{exchanges, parameter, with_parameter};

/// Forgeries of each kind.
const FORGERIES: usize = 100;

const COOKIE: &str = "__Host-reelay-connect";

/// A forgery that an HTTP header can carry: printable ASCII, different from the genuine values after trimming.
fn sendable(random: &mut Random, valid: &str, other: &str) -> String {
    loop {
        let forged = mutate(random, valid, other);
        let trimmed = forged.trim();
        let plain = forged.bytes().all(|b| (b' '..=b'~').contains(&b));
        if plain && trimmed != valid && trimmed != other {
            return forged;
        }
    }
}

/// Two browsers on their way back from Zoom, with their callback URLs.
async fn two_flows(system: &System) -> [(Browser, String); 2] {
    let (mut alice, mut mallory) = (system.browser(), system.browser());
    let callback = system.callback(&mut alice, "alice", ADA).await;
    let hers = system.callback(&mut mallory, "mallory", BEN).await;
    [(alice, callback), (mallory, hers)]
}

#[tokio::test]
async fn forged_state_completes_no_link() {
    let system = System::start().await;
    let mut random = Random::from_environment();
    let [(mut alice, callback), (_, hers)] = two_flows(&system).await;
    let (valid, other) = (parameter(&callback, "state"), parameter(&hers, "state"));
    for _ in 0..FORGERIES {
        let forged = mutate(&mut random, &valid, &other);
        let visit = alice.visit(&with_parameter(&callback, "state", &forged)).await;
        // A code without a state comes from the Marketplace.
        let expected = if forged.is_empty() { "install_restart" } else { "state_invalid" };
        assert_eq!(visit.error_page(), expected, "{forged:?}");
    }
    assert_eq!(exchanges(&system), 0);
    let claim = alice.visit(&callback).await.claim();
    assert_eq!(system.app.confirm("alice", &claim).await.status, 200);
}

#[tokio::test]
async fn forged_cookie_completes_no_link() {
    let system = System::start().await;
    let mut random = Random::from_environment();
    let [(mut alice, callback), (mut forger, _)] = two_flows(&system).await;
    let value = |browser: &Browser| {
        let cookie = browser.cookie.clone().unwrap();
        cookie.split_once('=').unwrap().1.to_owned()
    };
    let (valid, other) = (value(&alice), value(&forger));
    for _ in 0..FORGERIES {
        let cookie = format!("{COOKIE}={}", sendable(&mut random, &valid, &other));
        // Skip cookies that still contain the genuine pair.
        let pair = format!("{COOKIE}={valid}");
        if cookie.split(';').any(|part| part.trim() == pair) {
            continue;
        }
        forger.cookie = Some(cookie.clone());
        assert_eq!(forger.visit(&callback).await.error_page(), "wrong_browser", "{cookie:?}");
    }
    assert_eq!(exchanges(&system), 0);
    let claim = alice.visit(&callback).await.claim();
    assert_eq!(system.app.confirm("alice", &claim).await.status, 200);
}

#[tokio::test]
async fn forged_claim_activates_no_link() {
    let system = System::start().await;
    let mut random = Random::from_environment();
    let [(mut alice, callback), (mut mallory, hers)] = two_flows(&system).await;
    let valid = alice.visit(&callback).await.claim();
    let other = mallory.visit(&hers).await.claim();
    for _ in 0..FORGERIES {
        let forged = mutate(&mut random, &valid, &other);
        let response = system.app.confirm("alice", &forged).await;
        assert_eq!(
            (response.status, response.code().as_str()),
            (410, "claim_expired"),
            "{forged:?}"
        );
    }
    assert!(system.app.links("alice").await.is_empty());
    assert_eq!(system.app.confirm("alice", &valid).await.status, 200);
    assert_eq!(system.app.confirm("mallory", &other).await.status, 200);
}

#[tokio::test]
async fn forged_tokens_are_rejected() {
    let system = System::start().await;
    let mut random = Random::from_environment();
    let app = &system.app;
    let (connect, api) = (app.connect_token("alice"), app.api_token("alice"));
    let (of_mallory, hers) = (app.connect_token("mallory"), app.api_token("mallory"));
    let mut browser = system.browser();
    for n in 0..FORGERIES {
        // Alternate between another user's token and the same user's token for the other audience.
        let others = if n % 2 == 0 { [&of_mallory, &hers] } else { [&api, &connect] };
        let forged = mutate(&mut random, &connect, others[0]);
        let visit = browser.visit(&app.connect_url(&forged)).await;
        assert_eq!(visit.error_page(), "connect_token_invalid", "{forged:?}");

        let forged = sendable(&mut random, &api, others[1]);
        let path = "/v1/links";
        let response = app.get_with(path, &forged).await;
        assert_eq!(
            (response.status, response.code().as_str()),
            (401, "token_invalid"),
            "{forged:?}"
        );
    }
    assert_eq!(browser.visit(&app.connect_url(&connect)).await.status, 302);
    assert!(app.links("alice").await.is_empty());
}

#[tokio::test]
async fn forged_webhook_is_not_queued() {
    let system = System::start().await;
    let mut random = Random::from_environment();
    let event = |account| completed_event(account, "UserB", "Zm9v+bar/bazQUJDREVGRw==", &[]);
    let [body, other_body] =
        ["AcctA", "AcctB"].map(|account| String::from_utf8(event(account)).unwrap());
    let (secret, now) = (system.webhook_secret(), system.app.now().as_second());
    let (time, later) = (now.to_string(), (now + 60).to_string());
    let valid = reelay_zoom_sim::sign(&secret, &time, body.as_bytes());
    let other = reelay_zoom_sim::sign(&secret, &later, other_body.as_bytes());
    let post = async |time: &str, signature: &str, body: &str| {
        let headers = Some((time, signature));
        let kind = "application/json";
        let path = "/zoom/webhook";
        let response = system.post_raw(path, body.as_bytes(), kind, headers).await;
        response.status()
    };
    for n in 0..FORGERIES {
        let (time, signature, body) = match n % 4 {
            0 => (sendable(&mut random, &time, &later), valid.clone(), body.clone()),
            1 => (time.clone(), valid.clone(), mutate(&mut random, &body, &other_body)),
            _ => (time.clone(), sendable(&mut random, &valid, &other), body.clone()),
        };
        let status = post(&time, &signature, &body).await;
        assert_eq!(status, 401, "{time:?} {signature:?} {body:?}");
    }
    let events = &system.queues().events;
    assert_eq!(system.queue_depth(events).await, 0);
    assert_eq!(post(&time, &valid, &body).await, 200);
    assert_eq!(system.queue_depth(events).await, 1);
}
