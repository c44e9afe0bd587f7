//! The calls of a multipart upload.

use std::ops::Bound;

use s3s::{S3Error, S3Request, S3Response, S3Result, dto::*, s3_error};

use super::{
    Store,
    body::{self, Claims},
    bucket::Contents,
    checksum::{Algorithm, put_sums, sums_of},
    conditions::WriteCondition,
    object::{checksum_type, description_of, now, timestamp},
    operations::{count, encoded, page_size, size},
    upload::{self, Demand, MAX_PARTS, Upload},
};
use crate::random;

impl Store {
    pub(super) fn begin_upload(
        &self,
        input: CreateMultipartUploadInput,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let bucket = self.bucket(&input.bucket)?;
        let algorithm = input
            .checksum_algorithm
            .as_ref()
            .map(Algorithm::parse)
            .transpose()?;
        let id = random::bytes::<24>()
            .map_err(|error| S3Error::internal_error(std::io::Error::other(error.to_string())))?;
        let upload = Upload {
            id: hex::encode(id),
            key: input.key.clone(),
            initiated: now(),
            algorithm,
            composite: composite(algorithm, input.checksum_type.as_ref())?,
            description: description_of!(input),
            parts: Default::default(),
        };
        let output = CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload.id.clone()),
            checksum_algorithm: algorithm.map(Algorithm::dto),
            checksum_type: algorithm.map(|_| checksum_type(upload.composite)),
            ..Default::default()
        };
        let mut contents = bucket.contents();
        upload
            .save(&bucket.upload_directory(&upload.id))
            .map_err(S3Error::internal_error)?;
        contents.uploads.insert(upload.id.clone(), upload);
        Ok(S3Response::new(output))
    }

    pub(super) async fn receive_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let S3Request {
            input,
            headers,
            trailing_headers,
            ..
        } = request;
        if !(1..=MAX_PARTS).contains(&input.part_number) {
            return Err(s3_error!(
                InvalidArgument,
                "Part number must be an integer between 1 and 10000, inclusive"
            ));
        }
        let bucket = self.bucket(&input.bucket)?;
        // Found before the bytes are taken, and again after: the upload may end in between.
        let algorithm = bucket
            .contents()
            .upload(&input.upload_id, &input.key)?
            .algorithm;
        let claims = Claims {
            sums: sums_of!(input),
            announced: input.checksum_algorithm.as_ref(),
            content_md5: input.content_md5.as_deref(),
            headers: &headers,
            trailers: trailing_headers.as_ref(),
        };
        let verified = body::receive(&bucket.blobs(), input.body, claims, algorithm).await?;
        if let (Some(expected), Some(actual)) = (algorithm, verified.claimed)
            && expected != actual
        {
            return Err(s3_error!(
                InvalidRequest,
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                expected.name().to_lowercase(),
                actual.name().to_lowercase()
            ));
        }
        let shown = verified
            .claimed
            .or(algorithm)
            .unwrap_or(Algorithm::Crc64Nvme);
        let mut output = UploadPartOutput {
            e_tag: Some(ETag::Strong(hex::encode(verified.received.md5))),
            ..Default::default()
        };
        put_sums!(output, &verified.received.sums.only(shown));
        let directory = bucket.upload_directory(&input.upload_id);
        let mut contents = bucket.contents();
        contents
            .upload_mut(&input.upload_id, &input.key)?
            .put_part(&directory, input.part_number, verified.received)
            .map_err(S3Error::internal_error)?;
        Ok(S3Response::new(output))
    }

    pub(super) fn parts_page(
        &self,
        input: ListPartsInput,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let bucket = self.bucket(&input.bucket)?;
        let contents = bucket.contents();
        let upload = contents.upload(&input.upload_id, &input.key)?;
        let limit = page_size(input.max_parts)?;
        let marker = input.part_number_marker.unwrap_or(0);
        let mut rest = upload
            .parts
            .range((Bound::Excluded(marker), Bound::Unbounded))
            .peekable();
        let mut parts = Vec::new();
        for (number, part) in rest.by_ref().take(limit) {
            let mut shown = Part {
                part_number: Some(*number),
                e_tag: Some(ETag::Strong(part.facts.etag())),
                size: Some(size(part.segment.size)),
                last_modified: Some(timestamp(part.facts.modified)),
                ..Default::default()
            };
            put_sums!(shown, &part.facts.sums.only(upload.shown_algorithm()));
            parts.push(shown);
        }
        let truncated = rest.peek().is_some();
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            part_number_marker: Some(marker),
            next_part_number_marker: parts.last().and_then(|part: &Part| part.part_number),
            max_parts: Some(count(limit)),
            is_truncated: Some(truncated),
            parts: Some(parts),
            checksum_algorithm: Some(upload.shown_algorithm().dto()),
            checksum_type: Some(checksum_type(upload.composite)),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..Default::default()
        }))
    }

    pub(super) fn uploads_page(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        if input
            .delimiter
            .as_deref()
            .is_some_and(|delimiter| !delimiter.is_empty())
        {
            return Err(s3_error!(
                NotImplemented,
                "Uploads are listed without a delimiter"
            ));
        }
        let bucket = self.bucket(&input.bucket)?;
        let contents = bucket.contents();
        let limit = page_size(input.max_uploads)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let key_marker = input.key_marker.clone().unwrap_or_default();
        // Without a marker for the id, all uploads of the marked key are passed over.
        let after = |upload: &Upload| match &input.upload_id_marker {
            Some(id) if !key_marker.is_empty() => {
                (&upload.key, upload.initiated, &upload.id)
                    > (
                        &key_marker,
                        contents.uploads.get(id).map_or(0, |u| u.initiated),
                        id,
                    )
            }
            _ => upload.key > key_marker,
        };
        let mut uploads: Vec<&Upload> = contents
            .uploads
            .values()
            .filter(|upload| upload.key.starts_with(&prefix) && after(upload))
            .collect();
        uploads.sort_by_key(|upload| (&upload.key, upload.initiated, &upload.id));
        let truncated = uploads.len() > limit;
        uploads.truncate(limit);
        let last = uploads.last().filter(|_| truncated);
        let encoding = input.encoding_type.as_ref();
        let shown = uploads.iter().map(|upload| MultipartUpload {
            key: Some(encoded(encoding, &upload.key)),
            upload_id: Some(upload.id.clone()),
            initiated: Some(timestamp(upload.initiated)),
            checksum_algorithm: Some(upload.shown_algorithm().dto()),
            checksum_type: Some(checksum_type(upload.composite)),
            ..Default::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            uploads: Some(shown.collect()),
            is_truncated: Some(truncated),
            max_uploads: Some(count(limit)),
            next_key_marker: last.map(|upload| encoded(encoding, &upload.key)),
            next_upload_id_marker: last.map(|upload| upload.id.clone()),
            prefix: Some(encoded(encoding, &prefix)),
            key_marker: input.key_marker,
            upload_id_marker: input.upload_id_marker,
            encoding_type: input.encoding_type.clone(),
            ..Default::default()
        }))
    }

    pub(super) fn finish_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let bucket = self.bucket(&input.bucket)?;
        let condition = WriteCondition::new(input.if_match.clone(), input.if_none_match.as_ref())?;
        let listed = input
            .multipart_upload
            .as_ref()
            .and_then(|upload| upload.parts.as_deref())
            .unwrap_or_default();
        let demand = Demand {
            sums: sums_of!(input),
            size: input
                .mpu_object_size
                .and_then(|size| u64::try_from(size).ok()),
        };
        let mut contents = bucket.contents();
        let upload = contents.upload(&input.upload_id, &input.key)?;
        if let Some(wanted) = &input.checksum_type
            && wanted.as_str() != checksum_type(upload.composite).as_str()
        {
            return Err(s3_error!(
                InvalidRequest,
                "The checksum type differs from the one that the upload was created with"
            ));
        }
        let object = upload.assemble(listed, &demand)?;
        let mut output = CompleteMultipartUploadOutput {
            e_tag: Some(object.facts.etag_dto()),
            checksum_type: Some(object.facts.checksum_type()),
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key.clone()),
            ..Default::default()
        };
        put_sums!(output, &object.facts.sums);
        bucket.commit(&mut contents, object, &condition)?;
        if let Some(upload) = contents.uploads.remove(&input.upload_id) {
            let object = contents.objects.get(&input.key).map(AsRef::as_ref);
            let directory = bucket.upload_directory(&input.upload_id);
            // The object is there already, which is what counts.
            if let Err(error) = upload::remove(&directory, &upload, object) {
                tracing::warn!(%error, "record of a finished upload not removed");
            }
        }
        Ok(S3Response::new(output))
    }

    pub(super) fn abort_upload(
        &self,
        input: &AbortMultipartUploadInput,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let bucket = self.bucket(&input.bucket)?;
        let mut contents = bucket.contents();
        let upload = contents.upload(&input.upload_id, &input.key)?;
        upload::remove(&bucket.upload_directory(&input.upload_id), upload, None)
            .map_err(S3Error::internal_error)?;
        contents.uploads.remove(&input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

impl Contents {
    fn upload(&self, id: &str, key: &str) -> S3Result<&Upload> {
        let upload = self.uploads.get(id).filter(|upload| upload.key == key);
        upload.ok_or_else(no_such_upload)
    }

    fn upload_mut(&mut self, id: &str, key: &str) -> S3Result<&mut Upload> {
        let upload = self.uploads.get_mut(id).filter(|upload| upload.key == key);
        upload.ok_or_else(no_such_upload)
    }
}

fn no_such_upload() -> S3Error {
    s3_error!(
        NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been \
         aborted or completed."
    )
}

/// Which kind of checksum the object is to have; not every algorithm knows both.
fn composite(algorithm: Option<Algorithm>, wanted: Option<&ChecksumType>) -> S3Result<bool> {
    let wanted = wanted.map(|wanted| wanted.as_str() == ChecksumType::COMPOSITE);
    let (composite, possible) = match algorithm {
        None => (false, wanted != Some(true)),
        Some(Algorithm::Crc64Nvme) => (false, wanted != Some(true)),
        Some(Algorithm::Crc32 | Algorithm::Crc32c) => (wanted.unwrap_or(true), true),
        Some(Algorithm::Sha1 | Algorithm::Sha256) => (true, wanted != Some(false)),
    };
    if possible {
        Ok(composite)
    } else {
        Err(s3_error!(
            InvalidRequest,
            "The checksum type cannot be used with the checksum algorithm"
        ))
    }
}
