//! Link notifications are published even if a later step fails.

use reelay_embedded_aws::Service;
use support::zoom_users::ADA;

use super::{ACCESS_TOKEN_ENDS, Scene};

/// Makes every send to the notifications queue fail.
fn fail_notifications(scene: &Scene) {
    let fault = reelay_embedded_aws::Fault::error(500, "InternalError");
    let faults = scene.faults();
    faults.fail_until_cleared(Service::Sqs, "SendMessageBatch", fault);
}

fn restore_notifications(scene: &Scene) {
    scene.faults().clear_all();
}

#[tokio::test]
async fn link_removed_survives_killed_disconnect() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    let id = scene.link_id("alice").await;
    fail_notifications(&scene);
    assert_eq!(scene.disconnect("alice", &id).await.status, 503);
    scene.assert_status("alice", &[]).await;
    restore_notifications(&scene);
    assert_eq!(scene.disconnect("alice", &id).await.status, 204);
    // The job that was enqueued ahead of the disconnect.
    scene.run_job("revoke_grant").await;
    scene.assert_notified("alice", [("activated", 1), ("removed", 1)]).await;
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn disconnect_survives_any_aws_failure() {
    let error = || reelay_embedded_aws::Fault::error(500, "InternalServerError");
    let cut = reelay_embedded_aws::Fault::connection_closed;
    for (service, operation) in [
        (Service::DynamoDb, "Query"),
        (Service::Sqs, "SendMessage"),
        (Service::DynamoDb, "TransactWriteItems"),
        (Service::Sqs, "SendMessageBatch"),
        (Service::DynamoDb, "DeleteItem"),
    ] {
        for fault in [error(), cut(), error().after_effect(), cut().after_effect()] {
            let case = format!("{operation} {fault:?}");
            let scene = Scene::linked(&["alice"]).await;
            let id = scene.link_id("alice").await;
            let faults = scene.faults();
            faults.fail_until_cleared(service, operation, fault);
            let failed = scene.disconnect("alice", &id).await;
            assert_eq!(failed.status, 503, "{case}: {failed:?}");
            faults.clear_all();
            assert_eq!(scene.disconnect("alice", &id).await.status, 204, "{case}");
            scene.assert_status("alice", &[]).await;
            // The job that was enqueued ahead is delivered after a minute.
            scene.run_job("revoke_grant").await;
            scene.assert_gone(ADA).await;
            scene.assert_notified("alice", [("activated", 1), ("removed", 1)]).await;
        }
    }
}

#[tokio::test]
async fn link_removed_survives_killed_deauthorization() {
    let scene = Scene::linked(&["alice"]).await;
    fail_notifications(&scene);
    scene.remove_silently(ADA).await;
    scene
        .grants()
        .verify_deauthorization(&scene.zoom_user(ADA), Default::default())
        .await
        .unwrap_err();
    restore_notifications(&scene);
    // SQS retries the job until it succeeds.
    for _ in 0..2 {
        scene.run_job("verify_deauthorization").await;
    }
    scene.assert_gone(ADA).await;
    assert_eq!(scene.removals("alice").await, 1);
}

#[tokio::test]
async fn link_removed_survives_failed_last_step() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.assert_refresh_finds_revocation().await;
    fail_notifications(&scene);
    scene
        .grants()
        .verify_deauthorization(&scene.zoom_user(ADA), Default::default())
        .await
        .unwrap_err();
    scene.assert_status("alice", &[]).await;
    restore_notifications(&scene);
    scene.run_job("verify_deauthorization").await;
    assert_eq!(scene.removals("alice").await, 1);
    scene.assert_gone(ADA).await;
}

#[tokio::test]
async fn reauthorization_notification_survives_kill() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    scene.advance(ACCESS_TOKEN_ENDS);
    fail_notifications(&scene);
    scene.grants().access_token(&scene.zoom_user(ADA)).await.unwrap_err();
    scene.assert_status("alice", &["reauthorization_required"]).await;
    restore_notifications(&scene);
    scene.run_job("maintain_grant").await;
    scene.assert_notified("alice", [("activated", 1), ("reauthorization_required", 1)]).await;
}
