//! Rows: an app user's notifications in the order of their stamps.

use jiff::Timestamp;
use reelay_domain::cursor::FeedPosition;
use reelay_domain::ids::AppUserId;
use reelay_domain::message::Notification;
use reelay_domain::time::rfc3339;
use reelay_runtime::AwsError;
use serde::{Deserialize, Serialize};

use super::{Guard, NotificationTable, TABLE};
use crate::item::{Item, from_item, text, text_of};

/// The item of a row.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) notification: Notification,
    /// Time to live, epoch seconds.
    pub(super) expires_at: i64,
}

/// A row of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRow {
    /// Its position.
    pub position: FeedPosition,
    /// When it was written.
    pub stamp: Timestamp,
    /// The notification.
    pub notification: Notification,
}

/// The owner of an app user's rows.
pub(super) fn rows_of(app_user: &AppUserId) -> String {
    format!("user#{app_user}")
}

/// Owner and entry of a row.
pub(super) fn row_key(app_user: &AppUserId, at: Timestamp, id: &str) -> (String, String) {
    (rows_of(app_user), format!("{}#{id}", rfc3339(at)))
}

pub(super) fn read_row(item: Item) -> Result<FeedRow, AwsError> {
    let after = text_of(&item, "entry").unwrap_or_default().to_owned();
    let position = FeedPosition { after };
    let stamp = position.time();
    let stamp = stamp.ok_or_else(|| AwsError::unexpected_response(TABLE, "a row has no stamp"))?;
    let row: Row = from_item(TABLE, item)?;
    Ok(FeedRow { position, stamp, notification: row.notification })
}

impl NotificationTable {
    /// Reads up to `limit` rows of an app user after a position and before a time, oldest first, consistently. May
    /// return fewer, although more follow: `is_end` says whether none do.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn page(
        &self,
        app_user: &AppUserId,
        after: &FeedPosition,
        until: Timestamp,
        limit: usize,
    ) -> Result<(Vec<FeedRow>, bool), AwsError> {
        // No entry starts with that of another one, and '!' sorts before '#'.
        let (first, last) = (format!("{}!", after.after), rfc3339(until));
        if first > last {
            return Ok((Vec::new(), true));
        }
        let response = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("#owner = :user AND entry BETWEEN :first AND :last")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":user", text(rows_of(app_user)))
            .expression_attribute_values(":first", text(first))
            .expression_attribute_values(":last", text(last))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("Query Notifications", &error))?;
        let is_end = response.last_evaluated_key.is_none_or(|key| key.is_empty());
        let rows = response.items.unwrap_or_default().into_iter().map(read_row);
        Ok((rows.collect::<Result<_, _>>()?, is_end))
    }

    /// Reads the notification of a guard. `None` if it was erased.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn notification(
        &self,
        id: &str,
        guard: &Guard,
    ) -> Result<Option<Notification>, AwsError> {
        let (owner, entry) = row_key(&guard.app_user_id, guard.stamp, id);
        let row = self.item(owner, entry).await?.map(read_row).transpose()?;
        Ok(row.map(|row| row.notification))
    }
}
