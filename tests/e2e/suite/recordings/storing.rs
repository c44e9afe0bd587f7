//! Keys, bytes, checksums, metadata and manifest.

use std::collections::BTreeMap;

use reelay_zoom_sim::{NewFile, NewRecording};
use serde_json::{Value, json};
use support::people::ADA;
use support::{store, zoom};

use super::{
    MIB, assert_bucket_holds, bytes, counts, crc, file, folder, key, latest, linked, recording_id,
    stored, three, told, view,
};

#[tokio::test]
async fn every_byte_arrives_under_its_key_and_the_app_sees_it() {
    let system = linked().await;
    let recording = stored(&system, NewRecording::of(ADA).with_files(three())).await;
    assert_bucket_holds(&system, &[&recording]).await;

    let seen = view(&system, "alice", &recording).await;
    let total: u64 = recording.files.iter().map(|file| file.size).sum();
    assert_eq!(seen["id"], recording_id(&recording));
    assert_eq!(
        seen["zoom"],
        json!({"account_id": recording.account_id, "user_id": ADA})
    );
    assert_eq!(seen["meeting_uuid"], recording.uuid);
    assert_eq!(seen["meeting_id"], recording.meeting_id.to_string());
    assert_eq!(seen["topic"], recording.topic);
    assert_eq!(
        seen["start_time"],
        recording
            .start_time
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string()
    );
    assert_eq!(
        (&seen["duration_minutes"], &seen["zoom_state"]),
        (&json!(31), &json!("present"))
    );
    assert_eq!(
        (&seen["status"], &seen["size"], &seen["bytes_stored"]),
        (&json!("stored"), &json!(total), &json!(total))
    );
    assert_eq!(seen["files"].as_array().unwrap().len(), 3);
    for file in &recording.files {
        let seen = seen["files"]
            .as_array()
            .unwrap()
            .iter()
            .find(|seen| seen["id"] == file.id)
            .unwrap();
        assert_eq!(seen["file_type"], file.file_type);
        assert_eq!(seen["recording_type"], json!(file.recording_type));
        assert_eq!(seen["extension"], file.file_extension.to_lowercase());
        assert_eq!(
            (&seen["size"], &seen["bytes_stored"]),
            (&json!(file.size), &json!(file.size))
        );
        assert_eq!(
            (&seen["status"], &seen["crc64nvme"]),
            (&json!("stored"), &json!(crc(file)))
        );
        assert_eq!(
            (&seen["bucket"], &seen["key"]),
            (
                &json!(system.stack.config().bucket),
                &json!(key(&recording, file))
            )
        );
        // Whoever has the address can read the file, and nothing else is needed.
        let answer = reqwest::get(seen["url"].as_str().unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.bytes().await.unwrap(), bytes(file));
    }
}

#[tokio::test]
async fn objects_carry_metadata_a_safe_type_and_the_proven_checksum() {
    let system = linked().await;
    let new = vec![
        file("MP4", 9 * MIB),
        file("TIMELINE", 93),
        NewFile {
            file_extension: Some("HTML".into()),
            ..file("ODD", 50)
        },
    ];
    let recording = stored(&system, NewRecording::of(ADA).with_files(new)).await;
    for (file, content_type) in
        recording
            .files
            .iter()
            .zip(["video/mp4", "application/json", "application/octet-stream"])
    {
        let (metadata, found_type, found_crc) =
            store::head(&system.stack, &key(&recording, file)).await;
        assert_eq!(found_type, content_type);
        assert_eq!(found_crc, crc(file), "{}", file.file_type);
        let mut expected = counts([])
            .into_keys()
            .map(|key| (key, String::new()))
            .collect::<BTreeMap<_, _>>();
        expected.insert("zoom-meeting-uuid".into(), recording.uuid.clone());
        expected.insert("zoom-file-id".into(), file.id.clone());
        expected.insert("zoom-file-size".into(), file.size.to_string());
        expected.extend(
            file.recording_type
                .clone()
                .map(|kind| ("zoom-recording-type".into(), kind)),
        );
        assert_eq!(metadata, expected);
    }
}

#[tokio::test]
async fn the_manifest_says_what_lies_beside_it() {
    let system = linked().await;
    let recording = stored(&system, NewRecording::of(ADA).with_files(three())).await;
    for late in [false, true] {
        if late {
            let created = system.zoom().add_transcript(&recording.key, None).unwrap();
            zoom::arrived(&system, &created).await;
            system.work().await;
        }
        let recording = latest(&system, &recording);
        let objects = store::objects(&system.stack, &folder(&recording)).await;
        assert_eq!(objects.len(), recording.files.len() + 1);
        let manifest: Value =
            serde_json::from_slice(&objects[&format!("{}/manifest.json", folder(&recording))])
                .unwrap();
        assert_eq!(manifest["version"], 1);
        let mut seen = view(&system, "alice", &recording).await;
        for file in seen["files"].as_array_mut().unwrap() {
            let fields = file.as_object_mut().unwrap();
            fields.remove("url");
            fields.remove("url_expires_at");
            let declared = recording
                .files
                .iter()
                .find(|known| fields["id"] == known.id)
                .unwrap()
                .declared_size;
            fields.insert("declared_size".into(), json!(declared));
            // Each begins as its type does.
            fields.insert("type_recognised".into(), json!(true));
        }
        assert_eq!(manifest["recording"], seen);
    }
}

#[tokio::test]
async fn a_meeting_uuid_with_slashes_and_plusses_is_one_folder() {
    let system = linked().await;
    for uuid in [
        "/ajXp112QmuoKj4854875==",
        "a//b+/c+Kj4854875abc==",
        "+//",
        "..",
        "%2F%2e%2e",
    ] {
        let new = NewRecording {
            uuid: Some(uuid.into()),
            ..NewRecording::of(ADA).with_files(vec![file("MP4", 300)])
        };
        let recording = stored(&system, new).await;
        assert_eq!(folder(&recording).split('/').count(), 7);
        let found = store::objects(&system.stack, &folder(&recording)).await;
        assert_eq!(
            found[&key(&recording, &recording.files[0])],
            bytes(&recording.files[0]),
            "{uuid}"
        );
        assert_eq!(
            view(&system, "alice", &recording).await["meeting_uuid"],
            uuid
        );
    }
}

#[tokio::test]
async fn a_hostile_topic_is_shown_and_told_as_it_was_written() {
    let system = linked().await;
    for topic in [
        "été — 会議 🎥",
        "<script>alert(1)</script>",
        "../../etc/passwd\u{0000}\r\nX-Header: 1",
        "\u{202e}\"}'; DROP TABLE",
        "",
    ] {
        let new = NewRecording {
            topic: Some(topic.into()),
            ..NewRecording::of(ADA).with_files(vec![file("MP4", 300)])
        };
        let recording = stored(&system, new).await;
        assert_eq!(view(&system, "alice", &recording).await["topic"], topic);
        let told = told(&system, "alice");
        let told = told
            .iter()
            .filter(|(.., data)| data["recording"]["id"] == recording_id(&recording));
        assert_eq!(
            told.filter(|(.., data)| data["recording"]["topic"] == topic)
                .count(),
            3
        );
        let found = store::files(&system.stack).await;
        assert_eq!(
            found[&key(&recording, &recording.files[0])],
            bytes(&recording.files[0])
        );
    }
}
