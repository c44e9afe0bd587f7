//! The bucket: presigned URLs and small objects. The downloader transfers recordings itself.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, Tag, Tagging};
use jiff::Timestamp;
use reelay_domain::ids::ZoomUser;
use reelay_domain::message::EventBody;
use reelay_domain::object_key;
use secrecy::SecretString;
use serde_json::Value;

use reelay_runtime::environment::{ConfigError, Environment};
use reelay_runtime::{AwsError, random};

/// Maximum size in bytes of an event in a message. Larger ones are stored in the bucket.
const MAX_INLINE_EVENT: usize = 200 * 1024;

/// Validity of a presigned URL.
pub const PRESIGNED_URL_TTL: Duration = Duration::from_secs(3600);

/// An incomplete multipart upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// Object key.
    pub key: String,
    /// Upload id.
    pub id: String,
}

/// An event that could not be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnparsedEvent {
    /// Object key, which names the Zoom user if the event does.
    pub key: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Time of filing.
    pub filed_at: Timestamp,
}

/// The bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    client: Client,
    name: String,
}

impl Bucket {
    /// The bucket that `BUCKET` names.
    ///
    /// # Errors
    /// If the variable is absent.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            client: environment.s3(),
            name: environment.variables.required("BUCKET")?.to_owned(),
        })
    }

    /// The name of the bucket.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The S3 client, for the downloader.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Lists incomplete multipart uploads of all recordings that started before the given time.
    ///
    /// # Errors
    /// If the S3 call fails.
    pub async fn uploads_started_before(
        &self,
        before: Timestamp,
    ) -> Result<Vec<OpenUpload>, AwsError> {
        self.open_uploads("recordings/", before).await
    }

    /// Lists the events that could not be parsed, for the operator.
    ///
    /// # Errors
    /// If the S3 call fails.
    pub async fn unparsed_events(&self) -> Result<Vec<UnparsedEvent>, AwsError> {
        let list = self.client.list_objects_v2().bucket(&self.name).prefix("events/");
        let mut pages = list.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::from_sdk("ListObjectsV2", &error))?;
            for object in page.contents.unwrap_or_default() {
                let filed_at = object.last_modified.map_or(0, |at| at.secs());
                if let Some(key) = object.key.filter(|key| object_key::is_unparsed(key)) {
                    found.push(UnparsedEvent {
                        key,
                        bytes: object.size.and_then(|size| size.try_into().ok()).unwrap_or(0),
                        filed_at: Timestamp::from_second(filed_at).unwrap_or(Timestamp::MIN),
                    });
                }
            }
        }
        Ok(found)
    }

    /// Aborts all multipart uploads of one object.
    ///
    /// # Errors
    /// If an S3 call fails.
    pub async fn abort_uploads_of(&self, key: &str) -> Result<(), AwsError> {
        for upload in self.open_uploads(key, Timestamp::MAX).await? {
            // The list is by prefix, so it may include other keys.
            if upload.key == key {
                self.abort_upload(&upload).await?;
            }
        }
        Ok(())
    }

    /// Lists incomplete multipart uploads below a prefix that started before the given time.
    pub(crate) async fn open_uploads(
        &self,
        prefix: &str,
        before: Timestamp,
    ) -> Result<Vec<OpenUpload>, AwsError> {
        let (mut found, mut key_marker, mut id_marker) = (Vec::new(), None, None);
        loop {
            let page = self
                .client
                .list_multipart_uploads()
                .bucket(&self.name)
                .prefix(prefix)
                .set_key_marker(key_marker)
                .set_upload_id_marker(id_marker)
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("ListMultipartUploads", &error))?;
            let is_truncated = page.is_truncated == Some(true);
            for upload in page.uploads.unwrap_or_default() {
                let old =
                    upload.initiated.is_some_and(|started| started.secs() < before.as_second());
                if let (true, Some(key), Some(id)) = (old, upload.key, upload.upload_id) {
                    found.push(OpenUpload { key, id });
                }
            }
            (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
            if !is_truncated || key_marker.is_none() {
                return Ok(found);
            }
        }
    }

    /// Aborts an upload. Succeeds also if it no longer exists.
    ///
    /// # Errors
    /// If the S3 call fails.
    pub async fn abort_upload(&self, upload: &OpenUpload) -> Result<(), AwsError> {
        let aborted = self
            .client
            .abort_multipart_upload()
            .bucket(&self.name)
            .key(&upload.key)
            .upload_id(&upload.id)
            .send()
            .await;
        match aborted {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchUpload") => Ok(()),
            Err(error) => Err(AwsError::from_sdk("AbortMultipartUpload", &error)),
        }
    }

    /// Presigns a GET URL, valid for [`PRESIGNED_URL_TTL`] from now. S3 responds with the given `Content-Disposition`.
    ///
    /// # Errors
    /// If presigning fails.
    pub async fn presigned_url(
        &self,
        key: &str,
        disposition: &str,
        now: Timestamp,
    ) -> Result<SecretString, AwsError> {
        let call = "presigned GetObject";
        let now = SystemTime::try_from(now)
            .map_err(|_| AwsError::unexpected_response(call, "invalid time"))?;
        let config = PresigningConfig::builder()
            .start_time(now)
            .expires_in(PRESIGNED_URL_TTL)
            .build()
            .map_err(|_| AwsError::unexpected_response(call, "invalid expiry"))?;
        let request = self
            .client
            .get_object()
            .bucket(&self.name)
            .key(key)
            .response_content_disposition(disposition)
            .presigned(config)
            .await
            .map_err(|error| AwsError::from_sdk(call, &error))?;
        Ok(SecretString::from(request.uri()))
    }

    /// Writes a JSON object.
    ///
    /// # Errors
    /// If the S3 call fails.
    pub async fn put_json(&self, key: &str, body: Vec<u8>) -> Result<(), AwsError> {
        self.put(key, "application/json", body).await
    }

    /// Writes a small object.
    ///
    /// # Errors
    /// If the S3 call fails.
    pub async fn put(&self, key: &str, content_type: &str, body: Vec<u8>) -> Result<(), AwsError> {
        self.client
            .put_object()
            .bucket(&self.name)
            .key(key)
            .content_type(content_type)
            .body(ByteStream::from(body))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("PutObject", &error))
    }

    /// Returns the event as a message body. Above 200 KiB, stores the event as an object first, because SQS
    /// allows 1 MiB per message. Its key names the host, so that an erasure finds it.
    ///
    /// # Errors
    /// If the S3 call fails.
    pub async fn event_body(&self, event: Value) -> Result<EventBody, AwsError> {
        let text = event.to_string();
        if text.len() <= MAX_INLINE_EVENT {
            return Ok(EventBody::Event(event));
        }
        let key = object_key::event(event_host(&event).as_ref(), random::bytes());
        self.put_json(&key, text.into_bytes()).await?;
        Ok(EventBody::ObjectKey(key))
    }

    /// Removes all tags of an object, so that no lifecycle rule deletes it.
    ///
    /// # Errors
    /// If the S3 call fails.
    pub async fn remove_tags(&self, key: &str) -> Result<(), AwsError> {
        let untag = self.client.delete_object_tagging().bucket(&self.name).key(key);
        let untagged = untag.send().await;
        untagged.map(|_| ()).map_err(|error| AwsError::from_sdk("DeleteObjectTagging", &error))
    }

    /// Adds the tag of objects that the bucket's lifecycle rule deletes, in place of all other tags.
    ///
    /// # Errors
    /// If the S3 call fails.
    pub async fn tag_as_expiring(&self, key: &str) -> Result<(), AwsError> {
        let tag = Tag::builder().key("expires").value("true").build();
        let tagging = tag.and_then(|tag| Tagging::builder().tag_set(tag).build());
        let tagging = tagging
            .map_err(|_| AwsError::unexpected_response("PutObjectTagging", "invalid tag"))?;
        let tag = self.client.put_object_tagging().bucket(&self.name).key(key).tagging(tagging);
        let tagged = tag.send().await;
        tagged.map(|_| ()).map_err(|error| AwsError::from_sdk("PutObjectTagging", &error))
    }

    /// Whether an object has this length and this base64 CRC-64/NVME, as S3 computed it.
    ///
    /// # Errors
    /// If the S3 call fails.
    pub async fn is_intact(&self, key: &str, length: u64, crc: &str) -> Result<bool, AwsError> {
        let head = self.client.head_object().bucket(&self.name).key(key);
        match head.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(head) => {
                let stored = head.content_length().and_then(|length| u64::try_from(length).ok());
                Ok(stored == Some(length) && head.checksum_crc64_nvme() == Some(crc))
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

    /// Whether an object exists.
    ///
    /// # Errors
    /// If the S3 call fails.
    pub async fn has_object(&self, key: &str) -> Result<bool, AwsError> {
        let list = self.client.list_objects_v2().bucket(&self.name).prefix(key).max_keys(1);
        let page =
            list.send().await.map_err(|error| AwsError::from_sdk("ListObjectsV2", &error))?;
        // Keys are sorted, so the key itself precedes longer ones with this prefix.
        Ok(page.contents().first().and_then(|object| object.key()) == Some(key))
    }

    /// Reads a small object. `None` if it does not exist.
    ///
    /// # Errors
    /// If the S3 call fails.
    pub async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, AwsError> {
        let response = self.client.get_object().bucket(&self.name).key(key).send().await;
        let response = match response {
            Ok(response) => response,
            Err(error) if error.as_service_error().is_some_and(|e| e.is_no_such_key()) => {
                return Ok(None);
            }
            Err(error) => return Err(AwsError::from_sdk("GetObject", &error)),
        };
        let body = response
            .body
            .collect()
            .await
            .map_err(|_| AwsError::unexpected_response("GetObject", "body was interrupted"))?;
        Ok(Some(body.into_bytes().into()))
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// If the S3 call fails.
    pub async fn delete(&self, key: &str) -> Result<(), AwsError> {
        self.client
            .delete_object()
            .bucket(&self.name)
            .key(key)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("DeleteObject", &error))
    }
}

/// The host that an event names, if any.
fn event_host(event: &Value) -> Option<ZoomUser> {
    let text = |pointer| event.pointer(pointer).and_then(Value::as_str);
    Some(ZoomUser {
        account_id: text("/payload/account_id")?.parse().ok()?,
        user_id: text("/payload/object/host_id")?.parse().ok()?,
    })
}
