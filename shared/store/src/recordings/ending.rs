//! Files whose last link ended: they are not fetched any more, and the leftovers of transfers are removed.

use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::{RecordingId, ZoomUser};
use reelay_domain::message::DownloadMessage;
use reelay_domain::recording::FileStatus;

use super::checks::with_next_check;
use super::{FileItem, FileKey, LeaseError, NextCheck, RecordingTable, TABLE, conditional, status};
use crate::item::{Item, from_item, number, text, text_of, zoom_user_of};
use crate::queue::Queue;
use reelay_runtime::AwsError;

/// Reason of a file that failed because no link may have it.
pub const LINK_ENDED: &str = "link_ended";

impl RecordingTable {
    /// Marks the file as failed because its last link ended, and removes its encrypted source.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn mark_link_ended(&self, key: &FileKey, owner: &str) -> Result<(), LeaseError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression(
                "SET #status = :failed, reason = :reason, bytes_stored = :zero \
                 REMOVE lease_until, upload, first_attempt_at, failures, next_attempt_at, served_size, #source, source_saved_at, next_check_shard, next_check_at, \
                 #key, crc64nvme, stored_at",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#source", "source")
            .expression_attribute_names("#key", "key")
            .expression_attribute_values(":failed", status(FileStatus::Failed))
            .expression_attribute_values(":reason", text(LINK_ENDED))
            .expression_attribute_values(":zero", number(0));
        self.update_as_owner(update, owner).await
    }

    /// Queues a file again that failed because its last link ended: the backfill of a new link may have run before
    /// the file was marked as failed.
    ///
    /// # Errors
    /// If an AWS call fails.
    pub async fn requeue(
        &self,
        key: &FileKey,
        downloads: &Queue<DownloadMessage>,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        if !self.queue_again(key, FileStatus::Failed, now).await? {
            return Ok(());
        }
        let FileKey { zoom_user, recording, file } = key.clone();
        let message = DownloadMessage::new(zoom_user, recording, file);
        downloads.send(&message, key.zoom_user.account_id.as_str()).await
    }

    /// Acquires the lease on a file in any state, also from a running transfer, which then loses it. `false` if
    /// a transfer has started or the status has changed since `item` was read. If the caller is interrupted,
    /// maintenance checks the file after the lease.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn take_over_lease(
        &self,
        key: &FileKey,
        item: &FileItem,
        owner: &str,
        now: Timestamp,
        lease: SignedDuration,
    ) -> Result<bool, AwsError> {
        let until = now + lease;
        let update = self.update(&key.zoom_user, &key.entry());
        let update = with_next_check(update, &NextCheck::at(until))
            .update_expression(
                "SET #status = :transferring, lease_owner = :owner, lease_until = :at, \
                 next_check_shard = :shard, next_check_at = :at ADD attempt :one",
            )
            // After a lost response the SDK repeats the call and meets its own lease.
            .condition_expression(
                "(#status = :seen AND attempt = :attempt) OR lease_owner = :owner",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":seen", status(item.status))
            .expression_attribute_values(":attempt", number(item.attempt))
            .expression_attribute_values(":transferring", status(FileStatus::Transferring))
            .expression_attribute_values(":owner", text(owner))
            .expression_attribute_values(":one", number(1));
        Ok(conditional(update.send().await)?.is_some())
    }

    /// Reads all files of a Zoom user, consistently.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn files(&self, zoom_user: &ZoomUser) -> Result<Vec<(FileKey, FileItem)>, AwsError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("zoom_user = :user AND begins_with(entry, :prefix)")
            .expression_attribute_values(":user", text(zoom_user.key()))
            .expression_attribute_values(":prefix", text("rec#"));
        let rows: Result<Vec<Item>, _> = query.into_paginator().items().send().collect().await;
        let rows = rows.map_err(|error| AwsError::from_sdk("Query Recordings", &error))?;
        read_files(rows)
    }

    /// Reads all failed files, by a consistent scan of the table.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn failed_files(&self) -> Result<Vec<(FileKey, FileItem)>, AwsError> {
        let scan = self
            .client
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .filter_expression("begins_with(entry, :prefix) AND #status = :failed")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":prefix", text("rec#"))
            .expression_attribute_values(":failed", status(FileStatus::Failed));
        let rows: Result<Vec<Item>, _> = scan.into_paginator().items().send().collect().await;
        read_files(rows.map_err(|error| AwsError::from_sdk("Scan Recordings", &error))?)
    }
}

/// Reads the rows that are files.
fn read_files(rows: Vec<Item>) -> Result<Vec<(FileKey, FileItem)>, AwsError> {
    let mut files = Vec::new();
    for row in rows {
        let entry = text_of(&row, "entry").and_then(|entry| entry.strip_prefix("rec#"));
        let Some((recording, _)) = entry.and_then(|entry| entry.split_once("#file#")) else {
            continue;
        };
        let recording: RecordingId = recording.parse().map_err(|_| {
            AwsError::unexpected_response("Recordings", "an item has an invalid key")
        })?;
        let zoom_user = zoom_user_of(TABLE, &row)?;
        let item: FileItem = from_item(TABLE, row)?;
        let file = item.observed.metadata.id.clone();
        files.push((FileKey { zoom_user, recording, file }, item));
    }
    Ok(files)
}
