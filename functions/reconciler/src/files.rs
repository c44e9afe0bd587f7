//! Maintenance of files whose download message is lost, of old encrypted sources, and of orphaned uploads.

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use reelay_domain::ids::{RecordingId, ZoomUser};
use reelay_domain::maintenance::{MaintainedFile, ORPHANED_UPLOAD_AGE};
use reelay_domain::message::DownloadMessage;
use reelay_domain::object_key;
use reelay_domain::recording::FileStatus;
use reelay_runtime::AwsError;
use reelay_runtime::metrics::{self, Metric};
use reelay_store::bucket::OpenUpload;
use reelay_store::manifest;
use reelay_store::recordings::{DueCheck, FileItem, FileKey};

use crate::Reconciler;

/// Number of items that are checked concurrently. An outage may leave thousands.
const CONCURRENCY: usize = 16;

/// Number of waiting downloads above which a maintenance run adds none.
const MAX_BACKLOG: u64 = 2_000;

impl Reconciler {
    /// Checks due files and recordings. A failure does not stop the others; the first one is returned. While the
    /// downloads queue has a backlog, no download is enqueued, and due files stay due.
    pub(crate) async fn check_files(&self, now: Timestamp) -> Result<(), AwsError> {
        let due = self.recordings.due_checks(now).await?;
        let Some(oldest_at) = due.oldest_at else {
            return Ok(());
        };
        metrics::seconds(Metric::OldestCheckSeconds, now.duration_since(oldest_at).as_secs_f64());
        let may_enqueue = self.downloads.backlog().await? <= MAX_BACKLOG;
        let checks = stream::iter(due.items).map(|due| self.check_item(due, may_enqueue, now));
        first_failure(checks.buffer_unordered(CONCURRENCY)).await
    }

    async fn check_item(
        &self,
        due: DueCheck,
        may_enqueue: bool,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        match due {
            DueCheck::File(key) => self.check_file(key, may_enqueue, now).await,
            DueCheck::Recording(zoom_user, id) if may_enqueue => {
                self.check_recording(&zoom_user, &id, now).await
            }
            DueCheck::Recording(..) => Ok(()),
        }
    }

    async fn check_file(
        &self,
        key: FileKey,
        may_enqueue: bool,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        // The index is eventually consistent; the item decides.
        let Some(item) = self.recordings.file(&key).await? else {
            return Ok(());
        };
        if !item.next_check.is_some_and(|check| check.is_due(now)) {
            return Ok(());
        }
        let recording = self.recordings.item(&key.zoom_user, &key.recording).await?;
        let requested = item.requested || recording.is_some_and(|recording| recording.requested);
        self.maintain_file(key, item, requested, may_enqueue, now).await
    }

    /// Checks the files of a requested recording that have no check of their own, because they were not
    /// wanted before the request.
    async fn check_recording(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let Some(loaded) = self.recordings.load(zoom_user, id).await? else {
            return Ok(());
        };
        let requested = loaded.item.requested;
        let unscheduled = loaded.files.iter().filter(|item| item.next_check.is_none()).cloned();
        let unscheduled = unscheduled.map(|item| {
            let key = FileKey {
                zoom_user: zoom_user.clone(),
                recording: id.clone(),
                file: item.observed.metadata.id.clone(),
            };
            (key, item)
        });
        let unscheduled: Vec<(FileKey, FileItem)> = unscheduled.collect();
        let checks = stream::iter(unscheduled)
            .map(|(key, item)| self.maintain_file(key, item, requested, true, now));
        first_failure(checks.buffer_unordered(CONCURRENCY)).await?;
        let next = self.enqueue_due_trash(&loaded, now).await?;
        self.recordings.mark_recording_checked(zoom_user, id, next, now).await
    }

