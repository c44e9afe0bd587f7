//! Files of every size, declared rightly, wrongly, or not at all.

use reelay_zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point};
use serde_json::{Value, json};
use support::people::ADA;
use support::store;

use super::{
    MIB, assert_bucket_holds, counts, crc, file, folder, key, kinds, linked, stored, view,
};

#[tokio::test]
async fn files_of_every_size_around_a_part_are_whole() {
    let system = linked().await;
    let sizes = [
        0,
        1,
        8 * MIB - 1,
        8 * MIB,
        8 * MIB + 1,
        16 * MIB,
        20 * MIB + 3,
    ];
    let recording = stored(
        &system,
        NewRecording::of(ADA).with_files(sizes.map(|size| file("MP4", size)).into()),
    )
    .await;
    assert_bucket_holds(&system, &[&recording]).await;
    assert_eq!(
        view(&system, "alice", &recording).await["bytes_stored"],
        sizes.iter().sum::<u64>()
    );
    for file in &recording.files {
        assert_eq!(
            store::head(&system.stack, &key(&recording, file)).await.2,
            crc(file),
            "{} bytes",
            file.size
        );
    }
    assert_eq!(store::open_uploads(&system.stack).await, 0);
}

#[tokio::test]
async fn a_body_without_a_declared_length_is_stored_whole() {
    let system = linked().await;
    system
        .zoom()
        .arm(NewFault::always(Point::Content, Fault::OmitLength))
        .unwrap();
    let bare = NewFile {
        omit: vec!["file_size".into()],
        ..file("CHAT", 17 * MIB)
    };
    let files = vec![file("MP4", 9 * MIB), file("CHAT", 1_000), bare];
    let recording = stored(&system, NewRecording::of(ADA).with_files(files)).await;
    assert_bucket_holds(&system, &[&recording]).await;
}

#[tokio::test]
async fn a_text_file_whose_size_was_declared_wrongly_is_stored_with_both_sizes() {
    for (size, declared) in [
        (1_204, 900),
        (1_204, 5_000),
        (9 * MIB, 100),
        (100, 9 * MIB),
        (0, 10),
    ] {
        let system = linked().await;
        let text = NewFile {
            declared_size: Some(declared),
            ..file("CHAT", size)
        };
        let recording = stored(&system, NewRecording::of(ADA).with_files(vec![text])).await;
        assert_bucket_holds(&system, &[&recording]).await;
        let seen = view(&system, "alice", &recording).await;
        assert_eq!(
            (&seen["files"][0]["status"], &seen["files"][0]["size"]),
            (&json!("stored"), &json!(size))
        );
        let objects = store::objects(&system.stack, &folder(&recording)).await;
        let manifest: Value =
            serde_json::from_slice(&objects[&format!("{}/manifest.json", folder(&recording))])
                .unwrap();
        let shown = &manifest["recording"]["files"][0];
        assert_eq!(
            (&shown["size"], &shown["declared_size"]),
            (&json!(size), &json!(declared))
        );
        let (metadata, ..) =
            store::head(&system.stack, &key(&recording, &recording.files[0])).await;
        assert_eq!(metadata["zoom-file-size"], declared.to_string());
    }
}

#[tokio::test]
async fn media_of_another_length_than_declared_never_appear_under_their_key() {
    for kind in ["MP4", "M4A", "TIMELINE"] {
        for (size, declared) in [
            (1_000, 1_001),
            (1_000, 999),
            (9 * MIB, 9 * MIB + 1),
            (9 * MIB, 8 * MIB),
        ] {
            for omit_length in [false, true] {
                let system = linked().await;
                if omit_length {
                    system
                        .zoom()
                        .arm(NewFault::always(Point::Content, Fault::OmitLength))
                        .unwrap();
                }
                let media = NewFile {
                    declared_size: Some(declared),
                    ..file(kind, size)
                };
                let recording =
                    stored(&system, NewRecording::of(ADA).with_files(vec![media])).await;
                let case = format!(
                    "{kind} of {size} declared as {declared}, without length: {omit_length}"
                );
                assert!(store::objects(&system.stack, "").await.is_empty(), "{case}");
                assert_eq!(store::open_uploads(&system.stack).await, 0, "{case}");
                let seen = view(&system, "alice", &recording).await;
                assert_eq!(
                    (&seen["status"], &seen["files"][0]["reason"]),
                    (&json!("failed"), &json!("length_differs")),
                    "{case}"
                );
                assert_eq!(
                    kinds(&system, "alice"),
                    counts([("detected", 1), ("failed", 1)]),
                    "{case}"
                );
            }
            // The rule is by type alone; its arithmetic needs one of them.
            if kind != "MP4" {
                break;
            }
        }
    }
}
