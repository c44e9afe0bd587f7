//! What nobody uses and what no order came for: the clock sees to it.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use reelay_domain::link::LinkStatus;
use reelay_grants::GrantError;
use reelay_zoom_sim::{Fault, GrantEndReason, NewFault, Point};
use serde_json::json;
use support::people::{ADA, CEM};
use support::store;

use super::{ACCESS_TOKEN_ENDS, Scene};

const DAY: SignedDuration = SignedDuration::from_hours(24);

impl Scene {
    /// The hour strikes.
    async fn sweep(&self) {
        self.system.stack.fire_schedules().await.unwrap();
        self.settle().await;
    }

    /// Takes all orders that wait out of their queue, as a queue's end or an operator's mistake would.
    async fn lose_jobs(&self) {
        let queue = &self.system.stack.config().queues.jobs;
        let purge = self.system.stack.sdk().sqs().purge_queue();
        purge.queue_url(queue).send().await.unwrap();
        assert_eq!(store::depth(&self.system.stack, queue).await, 0);
    }

    async fn receipts(&self) -> Vec<BTreeMap<String, String>> {
        let table = &self.system.stack.config().tables.links;
        let scan = self.system.stack.sdk().dynamodb().scan().table_name(table);
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

#[tokio::test]
async fn a_grant_that_nobody_uses_is_refreshed_before_its_ninety_days_are_over() {
    let scene = Scene::linked(&["alice"]).await;
    for (days, refreshes) in [(55, 0), (10, 1), (20, 1), (45, 2)] {
        scene.system.stack.advance(DAY * days);
        scene.sweep().await;
        assert_eq!(scene.refreshes(), refreshes, "after {days} more days");
    }
    scene.assert_served(ADA).await;

    // 130 days after the consent it is as good as on the first.
    let token = scene.grants().access_token(&scene.zoom_user(ADA)).await;
    scene
        .grants()
        .zoom()
        .get_current_user(&token.unwrap().token)
        .await
        .unwrap();
    scene.assert_told("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn a_grant_that_is_in_use_costs_the_clock_nothing_but_a_look() {
    let scene = Scene::linked(&["alice"]).await;
    let user = scene.zoom_user(ADA);
    for _ in 0..3 {
        scene.system.stack.advance(DAY * 25);
        scene.grants().access_token(&user).await.unwrap();
    }
    assert_eq!(scene.refreshes(), 3);
    scene.system.zoom().clear_requests();
    for _ in 0..3 {
        scene.sweep().await;
    }
    // Once on its day; then it has another.
    assert_eq!(scene.requests("/v2/users/me"), 1);
    assert_eq!(scene.refreshes(), 0);
}

#[tokio::test]
async fn an_idle_grant_that_zoom_has_ended_is_reported_by_the_clock() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    scene.system.stack.advance(DAY * 65);
    scene.sweep().await;
    scene
        .assert_status("alice", &["reauthorization_required"])
        .await;
    scene.sweep().await;
    scene
        .assert_told("alice", [("activated", 1), ("reauthorization_required", 1)])
        .await;
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn a_look_at_a_grant_that_ended_before_its_access_token_did_reports_it_at_once() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    let user = scene.zoom_user(ADA);
    scene
        .order(json!({"v": 1, "job": "maintain_grant", "zoom_user": user}))
        .await;
    scene.settle().await;
    scene
        .assert_status("alice", &["reauthorization_required"])
        .await;
    scene
        .assert_told("alice", [("activated", 1), ("reauthorization_required", 1)])
        .await;
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn a_look_at_a_grant_whose_access_token_alone_is_refused_keeps_it() {
    let scene = Scene::linked(&["alice"]).await;
    scene.arm(NewFault::times(
        Point::UsersMe,
        Fault::Status { status: 401 },
        1,
    ));
    let user = scene.zoom_user(ADA);
    scene
        .order(json!({"v": 1, "job": "maintain_grant", "zoom_user": user}))
        .await;
    scene.settle().await;
    assert_eq!(scene.refreshes(), 1);
    scene.assert_served(ADA).await;
    scene.assert_told("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn a_grant_whose_last_order_was_lost_is_revoked_by_the_clock() {
    let scene = Scene::linked(&["alice"]).await;
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    scene.disconnect("alice", &id).await;
    scene.lose_jobs().await;
    scene.sweep().await;
    scene.assert_gone(ADA).await;
    assert_eq!(
        scene.system.zoom().grants()[0].end_reason,
        Some(GrantEndReason::Revoked)
    );
}

#[tokio::test]
async fn an_interrupted_consent_whose_order_was_lost_is_finished_by_the_clock() {
    let scene = Scene::linked(&["alice"]).await;
    scene.interrupted("bob").await;
    scene.lose_jobs().await;

    // Not while the order that was sent ahead may still come.
    scene.sweep().await;
    assert_eq!(scene.exchanges().await.len(), 1 + 1);
    scene.system.stack.advance(SignedDuration::from_mins(25));
    scene.sweep().await;
    scene.assert_served(ADA).await;
    scene.assert_told("alice", [("activated", 1)]).await;
    scene.assert_told("bob", []).await;
}

#[tokio::test]
async fn a_link_that_nobody_confirmed_and_whose_order_was_lost_is_dropped_by_the_clock() {
    let scene = Scene::open().await;
    let mut browser = scene.system.browser();
    scene.system.consent(&mut browser, "alice", ADA).await;
    scene.lose_jobs().await;
    scene.sweep().await;
    let links = scene.holding(ADA).await.links;
    assert_eq!(
        links[0].status,
        LinkStatus::Pending,
        "it may be confirmed still"
    );
    scene.system.stack.advance(SignedDuration::from_hours(2));
    scene.sweep().await;
    scene.assert_gone(ADA).await;
}

#[tokio::test]
async fn what_was_not_told_is_told_by_the_clock() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    let faults = scene.system.stack.engines().faults().clone();
    let unavailable = reelay_embedded_aws::Fault::error(503, "ServiceUnavailable");
    faults.fail_until_cleared(
        reelay_embedded_aws::Service::Sqs,
        "SendMessageBatch",
        unavailable,
    );
    let refused = scene.grants().access_token(&scene.zoom_user(ADA)).await;
    assert!(matches!(refused, Err(GrantError::Aws(_))), "{refused:?}");
    faults.clear_all();
    scene.assert_told("alice", [("activated", 1)]).await;
    scene.sweep().await;
    scene
        .assert_told("alice", [("activated", 1), ("reauthorization_required", 1)])
        .await;
    assert!(scene.holding(ADA).await.outbox.is_empty());
}

#[tokio::test]
async fn the_clock_finds_nothing_to_do_where_nothing_is_due() {
    let scene = Scene::linked(&["alice"]).await;
    scene.system.zoom().clear_requests();
    scene.sweep().await;
    assert_eq!(scene.system.zoom().requests().len(), 0);
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn an_outage_of_zoom_at_the_wrong_hour_is_made_up_for_by_the_next() {
    let scene = Scene::linked(&["alice"]).await;
    scene.system.stack.advance(DAY * 61);
    let outage = scene
        .system
        .zoom()
        .arm(NewFault::always(
            Point::TokenRefresh,
            Fault::Status { status: 503 },
        ))
        .unwrap();
    scene.sweep().await;
    assert_eq!(scene.dead_jobs().await.len(), 1, "a person sees it");
    scene.system.zoom().clear_faults(Some(outage));
    scene.sweep().await;
    scene.assert_served(ADA).await;
    scene.assert_told("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn each_erasure_leaves_a_receipt_that_names_nobody() {
    let scene = Scene::linked(&["alice"]).await;
    scene.system.link("bob", CEM).await;
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    scene.disconnect("alice", &id).await;
    scene.settle().await;
    let delivery = scene.system.zoom().deauthorize(CEM).unwrap();
    scene.delivered(delivery).await;
    scene.settle().await;
    scene.assert_gone(CEM).await;

    let receipts = scene.receipts().await;
    let mut reasons: Vec<_> = receipts
        .iter()
        .map(|receipt| {
            (
                receipt["reason"].as_str(),
                receipt["tokens"].as_str(),
                receipt["links"].as_str(),
            )
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
