//! The operations of S3 that are here, as s3s wants them: one trait.

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, dto::*, s3_error, xml};

use super::{Store, bucket::PublicAccess, listing, object::timestamp};

/// S3 lists no more than this on a page.
pub(super) const MAX_PAGE: i32 = 1000;

pub(super) fn page_size(wanted: Option<i32>) -> S3Result<usize> {
    let wanted = wanted.unwrap_or(MAX_PAGE);
    usize::try_from(wanted.min(MAX_PAGE))
        .map_err(|_| s3_error!(InvalidArgument, "The size of a page is not negative"))
}

pub(super) fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

pub(super) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[async_trait]
impl S3 for Store {
    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let name = request.input.bucket;
        Store::create_bucket(self, &name)?;
        Ok(S3Response::new(CreateBucketOutput {
            location: Some(format!("/{name}")),
        }))
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.bucket(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput {
            bucket_region: Some(self.region.clone()),
            ..Default::default()
        }))
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.bucket(&request.input.bucket)?;
        // The oldest region is told by saying nothing.
        let elsewhere = self.region != "us-east-1";
        Ok(S3Response::new(GetBucketLocationOutput {
            location_constraint: elsewhere
                .then(|| BucketLocationConstraint::from(self.region.clone())),
        }))
    }

    async fn list_buckets(
        &self,
        _: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let buckets = self.bucket_list().into_iter().map(|(name, bucket)| Bucket {
            name: Some(name),
            creation_date: Some(timestamp(bucket.created)),
            bucket_region: Some(self.region.clone()),
        });
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets.collect()),
            ..Default::default()
        }))
    }

    async fn delete_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        Store::delete_bucket(self, &request.input.bucket)?;
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }

    async fn put_bucket_lifecycle_configuration(
        &self,
        request: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        let rules = match request.input.lifecycle_configuration {
            Some(configuration) => {
                let mut bytes = Vec::new();
                let mut serializer = xml::Serializer::new(&mut bytes);
                serializer
                    .content("LifecycleConfiguration", &configuration)
                    .map_err(S3Error::internal_error)?;
                Some(String::from_utf8(bytes).map_err(S3Error::internal_error)?)
            }
            None => None,
        };
        bucket
            .set_lifecycle(rules)
            .map_err(S3Error::internal_error)?;
        Ok(S3Response::new(
            PutBucketLifecycleConfigurationOutput::default(),
        ))
    }

    async fn get_bucket_lifecycle_configuration(
        &self,
        request: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        let rules = bucket.contents().lifecycle.clone().ok_or_else(|| {
            s3_error!(
                NoSuchLifecycleConfiguration,
                "The lifecycle configuration does not exist"
            )
        })?;
        let mut deserializer = xml::Deserializer::new(rules.as_bytes());
        let configuration: BucketLifecycleConfiguration = deserializer
            .named_element("LifecycleConfiguration", xml::Deserializer::content)
            .map_err(S3Error::internal_error)?;
        Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
            rules: Some(configuration.rules),
            ..Default::default()
        }))
    }

    async fn delete_bucket_lifecycle(
        &self,
        request: S3Request<DeleteBucketLifecycleInput>,
    ) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        bucket
            .set_lifecycle(None)
            .map_err(S3Error::internal_error)?;
        Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
    }

    /// AWS encrypts every object, whether a bucket says so or not; what a bucket says otherwise is not kept.
    async fn get_bucket_encryption(
        &self,
        request: S3Request<GetBucketEncryptionInput>,
    ) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
        self.bucket(&request.input.bucket)?;
        let default = ServerSideEncryptionByDefault {
            kms_master_key_id: None,
            sse_algorithm: ServerSideEncryption::from_static(ServerSideEncryption::AES256),
        };
        let rule = ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(default),
            bucket_key_enabled: Some(false),
        };
        Ok(S3Response::new(GetBucketEncryptionOutput {
            server_side_encryption_configuration: Some(ServerSideEncryptionConfiguration {
                rules: vec![rule],
            }),
        }))
    }

    async fn put_public_access_block(
        &self,
        request: S3Request<PutPublicAccessBlockInput>,
    ) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
        let wanted = request.input.public_access_block_configuration;
        let block = PublicAccess {
            block_public_acls: wanted.block_public_acls.unwrap_or_default(),
            ignore_public_acls: wanted.ignore_public_acls.unwrap_or_default(),
            block_public_policy: wanted.block_public_policy.unwrap_or_default(),
            restrict_public_buckets: wanted.restrict_public_buckets.unwrap_or_default(),
        };
        self.bucket(&request.input.bucket)?
            .set_public_access(Some(block))
            .map_err(S3Error::internal_error)?;
        Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
    }

    async fn get_public_access_block(
        &self,
        request: S3Request<GetPublicAccessBlockInput>,
    ) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        let Some(block) = bucket.contents().public_access else {
            let mut error = S3Error::with_message(
                S3ErrorCode::Custom("NoSuchPublicAccessBlockConfiguration".into()),
                "The public access block configuration was not found",
            );
            error.set_status_code(hyper::StatusCode::NOT_FOUND);
            return Err(error);
        };
        Ok(S3Response::new(GetPublicAccessBlockOutput {
            public_access_block_configuration: Some(PublicAccessBlockConfiguration {
                block_public_acls: Some(block.block_public_acls),
                ignore_public_acls: Some(block.ignore_public_acls),
                block_public_policy: Some(block.block_public_policy),
                restrict_public_buckets: Some(block.restrict_public_buckets),
            }),
        }))
    }

    async fn delete_public_access_block(
        &self,
        request: S3Request<DeletePublicAccessBlockInput>,
    ) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
        self.bucket(&request.input.bucket)?
            .set_public_access(None)
            .map_err(S3Error::internal_error)?;
        Ok(S3Response::new(DeletePublicAccessBlockOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let limit = page_size(input.max_keys)?;
        let after = match &input.continuation_token {
            Some(token) => token_key(token)?,
            None => input.start_after.clone().unwrap_or_default(),
        };
        let contents = bucket.contents();
        let page = listing::page(
            &contents.objects,
            &prefix,
            input.delimiter.as_deref(),
            &after,
            limit,
        );
        let listed = page.entries.iter().map(|(key, object)| Object {
            key: Some(input.encoded(key)),
            size: Some(size(object.facts.size)),
            e_tag: Some(object.facts.etag_dto()),
            last_modified: Some(timestamp(object.facts.modified)),
            checksum_type: Some(object.facts.checksum_type()),
            checksum_algorithm: Some(object.facts.sums.algorithms().map(|a| a.dto()).collect()),
            storage_class: Some(ObjectStorageClass::from_static(
                ObjectStorageClass::STANDARD,
            )),
            ..Default::default()
        });
        let prefixes = page.prefixes.iter().map(|common| CommonPrefix {
            prefix: Some(input.encoded(common)),
        });
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: Some(count(page.entries.len() + page.prefixes.len())),
            contents: Some(listed.collect()),
            common_prefixes: Some(prefixes.collect()),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.as_deref().map(|key| URL_SAFE_NO_PAD.encode(key)),
            max_keys: Some(count(limit)),
            prefix: Some(input.encoded(&prefix)),
            delimiter: input
                .delimiter
                .as_deref()
                .map(|delimiter| input.encoded(delimiter)),
            start_after: input.start_after.as_deref().map(|key| input.encoded(key)),
            name: Some(input.bucket),
            continuation_token: input.continuation_token,
            encoding_type: input.encoding_type,
            ..Default::default()
        }))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        self.read_object(request.input)
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.describe_object(request.input)
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        self.write_object(request).await
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        self.duplicate_object(request.input).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.remove_object(request.input)
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.remove_objects(request.input)
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.begin_upload(request.input)
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        self.receive_part(request).await
    }

    async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        self.parts_page(request.input)
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        self.uploads_page(request.input)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.finish_upload(request.input)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.abort_upload(&request.input)
    }
}

trait Encoded {
    /// As the client asked for keys: plain, or percent-encoded since XML cannot carry every character.
    fn encoded(&self, key: &str) -> String;
}

impl Encoded for ListObjectsV2Input {
    fn encoded(&self, key: &str) -> String {
        encoded(self.encoding_type.as_ref(), key)
    }
}

pub(super) fn encoded(encoding: Option<&EncodingType>, key: &str) -> String {
    if encoding.is_none_or(|encoding| encoding.as_str() != EncodingType::URL) {
        return key.to_owned();
    }
    let mut encoded = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_./*".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&hex::encode_upper([byte]));
        }
    }
    encoded
}

fn token_key(token: &str) -> S3Result<String> {
    let invalid = || {
        s3_error!(
            InvalidArgument,
            "The continuation token provided is incorrect"
        )
    };
    let key = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    String::from_utf8(key).map_err(|_| invalid())
}
