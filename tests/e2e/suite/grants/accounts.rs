//! Zoom users who change accounts, and Zoom users with many links.

use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{GrantStatus, LinkStatus, MAX_LINKS_PER_GRANT};
use reelay_store::links::GrantSnapshot;
use reelay_zoom_sim::{RawEvent, Target};
use support::zoom::completed_event;
use support::zoom_users::{ADA, BEN};

use super::{ACCESS_TOKEN_ENDS, Scene, small};

/// Another account.
const ELSEWHERE: &str = "AcctElsewhere000000001";

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
    assert_eq!(scene.under(&old).await, GrantSnapshot::default());

    // Recordings from before and after the move.
    let list = scene.app.recordings("alice").await;
    for recording in [&before, &after] {
        let found = list
            .iter()
            .find(|found| found["meeting_uuid"] == recording.uuid.as_str())
            .unwrap_or_else(|| panic!("{} is missing", recording.uuid));
        assert_eq!(found["status"], "stored");
    }

    // Refresh, deauthorization and erasure work as before.
    scene.advance(ACCESS_TOKEN_ENDS);
    let user = scene.zoom_user(ADA);
    scene.grants().access_token(&user).await.unwrap();
    let id = scene.zoom().deauthorize(ADA).unwrap();
    scene.delivered(id).await;
    scene.settle().await;
    scene.assert_gone(ADA).await;
    scene.assert_notified("alice", [("activated", 2), ("removed", 1)]).await;
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
    let waiting =
        |link: &reelay_domain::link::Link| link.status == LinkStatus::ReauthorizationRequired;
    assert!(snapshot.links.iter().all(waiting));

    // … a new consent, and a deauthorization.
    scene.link("user7", ADA).await;
    scene.assert_served(ADA).await;
    let id = scene.zoom().deauthorize(ADA).unwrap();
    scene.delivered(id).await;
    scene.settle().await;
    scene.assert_gone(ADA).await;
    for app_user in [&app_users[0], &app_users[MAX_LINKS_PER_GRANT - 1]] {
        let notified = scene.notified(app_user).await;
        assert_eq!(notified["link.activated"], 3, "{app_user}");
        assert_eq!(notified["link.reauthorization_required"], 1, "{app_user}");
        assert_eq!(notified["link.removed"], 1, "{app_user}");
    }
    let dead = scene.dead_letters().await;
    assert_eq!(dead, [""; 0]);
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
