//! Holding what is stored and what was told against what Zoom had.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reelay_demo_app::reelay::{File, FileStatus, Recording};
use reelay_demo_app::{AppUser, DemoApp, VerifiedNotification};
use reelay_devstack::Stack;
use reelay_zoom_sim::RecordingFile;
use reqwest::Client;
use serde_json::Value;

const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The manifest follows the last file at once.
const MANIFEST_WITHIN: Duration = Duration::from_secs(10);

/// A file that is stored as Zoom had it.
pub(super) struct Compared {
    pub(super) file_type: String,
    pub(super) bytes: u64,
    pub(super) key: String,
}

/// Reads every file back through its presigned address and compares it byte by byte with the rule by
/// which the simulator made it.
pub(super) async fn bytes(
    originals: &[&RecordingFile],
    recording: &Recording,
) -> anyhow::Result<Vec<Compared>> {
    let http = Client::builder()
        .no_proxy()
        .build()
        .context("no HTTP client")?;
    ensure!(
        originals.len() == recording.files.len(),
        "Zoom has {} files, {} are stored",
        originals.len(),
        recording.files.len()
    );
    let mut compared = Vec::new();
    for original in originals {
        let file = recording.files.iter().find(|file| file.id == original.id);
        let file = file.with_context(|| format!("the {} file is missing", original.file_type))?;
        compared.push(
            compare(&http, original, file)
                .await
                .with_context(|| format!("the {} file", original.file_type))?,
        );
    }
    Ok(compared)
}

async fn compare(http: &Client, original: &RecordingFile, file: &File) -> anyhow::Result<Compared> {
    let spec = original.spec();
    ensure!(file.status == FileStatus::Stored, "it is {:?}", file.status);
    ensure!(
        file.bytes_stored == spec.size(),
        "{} of {} bytes are said to be stored",
        file.bytes_stored,
        spec.size()
    );
    let key = file.key.clone().context("it has no key")?;
    let url = file.url.clone().context("it has no address")?;
    ensure!(
        file.url_expires_at.is_some(),
        "its address does not say when it ends"
    );
    let mut answer = http
        .get(url)
        .send()
        .await
        .map_err(reqwest::Error::without_url)
        .context("it cannot be read back")?;
    ensure!(
        answer.status().is_success(),
        "reading it back was answered {}",
        answer.status()
    );
    let mut at = 0;
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(reqwest::Error::without_url)
        .context("it broke off")?
    {
        let next = at + chunk.len() as u64;
        ensure!(
            next <= spec.size(),
            "more than its {} bytes are stored",
            spec.size()
        );
        ensure!(
            chunk == spec.bytes(at..next),
            "its bytes differ after offset {at}"
        );
        at = next;
    }
    ensure!(
        at == spec.size(),
        "only {at} of {} bytes are stored",
        spec.size()
    );
    Ok(Compared {
        file_type: original.file_type.clone(),
        bytes: at,
        key,
    })
}

/// Reads `manifest.json` from the bucket until it names all files, and holds it against the API.
pub(super) async fn manifest(stack: &Stack, recording: &Recording) -> anyhow::Result<String> {
    let first = recording
        .files
        .first()
        .and_then(|file| file.key.as_deref())
        .context("no file has a key")?;
    let (folder, _) = first.rsplit_once('/').context("a key has no folder")?;
    let key = format!("{folder}/manifest.json");
    let s3 = stack.sdk().s3();
    let read = async {
        loop {
            let object = s3
                .get_object()
                .bucket(&stack.config().bucket)
                .key(&key)
                .send()
                .await;
            if let Ok(object) = object {
                let bytes = object
                    .body
                    .collect()
                    .await
                    .context("the manifest broke off")?
                    .into_bytes();
                let manifest: Value =
                    serde_json::from_slice(&bytes).context("the manifest is no JSON")?;
                if agrees(&manifest, recording) {
                    return anyhow::Ok(());
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    match tokio::time::timeout(MANIFEST_WITHIN, read).await {
        Ok(result) => result.map(|()| key),
        Err(_) => bail!("{key} does not come to name all files as stored"),
    }
}

fn agrees(manifest: &Value, recording: &Recording) -> bool {
    let entries = manifest
        .pointer("/recording/files")
        .and_then(Value::as_array);
    let entries: BTreeMap<&str, &Value> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some((entry.get("id")?.as_str()?, entry)))
        .collect();
    let uuid = manifest
        .pointer("/recording/meeting_uuid")
        .and_then(Value::as_str);
    uuid == Some(recording.meeting_uuid.as_str())
        && entries.len() == recording.files.len()
        && recording.files.iter().all(|file| {
            entries.get(file.id.as_str()).is_some_and(|entry| {
                entry["status"] == "stored"
                    && entry["key"].as_str() == file.key.as_deref()
                    && entry["bytes_stored"].as_u64() == Some(file.bytes_stored)
                    && entry["crc64nvme"].as_str() == file.crc64nvme.as_deref()
            })
        })
}

/// What the app has to be told: type, and how many different facts of it.
fn expected(files: usize) -> BTreeMap<&'static str, usize> {
    BTreeMap::from([
        ("link.activated", 1),
        ("recording.detected", 1),
        ("recording.file_stored", files),
        // Once without the late transcript, once with it.
        ("recording.stored", 2),
    ])
}

/// Waits until the app has been told everything. It keeps only what was signed rightly, each id once.
pub(super) async fn notifications(
    app: &DemoApp,
    user: &AppUser,
    recording: &Recording,
) -> anyhow::Result<BTreeMap<String, usize>> {
    let expected = expected(recording.files.len());
    // Ended by the time limit of the whole demo.
    let told = loop {
        let told = app.received();
        let counts = count(&told);
        if expected
            .iter()
            .all(|(kind, wanted)| counts.get(*kind).is_some_and(|count| count >= wanted))
        {
            break told;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    let counts = count(&told);
    ensure!(
        counts
            .iter()
            .all(|(kind, count)| expected.get(kind.as_str()) == Some(count)),
        "the app was told {counts:?} where {expected:?} was to be told"
    );
    let mut sequences = BTreeSet::new();
    for notification in &told {
        let kind = &notification.kind;
        ensure!(
            notification.id.starts_with("msg_") && notification.id.len() == 47,
            "{kind} has the id {}",
            notification.id
        );
        ensure!(
            notification.app_user_id() == Some(user.as_str()),
            "{kind} is about {:?}",
            notification.app_user_id()
        );
        let about = notification
            .body
            .pointer("/data/recording/meeting_uuid")
            .and_then(Value::as_str);
        if kind.starts_with("recording.") {
            ensure!(
                about == Some(recording.meeting_uuid.as_str()),
                "{kind} is about another recording"
            );
            let sequence = notification
                .body
                .pointer("/data/sequence")
                .and_then(Value::as_u64);
            ensure!(
                sequence.is_some_and(|sequence| sequences.insert(sequence)),
                "{kind} has the sequence {sequence:?}"
            );
        }
        ensure!(
            !notification.body.to_string().contains("X-Amz-Signature"),
            "{kind} holds a presigned address"
        );
    }
    let files: BTreeSet<&str> = told
        .iter()
        .filter(|notification| notification.kind == "recording.file_stored")
        .filter_map(|notification| notification.body.pointer("/data/file/id")?.as_str())
        .collect();
    ensure!(
        recording
            .files
            .iter()
            .all(|file| files.contains(file.id.as_str())),
        "a stored file was not told of"
    );
    Ok(counts)
}

fn count(told: &[VerifiedNotification]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for notification in told {
        *counts.entry(notification.kind.clone()).or_default() += 1;
    }
    counts
}
