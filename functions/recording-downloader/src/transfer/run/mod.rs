//! One run of a transfer: starts or resumes the upload, and completes the object.

mod storing;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use jiff::SignedDuration;
use reelay_domain::part_size::{part_size, smallest_part_size};
use reelay_domain::upload::UploadState;
use reelay_runtime::metrics::{self, Metric};
use reelay_store::bucket::Bucket;
use reelay_zoom::{ByteRange, DownloadError};

use super::checksum;
use super::error::TransferError;
use super::journal::Journal;
use super::object::{ObjectSpec, ObjectWriter};
use super::parts::PartLayout;
use super::response::{FileVersion, Layout};
use super::settings::Settings;
use super::source::SourceResolver;
use super::timing::TimeBudget;

/// Maximum number of times that a run starts the transfer. Each restart follows a change of the file at Zoom.
const MAX_STARTS: u32 = 3;

/// Maximum number of first requests per start. A response may show that another range is needed.
const MAX_FIRST_REQUESTS: u32 = 3;

/// Age from which an upload is restarted whose object expires: S3 counts `RetentionDays` from the upload's creation.
const MAX_EXPIRING_UPLOAD_AGE: SignedDuration = SignedDuration::from_hours(24);

/// One file's transfer.
pub struct Transfer<'a> {
    /// Where the file is downloaded from.
    pub source: Arc<SourceResolver>,
    /// Bucket that receives the object.
    pub bucket: &'a Bucket,
    /// Object to store.
    pub object: &'a ObjectSpec,
    /// Settings of the engine.
    pub settings: &'a Settings,
    /// Where the state for the next run is saved.
    pub journal: &'a dyn Journal,
}

/// The object in the bucket, as S3 verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Size in bytes.
    pub bytes: u64,
    /// Base64 CRC-64/NVME of the object.
    pub crc64nvme: String,
    /// Whether the first bytes match the file type; `None` for types without a known signature.
    pub recognised: Option<bool>,
    /// Size that Zoom declares after the transfer; requested only if the stored size differs from the size
    /// declared before.
    pub declared_size: Option<u64>,
}

/// Successful end of a run.
#[derive(Debug)]
pub enum Outcome {
    /// The object is stored.
    Stored(StoredFile),
    /// The deadline was near before all parts were uploaded; the next run resumes the upload.
    Unfinished {
        /// Bytes of the parts that this run uploaded, never 0.
        uploaded_bytes: u64,
    },
}

impl Transfer<'_> {
    /// Runs until the file is stored, but stops before the deadline: by [`Settings::reserve`], or by a quarter of
    /// the remaining time if that is less. `upload` is the state that an earlier run saved. The future can be
    /// dropped at any await point; the next run resumes from the parts that S3 has.
    ///
    /// # Errors
    /// Returns the reason why the file is not stored.
    pub async fn run(
        &self,
        upload: Option<UploadState>,
        deadline: Option<Instant>,
    ) -> Result<Outcome, TransferError> {
        let budget = TimeBudget::new(Instant::now(), deadline, self.settings.reserve);
        let run = Run {
            source: &self.source,
            object: ObjectWriter {
                bucket: self.bucket,
                spec: self.object,
                has_part_checksums: self.settings.has_part_checksums,
            },
            settings: self.settings,
            journal: self.journal,
            budget: Mutex::new(budget),
            uploaded_bytes: AtomicU64::new(0),
            is_stream: AtomicBool::new(false),
            is_restarted: AtomicBool::new(false),
        };
        let outcome = match budget.cutoff() {
            None => run.execute(upload).await,
            Some(cutoff) => tokio::time::timeout_at(cutoff.into(), run.execute(upload))
                .await
                .unwrap_or_else(|_| run.unfinished_outcome()),
        };
        match outcome {
            // The next run resumes the new upload. A file that differs in each response must not go on for ever.
            Ok(Outcome::Unfinished { .. }) if run.is_restarted.load(Ordering::Relaxed) => {
                Err(TransferError::SourceChanged)
            }
            outcome => outcome,
        }
    }
}

struct Run<'a> {
    source: &'a Arc<SourceResolver>,
    object: ObjectWriter<'a>,
    settings: &'a Settings,
    journal: &'a dyn Journal,
    budget: Mutex<TimeBudget>,
    /// Bytes of the parts that this run has uploaded.
    uploaded_bytes: AtomicU64,
    /// Whether the file arrives as one stream, which the next run cannot resume.
    is_stream: AtomicBool,
    /// Whether the file had changed, so that uploaded parts were discarded.
    is_restarted: AtomicBool,
}

