//! Notifications about a finished file, and the recording's manifest.

use jiff::SignedDuration;
use reelay_domain::notification::RecordingNotification;
use reelay_domain::recording::{FileStatus, RecordingStatus};
use reelay_domain::time::saturating_add;
use reelay_runtime::AwsError;
use reelay_store::manifest;
use reelay_store::recordings::{FileItem, FileKey};

use crate::context::Context;

/// Publishes `recording.file_stored` or `recording.failed`. After the last wanted file, writes the manifest and
/// publishes `recording.stored`. Safe to repeat.
pub(crate) async fn publish(
    context: &Context,
    key: &FileKey,
    item: &FileItem,
) -> Result<(), AwsError> {
    let links = context.grants.links().receivers(&key.zoom_user).await?;
    if links.is_empty() {
        return Ok(());
    }
    let send = async |notification: RecordingNotification| {
        let (table, outbox) = (&context.recordings, &context.outbox);
        outbox.publish(table, &key.zoom_user, &key.recording, &notification, &links).await
    };
    match item.status {
        FileStatus::Stored => {
            let overview = send(RecordingNotification::FileStored(key.file.clone())).await?;
            // This read is consistent and follows our own write: of two invocations that store the last files
            // concurrently, at least one sees both as stored.
            let status = overview.map(|overview| overview.recording().status());
            let (table, bucket) = (&context.recordings, &context.bucket);
            if matches!(status, Some(RecordingStatus::Stored | RecordingStatus::Expired)) {
                manifest::refresh(table, bucket, &key.zoom_user, &key.recording).await?;
            }
            if status == Some(RecordingStatus::Stored) {
                if context.trash_after_days > 0 {
                    let days = SignedDuration::from_hours(24 * i64::from(context.trash_after_days));
                    let at = saturating_add(context.clock.now(), days);
                    table.schedule_trash(&key.zoom_user, &key.recording, at).await?;
                }
                send(RecordingNotification::Stored).await?;
            }
        }
        // The app was notified of this reason by an earlier attempt.
        FileStatus::Failed
            if item.reported_reason.is_some() && item.reported_reason == item.reason => {}
        FileStatus::Failed => {
            send(RecordingNotification::Failed {
                file: key.file.clone(),
                reason: item.reason.clone().unwrap_or_default(),
                attempt: item.attempt,
            })
            .await?;
        }
        FileStatus::Queued
        | FileStatus::Transferring
        | FileStatus::Skipped
        | FileStatus::Expired => {}
    }
    Ok(())
}
