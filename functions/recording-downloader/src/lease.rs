//! The lease on a file, which the downloader must hold to write the file's item.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use reelay_domain::upload::UploadState;
use reelay_store::recordings::{
    FileItem, FileKey, LeaseError, RecordingTable, ScheduledRetry, ServedSize, StoredObject,
};

use crate::transfer::{Journal, TransferError};

/// A lease that this invocation acquired. Every write is conditional on it, so that an invocation that lost it
/// fails with [`TransferError::LeaseLost`].
pub(crate) struct Lease<'a> {
    recordings: &'a RecordingTable,
    pub(crate) key: FileKey,
    owner: String,
    /// The item as it was when the lease was acquired.
    pub(crate) item: FileItem,
    /// The upload in progress, as saved in the table.
    upload: Mutex<Option<UploadState>>,
}

impl<'a> Lease<'a> {
    pub(crate) fn new(
        recordings: &'a RecordingTable,
        key: FileKey,
        owner: String,
        item: FileItem,
    ) -> Self {
        Self { recordings, key, owner, upload: Mutex::new(item.upload.clone()), item }
    }

    /// The upload in progress.
    pub(crate) fn upload(&self) -> Option<UploadState> {
        let upload = self.upload.lock();
        upload.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_upload(&self, upload: Option<UploadState>) {
        *self.upload.lock().unwrap_or_else(PoisonError::into_inner) = upload;
    }

    /// Marks the file as stored and ends the lease.
    pub(crate) async fn mark_stored(&self, object: &StoredObject<'_>) -> Result<(), TransferError> {
        let stored = self.recordings.mark_stored(&self.key, &self.owner, object);
        Ok(stored.await?)
    }

    /// Marks the file as failed and ends the lease.
    pub(crate) async fn mark_failed(
        &self,
        reason: &str,
        served_size: Option<ServedSize>,
        now: Timestamp,
    ) -> Result<(), TransferError> {
        let recordings = self.recordings;
        let failed = recordings.mark_failed(&self.key, &self.owner, reason, served_size, now);
        Ok(failed.await?)
    }

    /// Marks the file as failed because its last link ended, and ends the lease.
    pub(crate) async fn mark_link_ended(&self) -> Result<(), TransferError> {
        Ok(self.recordings.mark_link_ended(&self.key, &self.owner).await?)
    }

    /// Ends the lease, so that a new message continues the upload.
    pub(crate) async fn release_for_continuation(&self) -> Result<(), TransferError> {
        let recordings = self.recordings;
        let released = recordings.release_for_continuation(&self.key, &self.owner);
        Ok(released.await?)
    }

    /// Ends the lease and saves when the file is tried again.
    pub(crate) async fn release_for_retry(
        &self,
        retry: &ScheduledRetry<'_>,
    ) -> Result<(), TransferError> {
        let recordings = self.recordings;
        Ok(recordings.release_for_retry(&self.key, &self.owner, retry).await?)
    }
}

#[async_trait]
impl Journal for Lease<'_> {
    async fn save_upload(&self, upload: &UploadState) -> Result<(), TransferError> {
        let saved = self.recordings.save_upload(&self.key, &self.owner, upload);
        saved.await?;
        self.set_upload(Some(upload.clone()));
        Ok(())
    }

    async fn save_checksum(&self, crc64nvme: &str) -> Result<(), TransferError> {
        let recordings = self.recordings;
        let saved = recordings.save_upload_checksum(&self.key, &self.owner, crc64nvme);
        Ok(saved.await?)
    }

    async fn save_progress(&self, bytes: u64) -> Result<(), TransferError> {
        let saved = self.recordings.save_progress(&self.key, &self.owner, bytes);
        match saved.await.map_err(TransferError::from) {
            Err(TransferError::Aws(error)) => {
                tracing::warn!(%error, "progress not saved");
                Ok(())
            }
            saved => saved,
        }
    }

    async fn verify_lease(&self) -> Result<(), TransferError> {
        let verified = self.recordings.verify_lease(&self.key, &self.owner);
        Ok(verified.await?)
    }

    async fn clear_upload(&self) -> Result<(), TransferError> {
        let cleared = self.recordings.clear_upload(&self.key, &self.owner);
        cleared.await?;
        self.set_upload(None);
        Ok(())
    }
}

impl From<LeaseError> for TransferError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Table(error) => Self::Aws(error),
            LeaseError::Lost => Self::LeaseLost,
        }
    }
}
