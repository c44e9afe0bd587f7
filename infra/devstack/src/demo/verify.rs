//! Compares the stored files, the manifest and the notifications with the recording at the simulator.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use reelay_demo_app::reelay::{File, Recording, Status};
use reelay_demo_app::{AppUser, DemoApp, Notification};
use reelay_devstack::Stack;
use reelay_zoom_sim::RecordingFile;
use reqwest::Client;
use serde_json::Value;

const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Time after the last file within which the manifest must be complete.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A stored file that equals the original.
pub(super) struct VerifiedFile {
    pub(super) file_type: String,
    pub(super) bytes: u64,
    pub(super) key: String,
}

/// Reads every file through its presigned URL and compares it with the simulator's bytes.
///
/// # Errors
/// If a file is missing, cannot be read, or differs.
pub(super) async fn bytes(
    original: &reelay_zoom_sim::Recording,
    recording: &Recording,
) -> anyhow::Result<Vec<VerifiedFile>> {
    let http = Client::builder().no_proxy().build()?;
    let originals: Vec<_> = original.all_files().collect();
    ensure!(
        originals.len() == recording.files.len(),
        "Zoom has {} files, and Reelay has {}",
        originals.len(),
        recording.files.len()
    );
    let mut verified = Vec::new();
    for original in originals {
        let file_type = &original.file_type;
        let file = recording.files.iter().find(|file| file.id == original.id);
        let file = file.with_context(|| format!("the {file_type} file is missing"))?;
        let result = compare(&http, original, file).await;
        verified.push(result.with_context(|| format!("failed to verify the {file_type} file"))?);
    }
    Ok(verified)
}

async fn compare(
    http: &Client,
    original: &RecordingFile,
    file: &File,
) -> anyhow::Result<VerifiedFile> {
    let spec = original.spec();
    ensure!(
        file.status == Status::Stored && file.bytes_stored == spec.size(),
        "it is {:?} with {} of {} bytes",
        file.status,
        file.bytes_stored,
        spec.size()
    );
    let key = file.key.clone().context("it has no key")?;
    let url = file.url.clone().context("it has no URL")?;
    ensure!(file.url_expires_at.is_some(), "its URL has no expiry");
    let response = http.get(url).send().await.map_err(reqwest::Error::without_url)?;
    let mut response = response.error_for_status().map_err(reqwest::Error::without_url)?;
    let mut offset = 0;
    while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        let end = offset + chunk.len() as u64;
        ensure!(end <= spec.size(), "it has more than {} bytes", spec.size());
        ensure!(chunk == spec.bytes(offset..end), "its bytes differ after offset {offset}");
        offset = end;
    }
    ensure!(offset == spec.size(), "it has {offset} of {} bytes", spec.size());
    Ok(VerifiedFile { file_type: original.file_type.clone(), bytes: offset, key })
}

/// Waits until `manifest.json` lists all files as the API does. Returns the manifest's key.
///
/// # Errors
/// If the manifest differs after ten seconds.
pub(super) async fn manifest(stack: &Stack, recording: &Recording) -> anyhow::Result<String> {
    let key = recording.files.iter().find_map(|file| file.key.as_deref());
    let (folder, _) = key.and_then(|key| key.rsplit_once('/')).context("the files have no keys")?;
    let key = format!("{folder}/manifest.json");
    let (s3, bucket) = (stack.sdk().s3(), &stack.config().bucket);
    let is_complete = async || {
        let object = s3.get_object().bucket(bucket).key(&key).send().await;
        let Ok(object) = object else { return false };
        let Ok(body) = object.body.collect().await else {
            return false;
        };
        serde_json::from_slice(&body.into_bytes())
            .is_ok_and(|manifest| lists_files(&manifest, recording))
    };
    let complete = async {
        while !is_complete().await {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    let result = tokio::time::timeout(MANIFEST_TIMEOUT, complete).await;
    result.with_context(|| format!("{key} does not list all files as stored"))?;
    Ok(key)
}

fn lists_files(manifest: &Value, recording: &Recording) -> bool {
    let manifest = &manifest["recording"];
    let entries = manifest["files"].as_array().map_or(&[][..], Vec::as_slice);
    manifest["meeting_uuid"] == recording.meeting_uuid
        && entries.len() == recording.files.len()
        && recording.files.iter().all(|file| {
            entries.iter().any(|entry| {
                entry["id"] == file.id
                    && entry["status"] == "stored"
                    && entry["key"].as_str() == file.key.as_deref()
                    && entry["bytes_stored"] == file.bytes_stored
                    && entry["crc64nvme"].as_str() == file.crc64nvme.as_deref()
            })
        })
}

/// Waits for the first `recording.stored` about a meeting.
pub(super) async fn stored_notification(app: &DemoApp, meeting_uuid: &str) {
    let is_stored = |notification: &Notification| {
        notification.kind == "recording.stored"
            && notification.body["data"]["recording"]["meeting_uuid"] == meeting_uuid
    };
    while !app.received().iter().any(is_stored) {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Waits until the app has received all notifications, and verifies them. Returns their number by type.
///
/// The app keeps notifications with a valid signature only, and each id once.
///
/// # Errors
/// If a notification is unexpected or wrong.
pub(super) async fn notifications(
    app: &DemoApp,
    user: &AppUser,
    recording: &Recording,
) -> anyhow::Result<BTreeMap<String, usize>> {
    let expected = BTreeMap::from([
        ("link.activated".to_owned(), 1),
        ("recording.detected".to_owned(), 1),
        ("recording.file_stored".to_owned(), recording.files.len()),
        // One without the late transcript, and one with it.
        ("recording.stored".to_owned(), 2),
    ]);
    // The time limit of the demo ends this loop.
    while app.received().len() < expected.values().sum() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let received = app.received();
    let mut counts = BTreeMap::new();
    let (mut sequences, mut stored_files) = (BTreeSet::new(), BTreeSet::new());
    for notification in &received {
        let Notification { id, kind, body, .. } = notification;
        *counts.entry(kind.clone()).or_default() += 1;
        let data = &body["data"];
        ensure!(id.starts_with("msg_") && id.len() == 47, "{kind} has the malformed id {id}");
        ensure!(notification.app_user_id() == Some(user.as_str()), "{kind} is about another user");
        if kind.starts_with("recording.") {
            ensure!(
                data["recording"]["meeting_uuid"] == recording.meeting_uuid,
                "{kind} is about another recording"
            );
            let sequence = data["sequence"].as_u64();
            ensure!(
                sequence.is_some_and(|sequence| sequences.insert(sequence)),
                "{kind} repeats the sequence {sequence:?}"
            );
        }
        ensure!(!body.to_string().contains("X-Amz-Signature"), "{kind} contains a presigned URL");
        stored_files.extend(data["file"]["id"].as_str());
    }
    ensure!(counts == expected, "the app received {counts:?} instead of {expected:?}");
    let has_notification = |file: &File| stored_files.contains(file.id.as_str());
    ensure!(recording.files.iter().all(has_notification), "a stored file has no notification");
    Ok(counts)
}
