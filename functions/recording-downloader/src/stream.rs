//! From Zoom's answer to an object that S3 has verified, with at most one part in memory.

use aws::AwsFailure;
use aws::bucket::Bucket;
use aws::recordings::{FenceError, FileKey, RecordingTable};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};
use domain::ids::MeetingUuid;
use domain::recording::FileFacts;
use zoom::{Download, DownloadBody, NetworkError};

use crate::TransferError;
use crate::verdict::Verdict;

const MIB: u64 = 1024 * 1024;

/// Smallest part; below it a file goes by one PutObject.
const SMALLEST_PART: u64 = 8 * MIB;

/// S3's limit.
const MOST_PARTS: u64 = 10_000;

/// Where a file goes.
pub(crate) struct Target<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) key: &'a str,
    pub(crate) facts: &'a FileFacts,
    pub(crate) meeting: &'a MeetingUuid,
    pub(crate) recordings: &'a RecordingTable,
    pub(crate) file: &'a FileKey,
    pub(crate) owner: &'a str,
}

/// What was stored, as S3 verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proven {
    pub(crate) bytes: u64,
    /// Base64 CRC-64/NVME of the whole object.
    pub(crate) crc64nvme: String,
}

/// Streams a download into the bucket. The inner error is a verdict on Zoom's side, the outer one our
/// own trouble. Nothing appears under the key unless it is whole: S3 checks length and checksum.
pub(crate) async fn store(
    mut download: Download,
    target: &Target<'_>,
) -> Result<Result<Proven, Verdict>, TransferError> {
    let declared = target.facts.size.filter(|_| target.facts.size_is_exact());
    if let (Some(declared), Some(length)) = (declared, download.content_length)
        && declared != length
    {
        return Ok(Err(wrong_length(declared, length)));
    }
    let expected = download.content_length.or(target.facts.size);
    let part_size = part_size(expected);
    let mut reader = PartReader {
        body: &mut download.body,
        rest: Bytes::new(),
        part_size,
    };
    let first = match reader.next().await {
        Ok(part) => part,
        Err(error) => return Ok(Err(Verdict::retry("network", error))),
    };
    if (first.len() as u64) < part_size {
        let bytes = first.len() as u64;
        if let Some(declared) = declared.filter(|declared| *declared != bytes) {
            return Ok(Err(wrong_length(declared, bytes)));
        }
        return put(target, first).await.map(Ok);
    }
    let upload = Upload::begin(target).await?;
    let sent = upload.send(first, &mut reader, declared).await;
    match sent {
        Ok(Ok(proven)) => Ok(Ok(proven)),
        Ok(Err(verdict)) => {
            upload.abort().await;
            Ok(Err(verdict))
        }
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}

fn wrong_length(declared: u64, received: u64) -> Verdict {
    Verdict::retry(
        "length_differs",
        format!("Zoom declared {declared} bytes and gave {received}"),
    )
}

/// Large enough that 10,000 parts suffice; for an unknown length, for 156 GiB.
fn part_size(expected: Option<u64>) -> u64 {
    match expected {
        Some(length) => length
            .div_ceil(MOST_PARTS)
            .next_multiple_of(MIB)
            .max(SMALLEST_PART),
        None => 16 * MIB,
    }
}

/// Cuts a body into parts.
struct PartReader<'a> {
    body: &'a mut DownloadBody,
    rest: Bytes,
    part_size: u64,
}

impl PartReader<'_> {
    /// The next part; shorter than the part size only at the end, empty behind it.
    async fn next(&mut self) -> Result<Bytes, NetworkError> {
        let size = usize::try_from(self.part_size).unwrap_or(usize::MAX);
        let mut part = BytesMut::new();
        while part.len() < size {
            if self.rest.is_empty() {
                match self.body.chunk().await? {
                    Some(chunk) => self.rest = chunk,
                    None => break,
                }
            }
            let take = self.rest.len().min(size - part.len());
            part.extend_from_slice(&self.rest.split_to(take));
        }
        Ok(part.freeze())
    }
}

async fn put(target: &Target<'_>, bytes: Bytes) -> Result<Proven, TransferError> {
    let length = bytes.len() as u64;
    let crc64nvme = crc(&bytes);
    let mut request = target
        .bucket
        .client()
        .put_object()
        .bucket(target.bucket.name())
        .key(target.key)
        .content_type(content_type(&target.facts.extension))
        .checksum_crc64_nvme(&crc64nvme)
        .body(ByteStream::from(bytes));
    for (name, value) in metadata(target) {
        request = request.metadata(name, value);
    }
    request
        .send()
        .await
        .map_err(|error| AwsFailure::of("PutObject", &error))?;
    Ok(Proven {
        bytes: length,
        crc64nvme,
    })
}

/// A multipart upload of ours.
struct Upload<'a> {
    target: &'a Target<'a>,
    id: String,
}

impl<'a> Upload<'a> {
    async fn begin(target: &'a Target<'a>) -> Result<Self, TransferError> {
        let mut request = target
            .bucket
            .client()
            .create_multipart_upload()
            .bucket(target.bucket.name())
            .key(target.key)
            .content_type(content_type(&target.facts.extension))
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .checksum_type(ChecksumType::FullObject);
        for (name, value) in metadata(target) {
            request = request.metadata(name, value);
        }
        let created = request
            .send()
            .await
            .map_err(|error| AwsFailure::of("CreateMultipartUpload", &error))?;
        let id = created
            .upload_id
            .ok_or_else(|| AwsFailure::answer("CreateMultipartUpload", "no upload id"))?;
        Ok(Self { target, id })
    }

