//! Observations of recordings and files: the first one adds an item, later ones are merged into it.

use jiff::Timestamp;
use reelay_domain::ids::{AccountId, MeetingUuid, ZoomUser};
use reelay_domain::observation::{FileObservation, Observation, ObservedAt, ObservedRecording};
use reelay_domain::recording::FileStatus;
use serde::Serialize;

use super::checks::{NextCheck, with_next_check};
use super::item::{AddOutcome, Correction, is_event, start_order};
use super::{
    FileItem, FileKey, ObserveOutcome, RecordingItem, RecordingTable, TABLE, conditional,
    recording_entry, status,
};
use crate::item::{number, set_attributes, text, to_attribute, zoom_user_of};
use reelay_runtime::AwsError;

const BY_MEETING: &str = "by-meeting";

/// Attributes of a recording that an observation changes.
#[derive(Serialize)]
struct RecordingUpdate<'a> {
    start_order: &'a str,
    announced: bool,
    /// Absent if it was not requested, so that a concurrent request of the app stays.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    requested: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    correction: Option<Correction>,
    /// A check of the files that were not wanted until now, which may have none of their own.
    #[serde(flatten)]
    next_check: Option<NextCheck>,
    #[serde(flatten)]
    observed: &'a ObservedRecording,
}

impl RecordingTable {
    /// Merges an observation into a recording. `is_requested` is whether its files are downloaded without a request from
    /// the app.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn observe(
        &self,
        observation: &Observation,
        is_requested: bool,
        now: Timestamp,
    ) -> Result<ObserveOutcome<RecordingItem>, AwsError> {
        let (zoom_user, id) = (&observation.host, observation.recording_id());
        let new = RecordingItem::new(observation, is_requested, now);
        let mut before = match self.add(zoom_user, &recording_entry(&id), &new).await? {
            AddOutcome::Added => return Ok(ObserveOutcome::New(new)),
            AddOutcome::AlreadyExists(before) => before,
            AddOutcome::Erased => return Ok(ObserveOutcome::Erased),
        };
        loop {
            let mut after = before.clone();
            after.observed.merge(observation);
            after.start_order = start_order(&after.observed);
            after.announced |= is_event(observation);
            after.requested |= is_requested;
            let correction = Correction::of(&before.observed, &after.observed, observation.time);
            after.correction = correction.or(before.correction);
            if after == before {
                return Ok(ObserveOutcome::Known { before, after });
            }
            let update = self.update(zoom_user, &recording_entry(&id));
            let changed = RecordingUpdate {
                start_order: &after.start_order,
                announced: after.announced,
                requested: after.requested,
                correction: after.correction,
                next_check: (after.requested && !before.requested).then(|| NextCheck::at(now)),
                observed: &after.observed,
            };
            let (expression, update) = set_attributes(TABLE, update, &changed)?;
            let update = update
                .update_expression(expression)
                .condition_expression("seen = :seen")
                .expression_attribute_values(":seen", to_attribute(&before.observed.seen)?);
            if conditional(update.send().await)?.is_some() {
                return Ok(ObserveOutcome::Known { before, after });
            }
            // A concurrent observation was merged first.
            match self.item(zoom_user, &id).await? {
                Some(item) => before = item,
                None => return Ok(ObserveOutcome::Erased),
            }
        }
    }

    /// Merges an observation into a file. `new` is added if the file is unknown. A failed or waiting file is queued
    /// again if `requeues` returns true, a skipped file if `new` is not skipped.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn observe_file(
        &self,
        key: &FileKey,
        new: FileItem,
        (observation, time): (&FileObservation, ObservedAt),
        requeues: impl Fn(&FileItem) -> bool,
        now: Timestamp,
    ) -> Result<ObserveOutcome<FileItem>, AwsError> {
        let mut before = match self.add(&key.zoom_user, &key.entry(), &new).await? {
            AddOutcome::Added => return Ok(ObserveOutcome::New(new)),
            AddOutcome::AlreadyExists(before) => before,
            AddOutcome::Erased => return Ok(ObserveOutcome::Erased),
        };
        loop {
            let after = merged(&before, &new, (observation, time), &requeues, now);
            if after == before {
                return Ok(ObserveOutcome::Known { before, after });
            }
            let update = self.update(&key.zoom_user, &key.entry());
            let (mut expression, mut update) = set_attributes(TABLE, update, &after.observed)?;
            if after.observed.source != before.observed.source {
                expression.push_str(", source_saved_at = :now");
                update = update.expression_attribute_values(":now", number(now.as_millisecond()));
            }
            if let Some(check) = after.next_check.filter(|_| after.next_check != before.next_check)
            {
                expression.push_str(", next_check_shard = :shard, next_check_at = :at");
                update = with_next_check(update, &check);
            }
            if after.status != before.status || after.next_attempt_at != before.next_attempt_at {
                expression.push_str(", #status = :queued");
                expression.push_str(super::FORGET_FAILURES);
                update = update.expression_attribute_values(":queued", status(after.status));
            }
            let update = update
                .update_expression(expression)
                .condition_expression("seen = :seen AND #status = :before")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":before", status(before.status))
                .expression_attribute_values(":seen", to_attribute(&before.observed.seen)?);
            if conditional(update.send().await)?.is_some() {
                return Ok(ObserveOutcome::Known { before, after });
            }
            // Another observation was merged, or a transfer began or ended.
            match self.file(key).await? {
                Some(item) => before = item,
                None => return Ok(ObserveOutcome::Erased),
            }
        }
    }

    /// The hosts of known recordings of a meeting instance in an account, usually one.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn hosts_of_meeting(
        &self,
        account: &AccountId,
        meeting: &MeetingUuid,
    ) -> Result<Vec<ZoomUser>, AwsError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_MEETING)
            .key_condition_expression("account_meeting = :meeting")
            .expression_attribute_values(":meeting", text(format!("{account}#{meeting}")))
            .into_paginator()
            .items()
            .send();
        let mut hosts = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| AwsError::from_sdk("Query Recordings", &error))?;
            hosts.push(zoom_user_of(TABLE, &item)?);
        }
        Ok(hosts)
    }
}

/// The file with the observation merged into it.
fn merged(
    before: &FileItem,
    new: &FileItem,
    (observation, time): (&FileObservation, ObservedAt),
    requeues: &impl Fn(&FileItem) -> bool,
    now: Timestamp,
) -> FileItem {
    let mut after = before.clone();
    let is_queued_again = match before.status {
        FileStatus::Skipped => new.status == FileStatus::Queued,
        FileStatus::Failed => requeues(before),
        FileStatus::Queued => before.next_attempt_at.is_some() && requeues(before),
        FileStatus::Transferring | FileStatus::Stored | FileStatus::Expired => false,
    };
    let is_wanted =
        is_queued_again || matches!(before.status, FileStatus::Queued | FileStatus::Transferring);
    // A finished file needs no source.
    let source = observation.source.clone().filter(|_| is_wanted);
    after.observed.merge(&FileObservation { source, ..observation.clone() }, time);
    if after.observed.source != before.observed.source {
        let first = NextCheck::first(now);
        after.next_check = Some(before.next_check.map_or(first, |check| check.earlier(first)));
    }
    if is_queued_again {
        after.status = FileStatus::Queued;
        after.next_check = Some(NextCheck::after_send(now));
        (after.reason, after.received_at) = (None, None);
        (after.next_attempt_at, after.first_attempt_at) = (None, None);
        after.failures = Default::default();
        (after.failed_at, after.granted_attempts, after.reported_reason) = (None, 0, None);
    }
    after
}
