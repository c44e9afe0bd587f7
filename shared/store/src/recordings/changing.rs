//! Recordings that are renamed, trashed, recovered or deleted at Zoom. The latest event counts.

use aws_sdk_dynamodb::types::AttributeValue;
use reelay_domain::ids::{AccountId, MeetingUuid, RecordingId, ZoomUser};
use reelay_domain::recording::{RecordingChange, ZoomState};

use super::{RecordingTable, attribute, conditional, number, recording_entry};
use reelay_runtime::AwsError;

const BY_MEETING: &str = "by-meeting";

impl RecordingTable {
    /// Whose recordings of this meeting instance are known in an account. One, as a rule.
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
            .expression_attribute_values(
                ":meeting",
                AttributeValue::S(format!("{account}#{meeting}")),
            )
            .into_paginator()
            .items()
            .send();
        let mut hosts = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| AwsError::from_sdk("Query Recordings", &error))?;
            let key = item.get("zoom_user").and_then(|key| key.as_s().ok());
            let host = key.and_then(|key| ZoomUser::from_key(key).ok());
            hosts.push(host.ok_or_else(|| {
                AwsError::unexpected_response("Recordings", "an item's zoom_user does not read")
            })?);
        }
        Ok(hosts)
    }

    /// Notes a change, unless the recording is not known or a later event has been here. `true` if the
    /// change is what counts now, also when it was noted before: then it may not have been told.
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
                .expression_attribute_values(":topic", AttributeValue::S(topic.clone())),
            RecordingChange::Trashed | RecordingChange::Recovered | RecordingChange::Deleted => {
                let state = match change {
                    RecordingChange::Trashed => ZoomState::Trashed,
                    RecordingChange::Deleted => ZoomState::Deleted,
                    _ => ZoomState::Present,
                };
                update
                    .update_expression("SET zoom_state = :state, zoom_state_ts = :ts")
                    // The item is there, and what it says is older, or the same.
                    .condition_expression(
                        "attribute_exists(entry) AND (attribute_not_exists(zoom_state_ts) \
                         OR zoom_state_ts < :ts OR (zoom_state_ts = :ts AND zoom_state = :state))",
                    )
                    .expression_attribute_values(":state", attribute(&state)?)
            }
        };
        Ok(conditional(update.send().await)?.is_some())
    }
}
