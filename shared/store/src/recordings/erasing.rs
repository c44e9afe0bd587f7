//! The end of all recordings of a Zoom user: on the operator's word, when nobody holds them any more.

use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, WriteRequest};
use jiff::Timestamp;
use reelay_domain::ids::ZoomUser;
use reelay_domain::recording::FileStatus;

use super::{FileItem, RecordingTable, read};
use crate::sessions::Item;
use reelay_runtime::AwsError;

/// DynamoDB deletes at most so many items in a call.
const MOST_DELETES: usize = 25;

/// What the table has of a Zoom user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredInventory {
    /// Recordings.
    pub recordings: usize,
    /// Their files.
    pub files: usize,
    /// Bytes of them that are stored.
    pub bytes: u64,
    /// Items, those of facts among them.
    pub rows: usize,
    /// Until when the last lease on a file runs, if one does.
    pub leased_until: Option<Timestamp>,
}

impl RecordingTable {
    /// Counts what there is of a Zoom user.
    pub async fn inventory(&self, zoom_user: &ZoomUser) -> Result<StoredInventory, AwsError> {
        let mut pages = self
            .of_zoom_user(zoom_user)
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut held = StoredInventory::default();
        while let Some(row) = pages.next().await {
            let row = row.map_err(|error| AwsError::from_sdk("Query Recordings", &error))?;
            held.rows += 1;
            let entry = entry(&row);
            if entry.contains("#file#") {
                let file: FileItem = read(row)?;
                held.files += 1;
                held.bytes += file.bytes_stored;
                if file.status == FileStatus::Transferring {
                    let until = file
                        .lease_until
                        .and_then(|it| Timestamp::from_millisecond(it).ok());
                    held.leased_until = held.leased_until.max(until);
                }
            } else if entry.starts_with("rec#") {
                held.recordings += 1;
            }
        }
        Ok(held)
    }

    /// Deletes every item of a Zoom user: recordings, files, frozen facts. `deleted` is told of each step. Safe to
    /// repeat; gives how many there were.
    pub async fn erase(
        &self,
        zoom_user: &ZoomUser,
        mut deleted: impl FnMut(usize),
    ) -> Result<usize, AwsError> {
        let mut pages = self
            .of_zoom_user(zoom_user)
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
            if batch.len() == MOST_DELETES || (is_last && !batch.is_empty()) {
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
        // What the table had no room for comes back; the SDK has waited where it was throttled.
        while !requests.is_empty() {
            let answer = self
                .client
                .batch_write_item()
                .request_items(&self.table, requests)
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("BatchWriteItem Recordings", &error))?;
            requests = answer
                .unprocessed_items
                .and_then(|mut rest| rest.remove(&self.table))
                .unwrap_or_default();
        }
        Ok(())
    }

    fn of_zoom_user(
        &self,
        zoom_user: &ZoomUser,
    ) -> aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .key_condition_expression("zoom_user = :user")
            .expression_attribute_values(":user", AttributeValue::S(zoom_user.key()))
    }
}

fn entry(row: &Item) -> &str {
    row.get("entry")
        .and_then(|entry| entry.as_s().ok())
        .map_or("", String::as_str)
}
