//! Reads of recordings: complete, as an overview, or as a list.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use jiff::Timestamp;
use jiff::civil::Date;
use reelay_domain::cursor::Position;
use reelay_domain::ids::{FileId, RecordingId, ZoomUser};
use reelay_domain::notification::MAX_INLINE_FILES;
use reelay_domain::observation::{ObservedFile, Seen};
use reelay_domain::recording::{FileMetadata, FileStatus};
use reelay_domain::retry::Failures;
use serde::Deserialize;

use super::erasure::is_marker;
use super::{
    BY_START, FileItem, FileKey, KnownRecording, RecordingItem, RecordingTable, RecordingWithFiles,
    TABLE, recording_entry,
};
use crate::item::{Item, from_item, text, text_of};
use reelay_runtime::AwsError;

/// The attributes of a file that totals and states need.
#[derive(Deserialize)]
struct SummaryFile {
    id: FileId,
    status: FileStatus,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    bytes_stored: u64,
    #[serde(default)]
    requested: bool,
    #[serde(default)]
    expirations: u32,
    #[serde(default)]
    stored_at: Option<i64>,
    #[serde(default)]
    next_attempt_at: Option<i64>,
}

impl From<SummaryFile> for FileItem {
    fn from(summary: SummaryFile) -> Self {
        let metadata =
            FileMetadata { size: summary.size, ..FileMetadata::unknown(summary.id.clone()) };
        Self {
            observed: ObservedFile { metadata, source: None, seen: Seen::default() },
            status: summary.status,
            requested: summary.requested,
            removed_at: None,
            reason: None,
            bytes_stored: summary.bytes_stored,
            key: None,
            crc64nvme: None,
            stored_at: summary.stored_at,
            declared_when_stored: None,
            object_expires_at: None,
            source_saved_at: None,
            next_check: None,
            received_at: None,
            lease_owner: None,
            lease_until: None,
            attempt: 0,
            expirations: summary.expirations,
            first_attempt_at: None,
            failures: Failures::default(),
            failed_at: None,
            granted_attempts: 0,
            reported_reason: None,
            next_attempt_at: summary.next_attempt_at,
            served_size: None,
            upload: None,
            recognised: None,
        }
    }
}

/// Splits rows into the recording's item and its files. `None` if the recording is unknown or was erased.
fn split_rows(
    zoom_user: &ZoomUser,
    rows: Vec<Item>,
) -> Result<Option<RecordingWithFiles>, AwsError> {
    let mut item = None;
    let mut files = Vec::with_capacity(rows.len());
    for row in rows {
        if text_of(&row, "entry").is_some_and(|entry| entry.contains("#file#")) {
            files.push(from_item(TABLE, row)?);
        } else if !is_marker(&row) {
            item = Some(from_item(TABLE, row)?);
        }
    }
    Ok(item.map(|item| RecordingWithFiles { zoom_user: zoom_user.clone(), item, files }))
}

