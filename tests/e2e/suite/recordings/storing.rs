//! Keys, bytes, checksums, metadata and manifest.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use reelay_zoom_sim::{Fault, NewFile, NewRecording, Point, Recording, Selection};
use serde_json::json;
use support::recordings::{bytes, crc, folder, object_key, recording_id};
use support::{MIB, System};

use super::{counts, file, linked, notified, of_ada, three};

#[tokio::test]
async fn stored_bytes_match_and_app_sees_them() {
    let system = linked().await;
    let recording = system.record(of_ada(three())).await;
    system.assert_bucket_holds(&[&recording]).await;

    let seen = system.view("alice", &recording).await;
    let total: u64 = recording.files.iter().map(|file| file.size).sum();
    assert_eq!(seen["id"], recording_id(&recording));
    assert_eq!(seen["meeting_id"], recording.meeting_id.to_string());
    assert_eq!((&seen["status"], &seen["bytes_stored"]), (&json!("stored"), &json!(total)));
    let files = seen["files"].as_array().unwrap();
    assert_eq!(files.len(), 3);
    for file in &recording.files {
        let seen = files.iter().find(|seen| seen["id"] == file.id).unwrap();
        assert_eq!((&seen["size"], &seen["bytes_stored"]), (&json!(file.size), &json!(file.size)));
        assert_eq!((&seen["status"], &seen["crc64nvme"]), (&json!("stored"), &json!(crc(file))));
        assert_eq!(
            (&seen["bucket"], &seen["key"]),
            (&json!(system.config().bucket), &json!(object_key(&recording, file)))
        );
        // The presigned URL alone suffices.
        let response = reqwest::get(seen["url"].as_str().unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.bytes().await.unwrap(), bytes(file));
    }
}

#[tokio::test]
async fn objects_carry_metadata_safe_type_and_checksum() {
    let system = linked().await;
    let new = vec![
        file("MP4", 9 * MIB),
        file("TIMELINE", 93),
        NewFile { file_extension: Some("HTML".into()), ..file("ODD", 50) },
    ];
    let recording = system.record(of_ada(new)).await;
    for (file, content_type) in
        recording.files.iter().zip(["video/mp4", "application/json", "application/octet-stream"])
    {
        let (metadata, found_type, found_crc) =
            system.head_object(&object_key(&recording, file)).await;
        assert_eq!(found_type, content_type);
        assert_eq!(found_crc, crc(file), "{}", file.file_type);
        let mut expected =
            counts([]).into_keys().map(|key| (key, String::new())).collect::<BTreeMap<_, _>>();
        expected.insert("zoom-meeting-uuid".into(), recording.uuid.clone());
        expected.insert("zoom-file-id".into(), file.id.clone());
        expected.insert("zoom-file-size".into(), file.size.to_string());
        expected
            .extend(file.recording_type.clone().map(|kind| ("zoom-recording-type".into(), kind)));
        assert_eq!(metadata, expected);
    }
}

/// The manifest shows what the app sees.
async fn assert_manifest_is_current(system: &System, recording: &Recording) {
    let manifest = system.manifest(recording).await;
    assert_eq!(manifest["version"], 1);
    let mut seen = system.view("alice", recording).await;
    for file in seen["files"].as_array_mut().unwrap() {
        let is_stored = file["status"] == "stored";
        let fields = file.as_object_mut().unwrap();
        fields.remove("url");
        fields.remove("url_expires_at");
        // Every file begins with its type's signature.
        fields.insert("type_recognised".into(), is_stored.then_some(true).into());
    }
    for of_the_reader in ["link_ids", "updated_at"] {
        seen.as_object_mut().unwrap().remove(of_the_reader);
    }
    assert_eq!(manifest["recording"], seen);
}

#[tokio::test]
async fn manifest_is_always_current() {
    let system = linked().await;
    let recording = system.record(of_ada(three())).await;
    assert_manifest_is_current(&system, &recording).await;
    let add_transcript = async || {
        let created = system.zoom().add_transcript(&recording.key, None).unwrap();
        system.await_deliveries(&created).await;
        system.process_queues().await;
    };
    add_transcript().await;
    let recording = system.latest(&recording);
    assert_eq!(system.objects(&folder(&recording)).await.len(), recording.files.len() + 1);
    assert_manifest_is_current(&system, &recording).await;

    system.zoom().advance(1);
    let all = Selection::default();
    let renamed = system.zoom().rename(&recording.key, "New", &all).unwrap();
    system.await_deliveries(&renamed).await;
    system.process_queues().await;
    assert_eq!(system.manifest(&recording).await["recording"]["topic"], "New");
    assert_manifest_is_current(&system, &recording).await;
}

#[tokio::test]
async fn manifest_shows_files_that_wait_or_failed() {
    for (status, expected) in [(503, "queued"), (410, "failed")] {
        let system = linked().await;
        let recording = system.record(of_ada(three())).await;
        system.fail(Point::Download, Fault::Status { status });
        let created = system.zoom().add_transcript(&recording.key, None).unwrap();
        system.await_deliveries(&created).await;
        system.process_queues().await;
        let files = &system.manifest(&recording).await["recording"]["files"];
        let files = files.as_array().unwrap();
        assert!(files.iter().any(|file| file["status"] == expected), "{files:?}");
        assert_manifest_is_current(&system, &recording).await;
        // After the second failed attempt, too.
        system.maintain_after(SignedDuration::from_mins(31)).await;
        assert_manifest_is_current(&system, &recording).await;
    }
}

#[tokio::test]
async fn meeting_uuid_with_slashes_is_one_folder() {
    let system = linked().await;
    for uuid in ["/ajXp112QmuoKj4854875==", "a//b+/c+Kj4854875abc==", "+//", "..", "%2F%2e%2e"] {
        let new = NewRecording { uuid: Some(uuid.into()), ..of_ada(vec![file("MP4", 300)]) };
        let recording = system.record(new).await;
        assert_eq!(folder(&recording).split('/').count(), 8);
        let found = system.objects(&folder(&recording)).await;
        assert_eq!(
            found[&object_key(&recording, &recording.files[0])],
            bytes(&recording.files[0]),
            "{uuid}"
        );
        assert_eq!(system.view("alice", &recording).await["meeting_uuid"], uuid);
    }
}

#[tokio::test]
async fn hostile_topic_is_passed_through_unchanged() {
    let system = linked().await;
    for topic in [
        "été — 会議 🎥",
        "<script>alert(1)</script>",
        "../../etc/passwd\u{0000}\r\nX-Header: 1",
        "\u{202e}\"}'; DROP TABLE",
        "",
    ] {
        let new = NewRecording { topic: Some(topic.into()), ..of_ada(vec![file("MP4", 300)]) };
        let recording = system.record(new).await;
        assert_eq!(system.view("alice", &recording).await["topic"], topic);
        let notified = notified(&system, "alice");
        let notified = notified
            .iter()
            .filter(|(.., data)| data["recording"]["id"] == recording_id(&recording));
        assert_eq!(notified.filter(|(.., data)| data["recording"]["topic"] == topic).count(), 3);
        let found = system.stored_files().await;
        assert_eq!(found[&object_key(&recording, &recording.files[0])], bytes(&recording.files[0]));
    }
}
