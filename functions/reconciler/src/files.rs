//! By the clock: files for which no message is on its way any more, credentials that rest too long, and
//! uploads that nobody goes on with.

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use reelay_domain::ids::{RecordingId, ZoomUser};
use reelay_domain::maintenance::{MaintainedFile, ORPHANED_UPLOAD_AGE};
use reelay_domain::message::DownloadMessage;
use reelay_domain::object_key;
use reelay_domain::recording::FileStatus;
use reelay_runtime::AwsError;
use reelay_runtime::metrics::{self, Metric};
use reelay_store::recordings::{DueCheck, FileItem, FileKey};

use crate::Reconciler;

/// Items that are looked at side by side. An outage may leave thousands.
const AT_ONCE: usize = 16;

impl Reconciler {
    /// Looks after every file that is due. One that cannot be looked after holds up no other; the first
    /// failure is the answer.
    pub(crate) async fn look_after_files(&self, now: Timestamp) -> Result<(), AwsError> {
        let due = self.recordings.due_checks(now).await?;
        let looks = stream::iter(due).map(|due| self.look_after_one(due, now));
        first_failure(looks.buffer_unordered(AT_ONCE)).await
    }

    async fn look_after_one(&self, due: DueCheck, now: Timestamp) -> Result<(), AwsError> {
        match due {
            DueCheck::File(key) => self.look_after_file(key, now).await,
            DueCheck::Recording(zoom_user, id) => {
                self.look_after_recording(&zoom_user, &id, now).await
            }
        }
    }

    async fn look_after_file(&self, key: FileKey, now: Timestamp) -> Result<(), AwsError> {
        // What the index shows may be past.
        let Some(item) = self.recordings.file(&key).await? else {
            return Ok(());
        };
        if !item.next_check.is_some_and(|look| look.is_due(now)) {
            return Ok(());
        }
        let recording = self.recordings.item(&key.zoom_user, &key.recording).await?;
        let requested = recording.is_some_and(|recording| recording.requested);
        self.keep_up(key, item, requested, now).await
    }

    /// The app has asked for a recording. Its files have times of their own, unless the clock had forgotten
    /// them before, because nobody wanted them.
    async fn look_after_recording(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let Some(loaded) = self.recordings.load(zoom_user, id).await? else {
            return Ok(());
        };
        let requested = loaded.item.requested;
        let forgotten = loaded
            .files
            .into_iter()
            .filter(|item| item.next_check.is_none());
        let forgotten = forgotten.map(|item| {
            let key = FileKey {
                zoom_user: zoom_user.clone(),
                recording: id.clone(),
                file: item.metadata.id.clone(),
            };
            (key, item)
        });
        let forgotten: Vec<(FileKey, FileItem)> = forgotten.collect();
        let looks =
            stream::iter(forgotten).map(|(key, item)| self.keep_up(key, item, requested, now));
        first_failure(looks.buffer_unordered(AT_ONCE)).await?;
        self.recordings
            .mark_recording_checked(zoom_user, id, now)
            .await
    }

    /// Does what is to be done about a file, and notes when to look again: in this order, so that dying in
    /// between has it done again.
    async fn keep_up(
        &self,
        key: FileKey,
        item: FileItem,
        requested: bool,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let time = |milliseconds| Timestamp::from_millisecond(milliseconds).ok();
        let watched = MaintainedFile {
            status: item.status,
            requested,
            lease_until: item.lease_until.and_then(time),
            source_saved_at: item.source_saved_at.and_then(time),
        };
        let upkeep = watched.check(now);
        if upkeep.enqueue {
            metrics::count(Metric::DownloadsRequeued, "nobody_works_on_it");
            let message = DownloadMessage::new(
                key.zoom_user.clone(),
                key.recording.clone(),
                key.file.clone(),
            );
            self.downloads
                .send(&message, key.zoom_user.account_id.as_str())
                .await?;
        }
        if upkeep.delete_source {
            metrics::count(Metric::SourcesExpired, "too_old");
        }
        if item.next_check.is_none() && upkeep.next_check_at.is_none() {
            return Ok(());
        }
        self.recordings.mark_checked(&key, &item, &upkeep).await
    }

    /// Aborts the uploads that are a day old, but for those that their files' transfers will go on with. The
    /// bucket's lifecycle rule would, too, some days later.
    pub(crate) async fn abort_stray_uploads(&self, now: Timestamp) -> Result<(), AwsError> {
        let before = now
            .checked_sub(ORPHANED_UPLOAD_AGE)
            .unwrap_or(Timestamp::MIN);
        for upload in self.bucket.uploads_started_before(before).await? {
            let item = match object_key::parse_file(&upload.key) {
                Some((zoom_user, recording, file)) => {
                    let key = FileKey {
                        zoom_user,
                        recording,
                        file,
                    };
                    self.recordings.file(&key).await?
                }
                None => None,
            };
            let goes_on = item.is_some_and(|item| {
                matches!(item.status, FileStatus::Queued | FileStatus::Transferring)
                    && item.upload.is_some_and(|kept| kept.id == upload.id)
            });
            if !goes_on {
                metrics::count(Metric::UploadsAborted, "stray");
                self.bucket.abort_upload(&upload).await?;
            }
        }
        Ok(())
    }
}

/// Waits for all, and gives the first failure.
async fn first_failure(
    looks: impl futures_util::Stream<Item = Result<(), AwsError>>,
) -> Result<(), AwsError> {
    looks
        .fold(Ok(()), |first, look| async move { first.and(look) })
        .await
}
