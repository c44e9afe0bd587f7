//! Zoom users who change accounts, and Zoom users with many links.

mod consents;
mod recordings;

use std::sync::atomic::{AtomicUsize, Ordering};

use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{GrantStatus, Link, LinkStatus, MAX_LINKS_PER_GRANT};
use reelay_embedded_aws::Service;
use reelay_grants::MaintenanceOutcome;
use reelay_store::links::{Grant, GrantSnapshot, LinkTable, NewTokens};
use reelay_zoom_sim::{RawEvent, Target};
use reqwest::Method;
use support::app::ApiResponse;
use support::zoom::completed_event;
use support::zoom_users::{ADA, BEN};

use super::{ACCESS_TOKEN_ENDS, Scene, is_empty, small};

/// Another account.
const ELSEWHERE: &str = "AcctElsewhere000000001";

fn elsewhere() -> ZoomUser {
    ZoomUser { account_id: ELSEWHERE.parse().unwrap(), user_id: ADA.parse().unwrap() }
}

fn pair_of(grant: &Grant) -> NewTokens {
    NewTokens {
        tokens: grant.tokens.clone().unwrap(),
        obtained_at: grant.obtained_at,
        exchange: grant.exchange.clone(),
        access_expires_at: grant.access_expires_at,
        scope: grant.scope.clone(),
        client_id: grant.client_id.clone(),
    }
}

impl Scene {
    /// The snapshot of this key.
    async fn under(&self, zoom_user: &ZoomUser) -> GrantSnapshot {
        let grants = self.grants();
        grants.links().snapshot(zoom_user).await.unwrap()
    }
}

#[tokio::test]
async fn account_change_moves_links_tokens_and_recordings() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    let before = scene.complete_recording(small(ADA)).await;
    scene.settle().await;
    let link = scene.app.links("alice").await[0].clone();
    let old = scene.zoom_user(ADA);

    scene.zoom().move_user(ADA, ELSEWHERE).unwrap();
    let after = scene.complete_recording(small(ADA)).await;
    scene.settle().await;

    // The same link, in the other account.
    let moved = scene.app.links("alice").await[0].clone();
    assert_eq!(moved["id"], link["id"]);
    assert_eq!(moved["status"], "active");
    assert_eq!(moved["zoom"]["account_id"], ELSEWHERE);
    assert_eq!(moved["zoom"]["user_id"], ADA);
    assert_eq!(moved["created_at"], link["created_at"]);
    for app_user in ["alice", "bob"] {
        scene.assert_notified(app_user, [("activated", 2)]).await;
    }
    scene.assert_served(ADA).await;
    // The old key names the new one.
    let moved_to = Some(scene.zoom_user(ADA));
    assert_eq!(scene.under(&old).await, GrantSnapshot { moved_to, ..GrantSnapshot::default() });
    let links = LinkTable::new(scene.environment()).unwrap();
    let covering = links.covering_links(&old).await.unwrap();
    assert_eq!(covering.len(), 2, "{covering:?}");

    // Recordings from before and after the move.
    let list = scene.app.recordings("alice").await;
    for recording in [&before, &after] {
        let found = list
            .iter()
            .find(|found| found["meeting_uuid"] == recording.uuid.as_str())
            .unwrap_or_else(|| panic!("{} is missing", recording.uuid));
        assert_eq!(found["status"], "stored");
    }

    // Back in the first account, its key is the current one again.
    scene.zoom().move_user(ADA, old.account_id.as_str()).unwrap();
    scene.complete_recording(small(ADA)).await;
    scene.settle().await;
    assert_eq!(scene.under(&old).await.moved_to, None);
    for key in [&old, &elsewhere()] {
        assert_eq!(links.covering_links(key).await.unwrap().len(), 2, "{key:?}");
    }

    // Refresh, deauthorization and erasure work as before.
    scene.advance(ACCESS_TOKEN_ENDS);
    let user = scene.zoom_user(ADA);
    scene.grants().access_token(&user).await.unwrap();
    let id = scene.zoom().deauthorize(ADA).unwrap();
    scene.delivered(id).await;
    scene.settle().await;
    scene.assert_gone(ADA).await;
    scene.assert_notified("alice", [("activated", 3), ("removed", 1)]).await;
}

