//! The table of failures, row by row, and what a transfer costs when nothing fails. The table stands in
//! `functions/recording-downloader/src/disposition.rs`.

use std::collections::BTreeMap;

use reelay_devstack::FunctionChange;
use reelay_embedded_aws::Service;
use reelay_zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point, Recording};
use reqwest::Method;
use serde_json::json;
use support::people::ADA;
use support::{System, landed, store, zoom};

const MIB: u64 = 1024 * 1024;

/// A system whose downloader takes a second of silence for a stall.
async fn impatient() -> System {
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

/// Requests for a file: to Zoom itself, and for its bytes.
fn asked(system: &System) -> (usize, usize) {
    let requests = system.zoom().requests();
    let count = |prefix: &str| {
        let those = requests.iter().filter(|r| r.path.starts_with(prefix));
        those.count()
    };
    (count("/rec/"), count("/ssrweb/"))
}

async fn ask_again(system: &System, recording: &Recording) {
    let path = format!("/v1/recordings/{}/download", landed::id(recording));
    let asked = system.app.call(Method::POST, &path, "alice").await;
    assert_eq!(asked.status, 202);
}

/// Who puts it right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mended {
    /// The transfer itself, at once.
    Here,
    /// The next delivery of the message.
    ByTheQueue,
}

#[tokio::test]
async fn in_the_middle_of_a_large_file_each_failure_is_mended_where_the_table_says() {
    let system = impatient().await;
    let status = |status| Fault::Status { status };
    use Mended::{ByTheQueue, Here};
    for (fault, mended) in [
        // The signed address may have expired: Zoom is asked for another.
        (status(401), Here),
        (status(403), Here),
        (status(404), Here),
        (status(410), Here),
        (Fault::Html, Here),
        // The part is fetched again.
        (status(500), Here),
        (status(503), Here),
        (Fault::Close, Here),
        (Fault::Hang, Here),
        (Fault::Truncate { after: 100_000 }, Here),
        (Fault::Truncate { after: 0 }, Here),
        (Fault::Reset { after: 100_000 }, Here),
        (Fault::Stall { after: 100_000 }, Here),
        (Fault::Stall { after: 0 }, Here),
        (Fault::IgnoreRange, Here),
        (Fault::ContentLength { length: 100_000 }, Here),
        (Fault::OmitLength, Here),
        // The upload starts over.
        (status(416), Here),
        // Zoom has named a time, or it is nothing that passes in a moment.
        (
            Fault::RetryAfter {
                status: 503,
                retry_after: "1".to_owned(),
            },
            ByTheQueue,
        ),
        (status(418), ByTheQueue),
        (status(204), ByTheQueue),
    ] {
        let case = format!("{fault:?}");
        // The first range passes: the upload has begun.
        let armed = NewFault::times(Point::Content, fault, 1).skip_first(1);
        system.zoom().arm(armed).unwrap();
        let recording = zoom::complete(&system, one("MP4", 9 * MIB)).await;
        let drained = system.stack.drain_without_pauses().await;
        assert_eq!(system.zoom().faults().last().unwrap().hits, 1, "{case}");
        let by = if drained.failed == 0 {
            Here
        } else {
            ByTheQueue
        };
        assert_eq!(by, mended, "{case}");
        landed::assert_whole(&system, &recording, &case).await;
    }
    assert_eq!(store::dead(&system.stack).await, Vec::<String>::new());
}

#[tokio::test]
async fn whatever_fails_for_good_in_the_middle_of_a_large_file_leaves_no_upload_behind() {
    let system = impatient().await;
    for (fault, reason) in [
        (Fault::Status { status: 403 }, "token_refused"),
        (Fault::Status { status: 404 }, "not_found"),
        (Fault::Status { status: 500 }, "zoom_unavailable"),
        (Fault::Reset { after: 100_000 }, "network"),
        (Fault::Stall { after: 100_000 }, "stalled"),
        (Fault::Status { status: 418 }, "unexpected_answer"),
    ] {
        let case = format!("{fault:?}");
        let armed = NewFault::always(Point::Content, fault).skip_first(1);
        let armed = system.zoom().arm(armed).unwrap();
        let recording = zoom::complete(&system, one("MP4", 9 * MIB)).await;
        system.work().await;
        let seen = landed::view(&system, "alice", &recording).await;
        assert_eq!(
            (&seen["files"][0]["status"], &seen["files"][0]["reason"]),
            (&json!("failed"), &json!(reason)),
            "{case}"
        );
        assert_eq!(store::open_uploads(&system.stack).await, 0, "{case}");
        let folder = landed::folder(&recording);
        let left = store::objects(&system.stack, &folder).await;
        assert!(left.is_empty(), "{case}");
        system.zoom().clear_faults(Some(armed));
        ask_again(&system, &recording).await;
        system.work().await;
        landed::assert_whole(&system, &recording, &case).await;
    }
}

