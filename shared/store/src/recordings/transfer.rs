//! Transfers: one owner a file, under a lease. Whoever has lost the lease finds out at the next write.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::{SignedDuration, Timestamp};
use reelay_domain::recording::FileStatus;

use super::{
    FileItem, FileKey, LeaseError, LeaseOutcome, RecordingTable, UploadState, attribute,
    conditional, number, read, status,
};
use reelay_runtime::AwsError;

/// What the item says of a stored file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredObject<'a> {
    /// Object key.
    pub key: &'a str,
    /// Base64 CRC-64/NVME of the whole object, as S3 verified it.
    pub crc64nvme: &'a str,
    /// Its length.
    pub bytes: u64,
    /// Whether it begins as its type does; `None` for types of which nothing is known.
    pub recognised: Option<bool>,
    /// The length that Zoom declares.
    pub declared: Option<u64>,
}

impl RecordingTable {
    /// Takes the transfer of a file under a lease, if it waits, was handed over, or its last owner is gone.
    pub async fn acquire_lease(
        &self,
        key: &FileKey,
        owner: &str,
        now: Timestamp,
        lease: SignedDuration,
    ) -> Result<LeaseOutcome, AwsError> {
        let answer = self
            .update(&key.zoom_user, &key.entry())
            .update_expression(
                "SET #status = :transferring, lease_owner = :owner, lease_until = :until ADD attempt :one",
            )
            // The SDK repeats a call whose answer was lost, and then meets its own lease.
            .condition_expression(
                "#status = :queued OR (#status = :transferring AND \
                 (attribute_not_exists(lease_until) OR lease_until < :now OR lease_owner = :owner))",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":queued", status(FileStatus::Queued))
            .expression_attribute_values(":transferring", status(FileStatus::Transferring))
            .expression_attribute_values(":owner", AttributeValue::S(owner.to_owned()))
            .expression_attribute_values(":until", number((now + lease).as_millisecond()))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(updated) => Ok(LeaseOutcome::Acquired(read(
                updated.attributes.unwrap_or_default(),
            )?)),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    let Some(item) = failed.item().filter(|item| !item.is_empty()) else {
                        return Ok(LeaseOutcome::FileNotFound);
                    };
                    let item: FileItem = read(item.clone())?;
                    Ok(match (item.status, item.lease_until) {
                        (FileStatus::Transferring, Some(until)) => LeaseOutcome::HeldByOther {
                            until,
                            owner: item.lease_owner.unwrap_or_default(),
                        },
                        _ => LeaseOutcome::AlreadyFinished(item),
                    })
                }
                _ => Err(AwsError::from_sdk("UpdateItem Recordings", &error)),
            },
        }
    }

    /// Notes how far the owner's transfer has come.
    pub async fn save_progress(
        &self,
        key: &FileKey,
        owner: &str,
        bytes: u64,
    ) -> Result<(), LeaseError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression("SET bytes_stored = :bytes")
            .expression_attribute_values(":bytes", AttributeValue::N(bytes.to_string()));
        self.as_owner(update, owner).await
    }

    /// Makes sure that the transfer is still the owner's.
    pub async fn verify_lease(&self, key: &FileKey, owner: &str) -> Result<(), LeaseError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression("SET lease_owner = :owner");
        self.as_owner(update, owner).await
    }

    /// Notes the upload that the owner has begun, all that is needed to go on with it in one write.
    pub async fn save_upload(
        &self,
        key: &FileKey,
        owner: &str,
        upload: &UploadState,
    ) -> Result<(), LeaseError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression("SET upload = :upload, bytes_stored = :zero")
            .expression_attribute_values(":upload", attribute(upload)?)
            .expression_attribute_values(":zero", number(0));
        self.as_owner(update, owner).await
    }

    /// Notes the checksum of the whole, before the owner's upload is completed: by it the object is known
    /// should the owner not come to say what it is.
    pub async fn save_upload_checksum(
        &self,
        key: &FileKey,
        owner: &str,
        crc64nvme: &str,
    ) -> Result<(), LeaseError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression("SET upload.crc64nvme = :crc")
            .expression_attribute_values(":crc", AttributeValue::S(crc64nvme.to_owned()));
        self.as_owner(update, owner).await
    }

    /// Forgets the owner's upload, which is no more.
    pub async fn clear_upload(&self, key: &FileKey, owner: &str) -> Result<(), LeaseError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression("SET bytes_stored = :zero REMOVE upload")
            .expression_attribute_values(":zero", number(0));
        self.as_owner(update, owner).await
    }

    /// Lets go of the owner's transfer, so that the next message goes on with it.
    pub async fn release_for_continuation(
        &self,
        key: &FileKey,
        owner: &str,
    ) -> Result<(), LeaseError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression("REMOVE lease_until");
        self.as_owner(update, owner).await
    }

    /// Ends the owner's transfer: the object is in the bucket, whole and proven.
    pub async fn mark_stored(
        &self,
        key: &FileKey,
        owner: &str,
        object: &StoredObject<'_>,
    ) -> Result<(), LeaseError> {
        let StoredObject {
            key: object_key,
            crc64nvme,
            bytes,
            recognised,
            declared,
        } = *object;
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression(
                "SET #status = :stored, bytes_stored = :bytes, #key = :key, crc64nvme = :crc, \
                 recognised = :recognised, #size = :declared \
                 REMOVE lease_until, #source, source_saved_at, reason, upload, next_check_day, next_check_at",
            )
            .expression_attribute_names("#size", "size")
            .expression_attribute_values(":recognised", attribute(&recognised)?)
            .expression_attribute_values(":declared", attribute(&declared)?)
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#key", "key")
            .expression_attribute_names("#source", "source")
            .expression_attribute_values(":stored", status(FileStatus::Stored))
            .expression_attribute_values(":bytes", AttributeValue::N(bytes.to_string()))
            .expression_attribute_values(":key", AttributeValue::S(object_key.to_owned()))
            .expression_attribute_values(":crc", AttributeValue::S(crc64nvme.to_owned()));
        self.as_owner(update, owner).await
    }

    /// Ends the owner's transfer for good, with a reason.
    pub async fn mark_failed(
        &self,
        key: &FileKey,
        owner: &str,
        reason: &str,
    ) -> Result<(), LeaseError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression(
                "SET #status = :failed, reason = :reason, bytes_stored = :zero REMOVE lease_until, upload",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":failed", status(FileStatus::Failed))
            .expression_attribute_values(":reason", AttributeValue::S(reason.to_owned()))
            .expression_attribute_values(":zero", number(0));
        self.as_owner(update, owner).await
    }

    /// Gives the owner's transfer back, to be tried again.
    pub async fn release_for_retry(&self, key: &FileKey, owner: &str) -> Result<(), LeaseError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression("SET #status = :queued REMOVE lease_until")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":queued", status(FileStatus::Queued));
        self.as_owner(update, owner).await
    }

    async fn as_owner(
        &self,
        update: UpdateItemFluentBuilder,
        owner: &str,
    ) -> Result<(), LeaseError> {
        let update = update
            .condition_expression("lease_owner = :owner AND attribute_exists(lease_until)")
            .expression_attribute_values(":owner", AttributeValue::S(owner.to_owned()));
        conditional(update.send().await)?.ok_or(LeaseError::Lost)
    }
}
