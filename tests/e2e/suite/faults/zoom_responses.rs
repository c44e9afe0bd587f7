//! Zoom's responses to downloads.

use jiff::SignedDuration;
use reelay_zoom_sim::{Fault, NewFault, NewFile, Point};
use serde_json::json;
use support::MIB;
use support::recordings::recording_id;

use super::{failures, linked, linked_with, of_ada};

const QUARTER_OF_A_DAY: SignedDuration = SignedDuration::from_hours(6);

#[tokio::test]
async fn file_is_stored_after_any_single_fault() {
    let system = linked().await;
    let page = |status| Fault::Respond {
        status,
        content_type: "text/html; charset=utf-8".into(),
        body: "<html>".into(),
    };
    let size = 50_000;
    for (point, fault) in [
        (Point::Download, Fault::Html),
        (Point::Content, Fault::Html),
        (Point::Content, page(200)),
        (Point::Content, page(206)),
        (Point::Download, Fault::Status { status: 401 }),
        (Point::Content, Fault::Status { status: 403 }),
        (Point::Download, Fault::Status { status: 404 }),
        (Point::Download, Fault::Status { status: 500 }),
        (Point::Content, Fault::Status { status: 503 }),
        (Point::Download, Fault::Status { status: 204 }),
        (Point::Download, Fault::Close),
        (Point::Content, Fault::Close),
        (Point::Content, Fault::Truncate { after: 0 }),
        (Point::Content, Fault::Truncate { after: size - 1 }),
        (Point::Content, Fault::Reset { after: 100 }),
        (Point::Content, Fault::ContentLength { length: size - 1 }),
        (Point::Content, Fault::ContentLength { length: size + 1 }),
        (Point::Content, Fault::ContentLength { length: 0 }),
    ] {
        let case = format!("{fault:?} at {point:?}");
        system.fail_next(point, fault, 1);
        let recording = system.record(of_ada(vec![NewFile::new("MP4", size)])).await;
        assert_eq!(system.zoom().faults().last().unwrap().hits, 1, "{case}");
        system.process_and_retry().await;
        system.assert_files(&recording, &case).await;
        assert_eq!(system.view("alice", &recording).await["status"], "stored", "{case}");
        assert_eq!(failures(&system, &recording.uuid), [], "{case}");
    }
    assert_eq!(system.open_uploads().await, 0);
    assert_eq!(system.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn truncated_large_body_leaves_no_parts() {
    let system = linked_with(&[("RetryDays", "1")]).await;
    let size = 17 * MIB;
    for fault in [
        Fault::Truncate { after: MIB },
        Fault::Reset { after: MIB },
        Fault::ContentLength { length: size + 1 },
    ] {
        let case = format!("{fault:?}");
        // A permanent fault first, so that its remains can be checked.
        let armed = system.fail(Point::Content, fault);
        let recording = system.record(of_ada(vec![NewFile::new("MP4", size)])).await;
        system.maintain_after(4 * QUARTER_OF_A_DAY).await;
        assert_eq!(system.view("alice", &recording).await["status"], "failed", "{case}");
        let left = system.objects("").await;
        assert!(!left.keys().any(|key| key.contains(&recording_id(&recording))), "{case}");
        assert_eq!(system.open_uploads().await, 0, "{case}");
        system.zoom().clear_faults(Some(armed));
        system.request_download(&recording).await;
        system.process_queues().await;
        system.assert_files(&recording, &case).await;
    }
}

#[tokio::test]
async fn permanent_failure_is_notified_once_and_retriable() {
    for (point, fault, reason) in [
        (Point::Download, Fault::Html, "html_instead_of_file"),
        (Point::Download, Fault::Status { status: 401 }, "token_refused"),
        (Point::Content, Fault::Status { status: 403 }, "token_refused"),
        (Point::Download, Fault::Status { status: 404 }, "not_found"),
        (Point::Download, Fault::Status { status: 410 }, "gone"),
        (Point::Content, Fault::Status { status: 500 }, "zoom_unavailable"),
        (Point::Content, Fault::Close, "network"),
        (Point::Content, Fault::Truncate { after: 10 }, "network"),
        (Point::Content, Fault::Status { status: 418 }, "unexpected_answer"),
    ] {
        let system = linked_with(&[("RetryDays", "1")]).await;
        let case = format!("{fault:?} at {point:?}");
        let bad = "the-bad-one";
        let files = vec![
            NewFile { id: Some(bad.into()), ..NewFile::new("MP4", 1_000) },
            NewFile::new("M4A", 1_000),
        ];
        let armed = system.zoom().arm(NewFault::always(point, fault).only_for(bad)).unwrap();
        let recording = system.record(of_ada(files)).await;
        // Zoom must say four times that it does not know a file.
        system.maintain_for(5 * QUARTER_OF_A_DAY, QUARTER_OF_A_DAY).await;

        let seen = system.view("alice", &recording).await;
        assert_eq!(seen["status"], "failed", "{case}");
        let of = |id: &str| {
            seen["files"].as_array().unwrap().iter().find(|file| file["id"] == id).unwrap().clone()
        };
        assert_eq!(
            (&of(bad)["status"], &of(bad)["reason"]),
            (&json!("failed"), &json!(reason)),
            "{case}"
        );
        assert_eq!(of(&recording.files[1].id)["status"], "stored", "{case}: the other file failed");
        assert_eq!(
            failures(&system, &recording.uuid),
            [(bad.to_owned(), reason.to_owned())],
            "{case}"
        );
        assert_eq!(system.stored_files().await.len(), 1, "{case}");
        // The table knows why it failed.
        assert_eq!(system.dead_letters().await, [""; 0], "{case}");

        system.zoom().clear_faults(Some(armed));
        system.request_download(&recording).await;
        system.process_queues().await;
        system.assert_files(&recording, &case).await;
        let received = system.stack.demo_app().unwrap().received();
        assert!(received.iter().any(|it| it.kind == "recording.stored"), "{case}");
        assert_eq!(system.view("alice", &recording).await["status"], "stored", "{case}");
    }
}

#[tokio::test]
async fn new_event_retries_failed_file() {
    let system = linked().await;
    let armed = system.fail(Point::Download, Fault::Status { status: 410 });
    let recording = system.record(of_ada(vec![NewFile::new("MP4", 1_000)])).await;
    assert_eq!(system.view("alice", &recording).await["status"], "failed");
    system.zoom().clear_faults(Some(armed));
    system.advance(SignedDuration::from_secs(1));
    let twin = system.zoom().complete(&recording.key).unwrap();
    system.zoom().wait_for_attempts(twin, 1).await;
    system.process_queues().await;
    system.assert_files(&recording, "").await;
}
