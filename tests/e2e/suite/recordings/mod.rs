//! From a completed recording to its bytes in the bucket, and to the app that is told.

mod changing;
mod choice;
mod files;
mod repeats;
mod routing;
mod sizes;
mod storing;
mod telling;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reelay_embedded_aws::Service;
use reelay_zoom_sim::{NewFile, NewRecording, Recording, RecordingFile};
use reqwest::Method;
use serde_json::{Value, json};
use support::people::ADA;
use support::{System, store, zoom};

const MIB: u64 = 1024 * 1024;

fn recording_id(recording: &Recording) -> String {
    URL_SAFE_NO_PAD.encode(&recording.uuid)
}

/// Where a recording's objects lie.
fn folder(recording: &Recording) -> String {
    let date = recording.start_time.strftime("%Y/%m/%d");
    format!(
        "recordings/{}/{}/{date}/{}",
        recording.account_id,
        recording.host_id,
        recording_id(recording)
    )
}

fn key(recording: &Recording, file: &RecordingFile) -> String {
    format!(
        "{}/{}.{}",
        folder(recording),
        file.id,
        file.file_extension.to_lowercase()
    )
}

fn bytes(file: &RecordingFile) -> Vec<u8> {
    file.spec().bytes(0..file.size).to_vec()
}

fn crc(file: &RecordingFile) -> String {
    STANDARD.encode(file.spec().crc64_nvme().to_be_bytes())
}

/// What must lie in the bucket of a recording.
fn expected(recording: &Recording) -> BTreeMap<String, Vec<u8>> {
    recording
        .all_files()
        .map(|file| (key(recording, file), bytes(file)))
        .collect()
}

/// As the simulator has it now, late files included.
fn latest(system: &System, recording: &Recording) -> Recording {
    system.zoom().recording(&recording.key).unwrap()
}

/// Asserts that exactly these recordings' files lie in the bucket, byte by byte.
async fn assert_bucket_holds(system: &System, recordings: &[&Recording]) {
    let expected: BTreeMap<_, _> = recordings
        .iter()
        .flat_map(|recording| expected(&latest(system, recording)))
        .collect();
    let found = store::files(&system.stack).await;
    // Keys first: a difference between bytes would fill pages.
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    let differing: Vec<_> = found
        .iter()
        .filter(|(key, bytes)| expected[*key] != **bytes)
        .map(|(key, _)| key)
        .collect();
    assert!(differing.is_empty(), "other bytes under {differing:?}");
}

/// The recording as the app user sees it.
async fn view(system: &System, app_user: &str, recording: &Recording) -> Value {
    system
        .app
        .get(
            &format!("/v1/recordings/{}", recording_id(recording)),
            app_user,
        )
        .await
        .json()
}

/// What the app was told about a user's recordings: (type, id, whole `data`), by sequence.
fn told(system: &System, app_user: &str) -> Vec<(String, String, Value)> {
    let received = system.stack.demo_app().unwrap().received();
    let about = received
        .iter()
        .filter(|n| n.app_user_id() == Some(app_user) && n.kind.starts_with("recording."));
    let mut told: Vec<_> = about
        .map(|n| (n.kind.clone(), n.id.clone(), n.body["data"].clone()))
        .collect();
    told.sort_by_key(|(_, _, data)| data["sequence"].as_u64());
    told
}

/// How often each type was told.
fn kinds(system: &System, app_user: &str) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for (kind, ..) in told(system, app_user) {
        *kinds
            .entry(kind.trim_start_matches("recording.").to_owned())
            .or_default() += 1;
    }
    kinds
}

fn counts<const N: usize>(counts: [(&str, usize); N]) -> BTreeMap<String, usize> {
    counts
        .into_iter()
        .map(|(kind, count)| (kind.to_owned(), count))
        .collect()
}

fn file(kind: &str, size: u64) -> NewFile {
    NewFile::new(kind, size)
}

/// Video, audio and timeline, small.
fn three() -> Vec<NewFile> {
    vec![
        file("MP4", 70_000),
        file("M4A", 30_000),
        file("TIMELINE", 2_000),
    ]
}

/// One user who linked Ada's Zoom.
async fn linked() -> System {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system
}

/// Completes a recording of Ada's and works it off.
async fn stored(system: &System, new: NewRecording) -> Recording {
    let recording = zoom::complete(system, new).await;
    system.work().await;
    recording
}

fn writes(system: &System) -> u64 {
    let faults = system.stack.engines().faults();
    faults.calls(Service::S3, "PutObject") + faults.calls(Service::S3, "CompleteMultipartUpload")
}

/// One object, one fetch and one notification a fact, whatever came twice.
async fn assert_once(system: &System, recording: &Recording) {
    assert_bucket_holds(system, &[recording]).await;
    for file in recording.all_files() {
        assert_eq!(zoom::fetches(system, &file.id), 1, "{}", file.file_type);
    }
    let files = recording.all_files().count();
    assert_eq!(
        kinds(system, "alice"),
        counts([("detected", 1), ("file_stored", files), ("stored", 1)])
    );
    assert_eq!(view(system, "alice", recording).await["status"], "stored");
}

async fn download(system: &System, recording: &Recording) {
    let path = format!("/v1/recordings/{}/download", recording_id(recording));
    let answer = system.app.call(Method::POST, &path, "alice").await;
    assert_eq!(
        (answer.status, answer.json()),
        (202, json!({"status": "accepted"}))
    );
}
