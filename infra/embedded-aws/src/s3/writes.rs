//! PutObject, CopyObject, DeleteObject and DeleteObjects.

use s3s::{S3Request, S3Response, S3Result, dto::*, s3_error};

use super::{
    Store, blob,
    body::{self, Claims, Verified},
    checksum::{Algorithm, put_sums, sums_of},
    conditions::{ReadCondition, WriteCondition},
    object::{self, Facts, Segment, description_of, now, timestamp},
    reads::stretches,
};

impl Store {
    pub(super) async fn write_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let S3Request {
            input,
            headers,
            trailing_headers,
            ..
        } = request;
        let bucket = self.bucket(&input.bucket)?;
        let condition = WriteCondition::new(input.if_match.clone(), input.if_none_match.as_ref())?;
        let claims = Claims {
            sums: sums_of!(input),
            announced: input.checksum_algorithm.as_ref(),
            content_md5: input.content_md5.as_deref(),
            headers: &headers,
            trailers: trailing_headers.as_ref(),
        };
        let description = description_of!(input);
        let verified = body::receive(&bucket.blobs(), input.body, claims, None).await?;
        let object = whole_object(input.key, verified, description);
        let mut output = PutObjectOutput {
            e_tag: Some(object.facts.etag_dto()),
            checksum_type: Some(object.facts.checksum_type()),
            ..Default::default()
        };
        put_sums!(output, &object.facts.sums);
        bucket.commit(&mut bucket.contents(), object, &condition)?;
        Ok(S3Response::new(output))
    }

    pub(super) async fn duplicate_object(
        &self,
        input: CopyObjectInput,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let CopySource::Bucket {
            bucket,
            key,
            version_id,
        } = &input.copy_source
        else {
            return Err(s3_error!(
                NotImplemented,
                "Only objects in buckets can be copied"
            ));
        };
        if version_id.is_some() {
            return Err(s3_error!(NotImplemented, "Versions are not emulated"));
        }
        let source = self.bucket(bucket)?.object(key)?;
        ReadCondition {
            if_match: input.copy_source_if_match.as_ref(),
            if_none_match: input.copy_source_if_none_match.as_ref(),
            if_modified_since: input.copy_source_if_modified_since.as_ref(),
            if_unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
        }
        .check(&source.facts)
        // A reader is told 304, but who copies did not ask for a body.
        .map_err(|error| match error.code() {
            s3s::S3ErrorCode::NotModified => s3_error!(PreconditionFailed),
            _ => error,
        })?;
        let target = self.bucket(&input.bucket)?;
        let replaces = input
            .metadata_directive
            .as_ref()
            .is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
        let description = if replaces {
            description_of!(input)
        } else {
            source.facts.description.clone()
        };
        let wanted = input
            .checksum_algorithm
            .as_ref()
            .map(Algorithm::parse)
            .transpose()?;
        let kept = source
            .facts
            .sums
            .algorithms()
            .next()
            .filter(|_| !source.facts.composite);
        let algorithm = wanted.or(kept).unwrap_or(Algorithm::Crc64Nvme);
        let bytes = StreamingBlob::wrap(blob::read(stretches(&source, 0..source.facts.size)));
        let received = blob::receive(&target.blobs(), Some(bytes), [algorithm]).await?;
        let verified = Verified {
            received,
            claimed: Some(algorithm),
        };
        let object = whole_object(input.key, verified, description);
        let mut result = CopyObjectResult {
            e_tag: Some(object.facts.etag_dto()),
            last_modified: Some(timestamp(object.facts.modified)),
            checksum_type: Some(object.facts.checksum_type()),
            ..Default::default()
        };
        put_sums!(result, &object.facts.sums);
        target.commit(&mut target.contents(), object, &WriteCondition::default())?;
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(result),
            ..Default::default()
        }))
    }

    pub(super) fn remove_object(
        &self,
        input: DeleteObjectInput,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let bucket = self.bucket(&input.bucket)?;
        let mut contents = bucket.contents();
        if input.if_match.is_some() {
            let current = contents.objects.get(&input.key);
            WriteCondition::new(input.if_match, None)?
                .check(current.map(|object| object.facts.etag.as_str()))?;
        }
        bucket.delete(&mut contents, &input.key)?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    pub(super) fn remove_objects(
        &self,
        input: DeleteObjectsInput,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let bucket = self.bucket(&input.bucket)?;
        let mut contents = bucket.contents();
        let mut deleted = Vec::new();
        let mut errors = Vec::new();
        for wanted in input.delete.objects {
            match bucket.delete(&mut contents, &wanted.key) {
                Ok(()) => deleted.push(DeletedObject {
                    key: Some(wanted.key),
                    ..Default::default()
                }),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(wanted.key),
                    message: error.message().map(str::to_owned),
                    ..Default::default()
                }),
            }
        }
        let quiet = input.delete.quiet.unwrap_or(false);
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..Default::default()
        }))
    }
}

/// An object that arrived in one piece. S3 keeps the client's checksum, or its own CRC64NVME.
fn whole_object(
    key: String,
    verified: Verified,
    description: object::Description,
) -> object::Object {
    let Verified { received, claimed } = verified;
    object::Object {
        key,
        facts: Facts {
            size: received.size,
            etag: hex::encode(received.md5),
            sums: received.sums.only(claimed.unwrap_or(Algorithm::Crc64Nvme)),
            composite: false,
            modified: now(),
            description,
            upload_id: None,
        },
        segments: vec![Segment {
            size: received.size,
            blob: received.blob,
        }],
    }
}
