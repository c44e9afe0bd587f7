//! Notifications about a finished file, and the recording's manifest.

use jiff::SignedDuration;
use reelay_domain::notification::RecordingNotification;
use reelay_domain::recording::{FileStatus, RecordingStatus};
use reelay_domain::time::saturating_add;
use reelay_runtime::AwsError;
use reelay_store::manifest;
use reelay_store::recordings::{FileItem, FileKey};

use crate::context::Context;

/// Publishes `recording.file_stored` or `recording.failed`; after the last wanted file also `recording.stored`. Writes
/// the manifest once no other file is in transfer. Safe to repeat.
pub(crate) async fn publish(
    context: &Context,
    key: &FileKey,
    item: &FileItem,
) -> Result<(), AwsError> {
    let links = context.grants.links().receivers(&key.zoom_user).await?;
    if links.is_empty() {
        // What was stored before the last link ended is kept.
        return refresh_manifest(context, key).await;
    }
    let send = async |notification: RecordingNotification| {
        let (table, outbox) = (&context.recordings, &context.outbox);
        outbox.publish(table, &key.zoom_user, &key.recording, &notification, &links).await
    };
    let notification = match item.status {
        FileStatus::Stored => RecordingNotification::FileStored(key.file.clone()),
        // The app was notified of this reason by an earlier attempt.
        FileStatus::Failed
            if item.reported_reason.is_some() && item.reported_reason == item.reason =>
        {
            return Ok(());
        }
        FileStatus::Failed => RecordingNotification::Failed {
            file: key.file.clone(),
            reason: item.reason.clone().unwrap_or_default(),
            attempt: item.attempt,
        },
        FileStatus::Queued
        | FileStatus::Transferring
        | FileStatus::Skipped
        | FileStatus::Expired => return Ok(()),
    };
    let Some(overview) = send(notification).await? else {
        return Ok(());
    };
    // This read is consistent and follows our own write: of two invocations that store the last files
    // concurrently, at least one sees both as stored.
    let table = &context.recordings;
    if overview.is_at_rest() {
        manifest::refresh(table, &context.bucket, &key.zoom_user, &key.recording).await?;
    }
    if overview.recording().status() == RecordingStatus::Stored {
        if context.trash_after_days > 0 {
            let days = SignedDuration::from_hours(24 * i64::from(context.trash_after_days));
            let at = saturating_add(context.clock.now(), days);
            table.schedule_trash(&key.zoom_user, &key.recording, at).await?;
        }
        send(RecordingNotification::Stored).await?;
    }
    Ok(())
}

/// Writes the manifest, unless files are in transfer, after which it is written.
pub(crate) async fn refresh_manifest(context: &Context, key: &FileKey) -> Result<(), AwsError> {
    let (table, zoom_user, id) = (&context.recordings, &key.zoom_user, &key.recording);
    let overview = table.overview(zoom_user, id, None).await?;
    if overview.is_some_and(|overview| overview.is_at_rest()) {
        manifest::refresh(table, &context.bucket, zoom_user, id).await?;
    }
    Ok(())
}
