//! CreateMultipartUpload, UploadPart, ListParts, ListMultipartUploads, CompleteMultipartUpload and
//! AbortMultipartUpload.

use std::ops::Bound;

use s3s::{S3Request, S3Response, S3Result, dto::*, s3_error};

use super::{
    body::{self, Expected},
    checksum::{Algorithm, checksums_of, set_checksums},
    conditions::WriteCondition,
    object::description_of,
    store::Store,
    upload::{self, ExpectedObject, MAX_PARTS, Upload},
};

/// Maximal entries on a page of a list.
const MAX_PAGE: i32 = 1000;

pub(super) fn page_size(requested: Option<i32>) -> S3Result<usize> {
    let requested = requested.unwrap_or(MAX_PAGE).min(MAX_PAGE);
    usize::try_from(requested)
        .map_err(|_| s3_error!(InvalidArgument, "The page size must not be negative"))
}

pub(super) fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

pub(super) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Store {
    pub(super) fn create_upload(
        &self,
        input: CreateMultipartUploadInput,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let bucket = self.bucket(&input.bucket)?;
        let algorithm = input.checksum_algorithm.as_ref();
        let algorithm = algorithm.map(Algorithm::parse).transpose()?;
        let checksum_type = checksum_type(algorithm, input.checksum_type.as_ref())?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let output = CreateMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            upload_id: Some(id.clone()),
            checksum_algorithm: algorithm.map(Algorithm::dto),
            checksum_type: algorithm.map(|_| checksum_type.clone()),
            ..Default::default()
        };
        let mut contents = bucket.contents();
        contents.created_uploads += 1;
        let upload = Upload {
            id: id.clone(),
            initiated_at: self.now(),
            sequence: contents.created_uploads,
            algorithm,
            checksum_type,
            description: description_of!(input),
            key: input.key,
            parts: Default::default(),
        };
        contents.uploads.insert(id, upload);
        Ok(S3Response::new(output))
    }

    pub(super) async fn receive_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let S3Request { input, headers, trailing_headers, .. } = request;
        if !(1..=MAX_PARTS).contains(&input.part_number) {
            return Err(s3_error!(
                InvalidArgument,
                "Part number must be an integer between 1 and 10000, inclusive"
            ));
        }
        let bucket = self.bucket(&input.bucket)?;
        // Looked up again after the transfer, because the upload may have ended.
        let algorithm = bucket.contents().upload(&input.upload_id, &input.key)?.algorithm;
        let expected = Expected {
            checksums: checksums_of!(input),
            sdk_algorithm: input.checksum_algorithm.as_ref(),
            content_md5: input.content_md5.as_deref(),
            headers: &headers,
            trailers: trailing_headers.as_ref(),
        };
        let verified = body::receive(&self.directory, input.body, expected, algorithm).await?;
        if let (Some(expected), Some(actual)) = (algorithm, verified.algorithm)
            && expected != actual
        {
            return Err(s3_error!(
                InvalidRequest,
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                expected.name().to_lowercase(),
                actual.name().to_lowercase()
            ));
        }
        let shown = verified.algorithm.or(algorithm);
        let shown = shown.unwrap_or(Algorithm::Crc64Nvme);
        let mut output = UploadPartOutput {
            e_tag: Some(ETag::Strong(hex::encode(verified.received.md5))),
            ..Default::default()
        };
        set_checksums!(output, &verified.received.checksums.only(shown));
        let mut contents = bucket.contents();
        let upload = contents.upload_mut(&input.upload_id, &input.key)?;
        upload.parts.insert(input.part_number, upload::Part::new(verified.received, self.now()));
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
        let mut rest = upload.parts.range((Bound::Excluded(marker), Bound::Unbounded)).peekable();
        let mut parts = Vec::new();
        for (number, part) in rest.by_ref().take(limit) {
            let mut listed = Part {
                part_number: Some(*number),
                e_tag: Some(ETag::Strong(part.etag())),
                size: Some(size(part.segment.size)),
                last_modified: Some(part.modified_at.clone()),
                ..Default::default()
            };
            set_checksums!(listed, &part.checksums.only(upload.object_algorithm()));
            parts.push(listed);
        }
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            part_number_marker: Some(marker),
            next_part_number_marker: parts.last().and_then(|part: &Part| part.part_number),
            max_parts: Some(count(limit)),
            is_truncated: Some(rest.peek().is_some()),
            parts: Some(parts),
            checksum_algorithm: Some(upload.object_algorithm().dto()),
            checksum_type: Some(upload.checksum_type.clone()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..Default::default()
        }))
    }

    pub(super) fn uploads_page(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        if input.delimiter.is_some() || input.encoding_type.is_some() {
            return Err(s3_error!(
                NotImplemented,
                "Lists with delimiter or encoding are not emulated"
            ));
        }
        let bucket = self.bucket(&input.bucket)?;
        let contents = bucket.contents();
        let limit = page_size(input.max_uploads)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let key_marker = input.key_marker.clone().unwrap_or_default();
        // Without an id marker all uploads of the marked key are skipped.
        let is_after_markers = |upload: &Upload| match &input.upload_id_marker {
            Some(id) if upload.key == key_marker => {
                let marked = contents.uploads.get(id);
                marked.is_none_or(|marked| upload.sequence > marked.sequence)
            }
            _ => upload.key > key_marker,
        };
        let mut uploads: Vec<&Upload> = contents
            .uploads
            .values()
            .filter(|upload| upload.key.starts_with(&prefix) && is_after_markers(upload))
            .collect();
        uploads.sort_by_key(|upload| (&upload.key, upload.sequence));
        let is_truncated = uploads.len() > limit;
        uploads.truncate(limit);
        let last = uploads.last().filter(|_| is_truncated);
        let listed = uploads.iter().map(|upload| MultipartUpload {
            key: Some(upload.key.clone()),
            upload_id: Some(upload.id.clone()),
            initiated: Some(upload.initiated_at.clone()),
            checksum_algorithm: Some(upload.object_algorithm().dto()),
            checksum_type: Some(upload.checksum_type.clone()),
            ..Default::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            uploads: Some(listed.collect()),
            is_truncated: Some(is_truncated),
            max_uploads: Some(count(limit)),
            next_key_marker: last.map(|upload| upload.key.clone()),
            next_upload_id_marker: last.map(|upload| upload.id.clone()),
            prefix: Some(prefix),
            key_marker: input.key_marker,
            upload_id_marker: input.upload_id_marker,
            ..Default::default()
        }))
    }

    pub(super) fn complete_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let bucket = self.bucket(&input.bucket)?;
        let condition = WriteCondition::new(input.if_match.clone(), input.if_none_match.as_ref())?;
        let listed = input.multipart_upload.as_ref();
        let listed = listed.and_then(|upload| upload.parts.as_deref());
        let expected = ExpectedObject {
            checksums: checksums_of!(input),
            size: input.mpu_object_size.and_then(|size| u64::try_from(size).ok()),
        };
        let mut contents = bucket.contents();
        let upload = contents.upload(&input.upload_id, &input.key)?;
        let checksum_type = input.checksum_type.as_ref();
        if checksum_type.is_some_and(|given| given.as_str() != upload.checksum_type.as_str()) {
            return Err(s3_error!(
                InvalidRequest,
                "The checksum type differs from the one that the upload was created with"
            ));
        }
        let object = upload.assemble(listed.unwrap_or_default(), &expected)?;
        let mut output = CompleteMultipartUploadOutput {
            e_tag: Some(object.etag_dto()),
            checksum_type: Some(object.checksum_type.clone()),
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            ..Default::default()
        };
        set_checksums!(output, &object.checksums);
        contents.put(object, &condition)?;
        contents.uploads.remove(&input.upload_id);
        Ok(S3Response::new(output))
    }

    pub(super) fn abort_upload(
        &self,
        input: &AbortMultipartUploadInput,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let bucket = self.bucket(&input.bucket)?;
        let mut contents = bucket.contents();
        contents.upload(&input.upload_id, &input.key)?;
        contents.uploads.remove(&input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

/// The checksum type of the object. CRC64NVME has no composite type; it is the default algorithm.
fn checksum_type(
    algorithm: Option<Algorithm>,
    requested: Option<&ChecksumType>,
) -> S3Result<ChecksumType> {
    let default = match algorithm {
        None | Some(Algorithm::Crc64Nvme) => ChecksumType::FULL_OBJECT,
        Some(Algorithm::Crc32 | Algorithm::Crc32c) => ChecksumType::COMPOSITE,
    };
    let requested = requested.map_or(default, ChecksumType::as_str);
    match (default, requested) {
        (_, ChecksumType::FULL_OBJECT) => Ok(ChecksumType::from_static(ChecksumType::FULL_OBJECT)),
        (ChecksumType::COMPOSITE, ChecksumType::COMPOSITE) => {
            Ok(ChecksumType::from_static(ChecksumType::COMPOSITE))
        }
        _ => Err(s3_error!(
            InvalidRequest,
            "The checksum type cannot be used with the checksum algorithm"
        )),
    }
}
