//! The object in S3: one `PutObject`, or a multipart upload. S3 verifies the CRC-64/NVME of each request that
//! carries one, and completes an upload only if the object has the expected length and checksum.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_s3::config::{Builder, RequestChecksumCalculation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::operation::upload_part::builders::UploadPartFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
};
use bytes::Bytes;
use jiff::Timestamp;
use reelay_runtime::AwsError;
use reelay_runtime::environment::no_time_limits;
use reelay_store::bucket::{Bucket, OpenUpload};

use super::checksum;
use super::error::TransferError;
use super::upload_body::UploadBody;

/// The object to store, and what is known about the file beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSpec {
    /// Object key.
    pub key: String,
    /// Start of the run, with which a new upload is dated.
    pub now: Timestamp,
    /// `Content-Type` of the object.
    pub content_type: String,
    /// User-defined metadata of the object.
    pub metadata: Vec<(String, String)>,
    /// Tags of the object, as `x-amz-tagging` has them.
    pub tagging: Option<&'static str>,
    /// File extension in lower case; decides which signature (magic bytes) is expected.
    pub extension: String,
    /// Size that Zoom declared, in bytes.
    pub declared_size: Option<u64>,
    /// Whether the file must have exactly the declared size.
    pub is_size_exact: bool,
    /// Another size that is accepted, because Zoom served it before.
    pub accepted_size: Option<u64>,
    /// Whether an earlier attempt may have created a multipart upload without saving its id.
    pub is_retry: bool,
    /// Whether an attempt at the upload ended before any part was uploaded, because the source is slow. The rest of
    /// the file is then transferred with less in flight.
    pub is_slow: bool,
    /// Whether the last attempt ended with an unexpected response, such as one that ignored a range.
    pub is_range_ignored: bool,
}

/// An uploaded part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadedPart {
    pub(crate) length: u64,
    pub(crate) etag: String,
    pub(crate) crc: u64,
}

/// Writes one object.
#[derive(Clone, Copy)]
pub(crate) struct ObjectWriter<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) spec: &'a ObjectSpec,
    pub(crate) has_part_checksums: bool,
}

impl<'a> ObjectWriter<'a> {
    /// Stores the object in one request, streaming its bytes. Returns their CRC-64/NVME.
    pub(crate) async fn put(&self, body: &Arc<UploadBody>) -> Result<u64, TransferError> {
        let response = self
            .put_request(body.stream(), body.length())
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .customize()
            .config_override(without_time_limits())
            .send()
            .await;
        let (output, crc) = combine_results("PutObject", response, body)?;
        verify_checksum("PutObject", output.checksum_crc64_nvme(), crc)?;
        Ok(crc)
    }

    /// Stores bytes in memory as the object. Returns their CRC-64/NVME.
    pub(crate) async fn put_bytes(&self, bytes: Bytes) -> Result<u64, AwsError> {
        let (crc, length) = (checksum::compute(&bytes), bytes.len() as u64);
        self.put_request(ByteStream::from(bytes), length)
            .checksum_crc64_nvme(checksum::to_base64(crc))
            .customize()
            .config_override(without_time_limits())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("PutObject", &error))?;
        Ok(crc)
    }

    fn put_request(&self, body: ByteStream, length: u64) -> PutObjectFluentBuilder {
        self.bucket
            .client()
            .put_object()
            .bucket(self.bucket.name())
            .key(&self.spec.key)
            .content_type(&self.spec.content_type)
            .set_metadata(Some(self.spec.metadata.iter().cloned().collect()))
            .set_tagging(self.spec.tagging.map(str::to_owned))
            .content_length(i64::try_from(length).unwrap_or(i64::MAX))
            .body(body)
    }

    /// Creates a multipart upload.
    pub(crate) async fn create_upload(self) -> Result<MultipartUpload<'a>, AwsError> {
        const CALL: &str = "CreateMultipartUpload";
        let created = self
            .bucket
            .client()
            .create_multipart_upload()
            .bucket(self.bucket.name())
            .key(&self.spec.key)
            .content_type(&self.spec.content_type)
            .set_metadata(Some(self.spec.metadata.iter().cloned().collect()))
            .set_tagging(self.spec.tagging.map(str::to_owned))
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .checksum_type(ChecksumType::FullObject)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(CALL, &error))?;
        let id =
            created.upload_id.ok_or_else(|| AwsError::unexpected_response(CALL, "no upload id"))?;
        Ok(self.upload(id))
    }

    /// Returns a handle to the existing multipart upload with this id.
    pub(crate) fn upload(self, id: String) -> MultipartUpload<'a> {
        MultipartUpload { object: self, id }
    }

    /// Whether the stored object has this length and checksum.
    pub(crate) async fn is_stored(&self, length: u64, crc: u64) -> Result<bool, AwsError> {
        let head = self
            .bucket
            .client()
            .head_object()
            .bucket(self.bucket.name())
            .key(&self.spec.key)
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        match head {
            Ok(head) => {
                let stored_length = head.content_length().and_then(|n| u64::try_from(n).ok());
                let stored_crc = head.checksum_crc64_nvme().and_then(checksum::from_base64);
                Ok(stored_length == Some(length) && stored_crc == Some(crc))
            }
            // Without s3:ListBucket, S3 responds 403 for a missing object.
            Err(SdkError::ServiceError(error))
                if matches!(error.raw().status().as_u16(), 403 | 404) =>
            {
                Ok(false)
            }
            Err(error) => Err(AwsError::from_sdk("HeadObject", &error)),
        }
    }
}