impl Run<'_> {
    async fn execute(&self, mut upload: Option<UploadState>) -> Result<Outcome, TransferError> {
        self.source.require().await?;
        if upload.is_none() && self.object.spec.is_retry {
            // An earlier invocation may have created an upload without saving its id.
            self.object.bucket.abort_uploads_of(&self.object.spec.key).await?;
        }
        for start in 0..MAX_STARTS {
            if start > 0 {
                self.is_restarted.store(true, Ordering::Relaxed);
                self.record_restart("source_changed");
            }
            let result = match upload.take() {
                Some(upload) => self.resume(upload).await,
                None => self.start().await,
            };
            if !matches!(result, Err(TransferError::SourceChanged)) {
                return result;
            }
        }
        Err(TransferError::SourceChanged)
    }

    /// Part size in bytes for a new upload.
    fn part_size(&self, length: Option<u64>) -> u64 {
        match self.object.spec.is_slow {
            true => smallest_part_size(length),
            false => part_size(length, self.settings.connections as u64),
        }
    }

    fn record_restart(&self, reason: &'static str) {
        metrics::count(Metric::UploadsRestarted, reason);
        tracing::warn!(key = self.object.spec.key, reason, "upload restarted");
    }

    fn unfinished_outcome(&self) -> Result<Outcome, TransferError> {
        match self.uploaded_bytes.load(Ordering::Relaxed) {
            0 if self.is_stream.load(Ordering::Relaxed) => Err(TransferError::StreamTooSlow),
            0 => Err(TransferError::NoProgress),
            uploaded_bytes => Ok(Outcome::Unfinished { uploaded_bytes }),
        }
    }

    /// Requests the first part. The response decides how the file is transferred.
    async fn start(&self) -> Result<Outcome, TransferError> {
        let (mut length, mut should_send_range) = (self.object.spec.declared_size, true);
        for _ in 0..MAX_FIRST_REQUESTS {
            let part_size = self.part_size(length);
            let needs_range = length.is_none_or(|length| length > part_size);
            let requested = (should_send_range && needs_range).then_some(part_size);
            let range = requested.and_then(|length| ByteRange::new(0, length.checked_sub(1)?));
            let response = match self.source.open(range).await {
                // An empty file has no satisfiable range.
                Err(TransferError::Download(DownloadError::RangeNotSatisfiable {
                    total: Some(0),
                })) if requested.is_some() => return self.put_bytes(Bytes::new()).await,
                response => response?,
            };
            match response.head.layout(requested, part_size, should_send_range) {
                Layout::Whole(length) => return self.put(response, range, length).await,
                Layout::Parts(length) => {
                    return self.upload_in_parts(response, length, part_size).await;
                }
                Layout::Stream(length) => return self.upload_stream(response, length).await,
                Layout::Repeat { length: known_length, has_range } => {
                    (length, should_send_range) = (known_length, has_range)
                }
            }
        }
        Err(TransferError::RangeIgnored)
    }

    async fn resume(&self, state: UploadState) -> Result<Outcome, TransferError> {
        let upload = self.object.upload(state.id.clone());
        let Some(mut parts) = upload.list_parts().await? else {
            if let Some(outcome) = self.find_completed(&state).await? {
                return Ok(outcome);
            }
            self.journal.clear_upload().await?;
            self.record_restart("upload_gone");
            return self.start().await;
        };
        let Some(layout) = state.length.and_then(|length| PartLayout::new(length, state.part_size))
        else {
            // A stream of unknown length cannot be resumed.
            self.abort(&upload).await?;
            self.record_restart("no_range");
            return self.start().await;
        };
        let spec = self.object.spec;
        let age = spec.now.duration_since(state.created_at);
        if spec.tagging.is_some() && age >= MAX_EXPIRING_UPLOAD_AGE {
            self.abort(&upload).await?;
            self.record_restart("object_would_expire_early");
            return self.start().await;
        }
        parts.retain(|number, part| layout.is_part(*number, part.length));
        if self.object.spec.is_slow
            && parts.is_empty()
            && state.part_size > smallest_part_size(state.length)
        {
            self.abort(&upload).await?;
            self.record_restart("slow_source");
            return self.start().await;
        }
        let Some(missing) = (1..=layout.count()).find(|number| !parts.contains_key(number)) else {
            return self.complete(&upload, &parts, layout.length(), state.recognised).await;
        };
        let response = match self.source.open(layout.range_of(missing)).await {
            Err(TransferError::Download(DownloadError::RangeNotSatisfiable { .. })) => {
                self.abort(&upload).await?;
                return Err(TransferError::SourceChanged);
            }
            response => response?,
        };
        match FileVersion::of_upload(&state, layout.length()).verify(&response.head) {
            Ok(()) => {
                metrics::count(Metric::UploadsResumed, "ok");
                self.upload_parts(&upload, &state, layout, parts, response).await
            }
            // Another server may have responded: the parts are discarded if it persists.
            Err(error @ TransferError::RangeIgnored) if !self.object.spec.is_range_ignored => {
                Err(error)
            }
            Err(TransferError::RangeIgnored) => {
                self.abort(&upload).await?;
                self.record_restart("no_range");
                let length = response.head.content_length;
                self.upload_stream(response, length).await
            }
            Err(error) => {
                self.abort(&upload).await?;
                Err(error)
            }
        }
    }

    /// Checks whether an earlier run completed the upload and ended before it saved the result.
    async fn find_completed(&self, state: &UploadState) -> Result<Option<Outcome>, TransferError> {
        let crc = state.crc64nvme.as_deref().and_then(checksum::from_base64);
        match (state.length, crc) {
            (Some(length), Some(crc)) if self.object.is_stored(length, crc).await? => {
                Ok(Some(self.stored_outcome(length, crc, state.recognised).await))
            }
            _ => Ok(None),
        }
    }
}
