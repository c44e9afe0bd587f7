//! Maintenance checks: which items are due, and when.
//!
//! Ordinary work has jobs of its own. These checks are for unused refresh tokens, and for work whose job was lost.
//! An item that needs a check has the check's day and a shard, which follows from its key. The index has one partition
//! per shard, sorted by day, so a maintenance run reads only due items. A refresh does not write `next_check_day`: the
//! check on that day sees that the grant is in use, and schedules the next one.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{GrantState, GrantStatus};
use reelay_domain::refresh_breaker::Rejection;
use reelay_domain::time::utc_date;
use sha2::{Digest as _, Sha256};

use super::{Grant, LinkTable, TABLE};
use crate::item::{Item, number, text, text_of, zoom_user_of};
use reelay_runtime::AwsError;

const BY_NEXT_CHECK: &str = "by-next-check";

/// Time without use after which a grant is refreshed. Refresh tokens expire 90 days after their issue (Zoom,
/// "OAuth 2.0"); the remaining month covers an outage or a paused stack.
const MAX_IDLE_TIME: SignedDuration = SignedDuration::from_hours(60 * 24);

/// Number of partitions of the index. Each takes 1,000 writes a second.
const SHARDS: u8 = 8;

/// Day on which a grant unused since the given time counts as idle.
fn idle_day(since: Timestamp) -> Date {
    utc_date(since.checked_add(MAX_IDLE_TIME).unwrap_or(Timestamp::MAX))
}

impl Grant {
    /// Whether the grant has been unused for so long that it must be refreshed.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        idle_day(self.last_used()) <= utc_date(now)
    }

    /// Expiry of the last access token, an hour after the last refresh.
    fn last_used(&self) -> Timestamp {
        Timestamp::from_second(self.access_expires_at).unwrap_or(Timestamp::MIN)
    }
}

/// Day of the next check of a grant after a change. `None`: unchanged.
pub(super) fn next_check_day(after: &GrantState, new_tokens: bool, now: Timestamp) -> Option<Date> {
    match after.grant? {
        GrantStatus::Revoking => Some(utc_date(now)),
        GrantStatus::Live if new_tokens => Some(idle_day(now)),
        // Each run checks whether the credentials of its client are back.
        GrantStatus::ReauthorizationRequired
            if after.marking.as_ref().map(|marking| marking.reason)
                == Some(Rejection::ClientReplaced) =>
        {
            Some(utc_date(now))
        }
        GrantStatus::Live | GrantStatus::ReauthorizationRequired | GrantStatus::Revoked => None,
    }
}

impl LinkTable {
    /// Schedules the next check of a grant that is in use, unless the grant has changed since it was read.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn defer_check(&self, zoom_user: &ZoomUser, grant: &Grant) -> Result<(), AwsError> {
        let Some(due) = grant.next_check_day else {
            return Ok(());
        };
        let deferred = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("zoom_user", text(zoom_user.key()))
            .key("entry", text("grant"))
            .update_expression("SET next_check_day = :next")
            .condition_expression("next_check_day = :day AND #status = :live")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":next", text(idle_day(grant.last_used()).to_string()))
            .expression_attribute_values(":day", text(due.to_string()))
            .expression_attribute_values(":live", text("live"))
            .send()
            .await;
        ignore_failed_condition(deferred)
    }

    /// Ends the checks of a grant that has ended, unless the grant has changed since it was read.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn end_checks(&self, zoom_user: &ZoomUser, grant: &Grant) -> Result<(), AwsError> {
        let ended = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("zoom_user", text(zoom_user.key()))
            .key("entry", text("grant"))
            .update_expression("REMOVE next_check_day")
            .condition_expression("generation = :generation")
            .expression_attribute_values(":generation", number(grant.generation))
            .send()
            .await;
        ignore_failed_condition(ended)
    }

    /// Zoom users with a due check, oldest day first, without duplicates. One page of each shard, of at most 1 MB: a
    /// larger backlog is left to the next run. The index is eventually consistent, so the check itself must read the
    /// items.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn due_checks(&self, now: Timestamp) -> Result<Vec<ZoomUser>, AwsError> {
        let today = utc_date(now).to_string();
        let shards = (0..SHARDS).map(|shard| {
            self.client
                .query()
                .table_name(&self.table)
                .index_name(BY_NEXT_CHECK)
                .key_condition_expression("next_check_shard = :shard AND next_check_day <= :today")
                .expression_attribute_values(":shard", number(shard))
                .expression_attribute_values(":today", text(&today))
                .send()
        });
        let pages = try_join_all(shards)
            .await
            .map_err(|error| AwsError::from_sdk("Query Links by-next-check", &error))?;
        let mut items: Vec<Item> =
            pages.into_iter().flat_map(|page| page.items.unwrap_or_default()).collect();
        items.sort_by(|one, other| {
            text_of(one, "next_check_day").cmp(&text_of(other, "next_check_day"))
        });
        let mut found: Vec<ZoomUser> = items
            .iter()
            .filter_map(|item| {
                // A malformed key must not stop the other checks.
                zoom_user_of(TABLE, item)
                    .inspect_err(|error| tracing::error!(%error, "a due check is unreadable"))
                    .ok()
            })
            .collect();
        let mut seen = std::collections::HashSet::new();
        found.retain(|zoom_user| seen.insert(zoom_user.key()));
        Ok(found)
    }
}

/// Partition of the index in which a Zoom user's checks are, as stored in the items. A run reads every partition, so only a
/// lower number of [`SHARDS`] would lose checks.
pub(super) fn shard(zoom_user: &ZoomUser) -> AttributeValue {
    let [first, ..]: [u8; 32] = Sha256::digest(zoom_user.key()).into();
    number(first % SHARDS)
}

pub(super) fn ignore_failed_condition(
    updated: Result<UpdateItemOutput, SdkError<UpdateItemError>>,
) -> Result<(), AwsError> {
    match updated {
        Err(error)
            if !error
                .as_service_error()
                .is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
        {
            Err(AwsError::from_sdk("UpdateItem Links", &error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_grant_is_due_before_refresh_token_expires() {
        let now: Timestamp = "2026-01-01T23:59:59Z".parse().unwrap();
        let due = |status, new_tokens| {
            let state = GrantState { grant: Some(status), ..GrantState::default() };
            next_check_day(&state, new_tokens, now).map(|day| day.to_string())
        };
        assert_eq!(due(GrantStatus::Live, true).unwrap(), "2026-03-02");
        assert_eq!(due(GrantStatus::Revoking, false).unwrap(), "2026-01-01");
        assert_eq!(due(GrantStatus::Live, false), None);
        assert_eq!(due(GrantStatus::ReauthorizationRequired, false), None);
    }
}
