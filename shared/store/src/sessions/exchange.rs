//! Code exchanges, until a grant has their tokens.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use jiff::{SignedDuration, Timestamp};
use reelay_runtime::AwsError;

use super::{ExchangeItem, ExchangeStage, OpenExchange, SessionTable, TABLE, with_id};
use crate::item::{Item, from_item, number, text};
use crate::links::LinkTable;

impl SessionTable {
    /// Reads an exchange.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn exchange(&self, key: &str) -> Result<Option<ExchangeItem>, AwsError> {
        self.get_item(key.to_owned()).await?.map(|item| from_item(TABLE, item)).transpose()
    }

    /// Reads consistently the unexpired exchanges whose tokens no grant has yet: those in progress and interrupted
    /// ones.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn open_exchanges(
        &self,
        links: &LinkTable,
        now: Timestamp,
    ) -> Result<Vec<OpenExchange>, AwsError> {
        let mut open = Vec::new();
        for key in links.announced_exchanges().await? {
            let item = match self.get_item(key.clone()).await?.map(|item| from_item(TABLE, item)) {
                None => None,
                Some(Ok(item)) => Some(item),
                // It must not keep the others from being finished, or grants from being marked.
                Some(Err(error)) => {
                    tracing::error!(%error, "an exchange is unreadable");
                    None
                }
            };
            match item {
                None => {}
                Some(ExchangeItem { stage: ExchangeStage::Linked { .. }, .. }) => {}
                Some(item) if item.expires_at <= now.as_second() => {}
                Some(item) => open.push(OpenExchange { key, item }),
            }
        }
        Ok(open)
    }

    /// Acquires the lease on an open exchange, because its refresh token is single-use. `false` if another
    /// instance holds it, or has completed the exchange.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn acquire_exchange_lease(
        &self,
        key: &str,
        now: Timestamp,
        duration: SignedDuration,
    ) -> Result<bool, AwsError> {
        let acquired = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", text(key.to_owned()))
            .update_expression("SET lease_until = :until")
            .condition_expression(
                "attribute_exists(id) AND attribute_not_exists(linked) AND \
                 (attribute_not_exists(lease_until) OR lease_until < :now)",
            )
            .expression_attribute_values(":until", number((now + duration).as_millisecond()))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .send()
            .await;
        match acquired {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(AwsError::from_sdk("UpdateItem Sessions", &error)),
        }
    }

    /// Releases the lease on an exchange.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn release_exchange_lease(&self, key: &str) -> Result<(), AwsError> {
        let released = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", text(key.to_owned()))
            .update_expression("REMOVE lease_until")
            .condition_expression("attribute_exists(id)")
            .send()
            .await;
        match released {
            Err(error)
                if !error
                    .as_service_error()
                    .is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                Err(AwsError::from_sdk("UpdateItem Sessions", &error))
            }
            _ => Ok(()),
        }
    }

    /// Deletes an exchange that has no tokens, or whose tokens a grant has or are worthless.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn delete_exchange(&self, links: &LinkTable, key: &str) -> Result<(), AwsError> {
        self.delete(key.to_owned()).await?;
        links.withdraw_exchange(key).await
    }

    /// Saves an exchange. Concurrent callers write the same item.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn save_exchange(&self, key: &str, exchange: &ExchangeItem) -> Result<(), AwsError> {
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(exchange_item(key, exchange)?))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("PutItem Sessions", &error))
    }
}

/// The item of an exchange.
pub(crate) fn exchange_item(key: &str, exchange: &ExchangeItem) -> Result<Item, AwsError> {
    with_id(key.to_owned(), exchange)
}
