//! Reads and writes of an erasure: all rows of a Zoom user, and the markers that replace recordings.
//!
//! A marker has the key of a recording and no other id, and stands in no index. Every write of a recording is
//! conditioned on an attribute that a marker lacks, so an erased recording never comes back. A second marker, under the
//! user's id alone, outlives a change of the user's account.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use jiff::Timestamp;
use reelay_domain::ids::{FileId, RecordingId, UserId, ZoomUser};
use reelay_runtime::AwsError;
use serde::Deserialize;

use super::{RecordingTable, TABLE, recording_entry};
use crate::batch;
use crate::item::{Item, from_item, text};

/// Attribute of a marker.
const ERASED: &str = "erased";

/// Kind of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowKind {
    /// A recording, or the marker of one.
    Recording,
    /// A file.
    File,
    /// Another row, such as a rate limit.
    Other,
}

/// The attributes of a row that an erasure needs.
#[derive(Debug, Clone)]
pub(crate) struct StoredRow {
    key: Item,
    pub(crate) kind: RowKind,
    /// The recording that it belongs to.
    pub(crate) recording: Option<RecordingId>,
    /// Whether it is a marker.
    pub(crate) is_erased: bool,
    /// Whether Reelay has moved Zoom's copy to the trash, or is doing so: the stored copy may be the only one.
    pub(crate) is_only_copy: bool,
    bytes: u64,
    lease_until: Option<i64>,
}

/// The projected attributes of a row.
#[derive(Deserialize)]
struct Attributes {
    zoom_user: String,
    entry: String,
    #[serde(default)]
    erased: bool,
    #[serde(default)]
    trashed_by_reelay: bool,
    #[serde(default)]
    bytes_stored: u64,
    #[serde(default)]
    lease_until: Option<i64>,
}

impl StoredRow {
    fn new(row: Attributes) -> Self {
        let (kind, recording) = match row.entry.strip_prefix("rec#") {
            None => (RowKind::Other, None),
            Some(entry) => match entry.split_once("#file#") {
                Some((recording, _)) => (RowKind::File, recording.parse().ok()),
                None => (RowKind::Recording, entry.parse().ok()),
            },
        };
        Self {
            kind,
            recording,
            is_erased: row.erased,
            is_only_copy: row.trashed_by_reelay,
            bytes: row.bytes_stored,
            lease_until: row.lease_until,
            key: key(row.zoom_user, row.entry),
        }
    }
}

fn key(zoom_user: String, entry: String) -> Item {
    Item::from([("zoom_user".to_owned(), text(zoom_user)), ("entry".to_owned(), text(entry))])
}

fn marker(zoom_user: &ZoomUser, id: &RecordingId) -> Item {
    let mut marker = key(zoom_user.key(), recording_entry(id));
    marker.insert(ERASED.to_owned(), AttributeValue::Bool(true));
    marker
}

/// The marker under the user's id alone. No Zoom user has such a key.
fn user_marker(user_id: &UserId, id: &RecordingId) -> Item {
    let mut marker = key(format!("##{user_id}"), recording_entry(id));
    marker.insert(ERASED.to_owned(), AttributeValue::Bool(true));
    marker
}

/// Reads the rows of a query, as far as an erasure needs them.
async fn read_stored(query: QueryFluentBuilder) -> Result<Vec<StoredRow>, AwsError> {
    let query = query.projection_expression(
        "zoom_user, entry, erased, trashed_by_reelay, bytes_stored, lease_until",
    );
    let mut pages = query.into_paginator().items().send();
    let mut rows = Vec::new();
    while let Some(row) = pages.next().await {
        let row = row.map_err(|error| AwsError::from_sdk("Query Recordings", &error))?;
        rows.push(StoredRow::new(from_item(TABLE, row)?));
    }
    Ok(rows)
}

/// Returns whether an item is a marker.
pub(super) fn is_marker(item: &Item) -> bool {
    item.contains_key(ERASED)
}

/// Counts of a Zoom user's items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredInventory {
    /// Number of recordings.
    pub recordings: u64,
    /// Number of files.
    pub files: u64,
    /// Stored bytes.
    pub bytes: u64,
    /// Whether a transfer is running.
    pub is_transferring: bool,
}

