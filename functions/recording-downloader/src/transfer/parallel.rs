//! Upload of a file's parts over several connections.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use reelay_runtime::random;

use super::error::TransferError;
use super::journal::Journal;
use super::object::{MultipartUpload, UploadedPart};
use super::parts::PartLayout;
use super::response::{FileVersion, Response};
use super::settings::Settings;
use super::source::SourceResolver;
use super::timing::{ProgressThrottle, TimeBudget};
use super::upload_body::UploadBody;

/// Uploads the parts of one file version.
pub(crate) struct PartUploader<'a> {
    pub(crate) source: &'a Arc<SourceResolver>,
    pub(crate) upload: &'a MultipartUpload<'a>,
    pub(crate) journal: &'a dyn Journal,
    pub(crate) settings: &'a Settings,
    /// Number of parts that are uploaded concurrently.
    pub(crate) connections: usize,
    pub(crate) version: FileVersion,
    pub(crate) layout: PartLayout,
    pub(crate) budget: &'a Mutex<TimeBudget>,
    /// Bytes of the parts that this run has uploaded.
    pub(crate) uploaded_bytes: &'a AtomicU64,
}

impl PartUploader<'_> {
    /// Uploads the parts that are missing from `parts`, as far as the time allows, and adds them. `first` is
    /// the response for the first missing part.
    pub(crate) async fn upload_missing(
        &self,
        parts: &mut BTreeMap<u32, UploadedPart>,
        first: Response,
    ) -> Result<(), TransferError> {
        let missing: Vec<u32> =
            (1..=self.layout.count()).filter(|number| !parts.contains_key(number)).collect();
        let (mut missing, mut first) = (missing.into_iter(), Some(first));
        let mut bytes: u64 = parts.values().map(|part| part.length).sum();
        let mut progress = ProgressThrottle::new(self.settings.progress, Instant::now(), bytes);
        let mut uploads = FuturesUnordered::new();
        let mut failure = None;
        loop {
            while uploads.len() < self.connections
                && failure.is_none()
                && self.budget().can_start_part(Instant::now())
                && let Some(number) = missing.next()
            {
                uploads.push(self.upload_part(number, first.take()));
            }
            let Some(result) = uploads.next().await else {
                break;
            };
            match result {
                Ok((number, part)) => {
                    bytes += part.length;
                    self.uploaded_bytes.fetch_add(part.length, Ordering::Relaxed);
                    parts.insert(number, part);
                    if progress.should_save(Instant::now(), bytes, Some(self.layout.length())) {
                        self.journal.save_progress(bytes).await?;
                    }
                }
                Err(error @ TransferError::LeaseLost) => return Err(error),
                // Parts in progress are finished, so that the next run does not repeat them.
                Err(error) => {
                    if failure.is_none() || error == TransferError::SourceChanged {
                        failure = Some(error);
                    }
                }
            }
        }
        drop(uploads);
        match failure {
            // The caller removes the upload.
            Some(error @ (TransferError::SourceChanged | TransferError::UploadGone)) => {
                return Err(error);
            }
            None if parts.len() == self.layout.count() as usize => return Ok(()),
            _ => self.journal.save_progress(bytes).await?,
        }
        failure.map_or(Ok(()), Err)
    }

    /// Uploads one part; transient failures are retried.
    async fn upload_part(
        &self,
        number: u32,
        mut response: Option<Response>,
    ) -> Result<(u32, UploadedPart), TransferError> {
        let mut delay = self.settings.part_retry_delay;
        let mut attempt = 1;
        loop {
            let started = Instant::now();
            match self.upload_part_once(number, response.take()).await {
                Ok(part) => {
                    self.budget().record_part(started.elapsed());
                    return Ok((number, part));
                }
                Err(error) if error.is_transient() && attempt < self.settings.max_part_attempts => {
                    tracing::info!(part = number, attempt, %error, "part upload retried");
                    tokio::time::sleep(with_jitter(delay)).await;
                    delay *= 2;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn upload_part_once(
        &self,
        number: u32,
        response: Option<Response>,
    ) -> Result<UploadedPart, TransferError> {
        let range = self.layout.range_of(number);
        let response = match response {
            Some(response) => response,
            None => self.source.open_version(range, &self.version).await?,
        };
        let length = self.layout.length_of(number);
        let version = Some(self.version.clone());
        let body = UploadBody::new(self.source, response, range, length, version);
        self.upload.upload_part(number, &body).await
    }

    fn budget(&self) -> MutexGuard<'_, TimeBudget> {
        // Plain values, valid even after a panic.
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Multiplies a delay by a random factor from 0.5 to 1.5.
fn with_jitter(delay: Duration) -> Duration {
    let [byte] = random::bytes::<1>();
    delay.mul_f64(0.5 + f64::from(byte) / 255.0)
}
