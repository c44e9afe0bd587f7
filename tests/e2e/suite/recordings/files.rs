//! Sets of files in every shape: late, many, in segments, without ids, of unknown types.

use reelay_zoom_sim::{NewFile, NewRecording, RawEvent};
use serde_json::json;
use support::people::ADA;
use support::{store, zoom};

use super::{
    assert_bucket_holds, bytes, counts, file, folder, key, kinds, latest, linked, stored, three,
    told, view,
};

#[tokio::test]
async fn a_transcript_may_come_before_the_video() {
    let system = linked().await;
    let new = NewRecording {
        processing: true,
        ..NewRecording::of(ADA).with_files(three())
    };
    let recording = system.zoom().create_recording(new).unwrap().recording;
    let created = system.zoom().add_transcript(&recording.key, None).unwrap();
    zoom::arrived(&system, &created).await;
    system.work().await;
    let transcript = &created.recording.files[3];
    assert_eq!(
        store::files(&system.stack)
            .await
            .into_keys()
            .collect::<Vec<_>>(),
        [key(&recording, transcript)]
    );
    let id = system.zoom().complete(&recording.key).unwrap();
    system.zoom().wait_for_attempts(id, 1).await;
    system.work().await;
    assert_bucket_holds(&system, &[&recording]).await;
    for file in latest(&system, &recording).all_files() {
        assert_eq!(zoom::fetches(&system, &file.id), 1, "{}", file.file_type);
    }
    assert_eq!(
        kinds(&system, "alice"),
        counts([("detected", 1), ("file_stored", 4), ("stored", 2)])
    );
}

#[tokio::test]
async fn two_segments_of_one_meeting_keep_all_their_files() {
    for event_per_segment in [false, true] {
        let system = linked().await;
        let new = NewRecording {
            segments: 2,
            event_per_segment,
            ..NewRecording::of(ADA).with_files(three())
        };
        let recording = stored(&system, new).await;
        assert_eq!(recording.files.len(), 6);
        assert_bucket_holds(&system, &[&recording]).await;
        let seen = view(&system, "alice", &recording).await;
        assert_eq!(
            (
                seen["status"].as_str(),
                seen["files"].as_array().unwrap().len()
            ),
            (Some("stored"), 6)
        );
    }
}

