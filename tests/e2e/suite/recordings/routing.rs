//! Whose recordings go to whom.

use std::collections::BTreeSet;

use reelay_zoom_sim::NewRecording;
use support::people::{ADA, BEN};
use support::{System, store, zoom};

use super::{assert_bucket_holds, counts, kinds, linked, recording_id, stored, three, told, view};

#[tokio::test]
async fn two_colleagues_of_one_account_each_get_exactly_their_own() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system.link("bob", BEN).await;
    let adas = zoom::complete(&system, NewRecording::of(ADA).with_files(three())).await;
    let bens = zoom::complete(&system, NewRecording::of(BEN).with_files(three())).await;
    assert_eq!(adas.account_id, bens.account_id);
    system.work().await;
    assert_bucket_holds(&system, &[&adas, &bens]).await;
    for (app_user, own, other) in [("alice", &adas, &bens), ("bob", &bens, &adas)] {
        let listed = system.app.recordings(app_user).await;
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0]["id"], recording_id(own));
        let path = format!("/v1/recordings/{}", recording_id(other));
        assert_eq!(
            system.app.get(&path, app_user).await.code(),
            "recording_not_found"
        );
        let told = told(&system, app_user);
        assert_eq!(told.len(), 5);
        assert!(
            told.iter()
                .all(|(.., data)| data["recording"]["id"] == recording_id(own))
        );
    }
}

#[tokio::test]
async fn a_colleague_who_never_linked_is_acknowledged_and_nothing_of_theirs_is_kept() {
    let system = linked().await;
    let recording = stored(&system, NewRecording::of(BEN).with_files(three())).await;
    let created = system.zoom().add_transcript(&recording.key, None).unwrap();
    zoom::arrived(&system, &created).await;
    system.work().await;
    assert!(
        store::items(&system.stack, &system.stack.config().tables.recordings)
            .await
            .is_empty()
    );
    assert!(store::objects(&system.stack, "").await.is_empty());
    assert_eq!(store::dead(&system.stack).await, Vec::<String>::new());
    assert!(told(&system, "alice").is_empty());
    assert!(
        system
            .zoom()
            .requests()
            .iter()
            .all(|request| !request.path.starts_with("/rec/"))
    );
}

#[tokio::test]
async fn a_link_that_the_app_did_not_confirm_receives_nothing() {
    let system = System::start().await;
    system.consent(&mut system.browser(), "alice", ADA).await;
    stored(&system, NewRecording::of(ADA).with_files(three())).await;
    assert!(
        store::items(&system.stack, &system.stack.config().tables.recordings)
            .await
            .is_empty()
    );
    assert!(store::objects(&system.stack, "").await.is_empty());
    assert!(system.stack.demo_app().unwrap().received().is_empty());
}

#[tokio::test]
async fn two_app_users_of_one_zoom_user_are_both_told_of_one_object() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system.link("alicia", ADA).await;
    let recording = stored(&system, NewRecording::of(ADA).with_files(three())).await;
    assert_bucket_holds(&system, &[&recording]).await;
    let (one, two) = (told(&system, "alice"), told(&system, "alicia"));
    let ids: BTreeSet<_> = one.iter().chain(&two).map(|(_, id, _)| id).collect();
    assert_eq!((one.len(), two.len(), ids.len()), (5, 5, 10));
    for app_user in ["alice", "alicia"] {
        assert_eq!(
            view(&system, app_user, &recording).await["status"],
            "stored"
        );
        assert_eq!(
            kinds(&system, app_user),
            counts([("detected", 1), ("file_stored", 3), ("stored", 1)])
        );
    }
}
