//! Maintenance of idle grants and of work whose job was lost.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use reelay_domain::link::LinkStatus;
use reelay_grants::GrantError;
use reelay_zoom_sim::{ErrorForm, Fault, GrantEndReason, NewFault, Point};
use serde_json::json;
use support::zoom_users::{ADA, CEM};

use super::{ACCESS_TOKEN_ENDS, Scene};

const DAY: SignedDuration = SignedDuration::from_hours(24);

impl Scene {
    /// Runs the schedules.
    pub(super) async fn run_maintenance(&self) {
        self.system.stack.fire_schedules().await.unwrap();
        self.settle().await;
    }

    /// Purges the jobs queue.
    async fn purge_jobs(&self) {
        let queue = &self.system.queues().jobs;
        let purge = self.system.sdk().sqs().purge_queue();
        purge.queue_url(queue).send().await.unwrap();
        assert_eq!(self.system.queue_depth(queue).await, 0);
    }

    async fn receipts(&self) -> Vec<BTreeMap<String, String>> {
        let table = &self.system.tables().links;
        let scan = self.system.sdk().dynamodb().scan().table_name(table);
        let items = scan.send().await.unwrap().items.unwrap_or_default();
        let receipts = items.into_iter().filter(|item| {
            let key = item["zoom_user"].as_s().unwrap();
            key.starts_with("erasures#")
        });
        receipts
            .map(|item| {
                let plain = |(name, value)| (name, format!("{value:?}"));
                item.into_iter().map(plain).collect()
            })
            .collect()
    }
}

/// Alice linked to Ada without reconciliation, which uses the grant every day.
async fn unreconciled() -> Scene {
    let scene = Scene::with(&[("ReconcileEveryHours", "0")]).await;
    scene.link("alice", ADA).await;
    scene
}

