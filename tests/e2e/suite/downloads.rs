//! The table of failures in the downloader, row by row, and the calls of a transfer without failures.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use jiff::SignedDuration;
use reelay_devstack::FunctionChange;
use reelay_embedded_aws::Service;
use reelay_zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point};
use serde_json::json;
use support::recordings::folder;
use support::zoom::completed_event;
use support::zoom_users::ADA;
use support::{MIB, System};

/// A system whose downloader treats one second of silence as a stall.
async fn with_short_stall() -> System {
    let system = System::with_function(FunctionChange {
        binary: "recording-downloader".to_owned(),
        variables: vec![("DOWNLOAD_STALL_SECONDS".to_owned(), "1".to_owned())],
        ..FunctionChange::default()
    })
    .await;
    system.link("alice", ADA).await;
    system
}

fn one(kind: &str, size: u64) -> NewRecording {
    NewRecording::of(ADA).with_files(vec![NewFile::new(kind, size)])
}

fn page(status: u16, content_type: &str) -> Fault {
    Fault::Respond {
        status,
        content_type: content_type.to_owned(),
        body: "\n<!DOCTYPE html>\n<html><body>Please sign in, this recording is protected.</body></html>"
            .to_owned(),
    }
}

/// Requests to Zoom for a file, and requests to the CDN for its bytes.
fn file_requests(system: &System) -> (usize, usize) {
    (system.requests("/rec/"), system.requests("/ssrweb/"))
}

/// The level that recovers from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recovery {
    /// The transfer itself.
    Transfer,
    /// A later attempt.
    Attempt,
}

#[tokio::test]
async fn mid_file_failures_are_retried_at_documented_level() {
    let status = |status| Fault::Status { status };
    use Recovery::{Attempt, Transfer};
    let rows = [
        // The signed URL may have expired, so a new one is requested from Zoom.
        (status(401), Transfer),
        (status(403), Transfer),
        (status(404), Transfer),
        (status(410), Transfer),
        (Fault::Html, Transfer),
        // The part is fetched again.
        (status(500), Transfer),
        (status(503), Transfer),
        (Fault::Close, Transfer),
        (Fault::Hang, Transfer),
        (Fault::Truncate { after: 100_000 }, Transfer),
        (Fault::Truncate { after: 0 }, Transfer),
        (Fault::Reset { after: 100_000 }, Transfer),
        (Fault::Stall { after: 100_000 }, Transfer),
        (Fault::Stall { after: 0 }, Transfer),
        (Fault::IgnoreRange, Transfer),
        (Fault::ContentLength { length: 100_000 }, Transfer),
        (Fault::OmitLength, Transfer),
        // The upload restarts.
        (status(416), Transfer),
        // Another URL is tried.
        (status(418), Transfer),
        (status(204), Transfer),
        // Zoom named a time.
        (Fault::RetryAfter { status: 503, retry_after: "1".to_owned() }, Attempt),
    ];
    // Side by side, because some wait for a stall.
    for rows in rows.chunks(7) {
        join_all(rows.iter().map(|(fault, recovery)| assert_recovers(fault, *recovery))).await;
    }
}

/// A fault of one part costs the transfer at most one attempt.
async fn assert_recovers(fault: &Fault, recovery: Recovery) {
    let system = with_short_stall().await;
    let case = format!("{fault:?}");
    // The first range succeeds, so the upload has begun.
    let armed = NewFault::times(Point::Content, fault.clone(), 1).skip_first(1);
    system.zoom().arm(armed).unwrap();
    let recording = system.complete_recording(one("MP4", 9 * MIB)).await;
    system.process_queues().await;
    assert_eq!(system.zoom().faults().last().unwrap().hits, 1, "{case}");
    let is_stored = system.first_file(&recording).await["status"] == "stored";
    let recovered = if is_stored { Recovery::Transfer } else { Recovery::Attempt };
    assert_eq!(recovered, recovery, "{case}");
    system.maintain_after(SignedDuration::from_hours(1)).await;
    system.assert_stored(&recording, &case).await;
    assert_eq!(system.dead_letters().await, [""; 0], "{case}");
}

#[tokio::test]
async fn permanent_mid_file_failure_leaves_no_upload() {
    // Side by side, because some wait for a stall.
    join_all([
        assert_fails_for_good(Fault::Status { status: 403 }, "token_refused"),
        assert_fails_for_good(Fault::Status { status: 404 }, "not_found"),
        assert_fails_for_good(Fault::Status { status: 500 }, "zoom_unavailable"),
        assert_fails_for_good(Fault::Reset { after: 100_000 }, "network"),
        assert_fails_for_good(Fault::Stall { after: 100_000 }, "stalled"),
        assert_fails_for_good(Fault::Status { status: 418 }, "unexpected_answer"),
    ])
    .await;
}

