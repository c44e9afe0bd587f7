//! From a completed recording to its bytes in the bucket and the app's notifications.

mod cases;
mod changing;
mod choice;
mod deletion;
mod files;
mod notifications;
pub(crate) mod odd_events;
mod repeats;
mod routing;
mod sizes;
mod storing;
mod trash;

use std::collections::BTreeMap;

use reelay_embedded_aws::Service;
use reelay_zoom_sim::{NewFile, NewRecording, Recording};
use serde_json::Value;
use support::System;
use support::zoom_users::ADA;

/// The notifications about a user's recordings, by sequence: type, id and `data`.
fn notified(system: &System, app_user: &str) -> Vec<(String, String, Value)> {
    let received = system.stack.demo_app().unwrap().received();
    let mut notified: Vec<_> = received
        .iter()
        .filter(|n| n.app_user_id() == Some(app_user) && n.kind.starts_with("recording."))
        .map(|n| (n.kind.clone(), n.id.clone(), n.body["data"].clone()))
        .collect();
    notified.sort_by_key(|(_, _, data)| data["sequence"].as_u64());
    notified
}

/// The number of notifications of each type.
fn kinds(system: &System, app_user: &str) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for (kind, ..) in notified(system, app_user) {
        let kind = kind.trim_start_matches("recording.");
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    kinds
}

fn counts<const N: usize>(counts: [(&str, usize); N]) -> BTreeMap<String, usize> {
    counts.map(|(kind, count)| (kind.to_owned(), count)).into()
}

fn file(kind: &str, size: u64) -> NewFile {
    NewFile::new(kind, size)
}

fn of_ada(files: Vec<NewFile>) -> NewRecording {
    NewRecording::of(ADA).with_files(files)
}

/// Video, audio and timeline, small.
fn three() -> Vec<NewFile> {
    vec![file("MP4", 70_000), file("M4A", 30_000), file("TIMELINE", 2_000)]
}

async fn linked() -> System {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system
}

fn object_writes(system: &System) -> u64 {
    let faults = system.faults();
    faults.calls(Service::S3, "PutObject") + faults.calls(Service::S3, "CompleteMultipartUpload")
}

/// Asserts that each file was fetched, stored and notified once.
async fn assert_once(system: &System, recording: &Recording) {
    system.assert_bucket_holds(&[recording]).await;
    for file in recording.all_files() {
        assert_eq!(system.fetch_count(&file.id), 1, "{}", file.file_type);
    }
    let files = recording.all_files().count();
    assert_eq!(
        kinds(system, "alice"),
        counts([("detected", 1), ("file_stored", files), ("stored", 1)])
    );
    assert_eq!(system.view("alice", recording).await["status"], "stored");
}
