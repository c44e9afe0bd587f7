//! Marked grants are revived, unless a consent, disconnect or deauthorization came since.

use reelay_grants::{GrantError, RevivalOutcome};
use reelay_zoom_sim::{NewRecording, Point, Selection};
use serde_json::Value;
use support::zoom_users::ADA;

use super::marking_revoked::invalid_grant;
use super::{ACCESS_TOKEN_ENDS, Scene, small};

impl Scene {
    /// Alice and Bob are linked, and Zoom rejects their valid token by mistake.
    async fn marked() -> Self {
        let scene = Self::linked(&["alice", "bob"]).await;
        scene.advance(ACCESS_TOKEN_ENDS);
        scene.fail_next(Point::TokenRefresh, invalid_grant(), 1);
        scene.assert_refresh_finds_revocation().await;
        scene.settle().await;
        scene.assert_status("alice", &["reauthorization_required"]).await;
        scene
    }

    async fn revive(&self) -> Result<RevivalOutcome, GrantError> {
        self.grants().revive(&self.zoom_user(ADA)).await
    }

    async fn assert_not_revivable(&self) {
        let outcome = self.revive().await.unwrap();
        assert_eq!(outcome, RevivalOutcome::NotMarked);
        let items = self.table_items(&self.tables().links).await;
        let kept = items.iter().filter(|item| item.contains("marked_at")).count();
        assert_eq!(kept, 0, "the pair was kept");
    }
}

#[tokio::test]
async fn revival_restores_grant_and_its_links() {
    let scene = Scene::marked().await;
    let outcome = scene.revive().await.unwrap();
    assert!(matches!(outcome, RevivalOutcome::Revived { links: 2, .. }), "{outcome:?}");
    scene.settle().await;
    scene.assert_served(ADA).await;
    for user in ["alice", "bob"] {
        scene.assert_status(user, &["active"]).await;
        scene.assert_notified(user, [("activated", 2), ("reauthorization_required", 1)]).await;
    }
    scene.assert_not_revivable().await;
    // The pair has a week, whether it is used or not.
    scene.fail_next(Point::TokenRefresh, invalid_grant(), 1);
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.assert_refresh_finds_revocation().await;
    scene.advance(jiff::SignedDuration::from_hours(7 * 24));
    assert_eq!(scene.revive().await.unwrap(), RevivalOutcome::NotMarked);
}

#[tokio::test]
async fn revival_of_ended_grant_is_rejected() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.assert_refresh_finds_revocation().await;
    assert_eq!(scene.revive().await.unwrap(), RevivalOutcome::Rejected);
    scene.assert_status("alice", &["reauthorization_required"]).await;
}

#[tokio::test]
async fn consent_disconnect_or_deauthorization_erases_the_marked_pair() {
    let scene = Scene::marked().await;
    scene.consent(&mut scene.browser(), "carol", ADA).await;
    scene.assert_not_revivable().await;
    scene.assert_status("alice", &["reauthorization_required"]).await;

    let scene = Scene::marked().await;
    scene.disconnect_first("bob").await;
    scene.assert_not_revivable().await;
    scene.assert_status("alice", &["reauthorization_required"]).await;

    let scene = Scene::marked().await;
    let id = scene.zoom().deauthorize(ADA).unwrap();
    scene.delivered(id).await;
    scene.assert_not_revivable().await;
    scene.assert_gone(ADA).await;
}

