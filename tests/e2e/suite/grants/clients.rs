//! Another Zoom client is configured: a mistake, or another app.

use jiff::SignedDuration;
use reelay_grants::GrantError;
use support::zoom_users::ADA;

use super::{ACCESS_TOKEN_ENDS, Scene};

const DAY: SignedDuration = SignedDuration::from_hours(24);

impl Scene {
    /// Refreshes Ada's token with a new instance.
    async fn assert_client_replaced(&self) {
        let rejected = self.grants().access_token(&self.zoom_user(ADA)).await;
        assert!(matches!(rejected, Err(GrantError::ClientReplaced)), "{rejected:?}");
        self.assert_status("alice", &["active"]).await;
    }

    async fn restore_client(&self) {
        let secrets = self.config().secrets.clone();
        self.set_client(&secrets.zoom_client_id, &secrets.zoom_client_secret).await;
    }
}

#[tokio::test]
async fn previous_credentials_serve_grants_of_their_client() {
    let scene = Scene::linked(&["alice"]).await;
    scene.set_client("AnotherClient", "another-secret").await;
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.grants().access_token(&scene.zoom_user(ADA)).await.unwrap();
    scene.assert_served(ADA).await;
    // Its last link is deleted: the grant is revoked with them as well.
    scene.disconnect_first("alice").await;
    scene.settle().await;
    scene.assert_gone(ADA).await;
}

#[tokio::test]
async fn replaced_client_marks_after_a_day_and_revives() {
    let scene = Scene::linked(&["alice"]).await;
    scene.set_client("AnotherClient", "another-secret").await;
    scene.set_client("AThirdClient", "third-secret").await;
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.assert_client_replaced().await;
    scene.advance(SignedDuration::from_hours(23));
    scene.assert_client_replaced().await;
    // The check is due although nothing uses the grant.
    scene.advance(SignedDuration::from_hours(2));
    scene.run_maintenance().await;
    scene.assert_status("alice", &["reauthorization_required"]).await;
    assert_eq!(scene.refreshes(), 0, "the token was sent for another client");

    scene.run_maintenance().await;
    scene.assert_status("alice", &["reauthorization_required"]).await;
    scene.restore_client().await;
    scene.advance(SignedDuration::from_mins(6));
    scene.run_maintenance().await;
    scene.assert_status("alice", &["active"]).await;
    scene.assert_served(ADA).await;
    scene.assert_notified("alice", [("activated", 2), ("reauthorization_required", 1)]).await;
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn unrevived_grant_is_forgotten_after_a_week() {
    let scene = Scene::linked(&["alice"]).await;
    scene.set_client("AnotherClient", "another-secret").await;
    scene.set_client("AThirdClient", "third-secret").await;
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.assert_client_replaced().await;
    scene.advance(DAY);
    scene.run_maintenance().await;
    scene.advance(DAY * 7);
    scene.restore_client().await;
    scene.run_maintenance().await;
    scene.assert_status("alice", &["reauthorization_required"]).await;
    assert_eq!(scene.snapshot(ADA).await.grant.unwrap().next_check_day, None);
    assert_eq!(scene.refreshes(), 0);
}
