//! Writes of recordings and files outside of a transfer.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use jiff::Timestamp;
use reelay_domain::ids::{AppUserId, FileId, RecordingId, ZoomUser};
use reelay_domain::message::Notification;
use reelay_domain::recording::{FileStatus, RecordingMetadata, ZoomState};
use reelay_domain::source_cipher::EncryptedSource;
use reelay_runtime::AwsError;

use super::checks::{NextCheck, with_next_check};
use super::item::NotificationItem;
use super::{
    AddOutcome, FileItem, FileKey, RECORDING_EXISTS, RecordingItem, RecordingTable, conditional,
    recording_entry, status,
};
use crate::item::{number, text, to_attribute};

impl RecordingTable {
    /// Draws the next notification sequence number of a recording. `None` if the recording does not exist.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn next_sequence(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
    ) -> Result<Option<u64>, AwsError> {
        let response = self
            .update(zoom_user, &recording_entry(id))
            .update_expression("ADD #sequence :one")
            .condition_expression(RECORDING_EXISTS)
            .expression_attribute_names("#sequence", "sequence")
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

    /// Saves a notification under its id. Returns the one saved before, if there is one.
    pub(crate) async fn save_notification(
        &self,
        zoom_user: &ZoomUser,
        recording_id: &RecordingId,
        app_user_id: &AppUserId,
        notification: Notification,
        expires_at: i64,
    ) -> Result<Notification, AwsError> {
        let entry = format!("notification#{}", notification.id);
        let (app_user_id, recording_id) = (app_user_id.clone(), recording_id.clone());
        let item = NotificationItem { notification, app_user_id, recording_id, expires_at };
        Ok(match self.add(zoom_user, &entry, &item).await? {
            AddOutcome::AlreadyExists(known) => known.notification,
            AddOutcome::AddOutcome | AddOutcome::Erased => item.notification,
        })
    }

    /// Adds a recording, unless it is known.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn add_recording(
        &self,
        zoom_user: &ZoomUser,
        metadata: &RecordingMetadata,
        event_ts: i64,
        requested: bool,
    ) -> Result<AddOutcome<RecordingItem>, AwsError> {
        let id = RecordingId::from_uuid(&metadata.meeting_uuid);
        let item = RecordingItem {
            start_order: format!("{}#{id}", whole_seconds(metadata.start_time)),
            account_meeting: format!("{}#{}", zoom_user.account_id, metadata.meeting_uuid),
            metadata: metadata.clone(),
            zoom_state: ZoomState::Present,
            sequence: 0,
            last_event_ts: event_ts,
            requested,
            sent: BTreeSet::new(),
        };
        self.add(zoom_user, &recording_entry(&id), &item).await
    }

    /// Updates topic and duration of a recording, unless a later event has written it.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn refresh_recording(
        &self,
        zoom_user: &ZoomUser,
        metadata: &RecordingMetadata,
        event_ts: i64,
    ) -> Result<(), AwsError> {
        let id = RecordingId::from_uuid(&metadata.meeting_uuid);
        let update = self
            .update(zoom_user, &recording_entry(&id))
            .update_expression(
                "SET topic = :topic, duration_minutes = :duration, last_event_ts = :ts",
            )
            .condition_expression("last_event_ts < :ts")
            .expression_attribute_values(":topic", text(metadata.topic.clone()))
            .expression_attribute_values(":duration", to_attribute(&metadata.duration_minutes)?)
            .expression_attribute_values(":ts", number(event_ts));
        conditional(update.send().await).map(|_| ())
    }

    /// Adds a file, unless it is known.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn add_file(
        &self,
        key: &FileKey,
        item: &FileItem,
    ) -> Result<AddOutcome<FileItem>, AwsError> {
        self.add(&key.zoom_user, &key.entry(), item).await
    }

    /// Replaces the source of an unfinished file with a newer one. `false` if the file has an equally new
    /// source or has finished meanwhile.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn update_source(
        &self,
        key: &FileKey,
        source: &EncryptedSource,
        event_ts: i64,
        now: Timestamp,
    ) -> Result<bool, AwsError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression(
                "SET #source = :source, last_event_ts = :ts, source_saved_at = :now, next_check_day = :day, next_check_at = :at",
            )
            .expression_attribute_values(":now", number(now.as_millisecond()));
        let update = with_next_check(update, &NextCheck::first(now))
            .condition_expression("last_event_ts < :ts AND #status IN (:queued, :transferring)")
            .expression_attribute_names("#source", "source")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":source", to_attribute(source)?)
            .expression_attribute_values(":ts", number(event_ts))
            .expression_attribute_values(":queued", status(FileStatus::Queued))
            .expression_attribute_values(":transferring", status(FileStatus::Transferring));
        Ok(conditional(update.send().await)?.is_some())
    }

    /// Queues a failed file again, with a newer source if there is one. Its latency is no longer measured.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn requeue_failed(
        &self,
        key: &FileKey,
        newer: Option<(&EncryptedSource, i64)>,
        now: Timestamp,
    ) -> Result<bool, AwsError> {
        let update = self.update(&key.zoom_user, &key.entry());
        let mut update = with_next_check(update, &NextCheck::first(now))
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":queued", status(FileStatus::Queued))
            .expression_attribute_values(":failed", status(FileStatus::Failed));
        update = match newer {
            Some((source, event_ts)) => update
                .update_expression(
                    "SET #status = :queued, #source = :source, last_event_ts = :ts, source_saved_at = :now, \
                     next_check_day = :day, next_check_at = :at REMOVE reason, received_at",
                )
                .expression_attribute_values(":now", number(now.as_millisecond()))
                .condition_expression("#status = :failed AND last_event_ts < :ts")
                .expression_attribute_names("#source", "source")
                .expression_attribute_values(":source", to_attribute(source)?)
                .expression_attribute_values(":ts", number(event_ts)),
            None => update
                .update_expression(
                    "SET #status = :queued, next_check_day = :day, next_check_at = :at REMOVE reason, received_at",
                )
                .condition_expression("#status = :failed"),
        };
        Ok(conditional(update.send().await)?.is_some())
    }

    /// Marks files as enqueued.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn mark_sent<'a>(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        files: impl Iterator<Item = &'a FileId>,
    ) -> Result<(), AwsError> {
        let files: Vec<String> = files.map(|file| file.as_str().to_owned()).collect();
        if files.is_empty() {
            return Ok(());
        }
        let update = self
            .update(zoom_user, &recording_entry(id))
            .update_expression("ADD sent :files")
            .condition_expression(RECORDING_EXISTS)
            .expression_attribute_values(":files", AttributeValue::Ss(files));
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
            .update_expression("SET requested = :yes, next_check_day = :day, next_check_at = :at")
            .condition_expression(RECORDING_EXISTS)
            .expression_attribute_values(":yes", AttributeValue::Bool(true));
        conditional(update.send().await).map(|_| ())
    }
}

/// A time as the index sorts it: RFC 3339 in UTC, whole seconds, so that texts compare as times.
fn whole_seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}
