//! What somebody has to look after, and from which day on.
//!
//! Orders in a queue see to everything in time. The days here are for what no order comes for: refresh
//! tokens that nobody uses, and work whose order was lost or died. An item's `due` is a day, and the
//! index over it has one partition a day, so a sweep reads what is due and nothing else. A refresh leaves
//! `due` as it is, and the index in peace: whoever comes on that day sees that the grant is in use, and
//! sets another.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::GrantStatus;

use super::{Grant, LinkTable, zoom_user_of};
use reelay_runtime::AwsError;

const BY_DUE: &str = "by-next-check";

/// Refresh tokens end 90 days after they were given (Zoom, "OAuth 2.0"). A grant that nobody has used for
/// so long is refreshed ahead of that; the month that remains is for an outage, or a stack at rest.
const IDLE: SignedDuration = SignedDuration::from_hours(60 * 24);

/// How far back a sweep looks, in days: whatever is older ended with its refresh token.
const DAYS_BACK: i32 = 100;

/// The day of a time, UTC.
pub(super) fn day(at: Timestamp) -> Date {
    at.to_zoned_datetime(TimeZone::UTC).date()
}

/// When a grant has been idle for too long that nobody uses from this time on.
fn when_idle(since: Timestamp) -> Date {
    day(since.checked_add(IDLE).unwrap_or(Timestamp::MAX))
}

impl Grant {
    /// Whether nobody has used it for so long that its refresh token is to be renewed.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        when_idle(self.last_used()) <= day(now)
    }

    /// When its access token ended, which was good for an hour.
    fn last_used(&self) -> Timestamp {
        Timestamp::from_second(self.access_expires_at).unwrap_or(Timestamp::MIN)
    }
}

/// When to look after a grant that has become this, with new tokens or without. `None`: as before.
pub(super) fn of_grant(status: GrantStatus, new_tokens: bool, now: Timestamp) -> Option<Date> {
    match status {
        GrantStatus::Revoking => Some(day(now)),
        GrantStatus::Live if new_tokens => Some(when_idle(now)),
        GrantStatus::Live | GrantStatus::ReauthorizationRequired => None,
    }
}

impl LinkTable {
    /// Sets the day on which to look after a grant that is in use again, unless something else has
    /// become due with it.
    pub async fn defer_check(&self, zoom_user: &ZoomUser, grant: &Grant) -> Result<(), AwsError> {
        let Some(due) = grant.next_check_day else {
            return Ok(());
        };
        let postponed = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("zoom_user", AttributeValue::S(zoom_user.key()))
            .key("entry", AttributeValue::S("grant".to_owned()))
            .update_expression("SET next_check_day = :next")
            .condition_expression("next_check_day = :day AND #status = :live")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(
                ":next",
                AttributeValue::S(when_idle(grant.last_used()).to_string()),
            )
            .expression_attribute_values(":day", AttributeValue::S(due.to_string()))
            .expression_attribute_values(":live", AttributeValue::S("live".to_owned()))
            .send()
            .await;
        match postponed {
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

    /// The Zoom users with something due by now, each once, in pages of one day, the longest waiting
    /// first. The index is not consistent; what it shows is a reason to look, no more.
    pub async fn due_checks(&self, now: Timestamp) -> Result<Vec<ZoomUser>, AwsError> {
        let today = day(now);
        let mut found = Vec::new();
        for back in (0..=DAYS_BACK).rev() {
            let mut pages = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(BY_DUE)
                .key_condition_expression("next_check_day = :day")
                .expression_attribute_values(
                    ":day",
                    AttributeValue::S(today.saturating_sub(back.days()).to_string()),
                )
                .into_paginator()
                .items()
                .send();
            while let Some(item) = pages.next().await {
                let item =
                    item.map_err(|error| AwsError::from_sdk("Query Links by-next-check", &error))?;
                found.push(zoom_user_of(&item)?);
            }
        }
        let mut seen = std::collections::HashSet::new();
        found.retain(|zoom_user| seen.insert(zoom_user.key()));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_grants_are_due_a_month_before_their_refresh_token_ends() {
        let now: Timestamp = "2026-01-01T23:59:59Z".parse().unwrap();
        let due = of_grant(GrantStatus::Live, true, now).unwrap();
        assert_eq!(due.to_string(), "2026-03-02");
        assert_eq!(
            of_grant(GrantStatus::Revoking, false, now)
                .unwrap()
                .to_string(),
            "2026-01-01"
        );
        assert_eq!(of_grant(GrantStatus::Live, false, now), None);
        assert_eq!(
            of_grant(GrantStatus::ReauthorizationRequired, false, now),
            None
        );
    }
}
