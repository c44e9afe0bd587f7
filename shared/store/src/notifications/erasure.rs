//! Deletion of notifications by an erasure, and the scan for those that an operator resends.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use jiff::Timestamp;
use reelay_domain::ids::{AppUserId, RecordingId, ZoomUser};
use reelay_domain::message::LINK_REMOVED;
use reelay_runtime::AwsError;
use serde::Deserialize;

use super::delivery::{GuardKey, guard_key};
use super::feed::{row_key, rows_of};
use super::{Guard, NotificationTable, TABLE, guards_of};
use crate::batch;
use crate::item::{Item, from_item, text, text_of};

/// The projected attributes of a row.
#[derive(Deserialize)]
struct RowKeys {
    owner: String,
    entry: String,
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    zoom_user: ZoomUser,
    timestamp: Timestamp,
}

/// The attributes of a notification that decide whether an erasure deletes it.
#[derive(Debug, Clone, Copy)]
pub struct WrittenNotification<'a> {
    /// The app user who is notified.
    pub app_user: &'a AppUserId,
    /// The recording; absent if it is about a link.
    pub recording: Option<&'a RecordingId>,
    /// Whether it says that a link ended.
    pub is_link_removed: bool,
    /// When it was written.
    pub stamp: Timestamp,
}

impl NotificationTable {
    /// Deletes rows and guards of a Zoom user's notifications that satisfy a condition; returns their number.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn delete_of_zoom_user(
        &self,
        zoom_user: &ZoomUser,
        is_deleted: impl Fn(WrittenNotification<'_>) -> bool,
    ) -> Result<u64, AwsError> {
        let mut items = self.query(guards_of(zoom_user)).into_paginator().items().send();
        let mut keys = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| AwsError::from_sdk("Query Notifications", &error))?;
            let id = text_of(&item, "entry").unwrap_or_default().to_owned();
            let guard: Guard = from_item(TABLE, item)?;
            let written = WrittenNotification {
                app_user: &guard.app_user_id,
                recording: guard.recording_id.as_ref(),
                is_link_removed: guard.is_link_removed,
                stamp: guard.stamp,
            };
            if is_deleted(written) {
                let (owner, entry) = row_key(&guard.app_user_id, guard.stamp, &id);
                // Delete the row first: without the guard, an erasure of the Zoom user would not find it.
                keys.push([key(owner, entry), key(guards_of(zoom_user), id)]);
            }
        }
        self.delete(keys).await
    }

    /// Deletes rows and guards of an app user that were written before a time, but `link.removed`; returns their number.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn delete_of_app_user(
        &self,
        app_user: &AppUserId,
        before: Timestamp,
    ) -> Result<u64, AwsError> {
        let query = self.query(rows_of(app_user));
        let query = query
            .projection_expression("#owner, entry, id, #type, zoom_user, #timestamp")
            .expression_attribute_names("#type", "type")
            .expression_attribute_names("#timestamp", "timestamp");
        let mut items = query.into_paginator().items().send();
        let mut keys = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| AwsError::from_sdk("Query Notifications", &error))?;
            let row: RowKeys = from_item(TABLE, item)?;
            if row.timestamp < before && row.event_type != LINK_REMOVED {
                let guard = key(guards_of(&row.zoom_user), row.id);
                // Delete the guard first: without the row, an erasure of the app user would not find it.
                keys.push([guard, key(row.owner, row.entry)]);
            }
        }
        self.delete(keys).await
    }

    /// Deletes pairs of items, of each pair the first one first.
    async fn delete(&self, pairs: Vec<[Item; 2]>) -> Result<u64, AwsError> {
        let count = pairs.len() as u64;
        let (first, second): (Vec<_>, Vec<_>) =
            pairs.into_iter().map(|[first, second]| (first, second)).unzip();
        batch::delete(&self.client, &self.table, &first).await?;
        batch::delete(&self.client, &self.table, &second).await?;
        Ok(count)
    }

    fn query(&self, owner: String) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("#owner = :owner")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":owner", text(owner))
    }

    /// Reads all guards of notifications that were written at or after a time, by a consistent scan of the table.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn guards_since(&self, since: Timestamp) -> Result<Vec<(GuardKey, Guard)>, AwsError> {
        let mut items = self
            .client
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .filter_expression("begins_with(#owner, :guards)")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":guards", text("zoom#"))
            .into_paginator()
            .items()
            .send();
        let mut found = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| AwsError::from_sdk("Scan Notifications", &error))?;
            let key = guard_key(text_of(&item, "owner"), text_of(&item, "entry"))?;
            let guard: Guard = from_item(TABLE, item)?;
            if guard.stamp >= since {
                found.push((key, guard));
            }
        }
        found.sort_by_key(|(_, guard)| guard.stamp);
        Ok(found)
    }
}

fn key(owner: String, entry: String) -> Item {
    Item::from([("owner".to_owned(), text(owner)), ("entry".to_owned(), text(entry))])
}
