//! Filters, and downloads on demand.

use jiff::SignedDuration;
use reelay_domain::observation::{ObservationSource, ObservedAt};
use reelay_domain::webhook::meeting;
use reelay_store::recordings::{ObserveOutcome, RecordingTable};
use reelay_zoom_sim::NewRecording;
use serde_json::json;
use support::System;
use support::recordings::{object_key, recording_path};
use support::zoom_users::ADA;

use super::odd_events::completed;
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

/// The operator has changed `DownloadMode` since.
#[tokio::test]
async fn recording_of_on_demand_mode_is_requested_by_an_automatic_event() {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    let recording = system.record(of_ada(three())).await;
    // After that long no file has a check of its own.
    let hour = SignedDuration::from_hours(1);
    system.maintain_for(hour * 26, hour).await;
    let table =
        RecordingTable::new(system.stack.function_environment("event-processor").unwrap()).unwrap();
    let event = completed(&system, &recording);
    let now = system.app.now();
    let time = ObservedAt { at: now, is_own: true, source: ObservationSource::Event };
    let observation = meeting::parse_event(&event, time).unwrap().observation;
    let observed = table.observe(&observation, true, now).await.unwrap();
    assert!(matches!(observed, ObserveOutcome::Known { after, .. } if after.requested));
    system.maintain_after(SignedDuration::from_mins(5)).await;
    system.assert_stored(&recording, "").await;
}

#[tokio::test]
async fn unwanted_recording_types_are_skipped() {
    let system = System::with(&[("RecordingTypes", "audio_only")]).await;
    system.link("alice", ADA).await;
    let recording = system.record(of_ada(three())).await;
    let seen = system.view("alice", &recording).await;
    for file in seen["files"].as_array().unwrap() {
        let is_wanted = file["recording_type"].is_null() || file["recording_type"] == "audio_only";
        let reason = if is_wanted { json!(null) } else { json!("recording_type_not_wanted") };
        assert_eq!(file["reason"], reason, "{file}");
    }
    let skipped = |file: &&serde_json::Value| file["status"] == "skipped";
    assert!(seen["files"].as_array().unwrap().iter().any(|file| skipped(&file)));
}

#[tokio::test]
async fn single_files_are_downloaded_on_request() {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    let recording = system.record(of_ada(three())).await;
    let path = format!("{}/download", recording_path(&recording));
    let request =
        async |body: serde_json::Value| system.app.post(&path, "alice", body.to_string()).await;
    for body in [
        json!({"files": []}),
        json!({"files": ["unknown"]}),
        json!({"files": ["a/b"]}),
        json!({"files": null, "file": "x"}),
        json!([]),
    ] {
        request(body.clone()).await.assert_problem(400, "request_invalid", &body.to_string());
    }
    let wanted = system.view("alice", &recording).await["files"][1]["id"].clone();
    assert_eq!(request(json!({"files": [wanted]})).await.status, 202);
    system.process_queues().await;
    let seen = system.view("alice", &recording).await;
    for file in seen["files"].as_array().unwrap() {
        let expected = if file["id"] == wanted { "stored" } else { "queued" };
        assert_eq!(file["status"], expected, "{file}");
    }

    // Maintenance repeats a lost message of such a file.
    let other = seen["files"][0]["id"].clone();
    assert_eq!(request(json!({"files": [other]})).await.status, 202);
    system.purge_queue(&system.queues().downloads).await;
    system.maintain_after(SignedDuration::from_hours(1)).await;
    let seen = system.view("alice", &recording).await;
    assert_eq!(seen["files"][0]["status"], "stored");
    assert_eq!(request(json!({})).await.status, 202);
    system.process_queues().await;
    system.assert_stored(&recording, "all").await;
}
