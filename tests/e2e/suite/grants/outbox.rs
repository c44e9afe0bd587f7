//! The app is told what became of its links, whatever fails between the change and the telling.

use reelay_embedded_aws::Service;
use reelay_grants::GrantError;
use serde_json::json;
use support::people::ADA;

use super::{ACCESS_TOKEN_ENDS, Scene, backfill};

/// Nothing can be put into the notifications queue.
fn mute(scene: &Scene) {
    let fault = reelay_embedded_aws::Fault::error(500, "InternalError");
    let faults = scene.system.stack.engines().faults();
    faults.fail_until_cleared(Service::Sqs, "SendMessageBatch", fault);
}

fn unmute(scene: &Scene) {
    scene.system.stack.engines().faults().clear_all();
}

#[tokio::test]
async fn a_removed_link_is_told_although_the_call_that_gave_it_up_died_before() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    mute(&scene);
    assert_eq!(scene.disconnect("alice", &id).await.status, 503);
    scene.assert_status("alice", &[]).await;
    unmute(&scene);
    assert_eq!(scene.disconnect("alice", &id).await.status, 204);
    // The order that was sent ahead, for this very case.
    let user = scene.zoom_user(ADA);
    scene
        .order(json!({"v": 1, "job": "revoke_grant", "zoom_user": user}))
        .await;
    scene.settle().await;
    scene
        .assert_told("alice", [("activated", 1), ("removed", 1)])
        .await;
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn whichever_aws_call_of_giving_up_a_link_is_spoiled_it_ends_all_the_same() {
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
            let id = scene.system.app.links("alice").await[0]["id"].clone();
            let faults = scene.system.stack.engines().faults();
            faults.fail_until_cleared(service, operation, fault);
            let spoiled = scene.disconnect("alice", &id).await;
            assert_eq!(spoiled.status, 503, "{case}: {spoiled:?}");
            faults.clear_all();
            assert_eq!(scene.disconnect("alice", &id).await.status, 204, "{case}");
            scene.assert_status("alice", &[]).await;
            // The order that is sent ahead waits for a minute; this is it.
            let user = scene.zoom_user(ADA);
            scene
                .order(json!({"v": 1, "job": "revoke_grant", "zoom_user": user}))
                .await;
            scene.settle().await;
            scene.assert_gone(ADA).await;
            scene
                .assert_told("alice", [("activated", 1), ("removed", 1)])
                .await;
        }
    }
}

#[tokio::test]
async fn a_deauthorization_is_told_although_whoever_found_it_died_before() {
    let scene = Scene::linked(&["alice"]).await;
    mute(&scene);
    scene.remove_silently(ADA).await;
    let user = scene.zoom_user(ADA);
    scene
        .grants()
        .verify_deauthorization(&user)
        .await
        .unwrap_err();
    unmute(&scene);
    // SQS delivers the order again until it is carried out.
    for _ in 0..2 {
        scene
            .order(json!({"v": 1, "job": "verify_deauthorization", "zoom_user": user}))
            .await;
        scene.settle().await;
    }
    scene.assert_gone(ADA).await;
    assert_eq!(scene.removals("alice").await, 1);
}

#[tokio::test]
async fn a_deauthorization_is_told_although_the_last_step_failed() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    let user = scene.zoom_user(ADA);
    let error = scene.grants().access_token(&user).await.unwrap_err();
    assert!(
        matches!(error, GrantError::ReauthorizationRequired),
        "{error}"
    );
    mute(&scene);
    scene
        .grants()
        .verify_deauthorization(&user)
        .await
        .unwrap_err();
    scene.assert_status("alice", &[]).await;
    unmute(&scene);
    scene
        .order(json!({"v": 1, "job": "verify_deauthorization", "zoom_user": user}))
        .await;
    scene.settle().await;
    assert_eq!(scene.removals("alice").await, 1);
    scene.assert_gone(ADA).await;
}

#[tokio::test]
async fn a_dead_grant_is_told_although_whoever_found_it_died_before() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    mute(&scene);
    scene
        .grants()
        .access_token(&scene.zoom_user(ADA))
        .await
        .unwrap_err();
    scene
        .assert_status("alice", &["reauthorization_required"])
        .await;
    unmute(&scene);
    backfill(&scene, "alice", 1).await;
    scene.settle().await;
    scene
        .assert_told("alice", [("activated", 1), ("reauthorization_required", 1)])
        .await;
}
