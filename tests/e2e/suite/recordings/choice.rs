//! What the operator and the app leave out, or ask for.

use reelay_zoom_sim::NewRecording;
use serde_json::json;
use support::people::ADA;
use support::{System, store, zoom};

use super::{assert_bucket_holds, assert_once, counts, download, key, kinds, stored, three, view};

#[tokio::test]
async fn file_types_that_the_operator_does_not_want_are_skipped() {
    let system = System::with(&[("FileTypes", "mp4, TRANSCRIPT")]).await;
    system.link("alice", ADA).await;
    let recording = stored(&system, NewRecording::of(ADA).with_files(three())).await;
    let seen = view(&system, "alice", &recording).await;
    assert_eq!(
        (&seen["status"], &seen["size"]),
        (&json!("stored"), &json!(70_000))
    );
    for file in seen["files"].as_array().unwrap() {
        let expected = if file["file_type"] == "MP4" {
            (json!("stored"), json!(null))
        } else {
            (json!("skipped"), json!("file_type_not_wanted"))
        };
        assert_eq!((file["status"].clone(), file["reason"].clone()), expected);
    }
    assert_eq!(
        store::files(&system.stack)
            .await
            .into_keys()
            .collect::<Vec<_>>(),
        [key(&recording, &recording.files[0])]
    );
    assert_eq!(
        kinds(&system, "alice"),
        counts([("detected", 1), ("file_stored", 1), ("stored", 1)])
    );
}

#[tokio::test]
async fn recordings_shorter_than_the_operators_minimum_are_skipped() {
    let system = System::with(&[("MinimumMinutes", "5")]).await;
    system.link("alice", ADA).await;
    let lasting = |minutes| NewRecording {
        duration_minutes: Some(minutes),
        ..NewRecording::of(ADA).with_files(three())
    };
    let short = stored(&system, lasting(4)).await;
    let long = stored(&system, lasting(5)).await;
    assert_bucket_holds(&system, &[&long]).await;
    let seen = view(&system, "alice", &short).await;
    for file in seen["files"].as_array().unwrap() {
        assert_eq!(
            (&file["status"], &file["reason"]),
            (&json!("skipped"), &json!("shorter_than_minimum"))
        );
    }
}

#[tokio::test]
async fn on_demand_a_recording_waits_until_the_app_asks_and_late_files_follow() {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    let recording = stored(&system, NewRecording::of(ADA).with_files(three())).await;
    assert!(store::objects(&system.stack, "").await.is_empty());
    assert_eq!(
        view(&system, "alice", &recording).await["status"],
        "detected"
    );
    assert_eq!(kinds(&system, "alice"), counts([("detected", 1)]));
    for _ in 0..2 {
        download(&system, &recording).await;
    }
    system.work().await;
    assert_once(&system, &recording).await;
    let created = system.zoom().add_transcript(&recording.key, None).unwrap();
    zoom::arrived(&system, &created).await;
    system.work().await;
    assert_bucket_holds(&system, &[&recording]).await;
}
