//! What Zoom answers to a download.

use jiff::SignedDuration;
use reelay_zoom_sim::{Fault, NewFault, NewFile, Point};
use reqwest::Method;
use serde_json::json;
use support::{store, zoom};

use super::{MIB, assert_whole, failures, linked, of_ada, recording_id, view};

#[tokio::test]
async fn whatever_zoom_answers_once_the_file_is_right_in_the_end() {
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
        system.zoom().arm(NewFault::times(point, fault, 1)).unwrap();
        let recording = zoom::complete(&system, of_ada(vec![NewFile::new("MP4", size)])).await;
        system.work().await;
        assert_eq!(system.zoom().faults().last().unwrap().hits, 1, "{case}");
        assert_whole(&system, &recording, &case).await;
        assert_eq!(
            view(&system, &recording.uuid).await["status"],
            "stored",
            "{case}"
        );
        assert_eq!(failures(&system, &recording.uuid), [], "{case}");
    }
    assert_eq!(store::open_uploads(&system.stack).await, 0);
    assert_eq!(store::dead(&system.stack).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_large_body_that_breaks_off_leaves_no_parts_behind_and_is_right_in_the_end() {
    let system = linked().await;
    let size = 17 * MIB;
    for fault in [
        Fault::Truncate { after: MIB },
        Fault::Reset { after: MIB },
        Fault::ContentLength { length: size + 1 },
    ] {
        let case = format!("{fault:?}");
        // For good first, so that what a failure leaves behind can be looked at.
        let armed = system
            .zoom()
            .arm(NewFault::always(Point::Content, fault))
            .unwrap();
        let recording = zoom::complete(&system, of_ada(vec![NewFile::new("MP4", size)])).await;
        system.work().await;
        assert_eq!(
            view(&system, &recording.uuid).await["status"],
            "failed",
            "{case}"
        );
        let left = store::objects(&system.stack, "").await;
        assert!(
            !left
                .keys()
                .any(|key| key.contains(&recording_id(&recording))),
            "{case}"
        );
        assert_eq!(store::open_uploads(&system.stack).await, 0, "{case}");
        system.zoom().clear_faults(Some(armed));
        let path = format!("/v1/recordings/{}/download", recording_id(&recording));
        assert_eq!(
            system.app.call(Method::POST, &path, "alice").await.status,
            202
        );
        system.work().await;
        assert_whole(&system, &recording, &case).await;
    }
}

#[tokio::test]
async fn what_fails_for_good_is_told_once_and_can_be_asked_for_again() {
    let length = |length| Fault::ContentLength { length };
    // The message of what was tried to the end lies where a person sees it; what Zoom has not, nobody needs
    // to look into.
    for (point, fault, reason, dead) in [
        (Point::Download, Fault::Html, "html_instead_of_file", 1),
        (
            Point::Download,
            Fault::Status { status: 401 },
            "token_refused",
            1,
        ),
        (
            Point::Content,
            Fault::Status { status: 403 },
            "token_refused",
            1,
        ),
        (
            Point::Download,
            Fault::Status { status: 404 },
            "not_found",
            0,
        ),
        (Point::Download, Fault::Status { status: 410 }, "gone", 0),
        (
            Point::Content,
            Fault::Status { status: 500 },
            "zoom_unavailable",
            1,
        ),
        (Point::Content, Fault::Close, "network", 1),
        (Point::Content, Fault::Truncate { after: 10 }, "network", 1),
        (Point::Content, length(999), "length_differs", 1),
        (Point::Content, length(1_001), "length_differs", 1),
        (
            Point::Content,
            Fault::Status { status: 418 },
            "unexpected_answer",
            1,
        ),
    ] {
        let system = linked().await;
        let case = format!("{fault:?} at {point:?}");
        let bad = "the-bad-one";
        let files = vec![
            NewFile {
                id: Some(bad.into()),
                ..NewFile::new("MP4", 1_000)
            },
            NewFile::new("M4A", 1_000),
        ];
        let armed = system
            .zoom()
            .arm(NewFault::always(point, fault).only_for(bad))
            .unwrap();
        let recording = zoom::complete(&system, of_ada(files)).await;
        system.work().await;

        let seen = view(&system, &recording.uuid).await;
        assert_eq!(seen["status"], "failed", "{case}");
        let of = |id: &str| {
            seen["files"]
                .as_array()
                .unwrap()
                .iter()
                .find(|file| file["id"] == id)
                .unwrap()
                .clone()
        };
        assert_eq!(
            (&of(bad)["status"], &of(bad)["reason"]),
            (&json!("failed"), &json!(reason)),
            "{case}"
        );
        assert_eq!(
            of(&recording.files[1].id)["status"],
            "stored",
            "{case}: the neighbour does not suffer"
        );
        assert_eq!(
            failures(&system, &recording.uuid),
            [(bad.to_owned(), reason.to_owned())],
            "{case}"
        );
        assert_eq!(store::files(&system.stack).await.len(), 1, "{case}");
        let messages = store::dead(&system.stack).await;
        assert_eq!(messages.len(), dead, "{case}: {messages:?}");
        for credential in zoom::credentials(&system) {
            assert!(
                !messages.iter().any(|message| message.contains(&credential)),
                "{case}: {credential}"
            );
        }

        system.zoom().clear_faults(Some(armed));
        let path = format!("/v1/recordings/{}/download", recording_id(&recording));
        assert_eq!(
            system.app.call(Method::POST, &path, "alice").await.status,
            202
        );
        system.work().await;
        assert_whole(&system, &recording, &case).await;
        let received = system.stack.demo_app().unwrap().received();
        assert_eq!(received.last().unwrap().kind, "recording.stored", "{case}");
        assert_eq!(
            view(&system, &recording.uuid).await["status"],
            "stored",
            "{case}"
        );
    }
}

#[tokio::test]
async fn a_fresh_event_has_a_failed_file_fetched_again() {
    let system = linked().await;
    let armed = system
        .zoom()
        .arm(NewFault::always(
            Point::Download,
            Fault::Status { status: 401 },
        ))
        .unwrap();
    let recording = zoom::complete(&system, of_ada(vec![NewFile::new("MP4", 1_000)])).await;
    system.work().await;
    assert_eq!(view(&system, &recording.uuid).await["status"], "failed");
    system.zoom().clear_faults(Some(armed));
    system.stack.advance(SignedDuration::from_secs(1));
    let twin = system.zoom().complete(&recording.key).unwrap();
    system.zoom().wait_for_attempts(twin, 1).await;
    system.work().await;
    assert_whole(&system, &recording, "").await;
}
