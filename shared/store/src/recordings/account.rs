//! What holds for a whole Zoom account: its rate limits are shared by all its users.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use reelay_domain::ids::AccountId;
use serde::Deserialize;

use super::{RecordingTable, conditional, number, read};
use reelay_runtime::AwsError;

/// The sort key of an account's item.
const ENTRY: &str = "account";

#[derive(Deserialize)]
struct AccountItem {
    /// Epoch milliseconds.
    not_before: i64,
}

/// The partition key of an account's item: that of a user without an id, which no user is.
fn key(account: &AccountId) -> String {
    format!("{account}#")
}

impl RecordingTable {
    /// When Zoom may be asked for this account's files again; `None` if nothing is known against asking now.
    pub async fn not_before(&self, account: &AccountId) -> Result<Option<Timestamp>, AwsError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("zoom_user", AttributeValue::S(key(account)))
            .key("entry", AttributeValue::S(ENTRY.to_owned()))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("GetItem Recordings", &error))?;
        let Some(item) = answer.item else {
            return Ok(None);
        };
        let item: AccountItem = read(item)?;
        Ok(Timestamp::from_millisecond(item.not_before).ok())
    }

    /// Notes that Zoom asked us to wait until then. A later time that is known already stays.
    pub async fn set_not_before(
        &self,
        account: &AccountId,
        until: Timestamp,
    ) -> Result<(), AwsError> {
        let update: UpdateItemFluentBuilder = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("zoom_user", AttributeValue::S(key(account)))
            .key("entry", AttributeValue::S(ENTRY.to_owned()))
            .update_expression("SET not_before = :until, expires_at = :expires")
            .condition_expression("attribute_not_exists(not_before) OR not_before < :until")
            .expression_attribute_values(":until", number(until.as_millisecond()))
            // Removed by the table's own time to live, some time after it has lost its meaning.
            .expression_attribute_values(":expires", number(until.as_second() + 1));
        conditional(update.send().await).map(|_| ())
    }
}