    /// Maintains a file, then schedules its next check. In this order, a crash in between repeats the
    /// maintenance.
    async fn maintain_file(
        &self,
        key: FileKey,
        mut item: FileItem,
        requested: bool,
        may_enqueue: bool,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let time = |milliseconds| Timestamp::from_millisecond(milliseconds).ok();
        let file = MaintainedFile {
            status: item.status,
            requested,
            lease_until: item.lease_until.and_then(time),
            next_attempt_at: item.next_attempt_at.and_then(time),
            source_saved_at: item.source_saved_at.and_then(time),
            expires_at: item.object_expires_at.and_then(time),
        };
        let mut maintenance = file.check(now);
        if maintenance.enqueue && !may_enqueue {
            // The encrypted source is deleted in any case.
            maintenance.enqueue = false;
            maintenance.next_check_at = Some(now);
        }
        if maintenance.enqueue {
            metrics::count(Metric::DownloadsRequeued, "no_active_lease");
            let message = DownloadMessage::new(
                key.zoom_user.clone(),
                key.recording.clone(),
                key.file.clone(),
            );
            self.downloads.send(&message, key.zoom_user.account_id.as_str()).await?;
        }
        let is_expired = item.status == FileStatus::Expired
            || maintenance.check_object && self.expire(&key, &mut item, now).await?;
        if is_expired {
            manifest::refresh(&self.recordings, &self.bucket, &key.zoom_user, &key.recording)
                .await?;
            maintenance.next_check_at = None;
        }
        if maintenance.delete_source {
            metrics::count(Metric::SourcesExpired, "too_old");
        }
        if item.next_check.is_none() && maintenance.next_check_at.is_none() {
            return Ok(());
        }
        self.recordings.mark_checked(&key, &item, &maintenance).await
    }

    /// Marks a file as expired if S3 has deleted its object. The check is due again until the manifest is current.
    async fn expire(
        &self,
        key: &FileKey,
        item: &mut FileItem,
        now: Timestamp,
    ) -> Result<bool, AwsError> {
        let Some(object) = &item.key else { return Ok(false) };
        if self.bucket.has_object(object).await? {
            return Ok(false);
        }
        let Some(check) = self.recordings.mark_expired(key, item, now).await? else {
            return Ok(false);
        };
        item.next_check = Some(check);
        tracing::info!(recording = %key.recording, file = %key.file, "file expired");
        Ok(true)
    }

    /// Aborts uploads older than [`ORPHANED_UPLOAD_AGE`] that no transfer will resume. The bucket's lifecycle
    /// rule would do so some days later.
    pub(crate) async fn abort_orphaned_uploads(&self, now: Timestamp) -> Result<(), AwsError> {
        let before = now.checked_sub(ORPHANED_UPLOAD_AGE).unwrap_or(Timestamp::MIN);
        let uploads = self.bucket.uploads_started_before(before).await?;
        let checks = stream::iter(uploads).map(|upload| self.abort_if_orphaned(upload));
        first_failure(checks.buffer_unordered(CONCURRENCY)).await
    }

    async fn abort_if_orphaned(&self, upload: OpenUpload) -> Result<(), AwsError> {
        let item = match object_key::parse_file(&upload.key) {
            Some((zoom_user, recording, file)) => {
                let key = FileKey { zoom_user, recording, file };
                self.recordings.file(&key).await?
            }
            None => None,
        };
        let is_resumable = item.is_some_and(|item| {
            matches!(item.status, FileStatus::Queued | FileStatus::Transferring)
                && item.upload.is_some_and(|kept| kept.id == upload.id)
        });
        if is_resumable {
            return Ok(());
        }
        metrics::count(Metric::UploadsAborted, "orphaned");
        self.bucket.abort_upload(&upload).await
    }
}

/// Runs all checks and returns the first failure.
async fn first_failure(
    checks: impl futures_util::Stream<Item = Result<(), AwsError>>,
) -> Result<(), AwsError> {
    checks.fold(Ok(()), |first, check| async move { first.and(check) }).await
}
