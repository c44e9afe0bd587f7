//! PutObject, DeleteObject and DeleteObjects.

use std::collections::BTreeMap;
use std::sync::Arc;

use s3s::{S3Request, S3Response, S3Result, dto::*, s3_error};

use super::{
    body::{self, Expected},
    checksum::{Algorithm, checksums_of, set_checksums},
    conditions::WriteCondition,
    object::{self, Segment, description_of},
    store::Store,
};

impl Store {
    pub(super) async fn write_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let S3Request { input, headers, trailing_headers, .. } = request;
        let bucket = self.bucket(&input.bucket)?;
        let condition = WriteCondition::new(input.if_match.clone(), input.if_none_match.as_ref())?;
        let expected = Expected {
            checksums: checksums_of!(input),
            sdk_algorithm: input.checksum_algorithm.as_ref(),
            content_md5: input.content_md5.as_deref(),
            headers: &headers,
            trailers: trailing_headers.as_ref(),
        };
        let description = description_of!(input);
        let verified = body::receive(&self.directory, input.body, expected, None).await?;
        let received = verified.received;
        // S3 stores the client's checksum, or else its own CRC64NVME.
        let algorithm = verified.algorithm.unwrap_or(Algorithm::Crc64Nvme);
        let object = object::Object {
            key: input.key,
            size: received.size,
            etag: hex::encode(received.md5),
            checksums: received.checksums.only(algorithm),
            checksum_type: ChecksumType::from_static(ChecksumType::FULL_OBJECT),
            modified_at: self.now(),
            description,
            segments: vec![Segment { size: received.size, blob: received.blob }],
        };
        let mut output = PutObjectOutput {
            e_tag: Some(object.etag_dto()),
            checksum_type: Some(object.checksum_type.clone()),
            ..Default::default()
        };
        set_checksums!(output, &object.checksums);
        bucket.contents().put(object, &condition)?;
        Ok(S3Response::new(output))
    }

    pub(super) fn remove_object(
        &self,
        input: &DeleteObjectInput,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        if input.if_match.is_some() {
            return Err(s3_error!(NotImplemented, "Conditional deletes are not emulated"));
        }
        let bucket = self.bucket(&input.bucket)?;
        bucket.contents().objects.remove(&input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    pub(super) fn put_tags(
        &self,
        input: PutObjectTaggingInput,
    ) -> S3Result<S3Response<PutObjectTaggingOutput>> {
        let tags = input.tagging.tag_set.into_iter().map(|tag| tag.key.zip(tag.value));
        let tags = tags.collect::<Option<BTreeMap<_, _>>>();
        let tags = tags.ok_or_else(|| s3_error!(MalformedXML, "A tag lacks its key or value"))?;
        self.replace_tags(&input.bucket, &input.key, tags)?;
        Ok(S3Response::new(PutObjectTaggingOutput::default()))
    }

    pub(super) fn remove_tags(
        &self,
        input: &DeleteObjectTaggingInput,
    ) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
        self.replace_tags(&input.bucket, &input.key, BTreeMap::new())?;
        Ok(S3Response::new(DeleteObjectTaggingOutput::default()))
    }

    fn replace_tags(
        &self,
        bucket: &str,
        key: &str,
        tags: BTreeMap<String, String>,
    ) -> S3Result<()> {
        let bucket = self.bucket(bucket)?;
        let mut object = (*bucket.object(key)?).clone();
        object.description.tags = tags;
        bucket.contents().objects.insert(key.to_owned(), Arc::new(object));
        Ok(())
    }

    pub(super) fn remove_objects(
        &self,
        input: DeleteObjectsInput,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let bucket = self.bucket(&input.bucket)?;
        let mut contents = bucket.contents();
        let deleted = input.delete.objects.into_iter().map(|object| {
            contents.objects.remove(&object.key);
            DeletedObject { key: Some(object.key), ..Default::default() }
        });
        let deleted = deleted.collect();
        let is_quiet = input.delete.quiet.unwrap_or(false);
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!is_quiet).then_some(deleted),
            ..Default::default()
        }))
    }
}