/// A multipart upload in progress.
pub(crate) struct MultipartUpload<'a> {
    object: ObjectWriter<'a>,
    pub(crate) id: String,
}

impl MultipartUpload<'_> {
    /// Lists the uploaded parts; `None` if the upload does not exist.
    pub(crate) async fn list_parts(&self) -> Result<Option<BTreeMap<u32, UploadedPart>>, AwsError> {
        let bucket = self.object.bucket;
        let mut pages = bucket
            .client()
            .list_parts()
            .bucket(bucket.name())
            .key(&self.object.spec.key)
            .upload_id(&self.id)
            .into_paginator()
            .items()
            .send();
        let mut parts = BTreeMap::new();
        while let Some(part) = pages.next().await {
            let part = match part {
                Ok(part) => part,
                Err(error) if error.code() == Some("NoSuchUpload") => return Ok(None),
                Err(error) => return Err(AwsError::from_sdk("ListParts", &error)),
            };
            // A part with a missing field is uploaded again.
            let fields = (
                part.part_number().and_then(|n| u32::try_from(n).ok()),
                part.size().and_then(|size| u64::try_from(size).ok()),
                part.e_tag(),
                part.checksum_crc64_nvme().and_then(checksum::from_base64),
            );
            if let (Some(number), Some(length), Some(etag), Some(crc)) = fields {
                let etag = etag.to_owned();
                parts.insert(number, UploadedPart { length, etag, crc });
            }
        }
        Ok(Some(parts))
    }

    /// Uploads one part, streaming its bytes. Fails with [`TransferError::UploadGone`] if the upload does not
    /// exist.
    pub(crate) async fn upload_part(
        &self,
        number: u32,
        body: &Arc<UploadBody>,
    ) -> Result<UploadedPart, TransferError> {
        let request = self.part_request(number, body.stream(), body.length());
        let has_checksum = self.object.has_part_checksums;
        let (request, config) = if has_checksum {
            (request.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme), without_time_limits())
        } else {
            let calculation = RequestChecksumCalculation::WhenRequired;
            (request, without_time_limits().request_checksum_calculation(calculation))
        };
        let response = request.customize().config_override(config).send().await;
        let (output, crc) = match combine_results("UploadPart", response, body) {
            Err(TransferError::Aws(error)) if error.code() == "NoSuchUpload" => {
                return Err(TransferError::UploadGone);
            }
            result => result?,
        };
        let stored_crc = output.checksum_crc64_nvme();
        if has_checksum || stored_crc.is_some() {
            verify_checksum("UploadPart", stored_crc, crc)?;
        }
        Ok(uploaded_part(body.length(), output.e_tag, crc)?)
    }

    /// Uploads one part from memory.
    pub(crate) async fn upload_part_bytes(
        &self,
        number: u32,
        bytes: Bytes,
    ) -> Result<UploadedPart, AwsError> {
        let (crc, length) = (checksum::compute(&bytes), bytes.len() as u64);
        let output = self
            .part_request(number, ByteStream::from(bytes), length)
            .checksum_crc64_nvme(checksum::to_base64(crc))
            .customize()
            .config_override(without_time_limits())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("UploadPart", &error))?;
        uploaded_part(length, output.e_tag, crc)
    }

    fn part_request(&self, number: u32, body: ByteStream, length: u64) -> UploadPartFluentBuilder {
        let bucket = self.object.bucket;
        bucket
            .client()
            .upload_part()
            .bucket(bucket.name())
            .key(&self.object.spec.key)
            .upload_id(&self.id)
            .part_number(i32::try_from(number).unwrap_or(i32::MAX))
            .content_length(i64::try_from(length).unwrap_or(i64::MAX))
            .body(body)
    }

    /// Completes the upload. S3 verifies the checksum of every part, the checksum of the whole file and its
    /// length; if they differ, this fails with [`TransferError::PartsRejected`]. Fails with
    /// [`TransferError::UploadGone`] if the upload was completed or aborted before.
    pub(crate) async fn complete(
        &self,
        parts: &BTreeMap<u32, UploadedPart>,
        length: u64,
        crc: u64,
    ) -> Result<(), TransferError> {
        let parts = parts.iter().map(|(number, part)| {
            CompletedPart::builder()
                .part_number(i32::try_from(*number).unwrap_or(i32::MAX))
                .e_tag(&part.etag)
                .checksum_crc64_nvme(checksum::to_base64(part.crc))
                .build()
        });
        let completed =
            CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let bucket = self.object.bucket;
        let response = bucket
            .client()
            .complete_multipart_upload()
            .bucket(bucket.name())
            .key(&self.object.spec.key)
            .upload_id(&self.id)
            .multipart_upload(completed)
            .checksum_type(ChecksumType::FullObject)
            .checksum_crc64_nvme(checksum::to_base64(crc))
            .mpu_object_size(i64::try_from(length).unwrap_or(i64::MAX))
            .customize()
            .config_override(without_time_limits())
            .send()
            .await;
        let Err(error) = response else { return Ok(()) };
        Err(match error.code() {
            Some("NoSuchUpload") => TransferError::UploadGone,
            Some(
                code @ ("InvalidPart" | "InvalidPartOrder" | "BadDigest" | "EntityTooSmall"
                | "InvalidRequest" | "InvalidArgument"),
            ) => TransferError::PartsRejected(code.to_owned()),
            _ => AwsError::from_sdk("CompleteMultipartUpload", &error).into(),
        })
    }

    /// Aborts the upload. Succeeds if it does not exist.
    pub(crate) async fn abort(&self) -> Result<(), AwsError> {
        let upload = OpenUpload { key: self.object.spec.key.clone(), id: self.id.clone() };
        self.object.bucket.abort_upload(&upload).await
    }
}

