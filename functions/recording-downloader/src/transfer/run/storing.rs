//! How a run stores the file: in one request, in parts, or as one stream.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use reelay_domain::part_size::{MAX_FILE_SIZE, MAX_PARTS, slow_connections, smallest_part_size};
use reelay_domain::upload::UploadState;
use reelay_zoom::ByteRange;

use super::{Outcome, Run, StoredFile};
use crate::transfer::body::PartReader;
use crate::transfer::error::TransferError;
use crate::transfer::object::{MultipartUpload, UploadedPart};
use crate::transfer::parallel::PartUploader;
use crate::transfer::parts::PartLayout;
use crate::transfer::response::{FileVersion, Response, ResponseHead};
use crate::transfer::timing::ProgressThrottle;
use crate::transfer::upload_body::UploadBody;
use crate::transfer::{checksum, content};

impl Run<'_> {
    /// Stores a file that fits into one request, streaming its bytes.
    pub(super) async fn put(
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
    pub(super) async fn put_bytes(&self, bytes: Bytes) -> Result<Outcome, TransferError> {
        let (length, recognised) = (bytes.len() as u64, self.matches_type(&bytes));
        self.verify_size(length).await?;
        let crc = self.object.put_bytes(bytes).await?;
        Ok(self.stored_outcome(length, crc, recognised).await)
    }

    /// Stores a file in parts; `first` is the response for the first part.
    pub(super) async fn upload_in_parts(
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
    pub(super) async fn upload_parts(
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
    pub(super) async fn upload_stream(
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
        // More than declared is read to its end, because a size that is served twice is accepted.
        let known = self.exact_size().max(self.object.spec.accepted_size);
        let at_most = |declared: u64| declared.saturating_mul(2);
        let mut max_bytes = length.or(known.map(at_most)).unwrap_or(u64::MAX);
        while !part.is_empty() {
            number += 1;
            bytes += part.len() as u64;
            if bytes > max_bytes && length.is_none() {
                // Zoom may have corrected the declared size.
                let declared = self.source.declared_size().await.map(at_most);
                max_bytes = max_bytes.max(declared.unwrap_or(0));
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
    pub(super) async fn complete(
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
    pub(super) async fn abort(&self, upload: &MultipartUpload<'_>) -> Result<(), TransferError> {
        self.journal.verify_lease().await?;
        upload.abort().await?;
        self.journal.clear_upload().await
    }

    pub(super) async fn stored_outcome(
        &self,
        bytes: u64,
        crc: u64,
        recognised: Option<bool>,
    ) -> Outcome {
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
        if received > MAX_FILE_SIZE {
            return Err(TransferError::BodyTooLong);
        }
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
