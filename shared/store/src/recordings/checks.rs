//! Maintenance checks of files: which are due, and when. `reelay_domain::maintenance` decides what a check
//! does.
//!
//! An item with a check has the day and the time of it; the index over them has one partition per day, sorted
//! by time. They are written with the item and removed with the write that stores the file, so they cost no
//! call of their own, and a maintenance run reads only due items.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use reelay_domain::ids::{RecordingId, ZoomUser};
use reelay_domain::maintenance::{FIRST_CHECK_DELAY, FileMaintenance};
use reelay_domain::time::utc_date;
use serde::{Deserialize, Serialize};

use super::{FileItem, FileKey, RecordingTable, conditional, recording_entry};
use crate::item::{Item, number, text, text_of};
use reelay_runtime::AwsError;

const BY_NEXT_CHECK: &str = "by-next-check";

/// Days that a maintenance run looks back. Runs are hourly; this covers a paused stack.
const LOOKBACK_DAYS: i32 = 30;

/// Day and time of the next check of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextCheck {
    /// UTC day: the partition of the index.
    next_check_day: Date,
    /// Time, epoch milliseconds.
    next_check_at: i64,
}

impl NextCheck {
    /// A check at the given time.
    pub fn at(time: Timestamp) -> Self {
        Self { next_check_day: utc_date(time), next_check_at: time.as_millisecond() }
    }

    /// The first check of an item that is written now.
    pub fn first(now: Timestamp) -> Self {
        Self::at(now.checked_add(FIRST_CHECK_DELAY).unwrap_or(now))
    }

    /// Whether the check is due.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.next_check_at <= now.as_millisecond()
    }
}

/// An item with a due check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DueCheck {
    /// A file.
    File(FileKey),
    /// A recording that the app has requested, on behalf of its files.
    Recording(ZoomUser, RecordingId),
}

impl DueCheck {
    fn from_item(item: &Item) -> Option<Self> {
        let text = |name| text_of(item, name);
        let zoom_user = ZoomUser::from_key(text("zoom_user")?).ok()?;
        let entry = text("entry")?.strip_prefix("rec#")?;
        Some(match entry.split_once("#file#") {
            Some((recording, file)) => Self::File(FileKey {
                zoom_user,
                recording: recording.parse().ok()?,
                file: file.parse().ok()?,
            }),
            None => Self::Recording(zoom_user, entry.parse().ok()?),
        })
    }
}

/// Adds the values `:day` and `:at` of `next_check_day = :day, next_check_at = :at`.
pub(super) fn with_next_check(
    update: UpdateItemFluentBuilder,
    check: &NextCheck,
) -> UpdateItemFluentBuilder {
    update
        .expression_attribute_values(":day", text(check.next_check_day.to_string()))
        .expression_attribute_values(":at", number(check.next_check_at))
}

impl RecordingTable {
    /// Items with a due check, oldest first. The index is eventually consistent, so the check itself must read
    /// the item.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn due_checks(&self, now: Timestamp) -> Result<Vec<DueCheck>, AwsError> {
        let today = NextCheck::at(now).next_check_day;
        let mut found = Vec::new();
        for back in (0..=LOOKBACK_DAYS).rev() {
            let day = today.saturating_sub(back.days()).to_string();
            let mut pages = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(BY_NEXT_CHECK)
                .key_condition_expression("next_check_day = :day AND next_check_at <= :now")
                .expression_attribute_values(":day", text(day))
                .expression_attribute_values(":now", number(now.as_millisecond()))
                .into_paginator()
                .items()
                .send();
            while let Some(item) = pages.next().await {
                let item = item.map_err(|error| {
                    AwsError::from_sdk("Query Recordings by-next-check", &error)
                })?;
                found.push(DueCheck::from_item(&item).ok_or_else(|| {
                    AwsError::unexpected_response("Recordings", "an item has an invalid key")
                })?);
            }
        }
        Ok(found)
    }

    /// Records a completed check of a file and schedules the next one, unless the item has changed since it was
    /// read.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn mark_checked(
        &self,
        key: &FileKey,
        item: &FileItem,
        maintenance: &FileMaintenance,
    ) -> Result<(), AwsError> {
        let mut update = self.update(&key.zoom_user, &key.entry());
        let mut expression = String::new();
        let mut removed = Vec::new();
        match maintenance.next_check_at {
            Some(next) => {
                expression.push_str("SET next_check_day = :day, next_check_at = :at ");
                update = with_next_check(update, &NextCheck::at(next));
            }
            None => removed.extend(["next_check_day", "next_check_at"]),
        }
        if maintenance.delete_source {
            removed.extend(["#source", "source_saved_at"]);
            update = update.expression_attribute_names("#source", "source");
        }
        if !removed.is_empty() {
            expression.push_str("REMOVE ");
            expression.push_str(&removed.join(", "));
        }
        update = match &item.next_check {
            Some(check) => update
                .condition_expression("next_check_at = :seen")
                .expression_attribute_values(":seen", number(check.next_check_at)),
            None => update
                .condition_expression("attribute_not_exists(next_check_at) AND #status = :status")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":status", super::status(item.status)),
        };
        let update = update.update_expression(expression);
        conditional(update.send().await).map(|_| ())
    }

    /// Records a completed check of a recording. From now on its files have their own checks.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn mark_recording_checked(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let update = self
            .update(zoom_user, &recording_entry(id))
            .update_expression("REMOVE next_check_day, next_check_at")
            // Unless the app has requested it again meanwhile.
            .condition_expression("next_check_at <= :now")
            .expression_attribute_values(":now", number(now.as_millisecond()));
        conditional(update.send().await).map(|_| ())
    }
}
