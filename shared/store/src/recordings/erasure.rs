//! Erasure of all recordings of a Zoom user, by the operator tool.

use aws_sdk_dynamodb::types::{DeleteRequest, WriteRequest};
use jiff::Timestamp;
use reelay_domain::ids::ZoomUser;
use reelay_domain::recording::FileStatus;

use super::{FileItem, RecordingTable, TABLE};
use crate::item::{Item, from_item, text, text_of};
use reelay_runtime::AwsError;

/// Maximum deletes of a batch (DynamoDB).
const MAX_BATCH_DELETES: usize = 25;

/// Counts of a Zoom user's items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredInventory {
    /// Number of recordings.
    pub recordings: usize,
    /// Number of files.
    pub files: usize,
    /// Stored bytes.
    pub bytes: u64,
    /// Number of items, saved notifications included.
    pub rows: usize,
    /// Expiry of the last active lease, if any.
    pub leased_until: Option<Timestamp>,
}

impl RecordingTable {
    /// Counts a Zoom user's items.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn inventory(&self, zoom_user: &ZoomUser) -> Result<StoredInventory, AwsError> {
        let mut pages =
            self.query_zoom_user(zoom_user).consistent_read(true).into_paginator().items().send();
        let mut inventory = StoredInventory::default();
        while let Some(row) = pages.next().await {
            let row = row.map_err(|error| AwsError::from_sdk("Query Recordings", &error))?;
            inventory.rows += 1;
            let entry = text_of(&row, "entry").unwrap_or_default();
            if entry.contains("#file#") {
                let file: FileItem = from_item(TABLE, row)?;
                inventory.files += 1;
                inventory.bytes += file.bytes_stored;
                if file.status == FileStatus::Transferring {
                    let until =
                        file.lease_until.and_then(|it| Timestamp::from_millisecond(it).ok());
                    inventory.leased_until = inventory.leased_until.max(until);
                }
            } else if entry.starts_with("rec#") {
                inventory.recordings += 1;
            }
        }
        Ok(inventory)
    }

    /// Deletes all items of a Zoom user and returns their number. Calls `deleted` with the size of each batch.
    /// Safe to repeat.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn erase(
        &self,
        zoom_user: &ZoomUser,
        mut deleted: impl FnMut(usize),
    ) -> Result<usize, AwsError> {
        let mut pages = self
            .query_zoom_user(zoom_user)
            .projection_expression("zoom_user, entry")
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut all = 0;
        let mut batch = Vec::new();
        loop {
            let row = pages.next().await;
            let is_last = row.is_none();
            if let Some(row) = row {
                batch.push(row.map_err(|error| AwsError::from_sdk("Query Recordings", &error))?);
            }
            if batch.len() == MAX_BATCH_DELETES || (is_last && !batch.is_empty()) {
                all += batch.len();
                let step = batch.len();
                self.delete_all(std::mem::take(&mut batch)).await?;
                deleted(step);
            }
            if is_last {
                return Ok(all);
            }
        }
    }

    async fn delete_all(&self, keys: Vec<Item>) -> Result<(), AwsError> {
        let mut requests = keys
            .into_iter()
            .map(|key| {
                let delete = DeleteRequest::builder().set_key(Some(key)).build();
                let delete = delete.map_err(|_| {
                    AwsError::unexpected_response("BatchWriteItem Recordings", "an item has no key")
                })?;
                Ok(WriteRequest::builder().delete_request(delete).build())
            })
            .collect::<Result<Vec<_>, AwsError>>()?;
        // Throttled deletes come back as unprocessed, after the SDK's backoff.
        while !requests.is_empty() {
            let response = self
                .client
                .batch_write_item()
                .request_items(&self.table, requests)
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("BatchWriteItem Recordings", &error))?;
            requests = response
                .unprocessed_items
                .and_then(|mut rest| rest.remove(&self.table))
                .unwrap_or_default();
        }
        Ok(())
    }

    fn query_zoom_user(
        &self,
        zoom_user: &ZoomUser,
    ) -> aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .key_condition_expression("zoom_user = :user")
            .expression_attribute_values(":user", text(zoom_user.key()))
    }
}
