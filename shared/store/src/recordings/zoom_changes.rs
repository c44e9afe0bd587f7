//! Recordings renamed, trashed, recovered or deleted at Zoom. The latest event wins.

use reelay_domain::ids::{AccountId, MeetingUuid, RecordingId, ZoomUser};
use reelay_domain::recording::{RecordingChange, ZoomState};

use super::{RecordingTable, TABLE, conditional, recording_entry};
use crate::item::{number, text, to_attribute, zoom_user_of};
use reelay_runtime::AwsError;

const BY_MEETING: &str = "by-meeting";

impl RecordingTable {
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

    /// Applies a change, unless the recording is unknown or a later event has been applied. `true` also if this
    /// change was applied before, because its notification may be missing.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn change(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        change: &RecordingChange,
        event_ts: i64,
    ) -> Result<bool, AwsError> {
        let update = self
            .update(zoom_user, &recording_entry(id))
            .expression_attribute_values(":ts", number(event_ts));
        let update = match change {
            RecordingChange::Renamed { topic } => update
                .update_expression("SET topic = :topic, last_event_ts = :ts")
                .condition_expression(
                    "last_event_ts < :ts OR (last_event_ts = :ts AND topic = :topic)",
                )
                .expression_attribute_values(":topic", text(topic.clone())),
            RecordingChange::Trashed | RecordingChange::Recovered | RecordingChange::Deleted => {
                let state = match change {
                    RecordingChange::Trashed => ZoomState::Trashed,
                    RecordingChange::Deleted => ZoomState::Deleted,
                    _ => ZoomState::Present,
                };
                update
                    .update_expression("SET zoom_state = :state, zoom_state_ts = :ts")
                    // The item exists, and its state is older or the same.
                    .condition_expression(
                        "attribute_exists(start_order) AND (attribute_not_exists(zoom_state_ts) \
                         OR zoom_state_ts < :ts OR (zoom_state_ts = :ts AND zoom_state = :state))",
                    )
                    .expression_attribute_values(":state", to_attribute(&state)?)
            }
        };
        Ok(conditional(update.send().await)?.is_some())
    }
}
