//! S3's side: one PutObject, or a multipart upload. Every request carries a CRC-64/NVME that S3 verifies,
//! and completing one fails closed.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
};
use bytes::Bytes;
use reelay_runtime::AwsError;
use reelay_store::bucket::Bucket;

use super::body::{Fed, Feed, FeedError};
use super::{Order, proof};

/// A part as it lies at S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredPart {
    pub(crate) length: u64,
    pub(crate) etag: String,
    pub(crate) crc: u64,
}

/// Why a request with Zoom's bytes in it failed.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The bytes did not come.
    Source(FeedError),
    /// S3 did not take them.
    S3(AwsError),
}

/// What came of completing an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Completed {
    /// The object is there.
    Done,
    /// There is no such upload: done before, or aborted.
    NoSuchUpload,
    /// S3 does not make an object of these parts.
    NotProven(String),
}

/// Where bytes go.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) order: &'a Order,
    pub(crate) part_checksums: bool,
}

impl<'a> Target<'a> {
    /// Stores a file by one request, its bytes passed on as they come. Gives its CRC-64/NVME.
    pub(crate) async fn put(&self, feed: &Arc<Feed>, length: u64) -> Result<u64, SendError> {
        let sent = self
            .put_request(feed.stream(), length)
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .send()
            .await;
        match (sent, feed.fed()) {
            (Ok(answer), Fed::Whole(crc)) => {
                verified("PutObject", answer.checksum_crc64_nvme(), crc).map_err(SendError::S3)?;
                Ok(crc)
            }
            (Ok(_), _) => Err(SendError::S3(AwsError::unexpected_response(
                "PutObject",
                "done before all was sent",
            ))),
            (Err(_), Fed::Broken(error)) => Err(SendError::Source(error)),
            (Err(error), _) => Err(SendError::S3(AwsError::from_sdk("PutObject", &error))),
        }
    }

    /// Stores a file that is in memory. Gives its CRC-64/NVME.
    pub(crate) async fn put_bytes(&self, bytes: Bytes) -> Result<u64, AwsError> {
        let crc = proof::crc(&bytes);
        let length = bytes.len() as u64;
        self.put_request(ByteStream::from(bytes), length)
            .checksum_crc64_nvme(proof::to_base64(crc))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("PutObject", &error))?;
        Ok(crc)
    }

    fn put_request(
        &self,
        body: ByteStream,
        length: u64,
    ) -> aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder {
        let Order {
            key,
            content_type,
            metadata,
            ..
        } = self.order;
        self.bucket
            .client()
            .put_object()
            .bucket(self.bucket.name())
            .key(key)
            .content_type(content_type)
            .set_metadata(Some(metadata.iter().cloned().collect()))
            .content_length(i64::try_from(length).unwrap_or(i64::MAX))
            .body(body)
    }

    /// Begins a multipart upload.
    pub(crate) async fn begin(self) -> Result<Upload<'a>, AwsError> {
        let Order {
            key,
            content_type,
            metadata,
            ..
        } = self.order;
        let created = self
            .bucket
            .client()
            .create_multipart_upload()
            .bucket(self.bucket.name())
            .key(key)
            .content_type(content_type)
            .set_metadata(Some(metadata.iter().cloned().collect()))
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .checksum_type(ChecksumType::FullObject)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("CreateMultipartUpload", &error))?;
        let id = created.upload_id.ok_or_else(|| {
            AwsError::unexpected_response("CreateMultipartUpload", "no upload id")
        })?;
        Ok(Upload { target: self, id })
    }

    /// Whether the object under the key is this file: same length, same checksum.
    pub(crate) async fn holds(&self, length: u64, crc: u64) -> Result<bool, AwsError> {
        let head = self
            .bucket
            .client()
            .head_object()
            .bucket(self.bucket.name())
            .key(&self.order.key)
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        match head {
            Ok(head) => {
                let same_length = head.content_length().and_then(|n| u64::try_from(n).ok());
                let same_sum = head.checksum_crc64_nvme().and_then(proof::from_base64);
                Ok(same_length == Some(length) && same_sum == Some(crc))
            }
            // Whoever may not list the bucket is told 403 of what is not there.
            Err(SdkError::ServiceError(error))
                if matches!(error.raw().status().as_u16(), 403 | 404) =>
            {
                Ok(false)
            }
            Err(error) => Err(AwsError::from_sdk("HeadObject", &error)),
        }
    }

    /// Aborts every upload for this key: remains of an owner that died before it could note what it had
    /// begun. The lease is ours, so none of them is anybody's.
    pub(crate) async fn abort_strays(self) -> Result<(), AwsError> {
        let mut strays = self
            .bucket
            .client()
            .list_multipart_uploads()
            .bucket(self.bucket.name())
            .prefix(&self.order.key)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ListMultipartUploads", &error))?
            .uploads
            .unwrap_or_default();
        strays.retain(|upload| upload.key.as_ref() == Some(&self.order.key));
        for id in strays.into_iter().filter_map(|upload| upload.upload_id) {
            tracing::info!(
                key = self.order.key,
                "an upload that nobody noted is aborted"
            );
            Upload { target: self, id }.abort().await?;
        }
        Ok(())
    }
}

