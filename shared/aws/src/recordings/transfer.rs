//! Transfers: one owner a file, under a lease. Whoever has lost the lease finds out at the next write.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use domain::recording::FileStatus;
use jiff::{SignedDuration, Timestamp};

use super::{
    Claimed, FenceError, FileItem, FileKey, RecordingTable, conditional, number, read, status,
};
use crate::AwsFailure;

impl RecordingTable {
    /// Takes the transfer of a file under a lease, if it waits or its last owner is gone.
    pub async fn claim_transfer(
        &self,
        key: &FileKey,
        owner: &str,
        now: Timestamp,
        lease: SignedDuration,
    ) -> Result<Claimed, AwsFailure> {
        let answer = self
            .update(&key.zoom_user, &key.entry())
            .update_expression(
                "SET #status = :transferring, lease_owner = :owner, lease_until = :until, bytes_stored = :zero \
                 ADD attempt :one",
            )
            // The SDK repeats a call whose answer was lost, and then meets its own lease.
            .condition_expression(
                "#status = :queued OR (#status = :transferring AND (lease_until < :now OR lease_owner = :owner))",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":queued", status(FileStatus::Queued))
            .expression_attribute_values(":transferring", status(FileStatus::Transferring))
            .expression_attribute_values(":owner", AttributeValue::S(owner.to_owned()))
            .expression_attribute_values(":until", number((now + lease).as_millisecond()))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .expression_attribute_values(":zero", number(0))
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(updated) => Ok(Claimed::Ours(read(updated.attributes.unwrap_or_default())?)),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    let Some(item) = failed.item().filter(|item| !item.is_empty()) else {
                        return Ok(Claimed::Unknown);
                    };
                    let item: FileItem = read(item.clone())?;
                    Ok(match (item.status, item.lease_until) {
                        (FileStatus::Transferring, Some(until)) => Claimed::Leased(until),
                        _ => Claimed::Ended(item),
                    })
                }
                _ => Err(AwsFailure::of("UpdateItem Recordings", &error)),
            },
        }
    }

    /// Notes how far the owner's transfer has come.
    pub async fn progress(&self, key: &FileKey, owner: &str, bytes: u64) -> Result<(), FenceError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression("SET bytes_stored = :bytes")
            .expression_attribute_values(":bytes", AttributeValue::N(bytes.to_string()));
        self.as_owner(update, owner).await
    }

    /// Ends the owner's transfer: the object is in the bucket, whole and proven.
    pub async fn stored(
        &self,
        key: &FileKey,
        owner: &str,
        object_key: &str,
        crc64nvme: &str,
        bytes: u64,
    ) -> Result<(), FenceError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression(
                "SET #status = :stored, bytes_stored = :bytes, #key = :key, crc64nvme = :crc \
                 REMOVE lease_until, #source, reason",
            )
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
    pub async fn failed(&self, key: &FileKey, owner: &str, reason: &str) -> Result<(), FenceError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression(
                "SET #status = :failed, reason = :reason, bytes_stored = :zero REMOVE lease_until",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":failed", status(FileStatus::Failed))
            .expression_attribute_values(":reason", AttributeValue::S(reason.to_owned()))
            .expression_attribute_values(":zero", number(0));
        self.as_owner(update, owner).await
    }

    /// Gives the owner's transfer back, to be tried again.
    pub async fn release(&self, key: &FileKey, owner: &str) -> Result<(), FenceError> {
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
    ) -> Result<(), FenceError> {
        let update = update
            .condition_expression("lease_owner = :owner AND attribute_exists(lease_until)")
            .expression_attribute_values(":owner", AttributeValue::S(owner.to_owned()));
        conditional(update.send().await)?.ok_or(FenceError::Lost)
    }
}