impl RecordingTable {
    /// Reads all rows of a Zoom user consistently.
    pub(crate) async fn stored_rows(
        &self,
        zoom_user: &ZoomUser,
    ) -> Result<Vec<StoredRow>, AwsError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("zoom_user = :user")
            .expression_attribute_values(":user", text(zoom_user.key()));
        read_stored(query).await
    }

    /// Reads all rows of a recording consistently.
    pub(crate) async fn stored_rows_of(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
    ) -> Result<Vec<StoredRow>, AwsError> {
        read_stored(self.rows(zoom_user, id)).await
    }

    /// Replaces a recording by a marker, so that nothing brings it back. `false` if Reelay has trashed Zoom's copy,
    /// unless `is_only_copy_meant`. The sweep that follows adds the second marker.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn mark_erased(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        is_only_copy_meant: bool,
    ) -> Result<bool, AwsError> {
        let mut put = self.client.put_item().table_name(&self.table);
        if !is_only_copy_meant {
            put = put
                .condition_expression(
                    "attribute_not_exists(trashed_by_reelay) OR trashed_by_reelay = :no",
                )
                .expression_attribute_values(":no", AttributeValue::Bool(false));
        }
        match put.set_item(Some(marker(zoom_user, id))).send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(PutItemError::is_conditional_check_failed_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(AwsError::from_sdk("PutItem Recordings", &error)),
        }
    }

    /// Writes the second marker of an erased recording.
    pub(crate) async fn mark_erased_of_user(
        &self,
        user_id: &UserId,
        id: &RecordingId,
    ) -> Result<(), AwsError> {
        let put = self.client.put_item().table_name(&self.table);
        let put = put.set_item(Some(user_marker(user_id, id))).send().await;
        put.map(|_| ()).map_err(|error| AwsError::from_sdk("PutItem Recordings", &error))
    }

    /// Whether a recording of the user was erased, in whatever account.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn is_erased(&self, user_id: &UserId, id: &RecordingId) -> Result<bool, AwsError> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let mut key = user_marker(user_id, id);
        key.remove(ERASED);
        let found = get.set_key(Some(key)).send().await;
        let found = found.map_err(|error| AwsError::from_sdk("GetItem Recordings", &error))?;
        Ok(found.item.is_some())
    }

    /// Counts a Zoom user's items.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn inventory(
        &self,
        zoom_user: &ZoomUser,
        now: Timestamp,
    ) -> Result<StoredInventory, AwsError> {
        let mut inventory = StoredInventory::default();
        for row in self.stored_rows(zoom_user).await? {
            inventory.bytes += row.bytes;
            inventory.is_transferring |=
                row.lease_until.is_some_and(|until| until > now.as_millisecond());
            match row.kind {
                RowKind::Recording => inventory.recordings += u64::from(!row.is_erased),
                RowKind::File => inventory.files += 1,
                RowKind::Other => {}
            }
        }
        Ok(inventory)
    }

    /// The writes that replace a recording by its markers.
    pub(crate) fn markers(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
    ) -> Result<[TransactWriteItem; 2], AwsError> {
        let put = |item| {
            let put = Put::builder().table_name(&self.table).set_item(Some(item)).build();
            let put = put.map_err(|_| {
                AwsError::unexpected_response("TransactWriteItems", "failed to build a marker")
            })?;
            Ok(TransactWriteItem::builder().put(put).build())
        };
        Ok([put(marker(zoom_user, id))?, put(user_marker(&zoom_user.user_id, id))?])
    }

    /// Deletes rows and returns their number.
    pub(crate) async fn delete_rows(
        &self,
        rows: impl Iterator<Item = &StoredRow>,
    ) -> Result<u64, AwsError> {
        self.delete_keys(rows.map(|row| row.key.clone()).collect()).await
    }

    /// Deletes the items of files that were written after the erasure of their recording.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn delete_files(
        &self,
        zoom_user: &ZoomUser,
        recording: &RecordingId,
        files: impl Iterator<Item = &FileId>,
    ) -> Result<(), AwsError> {
        let entry = |file: &FileId| format!("{}#file#{file}", recording_entry(recording));
        // A batch with a key twice is rejected.
        let files: BTreeSet<&FileId> = files.collect();
        let keys = files.into_iter().map(|file| key(zoom_user.key(), entry(file))).collect();
        self.delete_keys(keys).await.map(|_| ())
    }

    async fn delete_keys(&self, keys: Vec<Item>) -> Result<u64, AwsError> {
        batch::delete(&self.client, &self.table, &keys).await?;
        Ok(keys.len() as u64)
    }
}
