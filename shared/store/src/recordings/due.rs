//! Which files the clock has to look after, and when. What is to be done about them is `reelay_domain::maintenance`.
//!
//! An item that may need somebody carries the day and the time of the next look; the index over them has one
//! partition a day, sorted by time. They are set with the item, and removed with the write that stores the
//! file, so they cost no call of their own, and a sweep reads what is due and nothing else.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use reelay_domain::ids::{RecordingId, ZoomUser};
use reelay_domain::maintenance::{FIRST_CHECK_DELAY, FileMaintenance};
use serde::{Deserialize, Serialize};

use super::{FileItem, FileKey, RecordingTable, conditional, number, recording_entry};
use crate::sessions::Item;
use reelay_runtime::AwsError;

const BY_DUE: &str = "by-next-check";

/// How far back a sweep looks, in days. It comes every hour; this is for a stack at rest.
const DAYS_BACK: i32 = 30;

/// When an item is to be looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextCheck {
    /// The day, UTC: the index's partition.
    next_check_day: Date,
    /// The time, epoch milliseconds.
    next_check_at: i64,
}

impl NextCheck {
    /// At this time.
    pub fn at(time: Timestamp) -> Self {
        Self {
            next_check_day: time.to_zoned_datetime(TimeZone::UTC).date(),
            next_check_at: time.as_millisecond(),
        }
    }

    /// The first look at something that is written now.
    pub fn first(now: Timestamp) -> Self {
        Self::at(now.checked_add(FIRST_CHECK_DELAY).unwrap_or(now))
    }

    /// Whether it is time.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.next_check_at <= now.as_millisecond()
    }
}

/// What somebody has to look after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DueCheck {
    /// A file.
    File(FileKey),
    /// A recording that the app has asked for, on behalf of its files.
    Recording(ZoomUser, RecordingId),
}

impl DueCheck {
    fn of(item: &Item) -> Option<Self> {
        let text = |name| item.get(name)?.as_s().ok();
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

/// The values of `next_check_day = :day, next_check_at = :at`.
pub(super) fn with_look(
    update: UpdateItemFluentBuilder,
    look: &NextCheck,
) -> UpdateItemFluentBuilder {
    update
        .expression_attribute_values(":day", AttributeValue::S(look.next_check_day.to_string()))
        .expression_attribute_values(":at", number(look.next_check_at))
}

impl RecordingTable {
    /// What is due by now, the longest waiting first. The index is not consistent; what it shows is a reason
    /// to look, no more.
    pub async fn due_checks(&self, now: Timestamp) -> Result<Vec<DueCheck>, AwsError> {
        let today = NextCheck::at(now).next_check_day;
        let mut found = Vec::new();
        for back in (0..=DAYS_BACK).rev() {
            let day = today.saturating_sub(back.days()).to_string();
            let mut pages = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(BY_DUE)
                .key_condition_expression("next_check_day = :day AND next_check_at <= :now")
                .expression_attribute_values(":day", AttributeValue::S(day))
                .expression_attribute_values(":now", number(now.as_millisecond()))
                .into_paginator()
                .items()
                .send();
            while let Some(item) = pages.next().await {
                let item = item.map_err(|error| {
                    AwsError::from_sdk("Query Recordings by-next-check", &error)
                })?;
                found.push(DueCheck::of(&item).ok_or_else(|| {
                    AwsError::unexpected_response("Recordings", "an item's key does not read")
                })?);
            }
        }
        Ok(found)
    }

    /// Notes that a file was looked after, and when to look again, unless something has changed since it was
    /// read: then whoever comes next looks.
    pub async fn mark_checked(
        &self,
        key: &FileKey,
        item: &FileItem,
        upkeep: &FileMaintenance,
    ) -> Result<(), AwsError> {
        let mut update = self.update(&key.zoom_user, &key.entry());
        let mut expression = String::new();
        let mut removed = Vec::new();
        match upkeep.next_check_at {
            Some(next) => {
                expression.push_str("SET next_check_day = :day, next_check_at = :at ");
                update = with_look(update, &NextCheck::at(next));
            }
            None => removed.extend(["next_check_day", "next_check_at"]),
        }
        if upkeep.delete_source {
            removed.extend(["#source", "source_saved_at"]);
            update = update.expression_attribute_names("#source", "source");
        }
        if !removed.is_empty() {
            expression.push_str("REMOVE ");
            expression.push_str(&removed.join(", "));
        }
        update = match &item.next_check {
            Some(look) => update
                .condition_expression("next_check_at = :seen")
                .expression_attribute_values(":seen", number(look.next_check_at)),
            None => update
                .condition_expression("attribute_not_exists(next_check_at) AND #status = :status")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":status", super::status(item.status)),
        };
        let update = update.update_expression(expression);
        conditional(update.send().await).map(|_| ())
    }

    /// Notes that a recording's files were looked after in its stead: from now on each has its own time.
    pub async fn mark_recording_checked(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let update = self
            .update(zoom_user, &recording_entry(id))
            .update_expression("REMOVE next_check_day, next_check_at")
            // The app has not asked again meanwhile.
            .condition_expression("next_check_at <= :now")
            .expression_attribute_values(":now", number(now.as_millisecond()));
        conditional(update.send().await).map(|_| ())
    }
}
