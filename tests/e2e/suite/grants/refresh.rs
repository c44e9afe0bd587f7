//! Tokens are refreshed: once, by whoever needs them first, and whatever fails meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use jiff::SignedDuration;
use reelay_domain::link::GrantStatus;
use reelay_embedded_aws::Service;
use reelay_grants::{GrantError, Grants};
use reelay_runtime::environment::Clock;
use reelay_zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point};
use secrecy::ExposeSecret as _;
use serde_json::json;
use support::people::ADA;
use support::zoom;
use tokio::sync::Notify;

use super::{ACCESS_TOKEN_ENDS, Scene, backfill, unannounced};

#[tokio::test]
async fn whatever_needs_an_expired_token_refreshes_it_once() {
    // A backfill.
    let scene = Scene::linked(&["alice"]).await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    let missed = unannounced(&scene, SignedDuration::from_hours(1));
    backfill(&scene, "alice", 1).await;
    assert_eq!(
        scene.system.app.recordings("alice").await[0]["meeting_uuid"],
        missed.uuid
    );
    assert_eq!(scene.refreshes(), 1);
    scene.assert_served(ADA).await;

    // Downloads, several at a time, whose event's token is refused.
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    scene
        .system
        .zoom()
        .change_settings(|config| config.download_token_seconds = -1);
    let files = ["MP4", "M4A", "CHAT", "TIMELINE"].map(|kind| NewFile::new(kind, 100));
    let new = NewRecording::of(ADA).with_files(files.into());
    zoom::complete(&scene.system, new).await;
    scene.system.work().await;
    let recordings = scene.system.app.recordings("alice").await;
    assert!(
        recordings
            .iter()
            .all(|recording| recording["status"] == "stored"),
        "{recordings:?}"
    );
    assert_eq!(scene.refreshes(), 2);
    scene.assert_served(ADA).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_uses_of_an_expired_grant_refresh_it_once_and_all_get_a_token_that_works() {
    let scene = Scene::linked(&["alice"]).await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    let user = scene.zoom_user(ADA);
    let instances: Vec<_> = (0..8).map(|_| Arc::new(scene.grants())).collect();
    let uses: Vec<_> = (0..200)
        .map(|n| {
            let (grants, user) = (Arc::clone(&instances[n % instances.len()]), user.clone());
            tokio::spawn(async move { grants.access_token(&user).await })
        })
        .collect();
    let live = async || scene.system.zoom().live_grant(ADA).unwrap().access_token;
    let mut tokens = Vec::new();
    for one in uses {
        tokens.push(one.await.unwrap().unwrap());
    }
    let live = live().await;
    assert!(
        tokens
            .iter()
            .all(|token| token.token.expose_secret() == live)
    );
    assert_eq!(scene.refreshes(), 1);
    instances[0]
        .zoom()
        .get_current_user(&tokens[0].token)
        .await
        .unwrap();

    // The same when Zoom refuses a token that has not expired: whoever was refused asks for another.
    let uses: Vec<_> = (0..200)
        .map(|n| {
            let (grants, user) = (Arc::clone(&instances[n % instances.len()]), user.clone());
            let refused = tokens[n].clone();
            tokio::spawn(async move { grants.replace_token(&user, &refused).await })
        })
        .collect();
    for one in uses {
        let token = one.await.unwrap().unwrap();
        assert_ne!(token.token.expose_secret(), live);
    }
    assert_eq!(scene.refreshes(), 2);
    scene.assert_served(ADA).await;
    scene.assert_told("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn a_grant_that_zoom_has_ended_is_reported_once_and_a_new_consent_revives_its_links() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    scene.remove_silently(ADA).await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    for _ in 0..3 {
        backfill(&scene, "alice", 1).await;
    }
    assert_eq!(
        scene.refreshes(),
        1,
        "a grant that is dead is asked for again"
    );
    for user in ["alice", "bob"] {
        scene
            .assert_status(user, &["reauthorization_required"])
            .await;
        scene
            .assert_told(user, [("activated", 1), ("reauthorization_required", 1)])
            .await;
    }
    let dead = scene.holding(ADA).await.grant.unwrap();
    assert_eq!(
        (dead.status, dead.tokens),
        (GrantStatus::ReauthorizationRequired, None),
        "tokens are kept"
    );

    let claim = scene
        .system
        .consent(&mut scene.system.browser(), "alice", ADA)
        .await;
    scene.system.work().await;
    for user in ["alice", "bob"] {
        scene.assert_status(user, &["active"]).await;
        scene
            .assert_told(user, [("activated", 2), ("reauthorization_required", 1)])
            .await;
    }
    assert_eq!(scene.system.app.confirm("alice", &claim).await.status, 200);
    scene.system.work().await;
    scene
        .assert_told("alice", [("activated", 2), ("reauthorization_required", 1)])
        .await;
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn a_pending_link_on_a_grant_that_dies_is_told_when_it_is_confirmed() {
    let scene = Scene::linked(&["alice"]).await;
    let claim = scene
        .system
        .consent(&mut scene.system.browser(), "bob", ADA)
        .await;
    scene.remove_silently(ADA).await;
    let user = scene.zoom_user(ADA);
    let grants = scene.grants();
    let token = grants.access_token(&user).await.unwrap();
    let error = grants.replace_token(&user, &token).await.unwrap_err();
    assert!(
        matches!(error, GrantError::ReauthorizationRequired),
        "{error}"
    );
    scene.system.work().await;
    scene.assert_told("bob", []).await;
    let confirmed = scene.system.app.confirm("bob", &claim).await;
    assert_eq!(
        (confirmed.status, &confirmed.json()["status"]),
        (200, &json!("reauthorization_required"))
    );
    scene.system.work().await;
    scene
        .assert_told("bob", [("reauthorization_required", 1)])
        .await;
}

#[tokio::test]
async fn a_wrong_client_secret_or_an_outage_condemns_nobody() {
    let scene = Scene::linked(&["alice"]).await;
    let (link, user) = (scene.system.app.links("alice").await, scene.zoom_user(ADA));
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);

    scene.set_client_secret("wrong").await;
    let error = scene.grants().access_token(&user).await.unwrap_err();
    assert!(matches!(error, GrantError::InvalidClient), "{error}");
    let right = scene
        .system
        .stack
        .config()
        .secrets
        .zoom_client_secret
        .clone();
    scene.set_client_secret(&right).await;

    for fault in [
        Fault::Status { status: 500 },
        Fault::Status { status: 503 },
        Fault::Status { status: 404 },
        Fault::RateLimited {
            retry_after_seconds: None,
        },
        Fault::Html,
        Fault::Close,
    ] {
        scene.arm(NewFault::times(Point::TokenRefresh, fault.clone(), 1));
        let error = scene.grants().access_token(&user).await.unwrap_err();
        let for_good = matches!(
            error,
            GrantError::ReauthorizationRequired | GrantError::NotFound
        );
        assert!(!for_good, "{fault:?}: {error}");
        assert_eq!(scene.system.app.links("alice").await, link, "{fault:?}");
    }
    scene.grants().access_token(&user).await.unwrap();
    scene.assert_served(ADA).await;
    scene.system.work().await;
    scene.assert_told("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn a_refresh_whose_answer_is_lost_is_reported_by_the_next_use() {
    let scene = Scene::linked(&["alice"]).await;
    let user = scene.zoom_user(ADA);
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    scene.arm(NewFault::times(Point::TokenRefresh, Fault::LoseResponse, 1));
    let error = scene.grants().access_token(&user).await.unwrap_err();
    assert!(matches!(error, GrantError::Transient(_)), "{error}");
    scene.assert_status("alice", &["active"]).await;
    let error = scene.grants().access_token(&user).await.unwrap_err();
    assert!(
        matches!(error, GrantError::ReauthorizationRequired),
        "{error}"
    );
    assert_eq!(scene.refreshes(), 2);
    scene.system.work().await;
    scene
        .assert_status("alice", &["reauthorization_required"])
        .await;
    scene
        .assert_told("alice", [("activated", 1), ("reauthorization_required", 1)])
        .await;
    scene.system.link("alice", ADA).await;
    scene.assert_served(ADA).await;
}

/// A call that is held up on its way to an engine until the test lets it go.
pub(super) struct Held {
    pub(super) reached: Arc<Notify>,
    pub(super) go: mpsc::Sender<()>,
}

/// Holds up calls of DynamoDB, each the n-th of its operation from now on.
pub(super) fn hold<const N: usize>(scene: &Scene, calls: [(&'static str, usize); N]) -> [Held; N] {
    let mut held = Vec::new();
    let mut watched = Vec::new();
    for (operation, nth) in calls {
        let (go, wait) = mpsc::channel::<()>();
        let reached = Arc::new(Notify::new());
        watched.push((
            operation,
            nth,
            AtomicUsize::new(0),
            Arc::clone(&reached),
            Mutex::new(wait),
        ));
        held.push(Held { reached, go });
    }
    scene
        .system
        .stack
        .engines()
        .faults()
        .decide_with(move |service, operation| {
            for (wanted, nth, count, reached, wait) in &watched {
                let this = service == Service::DynamoDb
                    && operation == *wanted
                    && count.fetch_add(1, Ordering::SeqCst) + 1 == *nth;
                if this {
                    reached.notify_one();
                    let wait = || wait.lock().unwrap().recv_timeout(Duration::from_secs(20));
                    tokio::task::block_in_place(wait).unwrap();
                }
            }
            None
        });
    held.try_into().unwrap_or_else(|_| unreachable!())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refresh_that_a_consent_overtakes_adopts_the_consents_tokens() {
    let scene = Scene::linked(&["alice"]).await;
    let (grants, user) = (scene.grants(), scene.zoom_user(ADA));
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    // The first takes the lease, the second saves the pair.
    let [save] = hold(&scene, [("UpdateItem", 2)]);
    let refresh = tokio::spawn(async move { grants.access_token(&user).await });
    save.reached.notified().await;
    scene
        .system
        .consent(&mut scene.system.browser(), "bob", ADA)
        .await;
    save.go.send(()).unwrap();
    let token = refresh.await.unwrap().unwrap();
    scene.assert_served(ADA).await;
    let live = scene.system.zoom().live_grant(ADA).unwrap().access_token;
    assert!(
        token.token.expose_secret() == live,
        "a token that Zoom does not honour"
    );
    assert_eq!(scene.refreshes(), 1);
    scene.assert_status("alice", &["active"]).await;
    scene.system.work().await;
    scene.assert_told("alice", [("activated", 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refresh_that_is_saved_between_a_consents_exchange_and_its_end_does_not_undo_it() {
    let scene = Scene::linked(&["alice"]).await;
    let user = scene.zoom_user(ADA);
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    // Whoever refreshes got Zoom's answer late, or its clock is two seconds ahead: the same to the table.
    let environment = scene
        .system
        .stack
        .function_environment("reconciler")
        .unwrap();
    let mut ahead = environment.clone();
    ahead.clock = Clock::default();
    ahead
        .clock
        .advance(ACCESS_TOKEN_ENDS + SignedDuration::from_secs(2));
    let grants = Grants::new(&ahead).unwrap();
    // The first PutItem opens the session, the second begins the exchange, the third saves what the code
    // was exchanged for.
    let [save, store] = hold(&scene, [("UpdateItem", 2), ("PutItem", 3)]);

    let refresh = tokio::spawn(async move { grants.access_token(&user).await });
    save.reached.notified().await;
    let mut browser = scene.system.browser();
    let back = scene.system.callback(&mut browser, "bob", ADA).await;
    let consent = tokio::spawn(async move { browser.visit(&back).await });
    store.reached.notified().await;
    save.go.send(()).unwrap();
    let _ = refresh.await.unwrap();
    store.go.send(()).unwrap();
    consent.await.unwrap().claim();
    scene.assert_served(ADA).await;
    scene.assert_status("alice", &["active"]).await;
}

#[tokio::test]
async fn a_pair_that_is_saved_though_the_answer_is_lost_is_used() {
    let scene = Scene::linked(&["alice"]).await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    let cut = reelay_embedded_aws::Fault::connection_closed().after_effect();
    spoil_updates(&scene, 2..=2, cut);
    let user = scene.zoom_user(ADA);
    let token = scene.grants().access_token(&user).await.unwrap();
    let live = scene.system.zoom().live_grant(ADA).unwrap().access_token;
    assert!(token.token.expose_secret() == live);
    assert_eq!(scene.refreshes(), 1);
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn a_pair_that_can_not_be_saved_is_reported_and_nobody_refreshes_meanwhile() {
    let scene = Scene::linked(&["alice"]).await;
    let user = scene.zoom_user(ADA);
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    let down = reelay_embedded_aws::Fault::error(500, "InternalServerError");
    spoil_updates(&scene, 2..=usize::MAX, down);
    scene.grants().access_token(&user).await.unwrap_err();
    scene.system.stack.engines().faults().clear_all();
    scene.assert_status("alice", &["active"]).await;

    // Whoever held the lease is gone with it; it runs out.
    scene.system.stack.advance(SignedDuration::from_secs(31));
    let error = scene.grants().access_token(&user).await.unwrap_err();
    assert!(
        matches!(error, GrantError::ReauthorizationRequired),
        "{error}"
    );
    assert_eq!(scene.refreshes(), 2);
    scene.system.work().await;
    scene
        .assert_told("alice", [("activated", 1), ("reauthorization_required", 1)])
        .await;
}

/// Spoils these calls of UpdateItem: the first takes a lease, the second saves a pair.
fn spoil_updates(
    scene: &Scene,
    which: std::ops::RangeInclusive<usize>,
    fault: reelay_embedded_aws::Fault,
) {
    let count = AtomicUsize::new(0);
    scene
        .system
        .stack
        .engines()
        .faults()
        .decide_with(move |service, operation| {
            let update = service == Service::DynamoDb && operation == "UpdateItem";
            let nth = if update {
                count.fetch_add(1, Ordering::SeqCst) + 1
            } else {
                0
            };
            which.contains(&nth).then(|| fault.clone())
        });
}