/// A fault of every part but the first fails the file, until Zoom serves it again.
async fn assert_fails_for_good(fault: Fault, reason: &str) {
    let system = with_short_stall().await;
    let case = format!("{fault:?}");
    let armed = NewFault::always(Point::Content, fault).skip_first(1);
    let armed = system.zoom().arm(armed).unwrap();
    let recording = system.record(one("MP4", 9 * MIB)).await;
    system.maintain_for(SignedDuration::from_hours(24), SignedDuration::from_hours(6)).await;
    let file = system.first_file(&recording).await;
    assert_eq!((&file["status"], &file["reason"]), (&json!("failed"), &json!(reason)), "{case}");
    assert_eq!(system.open_uploads().await, 0, "{case}");
    assert!(system.objects(&folder(&recording)).await.is_empty(), "{case}");
    system.zoom().clear_faults(Some(armed));
    system.request_download(&recording).await;
    system.process_queues().await;
    system.assert_stored(&recording, &case).await;
}

#[tokio::test]
async fn source_without_ranges_is_read_as_one_stream() {
    let system = with_short_stall().await;
    for (case, length_is_told) in [("with a length", true), ("without a length", false)] {
        system.zoom().clear_faults(None);
        let fault = if length_is_told { Fault::IgnoreRange } else { Fault::OmitLength };
        system.fail(Point::Content, fault);
        let recording = system.complete_recording(one("MP4", 25 * MIB + 7)).await;
        let drained = system.stack.drain_without_pauses().await;
        assert_eq!(drained.failed, 0, "{case}");
        system.assert_stored(&recording, case).await;
    }
}

#[tokio::test]
async fn stream_has_the_size_that_zoom_declares_now() {
    let system = with_short_stall().await;
    for (case, fault) in [("length", Fault::IgnoreRange), ("no length", Fault::OmitLength)] {
        system.zoom().clear_faults(None);
        system.fail(Point::Content, fault);
        let recording = system.complete_recording(one("MP4", 9 * MIB)).await;
        system.zoom().replace_file(&recording.files[0].id, Some(25 * MIB)).unwrap();
        system.stack.drain_without_pauses().await;
        system.assert_stored(&recording, case).await;
    }
}

#[tokio::test]
async fn html_page_is_never_stored() {
    let system = with_short_stall().await;
    for (kind, content_type) in [
        ("MP4", "video/mp4"),
        ("CHAT", "text/plain"),
        ("TIMELINE", "application/octet-stream"),
        ("HOLOGRAM", "video/mp4"),
    ] {
        let case = format!("{kind} as {content_type}");
        let armed = NewFault::always(Point::Content, page(200, content_type));
        let armed = system.zoom().arm(armed).unwrap();
        let recording = system.record(one(kind, 84)).await;
        system.zoom().clear_faults(Some(armed));
        let seen = system.view("alice", &recording).await;
        assert_eq!(seen["files"][0]["reason"], "html_instead_of_file", "{case}");
    }
    assert!(system.objects("").await.is_empty());
}

#[tokio::test]
async fn html_at_event_url_falls_back_to_api() {
    let system = with_short_stall().await;
    let armed = NewFault::times(Point::Content, page(200, "video/mp4"), 1);
    system.zoom().arm(armed).unwrap();
    let recording = system.complete_recording(one("MP4", 5_000)).await;
    system.zoom().clear_requests();
    let drained = system.stack.drain_without_pauses().await;
    assert_eq!(drained.failed, 0);
    system.assert_stored(&recording, "").await;
    let requests = system.zoom().requests();
    let from_the_api = requests.iter().filter(|r| r.path.starts_with("/rec/download/"));
    assert_eq!(from_the_api.count(), 1);
}

