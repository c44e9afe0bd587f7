//! The bucket: presigned URLs for the app, small objects of our own. Recordings' bytes are the
//! downloader's business.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use jiff::Timestamp;
use reelay_domain::message::EventBody;
use secrecy::SecretString;
use serde_json::Value;

use reelay_runtime::environment::{ConfigError, Environment};
use reelay_runtime::{AwsError, random};

/// Events above this size go to the bucket.
const LARGEST_INLINE: usize = 200 * 1024;

/// How long a presigned URL is good for.
pub const PRESIGNED_URL_TTL: Duration = Duration::from_secs(3600);

/// A multipart upload that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// The key under which it would lie.
    pub key: String,
    /// S3's id of it.
    pub id: String,
}

/// The bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    client: Client,
    name: String,
}

impl Bucket {
    /// The bucket that `BUCKET` names.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            client: environment.s3(),
            name: environment.variables.required("BUCKET")?.to_owned(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The client, for the downloader's transfers.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The multipart uploads of recordings that were begun before a time and neither completed nor aborted.
    pub async fn uploads_started_before(
        &self,
        before: Timestamp,
    ) -> Result<Vec<OpenUpload>, AwsError> {
        let (mut found, mut key_marker, mut id_marker) = (Vec::new(), None, None);
        loop {
            let page = self
                .client
                .list_multipart_uploads()
                .bucket(&self.name)
                .prefix("recordings/")
                .set_key_marker(key_marker)
                .set_upload_id_marker(id_marker)
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("ListMultipartUploads", &error))?;
            let more = page.is_truncated == Some(true);
            for upload in page.uploads.unwrap_or_default() {
                let old = upload
                    .initiated
                    .is_some_and(|begun| begun.secs() < before.as_second());
                if let (true, Some(key), Some(id)) = (old, upload.key, upload.upload_id) {
                    found.push(OpenUpload { key, id });
                }
            }
            (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
            if !more || key_marker.is_none() {
                return Ok(found);
            }
        }
    }

    /// Gives an upload's parts back. That it is gone already is as good.
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

    /// A URL by which anybody who has it can read the object for an hour.
    pub async fn presigned_url(&self, key: &str) -> Result<SecretString, AwsError> {
        let call = "presigned GetObject";
        let config = PresigningConfig::expires_in(PRESIGNED_URL_TTL)
            .map_err(|_| AwsError::unexpected_response(call, "lifetime not possible"))?;
        let request = self
            .client
            .get_object()
            .bucket(&self.name)
            .key(key)
            .presigned(config)
            .await
            .map_err(|error| AwsError::from_sdk(call, &error))?;
        Ok(SecretString::from(request.uri()))
    }

    /// Writes a small object.
    pub async fn put_json(&self, key: &str, body: Vec<u8>) -> Result<(), AwsError> {
        self.client
            .put_object()
            .bucket(&self.name)
            .key(key)
            .content_type("application/json")
            .body(ByteStream::from(body))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("PutObject", &error))
    }

    /// What of an event goes into its message: the event, or, above 200 KiB, the name of the object in
    /// which it is put first. SQS takes 1 MiB, with what surrounds it.
    pub async fn event_body(&self, event: Value) -> Result<EventBody, AwsError> {
        let text = event.to_string();
        if text.len() <= LARGEST_INLINE {
            return Ok(EventBody::Event(event));
        }
        let key = format!("events/{:032x}.json", u128::from_be_bytes(random::bytes()));
        self.put_json(&key, text.into_bytes()).await?;
        Ok(EventBody::ObjectKey(key))
    }

    /// Reads a small object that we wrote. `None` if it is not there.
    pub async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, AwsError> {
        let answer = self
            .client
            .get_object()
            .bucket(&self.name)
            .key(key)
            .send()
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.as_service_error().is_some_and(|e| e.is_no_such_key()) => {
                return Ok(None);
            }
            Err(error) => return Err(AwsError::from_sdk("GetObject", &error)),
        };
        let body = answer
            .body
            .collect()
            .await
            .map_err(|_| AwsError::unexpected_response("GetObject", "body broke off"))?;
        Ok(Some(body.to_vec()))
    }

    /// Removes an object that is no longer needed.
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