    async fn send(
        &self,
        first: Bytes,
        reader: &mut PartReader<'_>,
        declared: Option<u64>,
    ) -> Result<Result<Proven, Verdict>, TransferError> {
        let mut whole = Digest::new(CrcAlgorithm::Crc64Nvme);
        let mut parts = Vec::new();
        let mut bytes = 0u64;
        let mut part = first;
        while !part.is_empty() {
            bytes += part.len() as u64;
            if parts.len() as u64 == MOST_PARTS || declared.is_some_and(|declared| bytes > declared)
            {
                return Ok(Err(Verdict::retry(
                    "length_differs",
                    "the body is longer than Zoom had said",
                )));
            }
            whole.update(&part);
            let number = i32::try_from(parts.len() + 1).unwrap_or(i32::MAX);
            parts.push(self.part(number, part).await?);
            match self
                .target
                .recordings
                .progress(self.target.file, self.target.owner, bytes)
                .await
            {
                // The number is for a progress bar; that the lease is ours is for correctness.
                Err(FenceError::Lost) => return Err(FenceError::Lost.into()),
                Err(FenceError::Table(failure)) => {
                    tracing::warn!(error = %failure, "progress not noted")
                }
                Ok(()) => {}
            }
            part = match reader.next().await {
                Ok(part) => part,
                Err(error) => return Ok(Err(Verdict::retry("network", error))),
            };
        }
        if let Some(declared) = declared.filter(|declared| *declared != bytes) {
            return Ok(Err(wrong_length(declared, bytes)));
        }
        let crc64nvme = STANDARD.encode(whole.finalize().to_be_bytes());
        self.complete(parts, bytes, &crc64nvme).await?;
        Ok(Ok(Proven { bytes, crc64nvme }))
    }

    async fn part(&self, number: i32, bytes: Bytes) -> Result<CompletedPart, TransferError> {
        let crc64nvme = crc(&bytes);
        let sent = self
            .target
            .bucket
            .client()
            .upload_part()
            .bucket(self.target.bucket.name())
            .key(self.target.key)
            .upload_id(&self.id)
            .part_number(number)
            .checksum_crc64_nvme(&crc64nvme)
            .body(ByteStream::from(bytes))
            .send()
            .await
            .map_err(|error| AwsFailure::of("UploadPart", &error))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .checksum_crc64_nvme(crc64nvme)
            .build())
    }

    /// Fails closed: S3 compares every part's checksum, the whole object's, and its size.
    async fn complete(
        &self,
        parts: Vec<CompletedPart>,
        bytes: u64,
        crc64nvme: &str,
    ) -> Result<(), TransferError> {
        self.target
            .bucket
            .client()
            .complete_multipart_upload()
            .bucket(self.target.bucket.name())
            .key(self.target.key)
            .upload_id(&self.id)
            .multipart_upload(
                CompletedMultipartUpload::builder()
                    .set_parts(Some(parts))
                    .build(),
            )
            .checksum_type(ChecksumType::FullObject)
            .checksum_crc64_nvme(crc64nvme)
            .mpu_object_size(i64::try_from(bytes).unwrap_or(i64::MAX))
            .send()
            .await
            .map_err(|error| AwsFailure::of("CompleteMultipartUpload", &error))?;
        Ok(())
    }

    /// Gives the parts back. If this fails, the bucket's lifecycle rule does it.
    async fn abort(&self) {
        let aborted = self
            .target
            .bucket
            .client()
            .abort_multipart_upload()
            .bucket(self.target.bucket.name())
            .key(self.target.key)
            .upload_id(&self.id)
            .send()
            .await;
        if let Err(error) = aborted {
            tracing::warn!(error = %AwsFailure::of("AbortMultipartUpload", &error), "upload not aborted");
        }
    }
}

fn crc(bytes: &[u8]) -> String {
    STANDARD.encode(crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes).to_be_bytes())
}

/// Object metadata is sent in headers: what is not plain ASCII is left out of it.
fn metadata(target: &Target<'_>) -> Vec<(&'static str, String)> {
    let facts = target.facts;
    let mut metadata = vec![
        ("zoom-meeting-uuid", target.meeting.as_str().to_owned()),
        ("zoom-file-id", facts.id.as_str().to_owned()),
    ];
    if let Some(recording_type) = &facts.recording_type {
        metadata.push(("zoom-recording-type", recording_type.clone()));
    }
    if let Some(size) = facts.size {
        metadata.push(("zoom-file-size", size.to_string()));
    }
    metadata.retain(|(_, value)| value.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
    metadata
}

/// By the extension, never by what Zoom's answer says: the bucket must not serve pages.
fn content_type(extension: &str) -> &'static str {
    match extension {
        "mp4" => "video/mp4",
        "m4a" => "audio/mp4",
        "vtt" => "text/vtt",
        "txt" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "json" => "application/json",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_always_suffice() {
        for length in [
            0,
            1,
            SMALLEST_PART,
            80_000 * MIB,
            1024 * 1024 * MIB,
            5 * 1024 * 1024 * MIB,
        ] {
            let size = part_size(Some(length));
            assert!(length.div_ceil(size) <= MOST_PARTS, "{length}");
            assert!(size >= SMALLEST_PART);
        }
    }

    #[test]
    fn no_extension_makes_the_bucket_serve_a_page() {
        for extension in ["html", "htm", "svg", "xml", "bin", ""] {
            assert_eq!(content_type(extension), "application/octet-stream");
        }
    }
}
