//! Objects below a prefix of the bucket.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use jiff::Timestamp;
use reelay_domain::erasure::ErasureTotals;
use reelay_domain::ids::RecordingId;
use reelay_domain::object_key;
use reelay_runtime::AwsError;

use crate::bucket::Bucket;

/// Maximum objects of a DeleteObjects request (S3).
const MAX_BATCH_DELETES: usize = 1000;

/// A listed object.
#[derive(Debug)]
pub(super) struct StoredObject {
    key: String,
    bytes: u64,
    pub(super) modified: Timestamp,
    /// The recording whose folder holds it.
    pub(super) recording: Option<RecordingId>,
}

/// Lists the objects below a prefix.
pub(super) async fn list(bucket: &Bucket, prefix: &str) -> Result<Vec<StoredObject>, AwsError> {
    let list = bucket.client().list_objects_v2();
    let mut pages = list.bucket(bucket.name()).prefix(prefix).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| AwsError::from_sdk("ListObjectsV2", &error))?;
        found.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| {
            let key = object.key?;
            let modified = object.last_modified.map_or(0, |at| at.secs());
            Some(StoredObject {
                bytes: object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                modified: Timestamp::from_second(modified).unwrap_or(Timestamp::MIN),
                recording: object_key::recording_of(&key),
                key,
            })
        }));
    }
    Ok(found)
}

/// Deletes objects and counts them.
pub(super) async fn delete(
    bucket: &Bucket,
    objects: &[&StoredObject],
    totals: &mut ErasureTotals,
) -> Result<(), AwsError> {
    let call = "DeleteObjects";
    let invalid = |_| AwsError::unexpected_response(call, "failed to build the request");
    for batch in objects.chunks(MAX_BATCH_DELETES) {
        let keys = batch.iter().map(|object| ObjectIdentifier::builder().key(&object.key));
        let keys = keys.map(|key| key.build()).collect::<Result<Vec<_>, _>>().map_err(invalid)?;
        let delete = Delete::builder().set_objects(Some(keys)).quiet(true).build();
        let response = bucket
            .client()
            .delete_objects()
            .bucket(bucket.name())
            .delete(delete.map_err(invalid)?)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(call, &error))?;
        // The request succeeds even if single objects were not deleted.
        if let Some(error) = response.errors.unwrap_or_default().first() {
            let code = error.code().unwrap_or("unknown error").to_owned();
            return Err(AwsError::unexpected_response(call, code));
        }
        totals.objects += batch.len() as u64;
        totals.bytes += batch.iter().map(|object| object.bytes).sum::<u64>();
    }
    Ok(())
}
