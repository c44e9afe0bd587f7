//! Token refresh: concurrent, interrupted, overtaken.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use jiff::SignedDuration;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::GrantStatus;
use reelay_embedded_aws::Service;
use reelay_grants::{GrantError, Grants};
use reelay_runtime::environment::Clock;
use reelay_zoom_sim::{Fault, NewFile, NewRecording, Point};
use secrecy::ExposeSecret as _;
use serde_json::json;
use support::zoom_users::ADA;
use tokio::sync::Notify;

use super::marking_revoked::invalid_grant;
use super::{ACCESS_TOKEN_ENDS, Scene, backfill, unannounced};

#[tokio::test]
async fn every_use_of_expired_token_refreshes_once() {
    let scene = Scene::linked(&["alice"]).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    let missed = unannounced(&scene, SignedDuration::from_hours(1));
    backfill(&scene, "alice", 1).await;
    assert_eq!(scene.app.recordings("alice").await[0]["meeting_uuid"], missed.uuid);
    assert_eq!(scene.refreshes(), 1);
    scene.assert_served(ADA).await;

    // Concurrent downloads whose event token is rejected.
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.zoom().change_settings(|config| config.download_token_seconds = -1);
    let files = ["MP4", "M4A", "CHAT", "TIMELINE"].map(|kind| NewFile::new(kind, 100));
    let new = NewRecording::of(ADA).with_files(files.into());
    scene.complete_recording(new).await;
    scene.process_queues().await;
    let recordings = scene.app.recordings("alice").await;
    assert!(recordings.iter().all(|recording| recording["status"] == "stored"), "{recordings:?}");
    assert_eq!(scene.refreshes(), 2);
    scene.assert_served(ADA).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_refreshes_call_zoom_once() {
    let scene = Scene::linked(&["alice"]).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    let user = scene.zoom_user(ADA);
    let instances: Vec<_> = (0..8).map(|_| Arc::new(scene.grants())).collect();
    let uses: Vec<_> = (0..200)
        .map(|n| {
            let (grants, user) = (Arc::clone(&instances[n % instances.len()]), user.clone());
            tokio::spawn(async move { grants.access_token(&user).await })
        })
        .collect();
    let live = async || scene.zoom().live_grant(ADA).unwrap().access_token;
    let mut tokens = Vec::new();
    for one in uses {
        tokens.push(one.await.unwrap().unwrap());
    }
    let live = live().await;
    assert!(tokens.iter().all(|token| token.token.expose_secret() == live));
    assert_eq!(scene.refreshes(), 1);
    instances[0].zoom().get_current_user(&tokens[0].token).await.unwrap();

    // The same holds if Zoom rejects a token that has not expired.
    let uses: Vec<_> = (0..200)
        .map(|n| {
            let (grants, user) = (Arc::clone(&instances[n % instances.len()]), user.clone());
            let rejected = tokens[n].clone();
            tokio::spawn(async move { grants.replace_token(&user, &rejected).await })
        })
        .collect();
    for one in uses {
        let token = one.await.unwrap().unwrap();
        assert_ne!(token.token.expose_secret(), live);
    }
    assert_eq!(scene.refreshes(), 2);
    scene.assert_served(ADA).await;
    scene.assert_notified("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn revoked_grant_is_notified_once_until_relinked() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    scene.remove_silently(ADA).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    backfill(&scene, "alice", 1).await;
    for _ in 0..2 {
        scene.assert_refresh_finds_revocation().await;
        scene.settle().await;
    }
    assert_eq!(scene.refreshes(), 1, "the revoked grant was refreshed again");
    for user in ["alice", "bob"] {
        scene.assert_status(user, &["reauthorization_required"]).await;
        scene.assert_notified(user, [("activated", 1), ("reauthorization_required", 1)]).await;
    }
    let dead = scene.snapshot(ADA).await.grant.unwrap();
    assert_eq!(
        (dead.status, dead.tokens),
        (GrantStatus::ReauthorizationRequired, None),
        "tokens were kept"
    );

    let claim = scene.consent(&mut scene.browser(), "alice", ADA).await;
    scene.process_queues().await;
    for user in ["alice", "bob"] {
        scene.assert_status(user, &["reauthorization_required"]).await;
    }
    assert_eq!(scene.app.confirm("alice", &claim).await.json()["status"], "active");
    scene.process_queues().await;
    scene.assert_notified("alice", [("activated", 2), ("reauthorization_required", 1)]).await;
    scene.assert_served(ADA).await;
    // Bob has not confirmed anything.
    scene.assert_status("bob", &["reauthorization_required"]).await;
    scene.assert_notified("bob", [("activated", 1), ("reauthorization_required", 1)]).await;
}

#[tokio::test]
async fn pending_link_on_revoked_grant_is_notified_at_confirmation() {
    let scene = Scene::linked(&["alice"]).await;
    let claim = scene.consent(&mut scene.browser(), "bob", ADA).await;
    scene.remove_silently(ADA).await;
    let user = scene.zoom_user(ADA);
    let grants = scene.grants();
    let token = grants.access_token(&user).await.unwrap();
    let error = grants.replace_token(&user, &token).await.unwrap_err();
    assert!(matches!(error, GrantError::ReauthorizationRequired), "{error}");
    scene.process_queues().await;
    scene.assert_notified("bob", []).await;
    let confirmed = scene.app.confirm("bob", &claim).await;
    assert_eq!(
        (confirmed.status, &confirmed.json()["status"]),
        (200, &json!("reauthorization_required"))
    );
    scene.process_queues().await;
    scene.assert_notified("bob", [("reauthorization_required", 1)]).await;
}

#[tokio::test]
async fn client_secret_error_and_outage_keep_grants() {
    let scene = Scene::linked(&["alice"]).await;
    let (link, user) = (scene.app.links("alice").await, scene.zoom_user(ADA));
    scene.advance(ACCESS_TOKEN_ENDS);

    scene.set_client_secret("wrong").await;
    let error = scene.grants().access_token(&user).await.unwrap_err();
    assert!(matches!(error, GrantError::InvalidClient), "{error}");
    let right = scene.config().secrets.zoom_client_secret.clone();
    scene.set_client_secret(&right).await;

    for fault in [
        Fault::Status { status: 500 },
        Fault::Status { status: 503 },
        Fault::Status { status: 404 },
        Fault::RateLimited { retry_after_seconds: None },
        Fault::Html,
        Fault::Close,
    ] {
        scene.fail_next(Point::TokenRefresh, fault.clone(), 1);
        let error = scene.grants().access_token(&user).await.unwrap_err();
        let for_good = matches!(error, GrantError::ReauthorizationRequired | GrantError::NotFound);
        assert!(!for_good, "{fault:?}: {error}");
        assert_eq!(scene.app.links("alice").await, link, "{fault:?}");
    }
    scene.grants().access_token(&user).await.unwrap();
    scene.assert_served(ADA).await;
    scene.process_queues().await;
    scene.assert_notified("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn lost_refresh_response_is_reported_at_next_use() {
    let scene = Scene::linked(&["alice"]).await;
    let user = scene.zoom_user(ADA);
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.fail_next(Point::TokenRefresh, Fault::LoseResponse, 1);
    let error = scene.grants().access_token(&user).await.unwrap_err();
    assert!(matches!(error, GrantError::Transient(_)), "{error}");
    scene.assert_status("alice", &["active"]).await;
    scene.assert_refresh_finds_revocation().await;
    assert_eq!(scene.refreshes(), 2);
    scene.process_queues().await;
    scene.assert_status("alice", &["reauthorization_required"]).await;
    scene.assert_notified("alice", [("activated", 1), ("reauthorization_required", 1)]).await;
    scene.link("alice", ADA).await;
    scene.assert_served(ADA).await;
}

/// A DynamoDB call that waits until the test releases it.
pub(super) struct HeldCall {
    pub(super) reached: Arc<Notify>,
    pub(super) go: mpsc::Sender<()>,
}

/// Holds DynamoDB calls, each the n-th of its operation from now on.
pub(super) fn hold_calls<const N: usize>(
    scene: &Scene,
    calls: [(&'static str, usize); N],
) -> [HeldCall; N] {
    let mut held = Vec::new();
    let mut watched = Vec::new();
    for (operation, nth) in calls {
        let (go, wait) = mpsc::channel::<()>();
        let reached = Arc::new(Notify::new());
        watched.push((operation, nth, AtomicUsize::new(0), Arc::clone(&reached), Mutex::new(wait)));
        held.push(HeldCall { reached, go });
    }
    scene.faults().decide_with(move |service, operation| {
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
async fn overtaken_refresh_adopts_consents_tokens() {
    let scene = Scene::linked(&["alice"]).await;
    let (grants, user) = (scene.grants(), scene.zoom_user(ADA));
    scene.advance(ACCESS_TOKEN_ENDS);
    // The first UpdateItem acquires the lease, the second saves the tokens.
    let [save] = hold_calls(&scene, [("UpdateItem", 2)]);
    let refresh = tokio::spawn(async move { grants.access_token(&user).await });
    save.reached.notified().await;
    scene.consent(&mut scene.browser(), "bob", ADA).await;
    save.go.send(()).unwrap();
    let token = refresh.await.unwrap().unwrap();
    scene.assert_served(ADA).await;
    let live = scene.zoom().live_grant(ADA).unwrap().access_token;
    assert!(token.token.expose_secret() == live, "the token is not live");
    assert_eq!(scene.refreshes(), 1);
    scene.assert_status("alice", &["active"]).await;
    scene.process_queues().await;
    scene.assert_notified("alice", [("activated", 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refresh_during_consent_does_not_overwrite_it() {
    let scene = Scene::linked(&["alice"]).await;
    let user = scene.zoom_user(ADA);
    scene.advance(ACCESS_TOKEN_ENDS);
    // The refreshing instance's clock is two seconds ahead.
    let environment = scene.stack.function_environment("reconciler").unwrap();
    let mut ahead = environment.clone();
    ahead.clock = Clock::default();
    ahead.clock.advance(ACCESS_TOKEN_ENDS + SignedDuration::from_secs(2));
    let grants = Grants::new(&ahead).unwrap();
    // The first PutItem opens the session, the second begins the exchange, the third saves the tokens.
    let [save, store] = hold_calls(&scene, [("UpdateItem", 2), ("PutItem", 3)]);

    let refresh = tokio::spawn(async move { grants.access_token(&user).await });
    save.reached.notified().await;
    let mut browser = scene.browser();
    let callback = scene.callback(&mut browser, "bob", ADA).await;
    let consent = tokio::spawn(async move { browser.visit(&callback).await });
    store.reached.notified().await;
    save.go.send(()).unwrap();
    let _ = refresh.await.unwrap();
    store.go.send(()).unwrap();
    consent.await.unwrap().claim();
    scene.assert_served(ADA).await;
    scene.assert_status("alice", &["active"]).await;
}

#[tokio::test]
async fn tokens_saved_despite_lost_response_are_used() {
    let scene = Scene::linked(&["alice"]).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    let cut = reelay_embedded_aws::Fault::connection_closed().after_effect();
    fail_updates(&scene, 2..=2, cut);
    let user = scene.zoom_user(ADA);
    let token = scene.grants().access_token(&user).await.unwrap();
    let live = scene.zoom().live_grant(ADA).unwrap().access_token;
    assert!(token.token.expose_secret() == live);
    assert_eq!(scene.refreshes(), 1);
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn throttled_save_is_retried() {
    let scene = Scene::linked(&["alice"]).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    // More than the SDK's own three attempts.
    let throttled =
        reelay_embedded_aws::Fault::error(400, "ProvisionedThroughputExceededException");
    fail_updates(&scene, 2..=4, throttled);
    scene.grants().access_token(&scene.zoom_user(ADA)).await.unwrap();
    scene.assert_served(ADA).await;
    assert_eq!(scene.refreshes(), 1);
}

#[tokio::test]
async fn transaction_conflict_is_retried() {
    let scene = Scene::linked(&["alice"]).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    let conflict = reelay_embedded_aws::Fault::error(400, "TransactionConflictException");
    // The acquisition of the lease, and the save.
    for nth in [1, 2] {
        scene.advance(ACCESS_TOKEN_ENDS);
        fail_updates(&scene, nth..=nth, conflict.clone());
        scene.faults().reset_calls();
        scene.grants().access_token(&scene.zoom_user(ADA)).await.unwrap();
        assert_eq!(scene.faults().calls(Service::DynamoDb, "UpdateItem"), 3, "{nth}");
        scene.assert_served(ADA).await;
    }
}

#[tokio::test]
async fn kms_outage_consumes_no_refresh_token() {
    let scene = Scene::linked(&["alice"]).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    let down = reelay_embedded_aws::Fault::error(500, "KMSInternalException");
    scene.faults().fail_until_cleared(Service::Kms, "GenerateDataKey", down);
    let error = scene.grants().access_token(&scene.zoom_user(ADA)).await.unwrap_err();
    assert!(matches!(error, GrantError::Vault(_)), "{error}");
    assert_eq!(scene.refreshes(), 0);
    scene.faults().clear_all();
    scene.grants().access_token(&scene.zoom_user(ADA)).await.unwrap();
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn refresh_token_is_not_sent_just_before_the_lease_ends() {
    let scene = Scene::linked(&["alice"]).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.delay_kms(SignedDuration::from_secs(19));
    let error = scene.grants().access_token(&scene.zoom_user(ADA)).await.unwrap_err();
    assert!(matches!(error, GrantError::Busy), "{error}");
    assert_eq!(scene.refreshes(), 0);
    scene.faults().clear_all();
    scene.grants().access_token(&scene.zoom_user(ADA)).await.unwrap();
    scene.assert_served(ADA).await;
}

/// Links Alice to Ada, whose refreshed pair the grant's table did not take. The lease of the failed instance has expired.
async fn with_unsaved_pair() -> (Scene, ZoomUser) {
    let scene = Scene::linked(&["alice"]).await;
    let user = scene.zoom_user(ADA);
    scene.advance(ACCESS_TOKEN_ENDS);
    let down = reelay_embedded_aws::Fault::error(500, "InternalServerError");
    fail_updates(&scene, 2..=usize::MAX, down);
    scene.grants().access_token(&user).await.unwrap_err();
    scene.faults().clear_all();
    scene.advance(SignedDuration::from_secs(31));
    (scene, user)
}

#[tokio::test]
async fn unsaved_pair_is_adopted_from_other_table() {
    let (scene, user) = with_unsaved_pair().await;
    scene.grants().access_token(&user).await.unwrap();
    assert_eq!(scene.refreshes(), 2);
    scene.assert_served(ADA).await;
    scene.assert_status("alice", &["active"]).await;
    let sessions = scene.table_items(&scene.tables().sessions).await;
    assert!(!sessions.iter().any(|item| item.contains("\"spare#")), "{sessions:?}");
    scene.process_queues().await;
    scene.assert_notified("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn unsaved_pair_does_not_replace_a_later_consents() {
    let (scene, user) = with_unsaved_pair().await;
    scene.link("alice", ADA).await;

    let grants = scene.grants();
    let token = grants.access_token(&user).await.unwrap();
    scene.fail(Point::TokenRefresh, invalid_grant());
    let replaced = grants.replace_token(&user, &token).await;
    assert!(matches!(replaced, Err(GrantError::ReauthorizationRequired)), "{replaced:?}");
}

#[tokio::test]
async fn pair_that_no_table_takes_is_reported_without_second_refresh() {
    let scene = Scene::linked(&["alice"]).await;
    let user = scene.zoom_user(ADA);
    scene.advance(ACCESS_TOKEN_ENDS);
    let (saves, clock) = (AtomicUsize::new(0), scene.stack.clock().clone());
    scene.faults().decide_with(move |service, operation| {
        let is_write =
            service == Service::DynamoDb && matches!(operation, "UpdateItem" | "PutItem");
        // The first write acquires the lease, which expires during the retries of the others.
        if !is_write || saves.fetch_add(1, Ordering::SeqCst) == 0 {
            return None;
        }
        clock.advance(SignedDuration::from_secs(4));
        Some(reelay_embedded_aws::Fault::error(500, "InternalServerError"))
    });
    scene.grants().access_token(&user).await.unwrap_err();
    scene.faults().clear_all();
    scene.assert_status("alice", &["active"]).await;

    // The lease of the failed instance expires.
    scene.advance(SignedDuration::from_secs(31));
    scene.assert_refresh_finds_revocation().await;
    assert_eq!(scene.refreshes(), 2);
    scene.process_queues().await;
    scene.assert_notified("alice", [("activated", 1), ("reauthorization_required", 1)]).await;
}

#[tokio::test]
async fn kms_calls_name_no_zoom_user() {
    let scene = Scene::open().await;
    let calls: Arc<Mutex<Vec<String>>> = Arc::default();
    let recorded = Arc::clone(&calls);
    scene.faults().observe_with(move |call| {
        if call.service == Service::Kms {
            recorded.lock().unwrap().push(String::from_utf8_lossy(call.request).into_owned());
        }
    });
    scene.link("alice", ADA).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    let user = scene.zoom_user(ADA);
    scene.grants().access_token(&user).await.unwrap();
    // CloudTrail logs these requests.
    let calls = calls.lock().unwrap();
    assert!(
        calls.len() >= 4 && calls.iter().all(|call| call.contains("oauth-tokens")),
        "{calls:?}"
    );
    for id in ["alice", ADA, user.account_id.as_str()] {
        assert!(!calls.iter().any(|call| call.contains(id)), "{id}: {calls:?}");
    }
}

/// Fails these UpdateItem calls: the first acquires the lease, the second saves the tokens.
fn fail_updates(
    scene: &Scene,
    which: std::ops::RangeInclusive<usize>,
    fault: reelay_embedded_aws::Fault,
) {
    let count = AtomicUsize::new(0);
    scene.faults().decide_with(move |service, operation| {
        let update = service == Service::DynamoDb && operation == "UpdateItem";
        let nth = if update { count.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
        which.contains(&nth).then(|| fault.clone())
    });
}
