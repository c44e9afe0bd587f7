//! Filters, and downloads on demand.

use reelay_zoom_sim::NewRecording;
use serde_json::json;
use support::System;
use support::recordings::object_key;
use support::zoom_users::ADA;

use super::{assert_once, counts, kinds, of_ada, three};

#[tokio::test]
async fn unwanted_file_types_are_skipped() {
    let system = System::with(&[("FileTypes", "mp4, TRANSCRIPT")]).await;
    system.link("alice", ADA).await;
    let recording = system.record(of_ada(three())).await;
    let seen = system.view("alice", &recording).await;
    assert_eq!((&seen["status"], &seen["size"]), (&json!("stored"), &json!(70_000)));
    for file in seen["files"].as_array().unwrap() {
        let expected = if file["file_type"] == "MP4" {
            (json!("stored"), json!(null))
        } else {
            (json!("skipped"), json!("file_type_not_wanted"))
        };
        assert_eq!((file["status"].clone(), file["reason"].clone()), expected);
    }
    assert_eq!(
        system.stored_files().await.into_keys().collect::<Vec<_>>(),
        [object_key(&recording, &recording.files[0])]
    );
    assert_eq!(
        kinds(&system, "alice"),
        counts([("detected", 1), ("file_stored", 1), ("stored", 1)])
    );
}

#[tokio::test]
async fn recordings_below_minimum_minutes_are_skipped() {
    let system = System::with(&[("MinimumMinutes", "5")]).await;
    system.link("alice", ADA).await;
    let lasting = |minutes| NewRecording { duration_minutes: Some(minutes), ..of_ada(three()) };
    let short = system.record(lasting(4)).await;
    let long = system.record(lasting(5)).await;
    system.assert_bucket_holds(&[&long]).await;
    let seen = system.view("alice", &short).await;
    for file in seen["files"].as_array().unwrap() {
        assert_eq!(
            (&file["status"], &file["reason"]),
            (&json!("skipped"), &json!("shorter_than_minimum"))
        );
    }
}

#[tokio::test]
async fn on_demand_recording_waits_for_download_request() {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    let recording = system.record(of_ada(three())).await;
    assert!(system.objects("").await.is_empty());
    assert_eq!(system.view("alice", &recording).await["status"], "detected");
    assert_eq!(kinds(&system, "alice"), counts([("detected", 1)]));
    for _ in 0..2 {
        system.request_download(&recording).await;
    }
    system.process_queues().await;
    assert_once(&system, &recording).await;
    let created = system.zoom().add_transcript(&recording.key, None).unwrap();
    system.await_deliveries(&created).await;
    system.process_queues().await;
    system.assert_bucket_holds(&[&recording]).await;
}
