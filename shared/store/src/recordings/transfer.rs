//! Transfers under a lease: one owner per file. An owner that has lost the lease notices at its next write.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::{SignedDuration, Timestamp};
use reelay_domain::maintenance::expiry_check;
use reelay_domain::recording::FileStatus;
use reelay_domain::retry::Failures;
use reelay_domain::upload::UploadState;

use super::checks::{NextCheck, with_next_check};
use super::{
    FileItem, FileKey, LeaseError, LeaseOutcome, RecordingTable, ServedSize, TABLE, conditional,
    status,
};
use crate::item::{from_item, number, text, to_attribute};
use reelay_runtime::AwsError;

/// A stored object, to be written to the item of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredObject<'a> {
    /// Object key.
    pub key: &'a str,
    /// Base64 CRC-64/NVME of the whole object, as S3 verified it.
    pub crc64nvme: &'a str,
    /// Length in bytes.
    pub bytes: u64,
    /// Whether its first bytes match its type; `None` for types without a known signature.
    pub recognised: Option<bool>,
    /// Length that Zoom declares, if it was requested again.
    pub declared: Option<u64>,
    /// Length that Zoom declares, if it differs from the stored length.
    pub declared_otherwise: Option<u64>,
    /// Time of storing.
    pub stored_at: Timestamp,
    /// When S3 deletes the object, if it does.
    pub expires_at: Option<Timestamp>,
}

/// The next attempt of a file after a failed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduledRetry<'a> {
    /// Why the last attempt failed.
    pub reason: &'a str,
    /// Failures so far.
    pub failures: Failures,
    /// Time of the attempt.
    pub at: Timestamp,
    /// When maintenance enqueues it: later than `at` if a message is enqueued, which may get lost.
    pub check_at: Timestamp,
    /// The size that Zoom served, if it declares another.
    pub served_size: Option<ServedSize>,
}

