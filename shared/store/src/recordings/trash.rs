//! Recordings whose copy at Zoom is moved to the trash (`TrashAtZoomAfterDays`).

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::{RecordingId, ZoomUser};
use reelay_domain::observation::{ObservationSource, ObservedAt};
use reelay_domain::recording::FileStatus;
use reelay_runtime::AwsError;

use super::checks::{NextCheck, with_next_check};
use super::{FileKey, RecordingTable, conditional, recording_entry, status};
use crate::item::{number, text};

/// Maximum age of a list when it is compared with the stored recordings.
const STALE_LIST: SignedDuration = SignedDuration::from_mins(10);

impl RecordingTable {
    /// Schedules when Zoom's copy is moved to the trash, unless Reelay has moved it before: a user who restored it
    /// wants to keep it.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn schedule_trash(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        at: Timestamp,
    ) -> Result<(), AwsError> {
        let update = self.update(zoom_user, &recording_entry(id));
        let update = with_next_check(update, &NextCheck::at(at))
            .update_expression("SET trash_at = :at, next_check_shard = :shard, next_check_at = :at")
            .condition_expression(
                "attribute_exists(start_order) AND attribute_not_exists(trashed_by_reelay)",
            );
        conditional(update.send().await).map(|_| ())
    }

    /// Marks a recording whose copy at Zoom is about to be moved to the trash. `false` if it is erased, not present at Zoom
    /// any more, or was restored there after Reelay trashed it.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn mark_trashed(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        now: Timestamp,
    ) -> Result<bool, AwsError> {
        let update = self
            .update(zoom_user, &recording_entry(id))
            .update_expression("SET trashed_by_reelay = :yes, trashed_at = :now")
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .condition_expression(
                "attribute_exists(start_order) AND (attribute_not_exists(zoom_state) OR zoom_state = :present) \
                 AND (attribute_not_exists(trashed_by_reelay) OR trashed_by_reelay = :yes)",
            )
            .expression_attribute_values(":present", text("present"))
            .expression_attribute_values(":yes", AttributeValue::Bool(true));
        Ok(conditional(update.send().await)?.is_some())
    }

    /// Ends the attempts to move Zoom's copy to the trash.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn end_trash_checks(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
    ) -> Result<(), AwsError> {
        let attributes = "trash_at, next_check_shard, next_check_at";
        self.remove(zoom_user, id, attributes, "attribute_exists(trash_at)").await
    }

    /// Removes the mark, because Zoom refused to move its copy.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn unmark_trashed(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
    ) -> Result<(), AwsError> {
        let attributes = "trashed_by_reelay, trashed_at";
        self.remove(zoom_user, id, attributes, "attribute_exists(trashed_at)").await
    }

    async fn remove(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        attributes: &str,
        condition: &str,
    ) -> Result<(), AwsError> {
        let update = self
            .update(zoom_user, &recording_entry(id))
            .update_expression(format!("REMOVE {attributes}"))
            .condition_expression(condition);
        conditional(update.send().await).map(|_| ())
    }

    /// Records that the user has restored Zoom's copy. Reelay does not move it to the trash again. A restoration that a list
    /// shows right after the move does not count: Zoom may have made the list before it.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn forget_trash(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        restored: ObservedAt,
    ) -> Result<(), AwsError> {
        let until = match restored.source {
            ObservationSource::Event => restored.at,
            _ => restored.at.checked_sub(STALE_LIST).unwrap_or(Timestamp::MIN),
        };
        let update = self
            .update(zoom_user, &recording_entry(id))
            .update_expression("SET trashed_by_reelay = :no REMOVE trashed_at")
            .condition_expression("trashed_by_reelay = :yes AND trashed_at < :until")
            .expression_attribute_values(":yes", AttributeValue::Bool(true))
            .expression_attribute_values(":no", AttributeValue::Bool(false))
            .expression_attribute_values(":until", number(until.as_millisecond()));
        conditional(update.send().await).map(|_| ())
    }

    /// Records that a stored file no longer expires, because it becomes the only copy.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn keep_for_ever(&self, key: &FileKey) -> Result<(), AwsError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression("REMOVE object_expires_at, next_check_shard, next_check_at")
            .condition_expression("#status = :stored")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":stored", status(FileStatus::Stored));
        conditional(update.send().await).map(|_| ())
    }
}