#[tokio::test]
async fn manifest_records_whether_content_matches_type() {
    let system = with_short_stall().await;
    let files = ["MP4", "M4A", "TRANSCRIPT", "TIMELINE", "CHAT"];
    let files = files.map(|kind| NewFile::new(kind, 70_000));
    let recording = system.record(NewRecording::of(ADA).with_files(files.into())).await;
    let manifest = system.assert_stored(&recording, "").await;
    for file in manifest["recording"]["files"].as_array().unwrap() {
        let expected = match file["file_type"].as_str().unwrap() {
            // Chat files have no known signature.
            "CHAT" => json!(null),
            _ => json!(true),
        };
        assert_eq!(file["type_recognised"], expected, "{file}");
    }

    let odd = Fault::Respond {
        status: 200,
        content_type: "video/mp4".to_owned(),
        body: "no such box".to_owned(),
    };
    system.fail(Point::Content, odd);
    let recording = system.record(one("MP4", 11)).await;
    let manifest = system.manifest(&recording).await;
    let shown = &manifest["recording"]["files"][0];
    assert_eq!((&shown["type_recognised"], &shown["size"]), (&json!(false), &json!(11)));
}

#[tokio::test]
async fn differing_declared_size_is_reread_once() {
    let system = with_short_stall().await;
    let text = NewFile { declared_size: Some(900), ..NewFile::new("CHAT", 1_204) };
    let recording = system.complete_recording(NewRecording::of(ADA).with_files(vec![text])).await;
    system.zoom().clear_requests();
    system.process_queues().await;
    let requests = system.zoom().requests();
    let listed = requests.iter().filter(|r| r.path.starts_with("/v2/meetings/"));
    assert_eq!(listed.count(), 1);
    assert_eq!(file_requests(&system), (1, 1), "the bytes were fetched again");
    let manifest = system.assert_stored(&recording, "").await;
    let shown = &manifest["recording"]["files"][0];
    assert_eq!((&shown["size"], &shown["bytes_stored"]), (&json!(900), &json!(1_204)));
}

#[tokio::test]
async fn dns_and_tls_failures_are_network_failures() {
    let system = System::with(&[("DownloadHosts", "127.0.0.1,localhost,nowhere.invalid")]).await;
    system.link("alice", ADA).await;
    let plain = system.zoom().url().port().unwrap();
    let urls =
        ["https://nowhere.invalid/rec/x".to_owned(), format!("https://127.0.0.1:{plain}/rec/x")];
    let account = system.zoom().users()[0].account_id.clone();
    let files: Vec<_> = ["dns", "tls"]
        .into_iter()
        .zip(&urls)
        .map(|(id, url)| (id, "MP4", 10, url.as_str()))
        .collect();
    let event = completed_event(&account, ADA, "network==", &files);
    let secret = system.webhook_secret();
    assert_eq!(system.post_event("/zoom/webhook", &event, &secret).await, 200);
    system.process_queues().await;
    use base64::Engine as _;
    let id = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode("network==");
    let seen = system.app.get(&format!("/v1/recordings/{id}"), "alice").await.json();
    for file in seen["files"].as_array().unwrap() {
        assert_eq!(file["reason"], "network", "{file}");
    }
    assert_eq!(system.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn large_file_calls_grow_only_with_parts() {
    let system = with_short_stall().await;
    let faults = system.faults();
    let mut others = Vec::new();
    for parts in [3u64, 5] {
        let size = parts * 8 * MIB - 5;
        let recording = system.complete_recording(one("MP4", size)).await;
        system.zoom().clear_requests();
        let calls: std::sync::Arc<std::sync::Mutex<BTreeMap<(Service, String), u64>>> =
            std::sync::Arc::default();
        let noted = std::sync::Arc::clone(&calls);
        faults.decide_with(move |service, operation| {
            let key = (service, operation.to_owned());
            *noted.lock().unwrap().entry(key).or_default() += 1;
            None
        });
        system.process_queues().await;
        faults.clear_all();
        system.assert_stored(&recording, "").await;
        assert_eq!(file_requests(&system), (1, usize::try_from(parts).unwrap()));
        let calls = calls.lock().unwrap().clone();
        let of =
            |operation: &str| calls.get(&(Service::S3, operation.to_owned())).copied().unwrap_or(0);
        assert_eq!(
            (
                of("CreateMultipartUpload"),
                of("UploadPart"),
                of("CompleteMultipartUpload"),
                // The manifest.
                of("PutObject")
            ),
            (1, parts, 1, 1)
        );
        assert_eq!((of("ListParts"), of("HeadObject"), of("ListMultipartUploads")), (0, 0, 0));
        let written =
            calls.get(&(Service::DynamoDb, "UpdateItem".to_owned())).copied().unwrap_or(0);
        others.push(written);
    }
    // Lease, upload, checksum, completion, four notifications and the link's last event; a slow machine adds progress writes.
    assert!(others.iter().all(|writes| *writes <= 15), "{others:?}");
}
