//! Rate limits, which all users of a Zoom account share.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use jiff::Timestamp;
use reelay_domain::ids::AccountId;
use serde::Deserialize;

use super::{RecordingTable, TABLE, conditional};
use crate::item::{from_item, number, text};
use reelay_runtime::AwsError;

/// The sort key of an account's item.
const ENTRY: &str = "account";

#[derive(Deserialize)]
struct AccountItem {
    /// Epoch milliseconds.
    not_before: i64,
}

/// The partition key of an account's item: a Zoom user's key with an empty user id.
fn key(account: &AccountId) -> String {
    format!("{account}#")
}

impl RecordingTable {
    /// The time before which no request to Zoom may be sent for this account; `None` without a limit.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn not_before(&self, account: &AccountId) -> Result<Option<Timestamp>, AwsError> {
        let response = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("zoom_user", text(key(account)))
            .key("entry", text(ENTRY.to_owned()))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("GetItem Recordings", &error))?;
        let Some(item) = response.item else {
            return Ok(None);
        };
        let item: AccountItem = from_item(TABLE, item)?;
        Ok(Timestamp::from_millisecond(item.not_before).ok())
    }

    /// Sets that time after a 429 response, unless a later one is set.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn set_not_before(
        &self,
        account: &AccountId,
        until: Timestamp,
    ) -> Result<(), AwsError> {
        let update: UpdateItemFluentBuilder = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("zoom_user", text(key(account)))
            .key("entry", text(ENTRY.to_owned()))
            .update_expression("SET not_before = :until, expires_at = :expires")
            .condition_expression("attribute_not_exists(not_before) OR not_before < :until")
            .expression_attribute_values(":until", number(until.as_millisecond()))
            // Deleted by the table's TTL.
            .expression_attribute_values(":expires", number(until.as_second() + 1));
        conditional(update.send().await).map(|_| ())
    }
}
