//! Deletes all objects and uploads of a Zoom user from the bucket.

use anyhow::{Context as _, bail};
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use reelay_domain::ids::ZoomUser;
use reelay_domain::object_key;
use reelay_runtime::AwsError;

use crate::deployment::Deployment;

pub(super) struct Objects {
    client: Client,
    bucket: String,
}

impl Objects {
    pub(super) fn new(deployment: &Deployment) -> anyhow::Result<Self> {
        Ok(Self {
            client: deployment.environment.s3(),
            bucket: deployment.resource("RecordingsBucket")?.to_owned(),
        })
    }

    /// Deletes all objects; returns their number and total size in bytes.
    pub(super) async fn erase(&self, zoom_user: &ZoomUser) -> anyhow::Result<(usize, u64)> {
        let (mut objects, mut bytes) = (0, 0);
        loop {
            // Always list the first page: the previous one has been deleted.
            let page = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(object_key::zoom_user_prefix(zoom_user))
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("ListObjectsV2", &error))?;
            let listed = page.contents.unwrap_or_default();
            if listed.is_empty() {
                return Ok((objects, bytes));
            }
            let keys = listed
                .iter()
                .filter_map(|object| object.key.clone())
                .map(|key| ObjectIdentifier::builder().key(key).build())
                .collect::<Result<Vec<_>, _>>()?;
            let delete = Delete::builder()
                .set_objects(Some(keys))
                .quiet(true)
                .build()
                .context("failed to build the delete request")?;
            let response = self
                .client
                .delete_objects()
                .bucket(&self.bucket)
                .delete(delete)
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("DeleteObjects", &error))?;
            // The request succeeds even if single objects were not deleted.
            if let Some(error) = response.errors.unwrap_or_default().first() {
                bail!(AwsError::unexpected_response(
                    "DeleteObjects",
                    error.code().unwrap_or("unknown error")
                ));
            }
            objects += listed.len();
            bytes +=
                listed.iter().filter_map(|object| u64::try_from(object.size?).ok()).sum::<u64>();
        }
    }

    /// Aborts all open multipart uploads; returns their number.
    pub(super) async fn abort_uploads(&self, zoom_user: &ZoomUser) -> anyhow::Result<usize> {
        let mut aborted = 0;
        loop {
            let page = self
                .client
                .list_multipart_uploads()
                .bucket(&self.bucket)
                .prefix(object_key::zoom_user_prefix(zoom_user))
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("ListMultipartUploads", &error))?;
            let listed = page.uploads.unwrap_or_default();
            if listed.is_empty() {
                return Ok(aborted);
            }
            for upload in listed {
                let response = self
                    .client
                    .abort_multipart_upload()
                    .bucket(&self.bucket)
                    .key(upload.key.unwrap_or_default())
                    .upload_id(upload.upload_id.unwrap_or_default())
                    .send()
                    .await;
                match response {
                    Ok(_) => aborted += 1,
                    // The downloader has completed or aborted it meanwhile.
                    Err(error)
                        if error.as_service_error().is_some_and(|e| e.is_no_such_upload()) => {}
                    Err(error) => bail!(AwsError::from_sdk("AbortMultipartUpload", &error)),
                }
            }
        }
    }
}
