//! One run of a transfer: starts or resumes the upload, and completes the object.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use jiff::SignedDuration;
use reelay_domain::part_size::{MAX_PARTS, part_size, slow_connections, smallest_part_size};
use reelay_domain::upload::UploadState;
use reelay_runtime::metrics::{self, Metric};
use reelay_store::bucket::Bucket;
use reelay_zoom::{ByteRange, DownloadError};

use super::body::PartReader;
use super::error::TransferError;
use super::journal::Journal;
use super::object::{MultipartUpload, ObjectSpec, ObjectWriter, UploadedPart};
use super::parallel::PartUploader;
use super::parts::PartLayout;
use super::response::{FileVersion, Layout, Response, ResponseHead};
use super::settings::Settings;
use super::source::SourceResolver;
use super::timing::{ProgressThrottle, TimeBudget};
use super::upload_body::UploadBody;
use super::{checksum, content};

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

    /// Stores a file that fits into one request, streaming its bytes.
    async fn put(
        &self,
        response: Response,
        range: Option<ByteRange>,
        length: u64,
    ) -> Result<Outcome, TransferError> {
        self.verify_size(length).await?;
        if length == 0 {
            return self.put_bytes(Bytes::new()).await;
        }
        let recognised = self.matches_type(response.body.peeked());
        let version =
            response.head.content_range.map(|_| FileVersion::of_response(&response.head, length));
        let body = UploadBody::new(self.source, response, range, length, version);
        let crc = self.object.put(&body).await?;
        Ok(self.stored_outcome(length, crc, recognised).await)
    }

    /// Stores a file from memory.
    async fn put_bytes(&self, bytes: Bytes) -> Result<Outcome, TransferError> {
        let (length, recognised) = (bytes.len() as u64, self.matches_type(&bytes));
        self.verify_size(length).await?;
        let crc = self.object.put_bytes(bytes).await?;
        Ok(self.stored_outcome(length, crc, recognised).await)
    }

    /// Stores a file in parts; `first` is the response for the first part.
    async fn upload_in_parts(
        &self,
        first: Response,
        length: u64,
        part_size: u64,
    ) -> Result<Outcome, TransferError> {
        self.verify_size(length).await?;
        let layout = PartLayout::new(length, part_size).ok_or(TransferError::RangeIgnored)?;
        let recognised = self.matches_type(first.body.peeked());
        let (upload, state) =
            self.create_upload(&first.head, Some(length), part_size, recognised).await?;
        self.upload_parts(&upload, &state, layout, BTreeMap::new(), first).await
    }

    /// Uploads the parts that are missing from `parts`, and completes the upload if none is left.
    async fn upload_parts(
        &self,
        upload: &MultipartUpload<'_>,
        state: &UploadState,
        layout: PartLayout,
        mut parts: BTreeMap<u32, UploadedPart>,
        first: Response,
    ) -> Result<Outcome, TransferError> {
        let uploader = PartUploader {
            source: self.source,
            upload,
            journal: self.journal,
            settings: self.settings,
            connections: match self.object.spec.is_slow {
                true => slow_connections(self.settings.connections, state.part_size),
                false => self.settings.connections,
            },
            version: FileVersion::of_upload(state, layout.length()),
            layout,
            budget: &self.budget,
            uploaded_bytes: &self.uploaded_bytes,
        };
        match uploader.upload_missing(&mut parts, first).await {
            Ok(()) if parts.len() < layout.count() as usize => self.unfinished_outcome(),
            Ok(()) => self.complete(upload, &parts, layout.length(), state.recognised).await,
            Err(error @ TransferError::SourceChanged) => {
                self.abort(upload).await?;
                Err(error)
            }
            // An operator or the holder of a newer lease aborted it.
            Err(error @ TransferError::UploadGone) => {
                self.journal.verify_lease().await?;
                self.journal.clear_upload().await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Stores a file from a host without range support. A later run can resume it only if the host supports
    /// ranges by then, so nothing counts as uploaded.
    async fn upload_stream(
        &self,
        response: Response,
        length: Option<u64>,
    ) -> Result<Outcome, TransferError> {
        self.is_stream.store(true, Ordering::Relaxed);
        if let Some(length) = length {
            self.verify_size(length).await?;
        }
        let recognised = self.matches_type(response.body.peeked());
        let part_size = smallest_part_size(length);
        let Response { head, body } = response;
        let mut reader = PartReader::new(body, part_size);
        let mut part = reader.next_part().await?;
        if (part.len() as u64) < part_size {
            return self.put_bytes(part).await;
        }
        let (upload, _) = self.create_upload(&head, length, part_size, recognised).await?;
        let mut progress = ProgressThrottle::new(self.settings.progress, Instant::now(), 0);
        let (mut parts, mut bytes, mut number) = (BTreeMap::new(), 0u64, 0u32);
        let known = length.or_else(|| self.exact_size().max(self.object.spec.accepted_size));
        let mut max_bytes = known.unwrap_or(u64::MAX);
        while !part.is_empty() {
            number += 1;
            bytes += part.len() as u64;
            if bytes > max_bytes && length.is_none() {
                // Zoom may have corrected the declared size.
                max_bytes =
                    self.source.declared_size().await.map_or(max_bytes, |it| it.max(max_bytes));
            }
            if u64::from(number) > MAX_PARTS || bytes > max_bytes {
                return Err(TransferError::BodyTooLong);
            }
            parts.insert(number, upload.upload_part_bytes(number, part).await?);
            if progress.should_save(Instant::now(), bytes, length) {
                self.journal.save_progress(bytes).await?;
            }
            part = reader.next_part().await?;
        }
        self.verify_size(bytes).await?;
        self.complete(&upload, &parts, bytes, recognised).await
    }

    /// Creates a multipart upload and saves its state.
    async fn create_upload(
        &self,
        head: &ResponseHead,
        length: Option<u64>,
        part_size: u64,
        recognised: Option<bool>,
    ) -> Result<(MultipartUpload<'_>, UploadState), TransferError> {
        let upload = self.object.create_upload().await?;
        let state = UploadState {
            id: upload.id.clone(),
            created_at: self.object.spec.now,
            length,
            validator: head.validator.clone(),
            source: head.kind,
            part_size,
            recognised,
            crc64nvme: None,
        };
        if let Err(error) = self.journal.save_upload(&state).await {
            // If the write took effect despite the error, the next run finds that the upload is gone.
            if let Err(error) = upload.abort().await {
                tracing::warn!(%error, "unsaved upload not aborted");
            }
            return Err(error);
        }
        Ok((upload, state))
    }

    /// Completes the upload and verifies that the object is stored.
    async fn complete(
        &self,
        upload: &MultipartUpload<'_>,
        parts: &BTreeMap<u32, UploadedPart>,
        length: u64,
        recognised: Option<bool>,
    ) -> Result<Outcome, TransferError> {
        let crc = checksum::combine(parts.values().map(|part| (part.crc, part.length)));
        // The next run identifies the object by this checksum if this one ends before it saves the result.
        // The write also verifies the lease for the last time.
        self.journal.save_checksum(&checksum::to_base64(crc)).await?;
        match upload.complete(parts, length, crc).await {
            Ok(()) => {}
            Err(TransferError::UploadGone) if self.object.is_stored(length, crc).await? => {}
            Err(error) => {
                match error {
                    TransferError::UploadGone => self.journal.clear_upload().await?,
                    TransferError::PartsRejected(_) => self.abort(upload).await?,
                    _ => {}
                }
                return Err(error);
            }
        }
        Ok(self.stored_outcome(length, crc, recognised).await)
    }

    /// Aborts the upload and removes it from the journal, if this invocation still holds the lease.
    async fn abort(&self, upload: &MultipartUpload<'_>) -> Result<(), TransferError> {
        self.journal.verify_lease().await?;
        upload.abort().await?;
        self.journal.clear_upload().await
    }

    async fn stored_outcome(&self, bytes: u64, crc: u64, recognised: Option<bool>) -> Outcome {
        let declared_size = match self.object.spec.declared_size {
            // Zoom may have corrected the declared size.
            Some(declared) if declared != bytes => self.source.declared_size().await,
            _ => None,
        };
        Outcome::Stored(StoredFile {
            bytes,
            crc64nvme: checksum::to_base64(crc),
            recognised,
            declared_size,
        })
    }

    /// Size that the file must have; `None` if the declared size is not binding.
    fn exact_size(&self) -> Option<u64> {
        let spec = self.object.spec;
        spec.declared_size.filter(|_| spec.is_size_exact)
    }

    /// Compares the size with the one that Zoom declared in the event, then with the one in its API. A size that
    /// was served before is accepted.
    async fn verify_size(&self, received: u64) -> Result<(), TransferError> {
        let Some(declared) = self.exact_size().filter(|declared| *declared != received) else {
            return Ok(());
        };
        if self.object.spec.accepted_size == Some(received)
            || self.source.declared_size().await == Some(received)
        {
            return Ok(());
        }
        Err(TransferError::SizeMismatch { declared, received })
    }

    fn matches_type(&self, head: &[u8]) -> Option<bool> {
        content::matches_type(&self.object.spec.extension, head)
    }
}