#[tokio::test]
async fn event_alone_does_not_move_accounts() {
    let scene = Scene::linked(&["alice"]).await;
    let link = scene.app.links("alice").await;
    let body = completed_event(ELSEWHERE, ADA, "synthetic-uuid==", &[]);
    let id = scene.zoom().send_raw(RawEvent {
        body: String::from_utf8(body).unwrap(),
        target: Target::Webhook,
        request_id: None,
    });
    scene.delivered(id).await;
    scene.settle().await;
    assert_eq!(scene.app.links("alice").await, link);
    scene.assert_served(ADA).await;
    scene.assert_notified("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn forty_sixth_link_is_rejected() {
    let scene = Scene::open().await;
    let app_users: Vec<String> = (0..MAX_LINKS_PER_GRANT).map(|n| format!("user{n}")).collect();
    for app_user in &app_users {
        scene.link(app_user, ADA).await;
    }
    let mut browser = scene.browser();
    let callback = scene.callback(&mut browser, "one-too-many", ADA).await;
    let visit = browser.visit(&callback).await;
    assert_eq!(visit.zoom_error(), "too_many_links");
    scene.settle().await;
    // The consent is final at Zoom: its tokens serve the existing links.
    scene.assert_served(ADA).await;
    assert_eq!(scene.snapshot(ADA).await.links.len(), MAX_LINKS_PER_GRANT);
    // A linked user may connect again.
    scene.link("user7", ADA).await;

    // Each change of all links is one transaction: a move, …
    scene.zoom().move_user(ADA, ELSEWHERE).unwrap();
    scene.complete_recording(small(ADA)).await;
    scene.settle().await;
    let snapshot = scene.snapshot(ADA).await;
    assert_eq!(snapshot.links.len(), MAX_LINKS_PER_GRANT);
    scene.assert_served(ADA).await;

    // … a revocation, …
    scene.remove_silently(ADA).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.grants().access_token(&scene.zoom_user(ADA)).await.unwrap_err();
    let snapshot = scene.snapshot(ADA).await;
    assert_eq!(snapshot.grant.unwrap().status, GrantStatus::ReauthorizationRequired);
    let waiting = |link: &Link| link.status == LinkStatus::ReauthorizationRequired;
    assert!(snapshot.links.iter().all(waiting));

    // … a new consent, after which 44 links are cut off, and a deauthorization.
    scene.link("user7", ADA).await;
    scene.assert_served(ADA).await;
    let active = |link: &&Link| link.status == LinkStatus::Active;
    assert_eq!(scene.snapshot(ADA).await.links.iter().filter(active).count(), 1);
    let id = scene.zoom().deauthorize(ADA).unwrap();
    scene.delivered(id).await;
    scene.settle().await;
    scene.assert_gone(ADA).await;
    for (app_user, activated) in [(&app_users[7], 3), (&app_users[MAX_LINKS_PER_GRANT - 1], 2)] {
        let notified = scene.notified(app_user).await;
        assert_eq!(notified["link.activated"], activated, "{app_user}");
        assert_eq!(notified["link.reauthorization_required"], 1, "{app_user}");
        assert_eq!(notified["link.removed"], 1, "{app_user}");
    }
    let dead = scene.dead_letters().await;
    assert_eq!(dead, [""; 0]);
}

#[tokio::test]
async fn deauthorization_after_account_change_is_matched_by_user_id() {
    let scene = Scene::linked(&["alice"]).await;
    let old = scene.zoom_user(ADA);
    scene.zoom().move_user(ADA, ELSEWHERE).unwrap();
    // Reelay has not seen the user in the other account when the app is removed there.
    let id = scene.zoom().send_deauthorized_event(ADA).unwrap();
    scene.delivered(id).await;
    scene.assert_status("alice", &["active"]).await;
    let id = scene.zoom().deauthorize(ADA).unwrap();
    scene.delivered(id).await;
    scene.settle().await;
    let ended = scene.under(&old).await;
    assert!(is_empty(&ended), "{ended:?}");
    scene.assert_status("alice", &[]).await;
    assert_eq!(scene.removals("alice").await, 1);
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn erasure_of_the_new_account_outlives_a_move_that_fails() {
    let scene = Scene::linked(&["alice"]).await;
    let (old, new, grants) = (scene.zoom_user(ADA), elsewhere(), scene.grants());
    let before = scene.under(&old).await.grant.unwrap();
    let (links, tokens) = (grants.links(), pair_of(&before));
    links.begin_erasure(&new, scene.app.now()).await.unwrap().unwrap();
    scene.fail_transactions_after_next();
    let moves = || links.move_to_account(&old, before.version, &new, &tokens, scene.app.now());
    moves().await.unwrap_err();
    assert!(scene.under(&new).await.erasure.is_some());
    scene.faults().clear_all();
    moves().await.unwrap().unwrap();
    assert_eq!(scene.under(&new).await.erasure, None);
}

#[tokio::test]
async fn account_change_moves_no_colleague() {
    let scene = Scene::linked(&["alice"]).await;
    scene.link("bob", BEN).await;
    let bob = scene.app.links("bob").await;
    scene.zoom().move_user(ADA, ELSEWHERE).unwrap();
    scene.complete_recording(small(ADA)).await;
    scene.settle().await;
    assert_eq!(scene.app.links("bob").await, bob);
    scene.assert_served(BEN).await;
    scene.assert_notified("bob", [("activated", 1)]).await;
}

/// Calls the API for Alice, and maintains the grant of Ada, who has moved to another account, before the `nth` AWS
/// call of the request. `None` if the request makes fewer calls.
async fn during_move(nth: usize, method: Method, path: &str) -> Option<(Scene, ApiResponse, bool)> {
    let scene = Scene::linked(&["alice"]).await;
    let old = scene.zoom_user(ADA);
    scene.zoom().move_user(ADA, ELSEWHERE).unwrap();
    let id = scene.link_id("alice").await;
    let path = path.replace("{id}", id.as_str().unwrap());
    let (reached, mut is_reached) = tokio::sync::mpsc::unbounded_channel();
    let (moved, is_moved) = std::sync::mpsc::channel();
    let (calls, is_moved) = (AtomicUsize::new(0), std::sync::Mutex::new(is_moved));
    scene.faults().decide_with(move |service, _| {
        // Secrets are read once per instance.
        if service != Service::SecretsManager && calls.fetch_add(1, Ordering::SeqCst) + 1 == nth {
            reached.send(()).unwrap();
            is_moved.lock().unwrap().recv().unwrap();
        }
        None
    });
    let app = scene.app.clone();
    let mut request = tokio::spawn(async move { app.call(method, &path, "alice").await });
    tokio::select! {
        _ = &mut request => return None,
        Some(()) = is_reached.recv() => {}
    }
    let outcome = scene.grants().run_maintenance(&old).await;
    moved.send(()).unwrap();
    let response = request.await.unwrap();
    scene.faults().clear_all();
    let has_moved = matches!(outcome, Ok(MaintenanceOutcome::MovedTo(_)));
    Some((scene, response, has_moved))
}

// The move runs while the request is held in another thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn disconnect_during_move_removes_link() {
    let (mut nth, mut moves) = (0, 0);
    let path = "/v1/links/{id}";
    while let Some((scene, response, has_moved)) = during_move(nth + 1, Method::DELETE, path).await
    {
        nth += 1;
        // Later the grant is being revoked.
        moves += usize::from(has_moved);
        assert_eq!(response.status, 204, "call {nth}: {response:?}");
        scene.assert_status("alice", &[]).await;
        scene.settle().await;
        scene.assert_gone(ADA).await;
    }
    assert!(moves >= 3, "{moves} of {nth}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn moving_link_is_listed_at_any_moment() {
    let mut nth = 0;
    while let Some((_scene, response, has_moved)) =
        during_move(nth + 1, Method::GET, "/v1/links").await
    {
        nth += 1;
        assert!(has_moved, "call {nth}");
        let links = response.json()["links"].as_array().unwrap().clone();
        assert_eq!(links.len(), 1, "call {nth}: {links:?}");
    }
    assert!(nth >= 2, "{nth} calls");
}