/// A multipart upload of ours.
pub(crate) struct Upload<'a> {
    pub(crate) target: Target<'a>,
    pub(crate) id: String,
}

impl Upload<'_> {
    /// What lies at S3: the truth about what is done. `None` if there is no such upload.
    pub(crate) async fn parts(&self) -> Result<Option<BTreeMap<u32, StoredPart>>, AwsError> {
        let mut pages = self
            .target
            .bucket
            .client()
            .list_parts()
            .bucket(self.target.bucket.name())
            .key(&self.target.order.key)
            .upload_id(&self.id)
            .into_paginator()
            .items()
            .send();
        let mut found = BTreeMap::new();
        while let Some(part) = pages.next().await {
            let part = match part {
                Ok(part) => part,
                Err(error) if error.code() == Some("NoSuchUpload") => return Ok(None),
                Err(error) => return Err(AwsError::from_sdk("ListParts", &error)),
            };
            // A part of which something is unknown counts as missing, and is replaced.
            let whole = (
                part.part_number().and_then(|n| u32::try_from(n).ok()),
                part.size().and_then(|size| u64::try_from(size).ok()),
                part.e_tag(),
                part.checksum_crc64_nvme().and_then(proof::from_base64),
            );
            if let (Some(number), Some(length), Some(etag), Some(crc)) = whole {
                let etag = etag.to_owned();
                found.insert(number, StoredPart { length, etag, crc });
            }
        }
        Ok(Some(found))
    }

    /// Sends one part, its bytes passed on as they come.
    pub(crate) async fn send(
        &self,
        number: u32,
        feed: &Arc<Feed>,
        length: u64,
    ) -> Result<StoredPart, SendError> {
        let request = self.part_request(number, feed.stream(), length);
        let checked = self.target.part_checksums;
        let sent = if checked {
            request
                .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
                .send()
                .await
        } else {
            let none = aws_sdk_s3::config::Builder::new()
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
            request.customize().config_override(none).send().await
        };
        match (sent, feed.fed()) {
            (Ok(answer), Fed::Whole(crc)) => {
                let at_s3 = answer.checksum_crc64_nvme();
                if checked || at_s3.is_some() {
                    verified("UploadPart", at_s3, crc).map_err(SendError::S3)?;
                }
                stored("UploadPart", length, answer.e_tag, crc).map_err(SendError::S3)
            }
            (Ok(_), _) => Err(SendError::S3(AwsError::unexpected_response(
                "UploadPart",
                "done before all was sent",
            ))),
            (Err(_), Fed::Broken(error)) => Err(SendError::Source(error)),
            (Err(error), _) => Err(SendError::S3(AwsError::from_sdk("UploadPart", &error))),
        }
    }

    /// Sends one part that is in memory.
    pub(crate) async fn send_bytes(
        &self,
        number: u32,
        bytes: Bytes,
    ) -> Result<StoredPart, AwsError> {
        let (crc, length) = (proof::crc(&bytes), bytes.len() as u64);
        let sent = self
            .part_request(number, ByteStream::from(bytes), length)
            .checksum_crc64_nvme(proof::to_base64(crc))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("UploadPart", &error))?;
        stored("UploadPart", length, sent.e_tag, crc)
    }

    fn part_request(
        &self,
        number: u32,
        body: ByteStream,
        length: u64,
    ) -> aws_sdk_s3::operation::upload_part::builders::UploadPartFluentBuilder {
        self.target
            .bucket
            .client()
            .upload_part()
            .bucket(self.target.bucket.name())
            .key(&self.target.order.key)
            .upload_id(&self.id)
            .part_number(i32::try_from(number).unwrap_or(i32::MAX))
            .content_length(i64::try_from(length).unwrap_or(i64::MAX))
            .body(body)
    }

    /// Makes the object. S3 compares every part's checksum, the whole's, and the length.
    pub(crate) async fn complete(
        &self,
        parts: &BTreeMap<u32, StoredPart>,
        length: u64,
        crc: u64,
    ) -> Result<Completed, AwsError> {
        let listed = parts.iter().map(|(number, part)| {
            CompletedPart::builder()
                .part_number(i32::try_from(*number).unwrap_or(i32::MAX))
                .e_tag(&part.etag)
                .checksum_crc64_nvme(proof::to_base64(part.crc))
                .build()
        });
        let completed = self
            .target
            .bucket
            .client()
            .complete_multipart_upload()
            .bucket(self.target.bucket.name())
            .key(&self.target.order.key)
            .upload_id(&self.id)
            .multipart_upload(
                CompletedMultipartUpload::builder()
                    .set_parts(Some(listed.collect()))
                    .build(),
            )
            .checksum_type(ChecksumType::FullObject)
            .checksum_crc64_nvme(proof::to_base64(crc))
            .mpu_object_size(i64::try_from(length).unwrap_or(i64::MAX))
            .send()
            .await;
        let error = match completed {
            Ok(_) => return Ok(Completed::Done),
            Err(error) => error,
        };
        match error.code() {
            Some("NoSuchUpload") => Ok(Completed::NoSuchUpload),
            Some(
                code @ ("InvalidPart" | "InvalidPartOrder" | "BadDigest" | "EntityTooSmall"
                | "InvalidRequest" | "InvalidArgument"),
            ) => Ok(Completed::NotProven(code.to_owned())),
            _ => Err(AwsError::from_sdk("CompleteMultipartUpload", &error)),
        }
    }

    /// Gives the parts back. That the upload is gone already is as good.
    pub(crate) async fn abort(&self) -> Result<(), AwsError> {
        let aborted = self
            .target
            .bucket
            .client()
            .abort_multipart_upload()
            .bucket(self.target.bucket.name())
            .key(&self.target.order.key)
            .upload_id(&self.id)
            .send()
            .await;
        match aborted {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchUpload") => Ok(()),
            Err(error) => Err(AwsError::from_sdk("AbortMultipartUpload", &error)),
        }
    }
}

/// What S3 computed must be what we computed; an S3 that names no checksum has verified none.
fn verified(call: &'static str, at_s3: Option<&str>, ours: u64) -> Result<(), AwsError> {
    if at_s3.and_then(proof::from_base64) == Some(ours) {
        Ok(())
    } else {
        Err(AwsError::unexpected_response(
            call,
            "another checksum than ours",
        ))
    }
}

fn stored(
    call: &'static str,
    length: u64,
    etag: Option<String>,
    crc: u64,
) -> Result<StoredPart, AwsError> {
    let etag = etag.ok_or_else(|| AwsError::unexpected_response(call, "no entity tag"))?;
    Ok(StoredPart { length, etag, crc })
}
