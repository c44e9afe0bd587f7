//! The transfer's host in the function: the ladder, and the file's item in the table.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use reelay_store::recordings::{FileKey, RecordingTable, UploadState};

use crate::ladder::Ladder;
use crate::transfer::{Halt, Host, Rung, TransferError};

/// Every write is conditioned on the lease, so whoever has lost it finds out.
pub(crate) struct FileHost<'a> {
    recordings: &'a RecordingTable,
    key: &'a FileKey,
    owner: &'a str,
    ladder: Ladder<'a>,
    /// The upload under way, as the table has it.
    kept: Mutex<Option<UploadState>>,
}

impl<'a> FileHost<'a> {
    pub(crate) fn new(
        recordings: &'a RecordingTable,
        key: &'a FileKey,
        owner: &'a str,
        ladder: Ladder<'a>,
        kept: Option<UploadState>,
    ) -> Self {
        Self {
            recordings,
            key,
            owner,
            ladder,
            kept: Mutex::new(kept),
        }
    }

    /// The upload that is under way.
    pub(crate) fn kept(&self) -> Option<UploadState> {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn keep(&self, upload: Option<UploadState>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = upload;
    }
}

#[async_trait]
impl Host for FileHost<'_> {
    async fn rung(&self, number: usize) -> Result<Option<Rung>, Halt> {
        self.ladder.rung(number).await
    }

    async fn declared_now(&self) -> Option<u64> {
        self.ladder.declared().await
    }

    async fn begun(&self, upload: &UploadState) -> Result<(), TransferError> {
        self.recordings
            .save_upload(self.key, self.owner, upload)
            .await?;
        self.keep(Some(upload.clone()));
        Ok(())
    }

    async fn summed(&self, crc64nvme: &str) -> Result<(), TransferError> {
        Ok(self
            .recordings
            .save_upload_checksum(self.key, self.owner, crc64nvme)
            .await?)
    }

    async fn hold(&self) -> Result<(), TransferError> {
        Ok(self.recordings.verify_lease(self.key, self.owner).await?)
    }

    async fn dropped(&self) -> Result<(), TransferError> {
        self.recordings.clear_upload(self.key, self.owner).await?;
        self.keep(None);
        Ok(())
    }

    async fn progress(&self, bytes: u64) -> Result<(), TransferError> {
        Ok(self
            .recordings
            .save_progress(self.key, self.owner, bytes)
            .await?)
    }
}
