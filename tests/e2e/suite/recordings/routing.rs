//! Routing of recordings to app users.

use std::collections::BTreeSet;

use reelay_zoom_sim::NewRecording;
use support::System;
use support::recordings::recording_id;
use support::zoom_users::{ADA, BEN};

use super::{counts, kinds, linked, notified, of_ada, three};

#[tokio::test]
async fn colleagues_get_only_their_own_recordings() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system.link("bob", BEN).await;
    let adas = system.complete_recording(of_ada(three())).await;
    let bens = system.complete_recording(NewRecording::of(BEN).with_files(three())).await;
    assert_eq!(adas.account_id, bens.account_id);
    system.process_queues().await;
    system.assert_bucket_holds(&[&adas, &bens]).await;
    for (app_user, own, other) in [("alice", &adas, &bens), ("bob", &bens, &adas)] {
        let listed = system.app.recordings(app_user).await;
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0]["id"], recording_id(own));
        let path = format!("/v1/recordings/{}", recording_id(other));
        assert_eq!(system.app.get(&path, app_user).await.code(), "recording_not_found");
        let notified = notified(&system, app_user);
        assert_eq!(notified.len(), 5);
        assert!(notified.iter().all(|(.., data)| data["recording"]["id"] == recording_id(own)));
    }
}

#[tokio::test]
async fn unlinked_colleagues_event_is_acknowledged_and_dropped() {
    let system = linked().await;
    let recording = system.record(NewRecording::of(BEN).with_files(three())).await;
    let created = system.zoom().add_transcript(&recording.key, None).unwrap();
    system.await_deliveries(&created).await;
    system.process_queues().await;
    assert!(system.table_items(&system.tables().recordings).await.is_empty());
    assert!(system.objects("").await.is_empty());
    assert_eq!(system.dead_letters().await, [""; 0]);
    assert!(notified(&system, "alice").is_empty());
    assert!(system.zoom().requests().iter().all(|request| !request.path.starts_with("/rec/")));
}

#[tokio::test]
async fn unconfirmed_link_receives_nothing() {
    let system = System::start().await;
    system.consent(&mut system.browser(), "alice", ADA).await;
    system.record(of_ada(three())).await;
    assert!(system.table_items(&system.tables().recordings).await.is_empty());
    assert!(system.objects("").await.is_empty());
    assert!(system.stack.demo_app().unwrap().received().is_empty());
}

#[tokio::test]
async fn two_app_users_share_one_object() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system.link("alicia", ADA).await;
    let recording = system.record(of_ada(three())).await;
    system.assert_bucket_holds(&[&recording]).await;
    let (one, two) = (notified(&system, "alice"), notified(&system, "alicia"));
    let ids: BTreeSet<_> = one.iter().chain(&two).map(|(_, id, _)| id).collect();
    assert_eq!((one.len(), two.len(), ids.len()), (5, 5, 10));
    for app_user in ["alice", "alicia"] {
        assert_eq!(system.view(app_user, &recording).await["status"], "stored");
        assert_eq!(
            kinds(&system, app_user),
            counts([("detected", 1), ("file_stored", 3), ("stored", 1)])
        );
    }
}
