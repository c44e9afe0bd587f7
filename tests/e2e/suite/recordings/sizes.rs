//! File sizes: boundaries, and wrong or missing declarations.

use reelay_zoom_sim::{Fault, NewFile, Point};
use serde_json::json;
use support::MIB;
use support::recordings::{crc, object_key};

use super::{counts, file, kinds, linked, of_ada};

#[tokio::test]
async fn file_sizes_around_part_size_are_stored_completely() {
    let system = linked().await;
    let sizes = [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 16 * MIB, 20 * MIB + 3];
    let recording = system.record(of_ada(sizes.map(|size| file("MP4", size)).into())).await;
    system.assert_bucket_holds(&[&recording]).await;
    assert_eq!(system.view("alice", &recording).await["bytes_stored"], sizes.iter().sum::<u64>());
    for file in &recording.files {
        assert_eq!(
            system.head_object(&object_key(&recording, file)).await.2,
            crc(file),
            "{} bytes",
            file.size
        );
    }
    assert_eq!(system.open_uploads().await, 0);
}

#[tokio::test]
async fn body_without_length_is_stored_completely() {
    let system = linked().await;
    system.fail(Point::Content, Fault::OmitLength);
    let bare = NewFile { omit: vec!["file_size".into()], ..file("CHAT", 17 * MIB) };
    let files = vec![file("MP4", 9 * MIB), file("CHAT", 1_000), bare];
    let recording = system.record(of_ada(files)).await;
    system.assert_bucket_holds(&[&recording]).await;
}

#[tokio::test]
async fn text_file_records_declared_and_stored_size() {
    for (size, declared) in [(1_204, 900), (1_204, 5_000), (9 * MIB, 100), (100, 9 * MIB), (0, 10)]
    {
        let system = linked().await;
        let text = NewFile { declared_size: Some(declared), ..file("CHAT", size) };
        let recording = system.record(of_ada(vec![text])).await;
        system.assert_bucket_holds(&[&recording]).await;
        let seen = system.view("alice", &recording).await;
        assert_eq!(
            (&seen["files"][0]["status"], &seen["files"][0]["bytes_stored"]),
            (&json!("stored"), &json!(size))
        );
        let manifest = system.manifest(&recording).await;
        let shown = &manifest["recording"]["files"][0];
        assert_eq!((&shown["bytes_stored"], &shown["size"]), (&json!(size), &json!(declared)));
        let (metadata, ..) = system.head_object(&object_key(&recording, &recording.files[0])).await;
        assert_eq!(metadata["zoom-file-size"], declared.to_string());
    }
}

#[tokio::test]
async fn media_of_wrong_length_are_not_stored() {
    for kind in ["MP4", "M4A", "TIMELINE"] {
        for (size, declared) in
            [(1_000, 1_001), (1_000, 999), (9 * MIB, 9 * MIB + 1), (9 * MIB, 8 * MIB)]
        {
            for omit_length in [false, true] {
                let system = linked().await;
                if omit_length {
                    system.fail(Point::Content, Fault::OmitLength);
                }
                let media = NewFile { declared_size: Some(declared), ..file(kind, size) };
                let recording = system.record(of_ada(vec![media])).await;
                let case = format!(
                    "{kind} of {size} declared as {declared}, without length: {omit_length}"
                );
                assert!(system.objects("").await.is_empty(), "{case}");
                assert_eq!(system.open_uploads().await, 0, "{case}");
                let seen = system.view("alice", &recording).await;
                assert_eq!(
                    (&seen["status"], &seen["files"][0]["reason"]),
                    (&json!("detected"), &json!("length_differs")),
                    "{case}"
                );
                assert_eq!(kinds(&system, "alice"), counts([("detected", 1)]), "{case}");
            }
            // The rule depends on the type alone, so one type covers all sizes.
            if kind != "MP4" {
                break;
            }
        }
    }
}
