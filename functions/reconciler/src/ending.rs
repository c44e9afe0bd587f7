//! Removes the leftovers of transfers when the last link of a Zoom user ended.
//!
//! A running transfer stops by itself within 10 s. This job removes the rest: the uploads of killed invocations, and
//! objects that S3 completed after the end, because its requests cannot be conditioned on a table.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::{RecordingId, ZoomUser};
use reelay_domain::maintenance::FileMaintenance;
use reelay_domain::object_key;
use reelay_domain::recording::FileStatus;
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::{AwsError, random};
use reelay_store::manifest;
use reelay_store::notifications::WrittenNotification;
use reelay_store::recordings::{FileItem, FileKey, LINK_ENDED, LeaseError};

use crate::Reconciler;

/// Number of files that are removed concurrently.
const CONCURRENCY: usize = 16;

/// Time under the lease for a handful of requests.
const LEASE_TTL: SignedDuration = SignedDuration::from_secs(60);

impl Reconciler {
    /// Removes uploads, encrypted sources and notifications, and the objects of files that were not stored
    /// before the last link ended. Does nothing while a link receives them. Idempotent.
    pub(crate) async fn end_transfers(&self, zoom_user: &ZoomUser) -> Result<(), AwsError> {
        let Some(ended_at) = self.grants.links().receiving_ended_at(zoom_user).await? else {
            return Ok(());
        };
        self.delete_notifications(zoom_user).await?;
        let files = self.recordings.files(zoom_user).await?;
        let results: Vec<_> = stream::iter(files)
            .filter(|(_, item)| std::future::ready(is_left_by_transfer(item, ended_at)))
            .map(|(key, item)| self.remove(key, item))
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        // A failure must not keep what was removed from a new link.
        let mut failure = Ok(());
        let mut removed: Vec<FileKey> = Vec::new();
        for result in results {
            match result {
                Ok(key) => removed.extend(key),
                Err(error) => failure = Err(error),
            }
        }
        let recordings: BTreeSet<RecordingId> =
            removed.iter().map(|key| key.recording.clone()).collect();
        stream::iter(recordings)
            .map(async |id| manifest::refresh(&self.recordings, &self.bucket, zoom_user, &id).await)
            .buffer_unordered(CONCURRENCY)
            .try_for_each(|()| std::future::ready(Ok(())))
            .await?;
        // A new link's backfill requeues failed files, but may have run before they were marked as failed.
        if !self.grants.links().receivers(zoom_user).await?.is_empty() {
            for key in &removed {
                self.recordings.requeue(key, &self.downloads, self.clock.now()).await?;
            }
        }
        failure
    }

    /// Deletes the notifications about recordings of app users who may no longer read them.
    async fn delete_notifications(&self, zoom_user: &ZoomUser) -> Result<(), AwsError> {
        let links = self.grants.links().covering_links(zoom_user).await?;
        let is_unread = |it: WrittenNotification<'_>| {
            it.recording.is_some() && links.iter().all(|link| link.app_user != *it.app_user)
        };
        let notifications = self.notifications.table();
        notifications.delete_of_zoom_user(zoom_user, is_unread).await.map(|_| ())
    }

    /// Removes one file's leftovers under its lease. Returns the key, or `None` if a transfer has started, which then
    /// belongs to a new link, or if the app never requested the file.
    async fn remove(&self, key: FileKey, item: FileItem) -> Result<Option<FileKey>, AwsError> {
        let recording = self.recordings.item(&key.zoom_user, &key.recording).await?;
        let is_requested = item.requested || recording.as_ref().is_some_and(|it| it.requested);
        if item.status == FileStatus::Queued && item.attempt == 0 && !is_requested {
            let without_source = FileMaintenance {
                enqueue: false,
                delete_source: true,
                check_object: false,
                next_check_at: None,
            };
            self.recordings.mark_checked(&key, &item, &without_source).await?;
            return Ok(None);
        }
        let owner = format!("ending#{}", random::hex_id());
        let now = self.clock.now();
        if !self.recordings.take_over_lease(&key, &item, &owner, now, LEASE_TTL).await? {
            return Ok(None);
        }
        if let Some(recording) = recording {
            let object = object_key::file(
                &key.zoom_user,
                &key.recording,
                recording.observed.key_start(),
                &key.file,
                item.observed.metadata.extension(),
            );
            self.bucket.abort_uploads_of(&object).await?;
            self.bucket.delete(&object).await?;
            // The extension, and so the key, may have changed since the file was stored.
            if let Some(stored) = item.key.as_ref().filter(|key| **key != object) {
                self.bucket.delete(stored).await?;
            }
        }
        match self.recordings.mark_link_ended(&key, &owner).await {
            Ok(()) => {}
            Err(LeaseError::Lost) => return Ok(None),
            Err(LeaseError::Table(error)) => return Err(error),
        }
        metrics::count(Metric::FilesIgnored, LINK_ENDED);
        Ok(Some(key))
    }
}

/// Whether a transfer that outlived the link may have left an item, an upload or an object of the file.
fn is_left_by_transfer(item: &FileItem, ended_at: Timestamp) -> bool {
    match item.status {
        FileStatus::Queued | FileStatus::Transferring => true,
        FileStatus::Stored => item.stored_at.is_some_and(|at| at >= ended_at.as_millisecond()),
        // S3 may have completed the object after an earlier removal.
        FileStatus::Failed => {
            item.reason.as_deref() == Some(LINK_ENDED) || item.observed.source.is_some()
        }
        FileStatus::Skipped | FileStatus::Expired => false,
    }
}
