//! Notifications about a finished file, and the recording's manifest.

use reelay_domain::ids::AppUserId;
use reelay_domain::notification::RecordingNotification;
use reelay_domain::object_key;
use reelay_domain::recording::{FileStatus, RecordingStatus};
use reelay_runtime::AwsError;
use reelay_store::recordings::{FileItem, FileKey, RecordingWithFiles};
use serde_json::{Value, json};

use crate::context::Context;

/// Publishes how the file ended. If it was the last wanted file, writes the manifest and publishes that the
/// recording is stored. Can be repeated.
pub(crate) async fn publish(
    context: &Context,
    key: &FileKey,
    item: &FileItem,
) -> Result<(), AwsError> {
    let snapshot = context.grants.links().snapshot(&key.zoom_user).await?;
    let app_users: Vec<AppUserId> = snapshot.receivers().cloned().collect();
    let send = async |notification: RecordingNotification| {
        let (table, outbox) = (&context.recordings, &context.outbox);
        outbox.publish(table, &key.zoom_user, &key.recording, &notification, &app_users).await
    };
    match item.status {
        FileStatus::Stored => {
            let overview = send(RecordingNotification::FileStored(key.file.clone())).await?;
            // This read is consistent and follows our own write: of two invocations that store the last files
            // concurrently, at least one sees both as stored.
            let is_complete =
                overview.is_some_and(|it| it.recording().status() == RecordingStatus::Stored);
            if is_complete {
                write_manifest(context, key).await?;
                send(RecordingNotification::Stored).await?;
            }
        }
        FileStatus::Failed => {
            send(RecordingNotification::Failed {
                file: key.file.clone(),
                reason: item.reason.clone().unwrap_or_default(),
                attempt: item.attempt,
            })
            .await?;
        }
        FileStatus::Queued | FileStatus::Transferring | FileStatus::Skipped => {}
    }
    Ok(())
}

/// Writes the manifest until the recording no longer changes meanwhile, so that the last version written is
/// the current one.
async fn write_manifest(context: &Context, key: &FileKey) -> Result<(), AwsError> {
    let (table, bucket) = (&context.recordings, &context.bucket);
    let mut written = None;
    while let Some(recording) = table.load(&key.zoom_user, &key.recording).await? {
        let manifest = manifest(&recording, bucket.name());
        if written.as_ref() == Some(&manifest) {
            break;
        }
        let start_time = recording.item.metadata.start_time;
        let object_key = object_key::manifest(&key.zoom_user, &key.recording, start_time);
        bucket.put_json(&object_key, manifest.clone()).await?;
        written = Some(manifest);
    }
    Ok(())
}

/// Renders `manifest.json`, which describes the recording to readers of the bucket. It contains no time of
/// writing, so equal states give equal bytes.
fn manifest(recording: &RecordingWithFiles, bucket: &str) -> Vec<u8> {
    let mut view = json!(recording.recording().view(bucket));
    if let Some(files) = view.get_mut("files").and_then(Value::as_array_mut) {
        for (file, item) in files.iter_mut().zip(&recording.files) {
            // May differ from the stored size for text files.
            file["declared_size"] = json!(item.metadata.size);
            file["type_recognised"] = json!(item.recognised);
        }
    }
    let manifest = json!({"version": 1, "recording": view});
    format!("{manifest:#}\n").into_bytes()
}
