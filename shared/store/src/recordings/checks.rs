//! Maintenance checks of files: their schedule. `reelay_domain::maintenance` decides what a check does.
//!
//! An item with a check has its time and a shard; the index over them has one partition per shard, sorted by
//! time. They are written with the item and removed with the write that stores the file, so they cost no call of
//! their own, and a maintenance run reads only due items.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::{RecordingId, ZoomUser};
use reelay_domain::maintenance::{FIRST_CHECK_DELAY, FileMaintenance};
use reelay_domain::recording::FileStatus;
use serde::{Deserialize, Serialize};

use super::{FileItem, FileKey, RecordingTable, conditional, recording_entry, status};
use crate::item::{Item, number, text_of};
use reelay_runtime::AwsError;

const BY_NEXT_CHECK: &str = "by-next-check";

/// Number of partitions of the index. Each takes 1,000 writes a second, a multiple of what 100 million recordings a
/// month need, and a maintenance run reads each of them.
const SHARDS: i64 = 16;

/// Maximum number of a shard's latest due items that one maintenance run reads, so that it stays within the function's
/// timeout.
const MAX_LATEST: i32 = 125;

/// Maximum number of a shard's oldest due items that a run reads in addition, if more than [`MAX_LATEST`] are due: those
/// that fail come back as the latest, and must not keep a larger backlog from its last attempt.
const MAX_OLDEST: i32 = 16;

/// Time after which the download message of a queued file counts as lost.
const LOST_MESSAGE_TTL: SignedDuration = SignedDuration::from_mins(15);

/// Shard and time of the next check of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextCheck {
    /// The partition of the index.
    next_check_shard: i64,
    /// Time, epoch milliseconds.
    next_check_at: i64,
}

impl NextCheck {
    /// A check at the given time. Its milliseconds select the shard.
    pub fn at(time: Timestamp) -> Self {
        let next_check_at = time.as_millisecond();
        Self { next_check_shard: next_check_at.rem_euclid(SHARDS), next_check_at }
    }

    /// The first check of an item that is written now.
    pub fn first(now: Timestamp) -> Self {
        Self::at(now.checked_add(FIRST_CHECK_DELAY).unwrap_or(now))
    }

    /// The check of an item whose message is sent after this write.
    pub fn after_send(now: Timestamp) -> Self {
        Self::at(now.checked_add(LOST_MESSAGE_TTL).unwrap_or(now))
    }

    pub(super) fn earlier(self, other: Self) -> Self {
        if other.next_check_at < self.next_check_at { other } else { self }
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

/// Due checks of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueChecks {
    /// The items: of each shard the latest first, then the oldest.
    pub items: Vec<DueCheck>,
    /// When the oldest due check became due, of all that are due.
    pub oldest_at: Option<Timestamp>,
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

fn due_at(item: &Item) -> Option<Timestamp> {
    Timestamp::from_millisecond(item.get("next_check_at")?.as_n().ok()?.parse().ok()?).ok()
}

/// Adds the values of `next_check_shard = :shard, next_check_at = :at`.
pub(super) fn with_next_check(
    update: UpdateItemFluentBuilder,
    check: &NextCheck,
) -> UpdateItemFluentBuilder {
    update
        .expression_attribute_values(":shard", number(check.next_check_shard))
        .expression_attribute_values(":at", number(check.next_check_at))
}

impl RecordingTable {
    /// Items with a due check, the latest first: a backlog does not delay fresh files. The index is eventually
    /// consistent, so the check itself must read the item.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn due_checks(&self, now: Timestamp) -> Result<DueChecks, AwsError> {
        let shards = try_join_all((0..SHARDS).map(|shard| self.due_checks_of(shard, now))).await?;
        let mut due = DueChecks::default();
        for item in shards.into_iter().flatten() {
            due.oldest_at = due_at(&item).into_iter().chain(due.oldest_at).min();
            match DueCheck::from_item(&item) {
                Some(check) => due.items.push(check),
                // A malformed key must not stop the other checks.
                None => tracing::error!("an item with a due check has an invalid key"),
            }
        }
        Ok(due)
    }

    async fn due_checks_of(&self, shard: i64, now: Timestamp) -> Result<Vec<Item>, AwsError> {
        let query = |until, latest_first: bool, limit| {
            self.client
                .query()
                .table_name(&self.table)
                .index_name(BY_NEXT_CHECK)
                .key_condition_expression("next_check_shard = :shard AND next_check_at <= :until")
                .expression_attribute_values(":shard", number(shard))
                .expression_attribute_values(":until", until)
                .scan_index_forward(!latest_first)
                .limit(limit)
        };
        let failed = |error| AwsError::from_sdk("Query Recordings by-next-check", &error);
        let until = now.as_millisecond();
        let page = query(number(until), true, MAX_LATEST).send().await.map_err(failed)?;
        let mut items = page.items.unwrap_or_default();
        if page.last_evaluated_key.is_some()
            && let Some(read) = items.last().and_then(due_at)
        {
            let until = number(read.as_millisecond() - 1);
            let page = query(until, false, MAX_OLDEST).send().await.map_err(failed)?;
            items.extend(page.items.unwrap_or_default());
        }
        Ok(items)
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
                expression.push_str("SET next_check_shard = :shard, next_check_at = :at ");
                update = with_next_check(update, &NextCheck::at(next));
            }
            None => removed.extend(["next_check_shard", "next_check_at"]),
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
                .expression_attribute_values(":status", status(item.status)),
        };
        let update = update.update_expression(expression);
        conditional(update.send().await).map(|_| ())
    }

    /// Marks a stored file as expired: S3 has deleted its object. Returns its next check, which is due; `None` if the file
    /// has changed since it was read.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn mark_expired(
        &self,
        key: &FileKey,
        item: &FileItem,
        now: Timestamp,
    ) -> Result<Option<NextCheck>, AwsError> {
        let check = NextCheck::at(now);
        let update = with_next_check(self.update(&key.zoom_user, &key.entry()), &check)
            .update_expression(
                "SET #status = :expired, bytes_stored = :zero, next_check_shard = :shard, next_check_at = :at \
                 REMOVE #key, crc64nvme, recognised, stored_at, object_expires_at \
                 ADD expirations :one",
            )
            .condition_expression("#status = :stored AND attempt = :attempt")
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#key", "key")
            .expression_attribute_values(":expired", status(FileStatus::Expired))
            .expression_attribute_values(":stored", status(FileStatus::Stored))
            .expression_attribute_values(":attempt", number(item.attempt))
            .expression_attribute_values(":zero", number(0))
            .expression_attribute_values(":one", number(1));
        Ok(conditional(update.send().await)?.map(|_| check))
    }

    /// Records a completed check of a recording, and schedules the next one, if any. From now on its files have their
    /// own checks.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn mark_recording_checked(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        next: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let update = self.update(zoom_user, &recording_entry(id));
        let update = match next {
            Some(next) => with_next_check(update, &NextCheck::at(next))
                .update_expression("SET next_check_shard = :shard, next_check_at = :at"),
            None => update.update_expression("REMOVE next_check_shard, next_check_at"),
        };
        let update = update
            // Keep the check if the app has requested the recording again.
            .condition_expression("next_check_at <= :now")
            .expression_attribute_values(":now", number(now.as_millisecond()));
        conditional(update.send().await).map(|_| ())
    }
}