#[tokio::test]
async fn unsaved_revival_is_adopted_from_other_table() {
    let scene = Scene::marked().await;
    let down = reelay_embedded_aws::Fault::error(500, "InternalServerError");
    let dynamodb = reelay_embedded_aws::Service::DynamoDb;
    scene.faults().fail_until_cleared(dynamodb, "TransactWriteItems", down);
    scene.revive().await.unwrap_err();
    scene.faults().clear_all();
    scene.advance(jiff::SignedDuration::from_secs(31));
    let outcome = scene.revive().await.unwrap();
    assert!(matches!(outcome, RevivalOutcome::Revived { links: 2, .. }), "{outcome:?}");
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn cut_off_link_receives_nothing_new() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    let earlier = scene.complete_recording(small(ADA)).await;
    scene.settle().await;
    scene.remove_silently(ADA).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.assert_refresh_finds_revocation().await;
    // Ada connects again, for Alice alone.
    scene.link("alice", ADA).await;
    let new = NewRecording { start_time: Some(scene.app.now()), ..small(ADA) };
    let later = scene.complete_recording(new).await;
    scene.settle().await;
    scene.assert_status("bob", &["reauthorization_required"]).await;
    let notified = scene.peek_messages(&scene.bus).await;
    let of_later = |user: &str| {
        let (user, uuid) = (format!("\"{user}\""), later.uuid.as_str());
        notified.iter().filter(|event| event.contains(uuid) && event.contains(&user)).count()
    };
    assert!(of_later("alice") > 0);
    assert_eq!(of_later("bob"), 0);
    // Bob still reads the earlier recordings.
    let seen = scene.app.recordings("bob").await;
    assert_eq!((seen.len(), scene.app.recordings("alice").await.len()), (1, 2));
    assert_ne!(seen[0]["meeting_uuid"], later.uuid.as_str());
    let of_alice = &scene.app.recordings("alice").await[0];
    let path = format!("/v1/recordings/{}", of_alice["id"].as_str().unwrap());
    assert_eq!(scene.app.get(&path, "bob").await.status, 404);
    // A late file of an earlier recording is new too.
    scene.add_transcript(&earlier).await;
    for (user, files) in [("alice", 2), ("bob", 1)] {
        let seen = scene.view(user, &earlier).await;
        assert_eq!(seen["files"].as_array().unwrap().len(), files, "{user}: {seen}");
    }
    // So are a new name and what a reconciliation counts.
    scene.advance(jiff::SignedDuration::from_mins(1));
    let renamed = scene.zoom().rename(&earlier.key, "Renamed", &Selection::default()).unwrap();
    scene.await_deliveries(&renamed).await;
    scene.settle().await;
    assert_eq!(scene.view("alice", &earlier).await["topic"], "Renamed");
    assert_eq!(scene.view("bob", &earlier).await["topic"], Value::Null);
    scene.maintain_after(jiff::SignedDuration::from_hours(25)).await;
    scene.finish_runs().await;
    for (user, is_compared) in [("alice", true), ("bob", false)] {
        let link = &scene.app.links(user).await[0];
        let path = format!("/v1/links/{}/reconciliation", link["id"].as_str().unwrap());
        let report = scene.app.get(&path, user).await.json();
        for time in [&report["reconciled_at"], &report["next_at"], &link["last_reconciled_at"]] {
            assert_eq!(time.is_string(), is_compared, "{user}: {report}");
        }
    }
    // This changes once the app confirms Bob's own claim.
    scene.link("bob", ADA).await;
    scene.assert_status("bob", &["active"]).await;
    scene.assert_notified("bob", [("activated", 2), ("reauthorization_required", 1)]).await;
}

#[tokio::test]
async fn unconfirmed_consent_of_ended_grant_is_revoked() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.assert_refresh_finds_revocation().await;
    let before = scene.exchanges().await;
    scene.consent(&mut scene.browser(), "alice", ADA).await;
    scene.assert_served(ADA).await;
    scene.advance(jiff::SignedDuration::from_secs(601));
    scene.finish(&(&scene.exchanges().await - &before)).await;
    assert!(scene.zoom().live_grant(ADA).is_none(), "unused grant not revoked");
    assert_eq!(scene.snapshot(ADA).await.grant.unwrap().tokens, None);
    // Zoom's event about this revocation concerns no link.
    scene.assert_status("alice", &["reauthorization_required"]).await;
    scene.link("alice", ADA).await;
    scene.assert_status("alice", &["active"]).await;
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn invalidated_claim_revokes_unused_grant() {
    let scene = Scene::open().await;
    let claim = scene.consent(&mut scene.browser(), "alice", ADA).await;
    assert_eq!(scene.app.confirm("mallory", &claim).await.status, 403);
    scene.settle().await;
    scene.assert_gone(ADA).await;
    scene.assert_notified("alice", []).await;
}