fn without_time_limits() -> Builder {
    Builder::new().timeout_config(no_time_limits())
}

/// Combines S3's response with the result of the streamed body. If both failed, the body's error is the cause.
fn combine_results<T, E: ProvideErrorMetadata, R>(
    call: &'static str,
    response: Result<T, SdkError<E, R>>,
    body: &UploadBody,
) -> Result<(T, u64), TransferError> {
    match (response, body.take_result()) {
        (Ok(output), Some(Ok(crc))) => Ok((output, crc)),
        (Ok(_), _) => {
            Err(AwsError::unexpected_response(call, "succeeded before the body was sent").into())
        }
        (Err(_), Some(Err(error))) => Err(error),
        (Err(error), _) => Err(AwsError::from_sdk(call, &error).into()),
    }
}

/// Checks that S3 computed the same checksum. A response without a checksum fails, because S3 verified nothing.
fn verify_checksum(call: &'static str, stored_crc: Option<&str>, crc: u64) -> Result<(), AwsError> {
    if stored_crc.and_then(checksum::from_base64) == Some(crc) {
        Ok(())
    } else {
        Err(AwsError::unexpected_response(call, "checksum differs"))
    }
}

fn uploaded_part(length: u64, etag: Option<String>, crc: u64) -> Result<UploadedPart, AwsError> {
    let etag = etag.ok_or_else(|| AwsError::unexpected_response("UploadPart", "no entity tag"))?;
    Ok(UploadedPart { length, etag, crc })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_checksum_is_accepted() {
        let verify = |stored: Option<&str>| verify_checksum("PutObject", stored, 7);
        assert_eq!(verify(Some(&checksum::to_base64(7))), Ok(()));
        for other in [None, Some(checksum::to_base64(8)), Some("AAAA".to_owned())] {
            assert!(verify(other.as_deref()).is_err(), "{other:?}");
        }
    }
}
