//! Settlement of a transfer: item, queue, and notification.

use jiff::Timestamp;
use reelay_domain::maintenance::object_expiry;
use reelay_domain::message::DownloadMessage;
use reelay_domain::recording::{FileStatus, ZoomState};
use reelay_domain::retry::NextAttempt;
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::random;
use reelay_runtime::sqs::Retry;
use reelay_store::bucket::OpenUpload;
use reelay_store::recordings::{FileItem, LINK_ENDED, ScheduledRetry, ServedSize, StoredObject};

use crate::consent;
use crate::context::Context;
use crate::deferral::Schedule;
use crate::disposition::{self, Disposition};
use crate::lease::Lease;
use crate::publish;
use crate::transfer::{Journal as _, ObjectSpec, Outcome, StoredFile, TransferError};

/// Saves and publishes the result of a transfer.
///
/// # Errors
/// Returns when and why SQS redelivers the message.
pub(crate) async fn settle(
    context: &Context,
    message: &DownloadMessage,
    lease: &Lease<'_>,
    zoom_state: ZoomState,
    object: &ObjectSpec,
    result: Result<Outcome, TransferError>,
) -> Result<(), Retry> {
    let error = match result {
        Ok(Outcome::Stored(file)) => match mark_stored(context, lease, object, &file).await {
            Ok(()) => return publish_stored(context, lease).await,
            Err(error) => error,
        },
        Ok(Outcome::Unfinished { uploaded_bytes }) => {
            return continue_in_new_message(context, message, lease, uploaded_bytes)
                .await
                .map_err(Retry::new);
        }
        Err(error) => error,
    };
    let error = save_rate_limit(context, lease, error).await;
    let mut disposition = disposition::of(&error, zoom_state, context.clock.now());
    if zoom_state != ZoomState::Present && matches!(disposition, Disposition::Fail { .. }) {
        // The recording may have been recovered during the attempt.
        let recording = context.recordings.item(&lease.key.zoom_user, &lease.key.recording);
        if let Some(recording) = recording.await.map_err(Retry::new)? {
            let zoom_state = recording.observed.zoom_state.unwrap_or_default();
            disposition = disposition::of(&error, zoom_state, context.clock.now());
        }
    }
    match disposition {
        Disposition::Yield => Err(Retry::new(error)),
        Disposition::Remove => remove(context, lease, object).await.map_err(Retry::new),
        // A reconciliation granted only this attempt.
        Disposition::Retry { reason, after: None, .. } if lease.item.granted_attempts > 0 => {
            fail(context, lease, object, reason, &error).await
        }
        Disposition::Retry { reason, kind, after } => {
            let now = context.clock.now();
            let since = lease.item.first_attempt_at;
            let since = since.and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or(now);
            let [random] = random::bytes::<1>();
            let failures = lease.item.failures;
            let next = context.retries.next_attempt(failures, kind, since, after, now, random);
            match next {
                Some(next) => {
                    retry(context, message, lease, reason, next, &error).await.map_err(Retry::new)
                }
                None => fail(context, lease, object, reason, &error).await,
            }
        }
        Disposition::Fail { reason } => fail(context, lease, object, reason, &error).await,
    }
}

/// Schedules the file's next attempt. If an AWS request fails, SQS redelivers the message.
async fn retry(
    context: &Context,
    message: &DownloadMessage,
    lease: &Lease<'_>,
    reason: &'static str,
    next: NextAttempt,
    error: &TransferError,
) -> Result<(), TransferError> {
    metrics::count(Metric::DownloadsRetried, reason);
    let now = context.clock.now();
    let schedule = Schedule::new(next.at, now);
    tracing::warn!(
        recording = %lease.key.recording,
        file = %lease.key.file,
        reason,
        %error,
        failures = next.failures.count,
        next_attempt_at = %next.at,
        "download retried"
    );
    let retry = ScheduledRetry {
        reason,
        failures: next.failures,
        at: next.at,
        check_at: schedule.check_at(lease.item.source_saved_at),
        served_size: served_size(lease, error, now),
    };
    lease.release_for_retry(&retry).await?;
    schedule.enqueue(context, message).await?;
    // A redelivery would begin the next attempt early.
    if let Err(error) = publish::refresh_manifest(context, &lease.key).await {
        tracing::warn!(%error, "manifest not written; it is after the next attempt");
    }
    Ok(())
}

/// The size that Zoom served instead of the declared one, and when it was first served.
fn served_size(lease: &Lease<'_>, error: &TransferError, now: Timestamp) -> Option<ServedSize> {
    let TransferError::SizeMismatch { received: bytes, .. } = *error else { return None };
    let known = lease.item.served_size.filter(|served| served.bytes == bytes);
    Some(known.unwrap_or(ServedSize { bytes, since: now.as_millisecond() }))
}

