//! Writes of recordings and files outside of a transfer.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use jiff::Timestamp;
use reelay_domain::ids::{FileId, RecordingId, ZoomUser};
use reelay_domain::recording::FileStatus;
use reelay_runtime::AwsError;

use super::checks::{NextCheck, with_next_check};
use super::{
    FORGET_FAILURES, FileItem, FileKey, RECORDING_EXISTS, RecordingTable, conditional,
    recording_entry, status,
};
use crate::item::{number, text};

impl RecordingTable {
    /// Assigns the sequence number of a recording's next notification, and sets `updated_at` to now. `None` if the
    /// recording does not exist.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn next_sequence(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        now: Timestamp,
    ) -> Result<Option<u64>, AwsError> {
        let response = self
            .update(zoom_user, &recording_entry(id))
            .update_expression("SET updated_at = :now ADD #sequence :one")
            .condition_expression(RECORDING_EXISTS)
            .expression_attribute_names("#sequence", "sequence")
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::UpdatedNew)
            .send()
            .await;
        match response {
            Ok(updated) => {
                let drawn = updated.attributes.as_ref().and_then(|new| new.get("sequence"));
                let drawn =
                    drawn.and_then(|value| value.as_n().ok()).and_then(|text| text.parse().ok());
                drawn.map(Some).ok_or_else(|| {
                    AwsError::unexpected_response(
                        "UpdateItem Recordings",
                        "the response has no sequence number",
                    )
                })
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(None),
                _ => Err(AwsError::from_sdk("UpdateItem Recordings", &error)),
            },
        }
    }

    /// Queues a failed file for one attempt that a reconciliation grants, unless it has changed since it was read.
    /// The reason of its failure is kept, so that the app is notified again only for another reason.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn grant_attempt(
        &self,
        key: &FileKey,
        item: &FileItem,
        now: Timestamp,
    ) -> Result<bool, AwsError> {
        let update = self.update(&key.zoom_user, &key.entry());
        let update = with_next_check(update, &NextCheck::after_send(now))
            .update_expression(
                "SET #status = :queued, next_check_shard = :shard, next_check_at = :at, \
                 granted_attempts = :granted, reported_reason = :reason \
                 REMOVE reason, received_at, failures, first_attempt_at, next_attempt_at",
            )
            .condition_expression("#status = :failed AND attempt = :attempt")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":queued", status(FileStatus::Queued))
            .expression_attribute_values(":failed", status(FileStatus::Failed))
            .expression_attribute_values(":attempt", number(item.attempt))
            .expression_attribute_values(":granted", number(item.granted_attempts + 1))
            .expression_attribute_values(":reason", text(item.reason.clone().unwrap_or_default()));
        Ok(conditional(update.send().await)?.is_some())
    }

    /// Queues a file that the app requested, if it still has the given status. Its latency is no longer measured.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn queue_again(
        &self,
        key: &FileKey,
        from: FileStatus,
        now: Timestamp,
    ) -> Result<bool, AwsError> {
        let update = self.update(&key.zoom_user, &key.entry());
        let update = with_next_check(update, &NextCheck::after_send(now))
            .update_expression(format!(
                "SET #status = :queued, requested = :yes, next_check_shard = :shard, next_check_at = :at\
                 {FORGET_FAILURES}"
            ))
            .condition_expression("#status = :from")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":queued", status(FileStatus::Queued))
            .expression_attribute_values(":yes", AttributeValue::Bool(true))
            .expression_attribute_values(":from", status(from));
        Ok(conditional(update.send().await)?.is_some())
    }

    /// Defers a file's next attempt to `at`, unless a transfer holds its lease or has finished it. Maintenance enqueues it at
    /// `check_at`.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn defer_attempt(
        &self,
        key: &FileKey,
        at: Timestamp,
        check_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let update = self.update(&key.zoom_user, &key.entry());
        let update = with_next_check(update, &NextCheck::at(check_at))
            .update_expression(
                "SET next_attempt_at = :next, next_check_shard = :shard, next_check_at = :at",
            )
            .expression_attribute_values(":next", number(at.as_millisecond()))
            .condition_expression(
                "#status = :queued OR (#status = :transferring AND \
                 (attribute_not_exists(lease_until) OR lease_until < :now))",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":queued", status(FileStatus::Queued))
            .expression_attribute_values(":transferring", status(FileStatus::Transferring))
            .expression_attribute_values(":now", number(now.as_millisecond()));
        conditional(update.send().await).map(|_| ())
    }

    /// Records that an event has trashed or deleted this file, but not the whole recording.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn mark_removed(&self, key: &FileKey, at: Timestamp) -> Result<(), AwsError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression("SET removed_at = :at")
            .condition_expression(
                "attribute_exists(entry) AND (attribute_not_exists(removed_at) OR removed_at < :at)",
            )
            .expression_attribute_values(":at", number(at.as_millisecond()));
        conditional(update.send().await).map(|_| ())
    }

    /// Marks files as enqueued and, if `is_detected`, `recording.detected` as published.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn mark_sent<'a>(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        files: impl Iterator<Item = &'a FileId>,
        is_detected: bool,
    ) -> Result<(), AwsError> {
        let files: Vec<String> = files.map(|file| file.as_str().to_owned()).collect();
        let mut update = self.update(zoom_user, &recording_entry(id));
        let mut expression = String::new();
        if is_detected {
            expression.push_str("SET detected = :yes ");
            update = update.expression_attribute_values(":yes", AttributeValue::Bool(true));
        }
        if !files.is_empty() {
            expression.push_str("ADD sent :files");
            update = update.expression_attribute_values(":files", AttributeValue::Ss(files));
        }
        if expression.is_empty() {
            return Ok(());
        }
        let update = update.update_expression(expression).condition_expression(RECORDING_EXISTS);
        conditional(update.send().await).map(|_| ())
    }

    /// Marks a recording as requested by the app, and schedules a check: files that were not wanted before may
    /// have none.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn request(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let update = self.update(zoom_user, &recording_entry(id));
        let update = with_next_check(update, &NextCheck::first(now))
            .update_expression(
                "SET requested = :yes, next_check_shard = :shard, next_check_at = :at",
            )
            .condition_expression(RECORDING_EXISTS)
            .expression_attribute_values(":yes", AttributeValue::Bool(true));
        conditional(update.send().await).map(|_| ())
    }
}