impl RecordingTable {
    /// Reads a recording with all its files by one consistent query.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn load(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
    ) -> Result<Option<RecordingWithFiles>, AwsError> {
        split_rows(zoom_user, self.all_rows(zoom_user, id).await?)
    }

    /// As [`Self::load`], but distinguishes an erased recording from an unknown one.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn known(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
    ) -> Result<KnownRecording, AwsError> {
        let rows = self.all_rows(zoom_user, id).await?;
        if rows.iter().any(is_marker) {
            return Ok(KnownRecording::Erased);
        }
        Ok(match split_rows(zoom_user, rows)? {
            Some(loaded) => KnownRecording::Known(Box::new(loaded)),
            None => KnownRecording::Unknown,
        })
    }

    async fn all_rows(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
    ) -> Result<Vec<Item>, AwsError> {
        let rows = self.rows(zoom_user, id).into_paginator().items().send();
        let rows = rows.collect::<Result<Vec<Item>, _>>().await;
        rows.map_err(|error| AwsError::from_sdk("Query Recordings", &error))
    }

    /// Reads a recording as a notification shows it: the first files and `in_full` completely, the others as
    /// far as totals and states need them. A recording may have a thousand files.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn overview(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        in_full: Option<&FileId>,
    ) -> Result<Option<RecordingWithFiles>, AwsError> {
        let first = i32::try_from(MAX_INLINE_FILES + 1).unwrap_or(i32::MAX);
        let page = self.rows(zoom_user, id).limit(first).send().await;
        let page = page.map_err(|error| AwsError::from_sdk("Query Recordings", &error))?;
        let rest = page.last_evaluated_key.clone().filter(|key| !key.is_empty());
        let overview = split_rows(zoom_user, page.items.unwrap_or_default())?;
        let (Some(mut overview), Some(rest)) = (overview.clone(), rest) else {
            return Ok(overview);
        };
        let summary = self
            .rows(zoom_user, id)
            .set_exclusive_start_key(Some(rest))
            .projection_expression("id, #status, #size, bytes_stored, requested, expirations, stored_at, next_attempt_at")
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#size", "size")
            .into_paginator()
            .items()
            .send();
        let summary = summary.collect::<Result<Vec<Item>, _>>().await;
        for row in summary.map_err(|error| AwsError::from_sdk("Query Recordings", &error))? {
            let summary: SummaryFile = from_item(TABLE, row)?;
            let key = FileKey {
                zoom_user: zoom_user.clone(),
                recording: id.clone(),
                file: summary.id.clone(),
            };
            let full = if in_full == Some(&summary.id) { self.file(&key).await? } else { None };
            overview.files.push(full.unwrap_or_else(|| summary.into()));
        }
        Ok(Some(overview))
    }

    pub(super) fn rows(&self, zoom_user: &ZoomUser, id: &RecordingId) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            // Ids vary in length, so a query by prefix would match other recordings.
            .key_condition_expression("zoom_user = :user AND entry BETWEEN :first AND :last")
            .expression_attribute_values(":user", text(zoom_user.key()))
            .expression_attribute_values(":first", text(recording_entry(id)))
            .expression_attribute_values(":last", text(format!("{}#~", recording_entry(id))))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn file(&self, key: &FileKey) -> Result<Option<FileItem>, AwsError> {
        self.get(&key.zoom_user, key.entry()).await?.map(|item| from_item(TABLE, item)).transpose()
    }

    /// Reads a recording without its files. `None` if it is unknown or was erased.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn item(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
    ) -> Result<Option<RecordingItem>, AwsError> {
        self.get(zoom_user, recording_entry(id))
            .await?
            .filter(|item| !is_marker(item))
            .map(|item| from_item(TABLE, item))
            .transpose()
    }

    async fn get(&self, zoom_user: &ZoomUser, entry: String) -> Result<Option<Item>, AwsError> {
        self.client
            .get_item()
            .table_name(&self.table)
            .key("zoom_user", text(zoom_user.key()))
            .key("entry", text(entry))
            .consistent_read(true)
            .send()
            .await
            .map(|response| response.item)
            .map_err(|error| AwsError::from_sdk("GetItem Recordings", &error))
    }

    /// Lists up to `limit` recordings of a Zoom user, newest first, within bounds.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn newest(
        &self,
        zoom_user: &ZoomUser,
        bounds: &ListBounds<'_>,
        limit: usize,
    ) -> Result<Vec<ListedRecording>, AwsError> {
        let (first, last) = bounds.keys();
        // DynamoDB rejects an inverted range.
        if first > last {
            return Ok(Vec::new());
        }
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_START)
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .key_condition_expression("zoom_user = :user AND start_order BETWEEN :first AND :last")
            .expression_attribute_values(":user", text(zoom_user.key()))
            .expression_attribute_values(":first", text(first))
            .expression_attribute_values(":last", text(last));
        let mut pages = query.into_paginator().items().send();
        let mut found: Vec<ListedRecording> = Vec::new();
        while found.len() < limit {
            let Some(row) = pages.next().await else { break };
            let row = row.map_err(|error| AwsError::from_sdk("Query Recordings", &error))?;
            let item: ListedRecording = from_item(TABLE, row)?;
            if !bounds.after.is_some_and(|after| after.has_shown(zoom_user, &item.start_order)) {
                found.push(item);
            }
        }
        Ok(found)
    }
}

/// A recording as the index `by-start` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ListedRecording {
    /// Start time and id: the sort key.
    pub start_order: String,
    /// Start of the recording.
    pub start_time: Timestamp,
    /// Zoom's meeting id.
    #[serde(default)]
    pub meeting_id: Option<String>,
}

impl ListedRecording {
    /// Its position in the list.
    pub fn position(&self, zoom_user: &ZoomUser) -> Position {
        Position { start_order: self.start_order.clone(), zoom_user: zoom_user.key() }
    }
}

/// Bounds of a list of recordings.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListBounds<'a> {
    /// Only recordings after this position, which are older.
    pub after: Option<&'a Position>,
    /// First UTC date of the start.
    pub from: Option<Date>,
    /// Last UTC date of the start.
    pub to: Option<Date>,
}

impl ListBounds<'_> {
    /// The first and the last `start_order`, both inclusive. Bounds of dates are shorter than any value, so no value
    /// equals them.
    fn keys(&self) -> (String, String) {
        let day = |date: Date| date.to_string();
        let first = self.from.map_or_else(|| "!".to_owned(), day);
        let last = self.to.and_then(|to| to.tomorrow().ok()).map(day);
        let last = last.unwrap_or_else(|| "~".to_owned());
        match self.after {
            Some(after) if after.start_order < last => (first, after.start_order.clone()),
            _ => (first, last),
        }
    }
}
