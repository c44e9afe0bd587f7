//! A transfer that nobody watches: no table, no lease, places to fetch from that are known beforehand. For
//! benchmarks and tools.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use reelay_store::recordings::UploadState;

use super::{Halt, Host, Rung, TransferError};

/// Keeps in memory what the function keeps in its table.
#[derive(Debug, Default)]
pub struct Standalone {
    rungs: Vec<Rung>,
    kept: Mutex<Option<UploadState>>,
    bytes: AtomicU64,
}

impl Standalone {
    /// With these places to fetch the file from, in the order in which they are tried.
    pub fn new(rungs: Vec<Rung>) -> Self {
        Self {
            rungs,
            ..Self::default()
        }
    }

    /// The upload that is under way, to be gone on with.
    pub fn kept(&self) -> Option<UploadState> {
        self.slot().clone()
    }

    /// Bytes at S3, as noted last.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<UploadState>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Host for Standalone {
    async fn rung(&self, number: usize) -> Result<Option<Rung>, Halt> {
        Ok(self.rungs.get(number).cloned())
    }

    async fn declared_now(&self) -> Option<u64> {
        None
    }

    async fn begun(&self, upload: &UploadState) -> Result<(), TransferError> {
        *self.slot() = Some(upload.clone());
        Ok(())
    }

    async fn summed(&self, crc64nvme: &str) -> Result<(), TransferError> {
        if let Some(kept) = self.slot().as_mut() {
            kept.crc64nvme = Some(crc64nvme.to_owned());
        }
        Ok(())
    }

    async fn hold(&self) -> Result<(), TransferError> {
        Ok(())
    }

    async fn dropped(&self) -> Result<(), TransferError> {
        *self.slot() = None;
        Ok(())
    }

    async fn progress(&self, bytes: u64) -> Result<(), TransferError> {
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }
}