#[tokio::test]
async fn a_source_that_gives_no_ranges_is_read_in_one_stream() {
    let system = impatient().await;
    for (case, length_is_told) in [("with a length", true), ("without a length", false)] {
        system.zoom().clear_faults(None);
        // One fault strikes a request; ranges are not asked for where no length is known before.
        let fault = if length_is_told {
            Fault::IgnoreRange
        } else {
            Fault::OmitLength
        };
        system
            .zoom()
            .arm(NewFault::always(Point::Content, fault))
            .unwrap();
        let recording = zoom::complete(&system, one("MP4", 25 * MIB + 7)).await;
        let drained = system.stack.drain_without_pauses().await;
        assert_eq!(drained.failed, 0, "{case}");
        landed::assert_whole(&system, &recording, case).await;
    }
}

#[tokio::test]
async fn a_page_is_stored_under_no_type_however_it_is_called() {
    let system = impatient().await;
    for (kind, content_type) in [
        ("MP4", "video/mp4"),
        ("CHAT", "text/plain"),
        ("TIMELINE", "application/octet-stream"),
        ("HOLOGRAM", "video/mp4"),
    ] {
        let case = format!("{kind} as {content_type}");
        let armed = NewFault::always(Point::Content, page(200, content_type));
        let armed = system.zoom().arm(armed).unwrap();
        let recording = zoom::complete(&system, one(kind, 84)).await;
        system.work().await;
        system.zoom().clear_faults(Some(armed));
        let seen = landed::view(&system, "alice", &recording).await;
        assert_eq!(seen["files"][0]["reason"], "html_instead_of_file", "{case}");
    }
    assert!(store::objects(&system.stack, "").await.is_empty());
}

#[tokio::test]
async fn a_page_on_the_events_address_has_the_file_fetched_from_the_apis() {
    let system = impatient().await;
    let armed = NewFault::times(Point::Content, page(200, "video/mp4"), 1);
    system.zoom().arm(armed).unwrap();
    let recording = zoom::complete(&system, one("MP4", 5_000)).await;
    system.zoom().clear_requests();
    let drained = system.stack.drain_without_pauses().await;
    assert_eq!(drained.failed, 0);
    landed::assert_whole(&system, &recording, "").await;
    let requests = system.zoom().requests();
    let from_the_api = requests
        .iter()
        .filter(|r| r.path.starts_with("/rec/download/"));
    assert_eq!(from_the_api.count(), 1);
}

