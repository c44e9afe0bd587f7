//! The time of the last event of a Zoom user.

use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::link::Link;
use reelay_runtime::AwsError;

use super::checks::ignore_failed_condition;
use super::{LinkTable, link_entry};
use crate::item::{text, to_attribute};

/// Accuracy of [`Link::last_event_at`], so that it costs a link at most one write an hour.
const ACCURACY: SignedDuration = SignedDuration::from_hours(1);

impl LinkTable {
    /// Saves on the links of a Zoom user that an event arrived, unless one arrived within the last hour.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn save_event_time(&self, links: &[Link], now: Timestamp) -> Result<(), AwsError> {
        let is_outdated =
            |link: &&Link| link.last_event_at.is_none_or(|at| now.duration_since(at) >= ACCURACY);
        let updates = links.iter().filter(is_outdated).map(async |link| {
            let updated = self
                .client
                .update_item()
                .table_name(&self.table)
                .key("zoom_user", text(link.zoom_user.key()))
                .key("entry", text(link_entry(&link.app_user)))
                .update_expression("SET last_event_at = :now")
                .condition_expression("attribute_exists(link_id)")
                .expression_attribute_values(":now", to_attribute(&now)?)
                .send()
                .await;
            ignore_failed_condition(updated)
        });
        try_join_all(updates).await.map(|_| ())
    }
}