#[tokio::test]
async fn two_hundred_files_in_one_event_are_all_stored() {
    let system = linked().await;
    let files = (0..200)
        .map(|n| file(["MP4", "M4A", "CHAT", "TIMELINE"][n % 4], 100 + n as u64))
        .collect();
    let recording = stored(&system, NewRecording::of(ADA).with_files(files)).await;
    assert_bucket_holds(&system, &[&recording]).await;
    assert_eq!(
        kinds(&system, "alice"),
        counts([("detected", 1), ("file_stored", 200), ("stored", 1)])
    );
    // A notification shows a hundred of them and says so.
    let told = told(&system, "alice");
    let shown = &told.last().unwrap().2["recording"];
    assert_eq!(shown["files"].as_array().unwrap().len(), 100);
    assert_eq!(
        (&shown["files_truncated"], &shown["files_total"]),
        (&json!(true), &json!(200))
    );
    assert_eq!(
        view(&system, "alice", &recording).await["files"]
            .as_array()
            .unwrap()
            .len(),
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_participants_audio_files_in_one_event_are_all_stored() {
    let system = linked().await;
    let new = NewRecording {
        participant_audio: 1_000,
        participant_audio_size: Some(40),
        ..NewRecording::of(ADA).with_files(vec![])
    };
    let recording = stored(&system, new).await;
    assert_eq!(recording.participant_audio.len(), 1_000);
    assert_bucket_holds(&system, &[&recording]).await;
    let seen = view(&system, "alice", &recording).await;
    assert_eq!(
        (&seen["status"], &seen["bytes_stored"]),
        (&json!("stored"), &json!(40_000))
    );
    assert!(
        seen["files"]
            .as_array()
            .unwrap()
            .iter()
            .all(|file| file["recording_type"] == "audio_only_each_participant")
    );
    assert_eq!(store::dead(&system.stack).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_file_without_an_id_gets_one_from_its_place() {
    let system = linked().await;
    let bare = |kind: &str| NewFile {
        omit: vec!["id".into()],
        ..file(kind, 500)
    };
    // What is older than file ids also lacks the rest.
    let ancient = NewFile {
        omit: ["id", "file_size", "recording_type", "status"]
            .map(Into::into)
            .into(),
        ..file("TIMELINE", 300)
    };
    let recording = stored(
        &system,
        NewRecording::of(ADA).with_files(vec![bare("MP4"), bare("M4A"), ancient]),
    )
    .await;
    let id = |kind: &str, recording_type: &str| {
        let start = recording.files[0]
            .recording_start
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string();
        reelay_domain::ids::FileId::derive(
            &recording.uuid.parse().unwrap(),
            &start,
            kind,
            recording_type,
        )
        .to_string()
    };
    let ids = [
        id("MP4", "shared_screen_with_speaker_view"),
        id("M4A", "audio_only"),
        id("TIMELINE", ""),
    ];
    assert!(ids.iter().all(|id| id.starts_with("x-") && id.len() == 24));
    let found = store::files(&system.stack).await;
    assert_eq!(found.len(), 3);
    for (id, file) in ids.iter().zip(&recording.files) {
        let key = format!(
            "{}/{id}.{}",
            folder(&recording),
            file.file_extension.to_lowercase()
        );
        assert_eq!(found[&key], bytes(file), "{}", file.file_type);
    }
    // A twin finds the same ids.
    let twin = system.zoom().complete(&recording.key).unwrap();
    system.zoom().wait_for_attempts(twin, 1).await;
    system.work().await;
    assert_eq!(store::files(&system.stack).await, found);
}

#[tokio::test]
async fn files_that_are_alike_but_for_unusable_ids_are_all_kept() {
    let system = linked().await;
    let odd = |id: &str, size| NewFile {
        id: Some(id.into()),
        ..file("M4A", size)
    };
    let recording = stored(
        &system,
        NewRecording::of(ADA).with_files(vec![odd("../one", 100), odd("../two", 200)]),
    )
    .await;
    let mut sizes: Vec<_> = store::files(&system.stack)
        .await
        .into_values()
        .map(|bytes| bytes.len())
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [100, 200]);
    let keys = store::files(&system.stack).await.into_keys();
    assert!(
        keys.map(|key| key.strip_prefix(&folder(&recording)).unwrap().to_owned())
            .all(|name| name.starts_with("/x-"))
    );
}

#[tokio::test]
async fn an_unknown_type_of_file_is_stored_as_it_is() {
    let system = linked().await;
    let odd = NewFile {
        recording_type: Some("hologram(3D)".into()),
        ..file("HOLOGRAM_X", 777)
    };
    let recording = stored(&system, NewRecording::of(ADA).with_files(vec![odd])).await;
    let seen = view(&system, "alice", &recording).await;
    assert_eq!(seen["status"], "stored");
    let seen = &seen["files"][0];
    assert_eq!(
        (&seen["file_type"], &seen["recording_type"]),
        (&json!("HOLOGRAM_X"), &json!("hologram(3D)"))
    );
    assert_eq!(
        store::files(&system.stack)
            .await
            .into_values()
            .collect::<Vec<_>>(),
        [bytes(&recording.files[0])]
    );
}

#[tokio::test]
async fn what_zoom_still_processes_is_fetched_once_it_is_completed() {
    let system = linked().await;
    let processing = NewFile {
        status: Some("processing".into()),
        ..file("M4A", 400)
    };
    let recording = stored(
        &system,
        NewRecording::of(ADA).with_files(vec![file("MP4", 900), processing]),
    )
    .await;
    assert_eq!(zoom::fetches(&system, &recording.files[1].id), 0);
    assert_eq!(
        store::files(&system.stack)
            .await
            .into_keys()
            .collect::<Vec<_>>(),
        [key(&recording, &recording.files[0])]
    );
    // Zoom's next event says that it is ready.
    let body = system
        .zoom()
        .deliveries()
        .last()
        .unwrap()
        .body
        .replace("\"processing\"", "\"completed\"");
    let id = system.zoom().send_raw(RawEvent {
        body,
        ..RawEvent::default()
    });
    system.zoom().wait_for_attempts(id, 1).await;
    system.work().await;
    assert_bucket_holds(&system, &[&recording]).await;
}
