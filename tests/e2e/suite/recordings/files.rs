//! Sets of files: late, many, in segments, without ids, of unknown types.

use jiff::SignedDuration;
use reelay_zoom_sim::{NewFile, NewRecording, RawEvent};
use serde_json::json;
use support::recordings::{bytes, folder, object_key};

use super::{counts, file, kinds, linked, notified, of_ada, three};

#[tokio::test]
async fn transcript_may_precede_video() {
    let system = linked().await;
    let new = NewRecording { processing: true, ..of_ada(three()) };
    let recording = system.zoom().create_recording(new).unwrap().recording;
    let created = system.zoom().add_transcript(&recording.key, None).unwrap();
    system.await_deliveries(&created).await;
    system.process_queues().await;
    let transcript = &created.recording.files[3];
    assert_eq!(
        system.stored_files().await.into_keys().collect::<Vec<_>>(),
        [object_key(&recording, transcript)]
    );
    let id = system.zoom().complete(&recording.key).unwrap();
    system.zoom().wait_for_attempts(id, 1).await;
    system.process_queues().await;
    system.assert_bucket_holds(&[&recording]).await;
    for file in system.latest(&recording).all_files() {
        assert_eq!(system.fetch_count(&file.id), 1, "{}", file.file_type);
    }
    assert_eq!(
        kinds(&system, "alice"),
        counts([("detected", 1), ("file_stored", 4), ("stored", 2)])
    );
}

#[tokio::test]
async fn transcript_alone_fetches_the_video() {
    let system = linked().await;
    let new = NewRecording { silent: true, ..of_ada(three()) };
    let recording = system.zoom().create_recording(new).unwrap().recording;
    system.add_transcript(&recording).await;
    system.assert_bucket_holds(&[&recording]).await;
    let details = format!("/v2/meetings/{}", recording.meeting_id);
    assert_eq!(system.requests(&details), 0, "details are read by UUID");
    // A second transcript event finds the video known.
    let requests = system.requests("/v2/meetings/");
    system.add_transcript(&recording).await;
    assert_eq!(system.requests("/v2/meetings/"), requests);
}

#[tokio::test]
async fn late_transcript_of_a_meeting_before_consent_fetches_nothing_else() {
    let system = linked().await;
    for days in [3, 40] {
        let start_time = Some(system.app.now() - SignedDuration::from_hours(24 * days));
        let new = NewRecording { silent: true, start_time, ..of_ada(three()) };
        let recording = system.zoom().create_recording(new).unwrap().recording;
        system.add_transcript(&recording).await;
        let stored = system.objects(&folder(&recording)).await.len();
        assert_eq!(stored, if days == 3 { 5 } else { 2 }, "{days} days");
    }
}

#[tokio::test]
async fn two_segments_keep_all_files() {
    for event_per_segment in [false, true] {
        let system = linked().await;
        let new = NewRecording { segments: 2, event_per_segment, ..of_ada(three()) };
        let recording = system.record(new).await;
        assert_eq!(recording.files.len(), 6);
        system.assert_bucket_holds(&[&recording]).await;
        let seen = system.view("alice", &recording).await;
        assert_eq!(
            (seen["status"].as_str(), seen["files"].as_array().unwrap().len()),
            (Some("stored"), 6)
        );
    }
}