#[tokio::test]
async fn the_manifest_says_whether_a_file_begins_as_its_type_does() {
    let system = impatient().await;
    let files = ["MP4", "M4A", "TRANSCRIPT", "TIMELINE", "CHAT"];
    let files = files.map(|kind| NewFile::new(kind, 70_000));
    let recording = zoom::complete(&system, NewRecording::of(ADA).with_files(files.into())).await;
    system.work().await;
    let manifest = landed::assert_whole(&system, &recording, "").await;
    for file in manifest["recording"]["files"].as_array().unwrap() {
        let expected = match file["file_type"].as_str().unwrap() {
            // Nobody knows how a chat begins.
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
    system
        .zoom()
        .arm(NewFault::always(Point::Content, odd))
        .unwrap();
    let recording = zoom::complete(&system, one("MP4", 11)).await;
    system.work().await;
    let folder = landed::folder(&recording);
    let objects = store::objects(&system.stack, &folder).await;
    let manifest: serde_json::Value =
        serde_json::from_slice(&objects[&format!("{folder}manifest.json")]).unwrap();
    let shown = &manifest["recording"]["files"][0];
    assert_eq!(
        (&shown["type_recognised"], &shown["size"]),
        (&json!(false), &json!(11))
    );
}

#[tokio::test]
async fn a_declared_size_that_differs_is_read_again_at_zoom_once() {
    let system = impatient().await;
    let text = NewFile {
        declared_size: Some(900),
        ..NewFile::new("CHAT", 1_204)
    };
    let recording = zoom::complete(&system, NewRecording::of(ADA).with_files(vec![text])).await;
    system.zoom().clear_requests();
    system.work().await;
    let requests = system.zoom().requests();
    let listed = requests
        .iter()
        .filter(|r| r.path.starts_with("/v2/meetings/"));
    assert_eq!(listed.count(), 1);
    assert_eq!(asked(&system), (1, 1), "the bytes are not fetched again");
    let manifest = landed::assert_whole(&system, &recording, "").await;
    let shown = &manifest["recording"]["files"][0];
    assert_eq!(
        (&shown["size"], &shown["declared_size"]),
        (&json!(1_204), &json!(900))
    );
}

#[tokio::test]
async fn a_host_without_a_name_and_one_without_tls_are_network_failures() {
    let system = System::with(&[("DownloadHosts", "127.0.0.1,localhost,nowhere.invalid")]).await;
    system.link("alice", ADA).await;
    let plain = system.zoom().url().port().unwrap();
    let urls = [
        "https://nowhere.invalid/rec/x".to_owned(),
        format!("https://127.0.0.1:{plain}/rec/x"),
    ];
    let account = system.zoom().users()[0].account_id.clone();
    let files: Vec<_> = ["dns", "tls"]
        .into_iter()
        .zip(&urls)
        .map(|(id, url)| (id, "MP4", 10, url.as_str()))
        .collect();
    let event = zoom::completed(&account, ADA, "network==", &files);
    let secret = zoom::secret(&system);
    assert_eq!(
        zoom::post(&system, "/zoom/webhook", &event, &secret, 0).await,
        200
    );
    system.work().await;
    use base64::Engine as _;
    let id = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode("network==");
    let seen = system
        .app
        .get(&format!("/v1/recordings/{id}"), "alice")
        .await
        .json();
    for file in seen["files"].as_array().unwrap() {
        assert_eq!(file["reason"], "network", "{file}");
    }
    assert_eq!(store::dead(&system.stack).await.len(), 2);
}

#[tokio::test]
async fn a_large_file_costs_its_parts_and_a_small_constant() {
    let system = impatient().await;
    let faults = system.stack.engines().faults();
    let mut others = Vec::new();
    for parts in [3u64, 7] {
        let size = parts * 8 * MIB - 5;
        let recording = zoom::complete(&system, one("MP4", size)).await;
        system.zoom().clear_requests();
        let calls: std::sync::Arc<std::sync::Mutex<BTreeMap<(Service, String), u64>>> =
            std::sync::Arc::default();
        let noted = std::sync::Arc::clone(&calls);
        faults.decide_with(move |service, operation| {
            let key = (service, operation.to_owned());
            *noted.lock().unwrap().entry(key).or_default() += 1;
            None
        });
        system.work().await;
        faults.clear_all();
        landed::assert_whole(&system, &recording, "").await;
        assert_eq!(asked(&system), (1, usize::try_from(parts).unwrap()));
        let calls = calls.lock().unwrap().clone();
        let of = |operation: &str| {
            calls
                .get(&(Service::S3, operation.to_owned()))
                .copied()
                .unwrap_or(0)
        };
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
        assert_eq!(
            (
                of("ListParts"),
                of("HeadObject"),
                of("ListMultipartUploads")
            ),
            (0, 0, 0)
        );
        let written = calls
            .get(&(Service::DynamoDb, "UpdateItem".to_owned()))
            .copied()
            .unwrap_or(0);
        others.push(written);
    }
    // Claim, upload noted, checksum noted, stored, and what the telling of four facts takes; progress is
    // noted by time, so a slow machine may add a few.
    assert!(others.iter().all(|writes| *writes <= 14), "{others:?}");
}
