//! Code exchanges, until a grant has their tokens.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use jiff::{SignedDuration, Timestamp};
use reelay_runtime::AwsError;
use sha2::{Digest as _, Sha256};

use super::{ExchangeItem, ExchangeStage, OpenExchange, SessionTable, TABLE, with_id};
use crate::item::{Item, from_item, number, text, text_of};

impl SessionTable {
    /// Reads an exchange.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn exchange(&self, key: &str) -> Result<Option<ExchangeItem>, AwsError> {
        self.get_item(key.to_owned()).await?.map(|item| from_item(TABLE, item)).transpose()
    }

    /// Reads the unexpired exchanges whose tokens no grant has yet: current and interrupted ones. The items are
    /// read consistently, but the index may miss a very recent one.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn open_exchanges(&self, now: Timestamp) -> Result<Vec<OpenExchange>, AwsError> {
        let mut open = Vec::new();
        for shard in 0..OPEN_SHARDS {
            self.collect_open(shard, now, &mut open).await?;
        }
        Ok(open)
    }

    async fn collect_open(
        &self,
        shard: u8,
        now: Timestamp,
        open: &mut Vec<OpenExchange>,
    ) -> Result<(), AwsError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(OPEN_EXCHANGES)
            .key_condition_expression("#open = :exchange")
            .expression_attribute_names("#open", OPEN)
            .expression_attribute_values(":exchange", text(open_shard(shard)))
            .into_paginator()
            .items()
            .send();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| AwsError::from_sdk("Query Sessions", &error))?;
            let Some(key) = text_of(&item, "id") else {
                continue;
            };
            match self.exchange(key).await? {
                None => {}
                Some(ExchangeItem { stage: ExchangeStage::Linked { .. }, .. }) => {}
                Some(item) if item.expires_at <= now.as_second() => {}
                Some(item) => open.push(OpenExchange { key: key.to_owned(), item }),
            }
        }
        Ok(())
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
                "attribute_exists(#open) AND \
                 (attribute_not_exists(lease_until) OR lease_until < :now)",
            )
            .expression_attribute_names("#open", OPEN)
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

    /// Deletes a completed exchange.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn delete_exchange(&self, key: &str) -> Result<(), AwsError> {
        self.delete(key.to_owned()).await
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

/// Key attribute of the index [`OPEN_EXCHANGES`].
const OPEN: &str = "open";

const OPEN_EXCHANGES: &str = "open-exchanges";

/// Number of the index's partitions. Each takes some 1,000 writes a second.
const OPEN_SHARDS: u8 = 4;

fn open_shard(shard: u8) -> String {
    format!("exchange#{shard}")
}

/// The item of an exchange. It is in the index until a grant has the tokens.
pub(crate) fn exchange_item(key: &str, exchange: &ExchangeItem) -> Result<Item, AwsError> {
    let mut item = with_id(key.to_owned(), exchange)?;
    if !matches!(exchange.stage, ExchangeStage::Linked { .. }) {
        let [first, ..]: [u8; 32] = Sha256::digest(key).into();
        item.insert(OPEN.to_owned(), text(open_shard(first % OPEN_SHARDS)));
    }
    Ok(item)
}