#[tokio::test]
async fn two_hundred_files_are_stored() {
    let system = linked().await;
    let files =
        (0..200).map(|n| file(["MP4", "M4A", "CHAT", "TIMELINE"][n % 4], 100 + n as u64)).collect();
    let recording = system.record(of_ada(files)).await;
    system.assert_bucket_holds(&[&recording]).await;
    assert_eq!(
        kinds(&system, "alice"),
        counts([("detected", 1), ("file_stored", 200), ("stored", 1)])
    );
    // Notifications list at most 100 files.
    let notified = notified(&system, "alice");
    let shown = &notified.last().unwrap().2["recording"];
    let files = shown["files"].as_array().unwrap();
    assert_eq!(files.len(), 100);
    assert!(files.iter().all(|file| file["key"].is_string() && file["attempts"] == 1), "{files:?}");
    assert_eq!((&shown["files_truncated"], &shown["files_total"]), (&json!(true), &json!(200)));
    assert_eq!(system.view("alice", &recording).await["files"].as_array().unwrap().len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_participant_audio_files_are_stored() {
    let system = linked().await;
    let new =
        NewRecording { participant_audio: 300, participant_audio_size: Some(40), ..of_ada(vec![]) };
    let recording = system.record(new).await;
    assert_eq!(recording.participant_audio.len(), 300);
    system.assert_bucket_holds(&[&recording]).await;
    let seen = system.view("alice", &recording).await;
    assert_eq!((&seen["status"], &seen["bytes_stored"]), (&json!("stored"), &json!(12_000)));
    assert!(
        seen["files"]
            .as_array()
            .unwrap()
            .iter()
            .all(|file| file["recording_type"] == "audio_only_each_participant")
    );
    assert_eq!(system.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn file_without_id_gets_derived_id() {
    let system = linked().await;
    let bare = |kind: &str| NewFile { omit: vec!["id".into()], ..file(kind, 500) };
    // Files without ids also lack other fields.
    let ancient = NewFile {
        omit: ["id", "file_size", "recording_type", "status"].map(Into::into).into(),
        ..file("TIMELINE", 300)
    };
    let recording = system.record(of_ada(vec![bare("MP4"), bare("M4A"), ancient])).await;
    let id = |kind: &str, recording_type: &str| {
        let start = recording.files[0].recording_start.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        reelay_domain::ids::FileId::derive(
            &recording.uuid.parse().unwrap(),
            &start,
            kind,
            recording_type,
        )
        .to_string()
    };
    let ids =
        [id("MP4", "shared_screen_with_speaker_view"), id("M4A", "audio_only"), id("TIMELINE", "")];
    assert!(ids.iter().all(|id| id.starts_with("x-") && id.len() == 24));
    let found = system.stored_files().await;
    assert_eq!(found.len(), 3);
    for (id, file) in ids.iter().zip(&recording.files) {
        let key = format!("{}{id}.{}", folder(&recording), file.file_extension.to_lowercase());
        assert_eq!(found[&key], bytes(file), "{}", file.file_type);
    }
    // A repeated event derives the same ids.
    let twin = system.zoom().complete(&recording.key).unwrap();
    system.zoom().wait_for_attempts(twin, 1).await;
    system.process_queues().await;
    assert_eq!(system.stored_files().await, found);
}

#[tokio::test]
async fn files_with_unusable_ids_are_all_stored() {
    let system = linked().await;
    let odd = |id: &str, size| NewFile { id: Some(id.into()), ..file("M4A", size) };
    let recording = system.record(of_ada(vec![odd("../one", 100), odd("../two", 200)])).await;
    let mut sizes: Vec<_> =
        system.stored_files().await.into_values().map(|bytes| bytes.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [100, 200]);
    let keys = system.stored_files().await.into_keys();
    assert!(
        keys.map(|key| key.strip_prefix(&folder(&recording)).unwrap().to_owned())
            .all(|name| name.starts_with("x-"))
    );
}

#[tokio::test]
async fn unknown_file_type_is_stored() {
    let system = linked().await;
    let odd = NewFile { recording_type: Some("hologram(3D)".into()), ..file("HOLOGRAM_X", 777) };
    let recording = system.record(of_ada(vec![odd])).await;
    let seen = system.view("alice", &recording).await;
    assert_eq!(seen["status"], "stored");
    let seen = &seen["files"][0];
    assert_eq!(
        (&seen["file_type"], &seen["recording_type"]),
        (&json!("HOLOGRAM_X"), &json!("hologram(3D)"))
    );
    assert_eq!(
        system.stored_files().await.into_values().collect::<Vec<_>>(),
        [bytes(&recording.files[0])]
    );
}

#[tokio::test]
async fn processing_file_is_fetched_after_completion() {
    let system = linked().await;
    let processing = NewFile { status: Some("processing".into()), ..file("M4A", 400) };
    let recording = system.record(of_ada(vec![file("MP4", 900), processing])).await;
    assert_eq!(system.fetch_count(&recording.files[1].id), 0);
    assert_eq!(
        system.stored_files().await.into_keys().collect::<Vec<_>>(),
        [object_key(&recording, &recording.files[0])]
    );
    // The next event says that the file is complete.
    let body =
        system.zoom().deliveries().last().unwrap().body.replace("\"processing\"", "\"completed\"");
    let mut event: serde_json::Value = serde_json::from_str(&body).unwrap();
    event["event_ts"] = (event["event_ts"].as_i64().unwrap() + 1).into();
    let body = event.to_string();
    let id = system.zoom().send_raw(RawEvent { body, ..RawEvent::default() });
    system.zoom().wait_for_attempts(id, 1).await;
    system.process_queues().await;
    system.assert_bucket_holds(&[&recording]).await;
}
