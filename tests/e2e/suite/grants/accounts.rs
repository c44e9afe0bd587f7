//! Zoom users who change accounts, and Zoom users whom many share.

use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{GrantStatus, LinkStatus, MAX_LINKS_PER_GRANT};
use reelay_store::links::GrantSnapshot;
use reelay_zoom_sim::{RawEvent, Target};
use support::people::{ADA, BEN};
use support::{store, zoom};

use super::{ACCESS_TOKEN_ENDS, Scene, small};

/// Another company.
const ELSEWHERE: &str = "AcctElsewhere000000001";

impl Scene {
    /// What the table has under a key, whoever Zoom says is there now.
    async fn under(&self, zoom_user: &ZoomUser) -> GrantSnapshot {
        let grants = self.grants();
        grants.links().snapshot(zoom_user).await.unwrap()
    }
}

#[tokio::test]
async fn whoever_changes_accounts_is_followed_with_links_tokens_and_recordings() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    let before = zoom::complete(&scene.system, small(ADA)).await;
    scene.settle().await;
    let link = scene.system.app.links("alice").await[0].clone();
    let old = scene.zoom_user(ADA);

    scene.system.zoom().move_user(ADA, ELSEWHERE).unwrap();
    let after = zoom::complete(&scene.system, small(ADA)).await;
    scene.settle().await;

    // The same link, in the other account.
    let moved = scene.system.app.links("alice").await[0].clone();
    assert_eq!(moved["id"], link["id"]);
    assert_eq!(moved["status"], "active");
    assert_eq!(moved["zoom"]["account_id"], ELSEWHERE);
    assert_eq!(moved["zoom"]["user_id"], ADA);
    assert_eq!(moved["created_at"], link["created_at"]);
    for app_user in ["alice", "bob"] {
        scene.assert_told(app_user, [("activated", 2)]).await;
    }
    scene.assert_served(ADA).await;
    assert_eq!(scene.under(&old).await, GrantSnapshot::default());

    // Recordings of then and now, although the event of now named somebody whom we did not know.
    let list = scene.system.app.recordings("alice").await;
    for recording in [&before, &after] {
        let found = list
            .iter()
            .find(|found| found["meeting_uuid"] == recording.uuid.as_str())
            .unwrap_or_else(|| panic!("{} is missing", recording.uuid));
        assert_eq!(found["status"], "stored");
    }

    // And everything goes on as before: refresh, deauthorization, the end.
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    let user = scene.zoom_user(ADA);
    scene.grants().access_token(&user).await.unwrap();
    let id = scene.system.zoom().deauthorize(ADA).unwrap();
    scene.delivered(id).await;
    scene.settle().await;
    scene.assert_gone(ADA).await;
    scene
        .assert_told("alice", [("activated", 2), ("removed", 1)])
        .await;
}

#[tokio::test]
async fn an_event_that_claims_a_move_moves_nobody() {
    let scene = Scene::linked(&["alice"]).await;
    let link = scene.system.app.links("alice").await;
    let body = zoom::completed(ELSEWHERE, ADA, "synthetic-uuid==", &[]);
    let id = scene.system.zoom().send_raw(RawEvent {
        body: String::from_utf8(body).unwrap(),
        target: Target::Webhook,
        request_id: None,
    });
    scene.delivered(id).await;
    scene.settle().await;
    assert_eq!(scene.system.app.links("alice").await, link);
    scene.assert_served(ADA).await;
    scene.assert_told("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn forty_five_app_users_share_a_zoom_user_and_the_next_is_told_why_not() {
    let scene = Scene::open().await;
    let app_users: Vec<String> = (0..MAX_LINKS_PER_GRANT)
        .map(|n| format!("user{n}"))
        .collect();
    for app_user in &app_users {
        scene.system.link(app_user, ADA).await;
    }
    let mut browser = scene.system.browser();
    let back = scene
        .system
        .callback(&mut browser, "one-too-many", ADA)
        .await;
    let visit = browser.visit(&back).await;
    assert_eq!(visit.zoom_error(), "too_many_links");
    scene.settle().await;
    // The consent was final at Zoom all the same: its tokens serve those who are linked.
    scene.assert_served(ADA).await;
    assert_eq!(scene.holding(ADA).await.links.len(), MAX_LINKS_PER_GRANT);
    // One of them may connect again.
    scene.system.link("user7", ADA).await;

    // Each change of all of them at once is one transaction: to another account, ...
    scene.system.zoom().move_user(ADA, ELSEWHERE).unwrap();
    zoom::complete(&scene.system, small(ADA)).await;
    scene.settle().await;
    let holding = scene.holding(ADA).await;
    assert_eq!(holding.links.len(), MAX_LINKS_PER_GRANT);
    scene.assert_served(ADA).await;

    // ... dead, ...
    scene.remove_silently(ADA).await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    scene
        .grants()
        .access_token(&scene.zoom_user(ADA))
        .await
        .unwrap_err();
    let holding = scene.holding(ADA).await;
    assert_eq!(
        holding.grant.unwrap().status,
        GrantStatus::ReauthorizationRequired
    );
    let waiting =
        |link: &reelay_domain::link::Link| link.status == LinkStatus::ReauthorizationRequired;
    assert!(holding.links.iter().all(waiting));

    // ... alive again, and gone.
    scene.system.link("user7", ADA).await;
    scene.assert_served(ADA).await;
    let id = scene.system.zoom().deauthorize(ADA).unwrap();
    scene.delivered(id).await;
    scene.settle().await;
    scene.assert_gone(ADA).await;
    for app_user in [&app_users[0], &app_users[MAX_LINKS_PER_GRANT - 1]] {
        let told = scene.told(app_user).await;
        assert_eq!(told["link.activated"], 3, "{app_user}");
        assert_eq!(told["link.reauthorization_required"], 1, "{app_user}");
        assert_eq!(told["link.removed"], 1, "{app_user}");
    }
    let dead = store::dead(&scene.system.stack).await;
    assert_eq!(dead, [""; 0]);
}

#[tokio::test]
async fn a_colleague_does_not_come_along() {
    let scene = Scene::linked(&["alice"]).await;
    scene.system.link("bob", BEN).await;
    let bob = scene.system.app.links("bob").await;
    scene.system.zoom().move_user(ADA, ELSEWHERE).unwrap();
    zoom::complete(&scene.system, small(ADA)).await;
    scene.settle().await;
    assert_eq!(scene.system.app.links("bob").await, bob);
    scene.assert_served(BEN).await;
    scene.assert_told("bob", [("activated", 1)]).await;
}