impl RecordingTable {
    /// Acquires the lease on a file's transfer, if the file is queued, released, or its lease has expired.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn acquire_lease(
        &self,
        key: &FileKey,
        owner: &str,
        now: Timestamp,
        lease: SignedDuration,
    ) -> Result<LeaseOutcome, AwsError> {
        let response = self
            .update(&key.zoom_user, &key.entry())
            .update_expression(
                "SET #status = :transferring, lease_owner = :owner, lease_until = :until, \
                 first_attempt_at = if_not_exists(first_attempt_at, :now) \
                 REMOVE next_attempt_at ADD attempt :one",
            )
            // After a lost response the SDK repeats the call and meets its own lease.
            .condition_expression(
                "#status = :queued OR (#status = :transferring AND \
                 (attribute_not_exists(lease_until) OR lease_until < :now OR lease_owner = :owner))",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":queued", status(FileStatus::Queued))
            .expression_attribute_values(":transferring", status(FileStatus::Transferring))
            .expression_attribute_values(":owner", text(owner.to_owned()))
            .expression_attribute_values(":until", number((now + lease).as_millisecond()))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match response {
            Ok(updated) => Ok(LeaseOutcome::Acquired(from_item(
                TABLE,
                updated.attributes.unwrap_or_default(),
            )?)),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    let Some(item) = failed.item().filter(|item| !item.is_empty()) else {
                        return Ok(LeaseOutcome::FileNotFound);
                    };
                    let item: FileItem = from_item(TABLE, item.clone())?;
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

    /// Saves the number of bytes received.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn save_progress(
        &self,
        key: &FileKey,
        owner: &str,
        bytes: u64,
    ) -> Result<(), LeaseError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression("SET bytes_stored = :bytes")
            .expression_attribute_values(":bytes", number(bytes));
        self.update_as_owner(update, owner).await
    }

    /// Verifies that the owner still holds the lease.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn verify_lease(&self, key: &FileKey, owner: &str) -> Result<(), LeaseError> {
        let update =
            self.update(&key.zoom_user, &key.entry()).update_expression("SET lease_owner = :owner");
        self.update_as_owner(update, owner).await
    }

    /// Saves a started upload, with everything that is needed to resume it.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn save_upload(
        &self,
        key: &FileKey,
        owner: &str,
        upload: &UploadState,
    ) -> Result<(), LeaseError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression("SET upload = :upload, bytes_stored = :zero")
            .expression_attribute_values(":upload", to_attribute(upload)?)
            .expression_attribute_values(":zero", number(0));
        self.update_as_owner(update, owner).await
    }

    /// Saves the checksum of the whole object before the upload is completed. It identifies the object if the
    /// invocation is killed before [`Self::mark_stored`].
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn save_upload_checksum(
        &self,
        key: &FileKey,
        owner: &str,
        crc64nvme: &str,
    ) -> Result<(), LeaseError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression("SET upload.crc64nvme = :crc")
            .expression_attribute_values(":crc", text(crc64nvme.to_owned()));
        self.update_as_owner(update, owner).await
    }

    /// Removes an aborted upload.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn clear_upload(&self, key: &FileKey, owner: &str) -> Result<(), LeaseError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression("SET bytes_stored = :zero REMOVE upload")
            .expression_attribute_values(":zero", number(0));
        self.update_as_owner(update, owner).await
    }

    /// Releases the lease so that a new invocation continues the transfer, which made progress.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn release_for_continuation(
        &self,
        key: &FileKey,
        owner: &str,
    ) -> Result<(), LeaseError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression("REMOVE lease_until, first_attempt_at, failures");
        self.update_as_owner(update, owner).await
    }

    /// Marks the file as stored: its object is complete and verified.
    ///
    /// # Errors
    /// [`LeaseError`].
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
            declared_otherwise,
            stored_at,
            expires_at,
        } = *object;
        let mut expression = "SET #status = :stored, bytes_stored = :bytes, #key = :key, \
             crc64nvme = :crc, recognised = :recognised, stored_at = :now"
            .to_owned();
        let mut update = self.update(&key.zoom_user, &key.entry());
        if let Some(declared) = declared {
            expression.push_str(", #size = :declared");
            update = update
                .expression_attribute_names("#size", "size")
                .expression_attribute_values(":declared", number(declared));
        }
        if let Some(size) = declared_otherwise {
            expression.push_str(", declared_when_stored = :otherwise");
            update = update.expression_attribute_values(":otherwise", number(size));
        }
        let last_check = match expires_at {
            Some(at) => {
                expression.push_str(
                    ", object_expires_at = :expiry, next_check_shard = :shard, next_check_at = :at",
                );
                update = with_next_check(update, &NextCheck::at(expiry_check(at, stored_at)))
                    .expression_attribute_values(":expiry", number(at.as_millisecond()));
                ""
            }
            None => ", next_check_shard, next_check_at",
        };
        expression.push_str(&format!(
            " REMOVE lease_until, #source, source_saved_at, reason, upload{last_check}, \
             first_attempt_at, failures, served_size, granted_attempts, reported_reason",
        ));
        let update = update
            .update_expression(expression)
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#key", "key")
            .expression_attribute_names("#source", "source")
            .expression_attribute_values(":recognised", to_attribute(&recognised)?)
            .expression_attribute_values(":stored", status(FileStatus::Stored))
            .expression_attribute_values(":now", number(stored_at.as_millisecond()))
            .expression_attribute_values(":bytes", number(bytes))
            .expression_attribute_values(":key", text(object_key.to_owned()))
            .expression_attribute_values(":crc", text(crc64nvme.to_owned()));
        self.update_as_owner(update, owner).await
    }

    /// Marks the file as failed. `served_size`: the size that Zoom served instead of the declared one, for the next attempt.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn mark_failed(
        &self,
        key: &FileKey,
        owner: &str,
        reason: &str,
        served_size: Option<ServedSize>,
        now: Timestamp,
    ) -> Result<(), LeaseError> {
        let mut update = self.update(&key.zoom_user, &key.entry());
        let served = match served_size {
            Some(size) => {
                update = update.expression_attribute_values(":served", to_attribute(&size)?);
                ", served_size = :served REMOVE"
            }
            None => " REMOVE served_size,",
        };
        let update = update
            .update_expression(format!(
                "SET #status = :failed, reason = :reason, bytes_stored = :zero, failed_at = :now{served} \
                 lease_until, upload, first_attempt_at, failures",
            ))
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":failed", status(FileStatus::Failed))
            .expression_attribute_values(":reason", text(reason.to_owned()))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .expression_attribute_values(":zero", number(0));
        self.update_as_owner(update, owner).await
    }

    /// Releases the lease and queues the file for its next attempt.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn release_for_retry(
        &self,
        key: &FileKey,
        owner: &str,
        retry: &ScheduledRetry<'_>,
    ) -> Result<(), LeaseError> {
        let ScheduledRetry { reason, failures, at, check_at, served_size } = *retry;
        let mut expression = "SET #status = :queued, reason = :reason, failures = :failures, \
             next_attempt_at = :next, next_check_shard = :shard, next_check_at = :at"
            .to_owned();
        let mut update = self.update(&key.zoom_user, &key.entry());
        if let Some(size) = served_size {
            expression.push_str(", served_size = :served");
            update = update.expression_attribute_values(":served", to_attribute(&size)?);
        }
        expression.push_str(" REMOVE lease_until");
        let update = with_next_check(update, &NextCheck::at(check_at))
            .update_expression(expression)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":queued", status(FileStatus::Queued))
            .expression_attribute_values(":reason", text(reason))
            .expression_attribute_values(":failures", to_attribute(&failures)?)
            .expression_attribute_values(":next", number(at.as_millisecond()));
        self.update_as_owner(update, owner).await
    }

    pub(super) async fn update_as_owner(
        &self,
        update: UpdateItemFluentBuilder,
        owner: &str,
    ) -> Result<(), LeaseError> {
        let update = update
            .condition_expression("lease_owner = :owner AND attribute_exists(lease_until)")
            .expression_attribute_values(":owner", text(owner.to_owned()));
        conditional(update.send().await)?.ok_or(LeaseError::Lost)
    }
}