#[tokio::test]
async fn idle_grant_is_refreshed_before_ninety_days() {
    let scene = unreconciled().await;
    for (days, refreshes) in [(55, 0), (10, 1), (20, 1), (45, 2)] {
        scene.advance(DAY * days);
        scene.run_maintenance().await;
        assert_eq!(scene.refreshes(), refreshes, "after {days} more days");
    }
    scene.assert_served(ADA).await;

    // 130 days after the consent the token still works.
    let token = scene.grants().access_token(&scene.zoom_user(ADA)).await;
    scene.grants().zoom().get_current_user(&token.unwrap().token).await.unwrap();
    scene.assert_notified("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn active_grant_costs_maintenance_one_check() {
    let scene = unreconciled().await;
    let user = scene.zoom_user(ADA);
    for _ in 0..3 {
        scene.advance(DAY * 25);
        scene.grants().access_token(&user).await.unwrap();
    }
    assert_eq!(scene.refreshes(), 3);
    scene.zoom().clear_requests();
    for _ in 0..3 {
        scene.run_maintenance().await;
    }
    // One check, which sets the next one.
    assert_eq!(scene.requests("/v2/users/me"), 1);
    assert_eq!(scene.refreshes(), 0);
}

#[tokio::test]
async fn maintenance_reports_idle_revoked_grant() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    scene.advance(DAY * 65);
    scene.run_maintenance().await;
    scene.assert_status("alice", &["reauthorization_required"]).await;
    scene.run_maintenance().await;
    scene.assert_notified("alice", [("activated", 1), ("reauthorization_required", 1)]).await;
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn check_reports_grant_revoked_before_token_expiry() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    scene.run_job("maintain_grant").await;
    scene.assert_status("alice", &["reauthorization_required"]).await;
    scene.assert_notified("alice", [("activated", 1), ("reauthorization_required", 1)]).await;
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn check_keeps_grant_with_rejected_access_token() {
    let scene = Scene::linked(&["alice"]).await;
    scene.fail_next(Point::UsersMe, Fault::Status { status: 401 }, 1);
    scene.run_job("maintain_grant").await;
    assert_eq!(scene.refreshes(), 1);
    scene.assert_served(ADA).await;
    scene.assert_notified("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn maintenance_revokes_grant_after_lost_job() {
    let scene = Scene::linked(&["alice"]).await;
    scene.disconnect_first("alice").await;
    scene.purge_jobs().await;
    scene.run_maintenance().await;
    scene.assert_gone(ADA).await;
    assert_eq!(scene.zoom().grants()[0].end_reason, Some(GrantEndReason::Revoked));
}

#[tokio::test]
async fn maintenance_finishes_consent_after_lost_job() {
    let scene = Scene::linked(&["alice"]).await;
    scene.interrupted("bob").await;
    scene.purge_jobs().await;
    // An exchange that cannot be read stops no other.
    let announced = json!({"zoom_user": {"S": "exchanges##0"}, "entry": {"S": "odd"}});
    let exchange = json!({"id": {"S": "odd"}, "expires_at": {"N": "99999999999"}});
    let engines = scene.stack.engines();
    engines.import_items(&scene.tables().links, vec![announced]).unwrap();
    engines.import_items(&scene.tables().sessions, vec![exchange]).unwrap();

    // The delayed job may still arrive.
    scene.run_maintenance().await;
    assert_eq!(scene.exchanges().await.len(), 1 + 1);
    scene.advance(SignedDuration::from_mins(25));
    scene.run_maintenance().await;
    scene.assert_served(ADA).await;
    scene.assert_notified("alice", [("activated", 1)]).await;
    scene.assert_notified("bob", []).await;
}

#[tokio::test]
async fn maintenance_drops_unconfirmed_link_after_lost_job() {
    let scene = Scene::open().await;
    let mut browser = scene.browser();
    scene.consent(&mut browser, "alice", ADA).await;
    scene.purge_jobs().await;
    scene.run_maintenance().await;
    let links = scene.snapshot(ADA).await.links;
    assert_eq!(links[0].status, LinkStatus::Pending, "still confirmable");
    scene.advance(SignedDuration::from_hours(2));
    scene.run_maintenance().await;
    scene.assert_gone(ADA).await;
}

#[tokio::test]
async fn maintenance_publishes_pending_notifications() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    let faults = scene.faults().clone();
    let unavailable = reelay_embedded_aws::Fault::error(503, "ServiceUnavailable");
    faults.fail_until_cleared(reelay_embedded_aws::Service::Sqs, "SendMessageBatch", unavailable);
    let rejected = scene.grants().access_token(&scene.zoom_user(ADA)).await;
    assert!(matches!(rejected, Err(GrantError::Aws(_))), "{rejected:?}");
    faults.clear_all();
    scene.assert_notified("alice", [("activated", 1)]).await;
    scene.run_maintenance().await;
    scene.assert_notified("alice", [("activated", 1), ("reauthorization_required", 1)]).await;
    assert!(scene.snapshot(ADA).await.outbox.is_empty());
}

#[tokio::test]
async fn maintenance_is_idle_when_nothing_is_due() {
    let scene = Scene::linked(&["alice"]).await;
    scene.zoom().clear_requests();
    scene.run_maintenance().await;
    assert_eq!(scene.zoom().requests().len(), 0);
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn maintenance_recovers_after_zoom_outage() {
    let scene = unreconciled().await;
    scene.advance(DAY * 61);
    let outage = scene
        .zoom()
        .arm(NewFault::always(Point::TokenRefresh, Fault::Status { status: 503 }))
        .unwrap();
    scene.run_maintenance().await;
    assert_eq!(scene.dead_jobs().await.len(), 0, "the next run repeats it");
    scene.zoom().clear_faults(Some(outage));
    scene.run_maintenance().await;
    scene.assert_served(ADA).await;
    scene.assert_notified("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn erasure_receipt_contains_no_ids() {
    let scene = Scene::linked(&["alice"]).await;
    scene.link("bob", CEM).await;
    let id = scene.disconnect_first("alice").await;
    scene.settle().await;
    let delivery = scene.zoom().deauthorize(CEM).unwrap();
    scene.delivered(delivery).await;
    scene.settle().await;
    scene.assert_gone(CEM).await;

    let receipts = scene.receipts().await;
    let mut reasons: Vec<_> = receipts
        .iter()
        .map(|receipt| {
            (receipt["reason"].as_str(), receipt["tokens"].as_str(), receipt["links"].as_str())
        })
        .collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [
            (r#"S("deauthorized")"#, "Bool(true)", r#"N("1")"#),
            (r#"S("disconnected")"#, "Bool(false)", r#"N("1")"#),
            (r#"S("revoked")"#, "Bool(true)", r#"N("0")"#),
        ]
    );
    let text = json!(receipts).to_string();
    let (ada, cem) = (scene.zoom_user(ADA), scene.zoom_user(CEM));
    for private in [
        "alice",
        "bob",
        ADA,
        CEM,
        ada.account_id.as_str(),
        cem.account_id.as_str(),
        id.as_str().unwrap(),
    ] {
        assert!(!text.contains(private), "{private} in {text}");
    }
}

#[tokio::test]
async fn check_of_an_unknown_user_is_no_dead_letter() {
    let scene = Scene::linked(&["alice"]).await;
    let unknown = Fault::ErrorCode { status: 404, code: 1001, form: ErrorForm::Api };
    scene.fail(Point::UsersMe, unknown);
    let waiting = scene.queue_depth(&scene.queues().jobs).await;
    scene.run_job("maintain_grant").await;
    assert_eq!(scene.queue_depth(&scene.queues().jobs).await, waiting);
    assert_eq!(scene.dead_jobs().await, [""; 0]);
    scene.assert_status("alice", &["active"]).await;
}