async fn mark_stored(
    context: &Context,
    lease: &Lease<'_>,
    object: &ObjectSpec,
    file: &StoredFile,
) -> Result<(), TransferError> {
    if file.recognised == Some(false) {
        metrics::count(Metric::FilesNotRecognised, lease.item.observed.metadata.file_type());
    }
    let now = context.clock.now();
    let created_at = lease.upload().map_or(now, |upload| upload.created_at);
    let declared = file.declared_size.or(object.declared_size);
    lease
        .mark_stored(&StoredObject {
            key: &object.key,
            crc64nvme: &file.crc64nvme,
            bytes: file.bytes,
            recognised: file.recognised,
            declared: file.declared_size,
            declared_otherwise: declared.filter(|size| *size != file.bytes),
            stored_at: now,
            expires_at: object_expiry(created_at, context.retention_days),
        })
        .await
}

async fn publish_stored(context: &Context, lease: &Lease<'_>) -> Result<(), Retry> {
    metrics::count(Metric::FilesStored, "ok");
    if let Some(seconds) = lease.item.seconds_since_received(context.clock.now()) {
        metrics::seconds(Metric::WebhookToBucketSeconds, seconds);
    }
    let item = FileItem { status: FileStatus::Stored, ..lease.item.clone() };
    publish::publish(context, &lease.key, &item).await.map_err(Retry::new)
}

/// Continues the upload in a new message, so that a long transfer does not consume this message's attempts. If
/// the invocation ends in between, this message is redelivered and continues itself.
async fn continue_in_new_message(
    context: &Context,
    message: &DownloadMessage,
    lease: &Lease<'_>,
    uploaded_bytes: u64,
) -> Result<(), TransferError> {
    let key = &lease.key;
    metrics::count(Metric::DownloadsContinued, "deadline");
    tracing::info!(recording = %key.recording, file = %key.file, uploaded_bytes, "download continued in a new invocation");
    lease.release_for_continuation().await?;
    let account = key.zoom_user.account_id.as_str();
    Ok(context.downloads.send(message, account).await?)
}

/// Saves the account's rate limit, if the transfer met one. Returns the error to settle.
async fn save_rate_limit(
    context: &Context,
    lease: &Lease<'_>,
    error: TransferError,
) -> TransferError {
    let Some(limit) = disposition::rate_limit(&error) else {
        return error;
    };
    metrics::count(Metric::DownloadsRateLimited, "account");
    let until = limit.limited_until(context.clock.now());
    let account = &lease.key.zoom_user.account_id;
    match context.recordings.set_not_before(account, until).await {
        Ok(()) => error,
        Err(error) => error.into(),
    }
}

/// Fails the file: aborts its upload, marks it as failed, and publishes the failure.
async fn fail(
    context: &Context,
    lease: &Lease<'_>,
    object: &ObjectSpec,
    reason: &'static str,
    error: &TransferError,
) -> Result<(), Retry> {
    metrics::count(Metric::FilesFailed, reason);
    tracing::error!(
        recording = %lease.key.recording,
        file = %lease.key.file,
        reason,
        %error,
        "file transfer failed"
    );
    end_as_failed(context, lease, object, reason, error).await.map_err(Retry::new)
}

/// Removes what the transfer left after its last link ended or its recording was deleted. The jobs that follow from
/// these remove an object that S3 completes later.
async fn remove(
    context: &Context,
    lease: &Lease<'_>,
    object: &ObjectSpec,
) -> Result<(), TransferError> {
    metrics::count(Metric::FilesIgnored, LINK_ENDED);
    tracing::info!(recording = %lease.key.recording, file = %lease.key.file, "transfer ended: no link may have the file");
    lease.verify_lease().await?;
    context.bucket.abort_uploads_of(&object.key).await?;
    lease.mark_link_ended().await?;
    Ok(consent::requeue_if_wanted(context, &lease.key).await?)
}

async fn end_as_failed(
    context: &Context,
    lease: &Lease<'_>,
    object: &ObjectSpec,
    reason: &'static str,
    error: &TransferError,
) -> Result<(), TransferError> {
    if let Some(upload) = lease.upload() {
        lease.verify_lease().await?;
        let upload = OpenUpload { key: object.key.clone(), id: upload.id };
        context.bucket.abort_upload(&upload).await?;
        lease.clear_upload().await?;
    }
    let now = context.clock.now();
    lease.mark_failed(reason, served_size(lease, error, now), now).await?;
    let item = FileItem {
        status: FileStatus::Failed,
        reason: Some(reason.to_owned()),
        ..lease.item.clone()
    };
    Ok(publish::publish(context, &lease.key, &item).await?)
}
