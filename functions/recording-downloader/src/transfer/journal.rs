//! State that outlives a run.

use async_trait::async_trait;
use reelay_domain::upload::UploadState;

use super::error::TransferError;

/// Stores what the next run needs to resume the upload. Every method fails with
/// [`TransferError::LeaseLost`] if another invocation holds the file's lease.
#[async_trait]
pub trait Journal: Sync {
    /// Stores a new multipart upload.
    async fn save_upload(&self, upload: &UploadState) -> Result<(), TransferError>;

    /// Stores the checksum of the whole file (base64 CRC-64/NVME) before the upload is completed.
    async fn save_checksum(&self, crc64nvme: &str) -> Result<(), TransferError>;

    /// Stores how many bytes are uploaded. For display only: it may fail silently.
    async fn save_progress(&self, bytes: u64) -> Result<(), TransferError>;

    /// Checks that this invocation still holds the lease.
    async fn verify_lease(&self) -> Result<(), TransferError>;

    /// Removes the upload, which no longer exists at S3.
    async fn clear_upload(&self) -> Result<(), TransferError>;
}
