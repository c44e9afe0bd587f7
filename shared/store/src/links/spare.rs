//! Token pairs of exchanges that the Sessions table could not take. See [`crate::save`].

use jiff::Timestamp;
use reelay_runtime::AwsError;

use super::{LinkTable, TABLE};
use crate::item::{Item, from_item, text, to_item};
use crate::sessions::ExchangeItem;

const ENTRY: &str = "exchange";

impl LinkTable {
    /// Saves an exchange with its tokens in place of [`crate::sessions::SessionTable::save_exchange`].
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn save_spare_exchange(
        &self,
        key: &str,
        exchange: &ExchangeItem,
    ) -> Result<(), AwsError> {
        let item_key = [("zoom_user", partition(key)), ("entry", ENTRY.to_owned())];
        let item: Item = to_item(TABLE, item_key, exchange)?;
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("PutItem Links", &error))
    }

    /// Reads an unexpired exchange that was saved here.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn spare_exchange(
        &self,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<ExchangeItem>, AwsError> {
        let found = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("zoom_user = :key AND entry = :entry")
            .expression_attribute_values(":key", text(partition(key)))
            .expression_attribute_values(":entry", text(ENTRY))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("Query Links", &error))?;
        let item = found.items.and_then(|items| items.into_iter().next());
        let exchange: Option<ExchangeItem> = item.map(|item| from_item(TABLE, item)).transpose()?;
        Ok(exchange.filter(|exchange| exchange.expires_at > now.as_second()))
    }

    /// Deletes a completed exchange.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn delete_spare_exchange(&self, key: &str) -> Result<(), AwsError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key("zoom_user", text(partition(key)))
            .key("entry", text(ENTRY))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("DeleteItem Links", &error))
    }
}

/// Distinct from the key of any Zoom user, which contains one `#`.
fn partition(key: &str) -> String {
    format!("spare##{key}")
}
