//! Announced exchanges: keys of code exchanges whose tokens no grant has yet.
//!
//! An exchange is announced before the request to Zoom, and withdrawn in the transaction that gives its tokens to a
//! grant. A consistent query therefore finds every exchange that may have invalidated older tokens. The Sessions
//! table has no sort key and could offer only an index. An announcement decides nothing: the exchange's item does.

use aws_sdk_dynamodb::types::{Delete, TransactWriteItem};
use reelay_runtime::AwsError;
use sha2::{Digest as _, Sha256};

use super::LinkTable;
use super::write::built;
use crate::item::{number, text, text_of};

/// Number of partitions. Each takes some 1,000 writes a second.
const SHARDS: u8 = 4;

/// Distinct from the key of any Zoom user, which contains one `#`.
fn shard(number: u8) -> String {
    format!("exchanges##{number}")
}

fn shard_of(exchange: &str) -> String {
    let [first, ..]: [u8; 32] = Sha256::digest(exchange).into();
    shard(first % SHARDS)
}

impl LinkTable {
    /// Announces an exchange until `expires_at`, epoch seconds.
    ///
    /// # Errors
    /// If the DynamoDB call fails. Then no request to Zoom must follow.
    pub async fn announce_exchange(&self, key: &str, expires_at: i64) -> Result<(), AwsError> {
        self.client
            .put_item()
            .table_name(&self.table)
            .item("zoom_user", text(shard_of(key)))
            .item("entry", text(key))
            .item("expires_at", number(expires_at))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("PutItem Links", &error))
    }

    /// Withdraws an exchange that has no tokens, or whose tokens are worthless.
    pub(crate) async fn withdraw_exchange(&self, key: &str) -> Result<(), AwsError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key("zoom_user", text(shard_of(key)))
            .key("entry", text(key))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("DeleteItem Links", &error))
    }

    /// The write that withdraws an exchange in the transaction that gives its tokens to a grant.
    pub(super) fn withdrawn_exchange(&self, key: &str) -> Result<TransactWriteItem, AwsError> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .key("zoom_user", text(shard_of(key)))
            .key("entry", text(key));
        Ok(TransactWriteItem::builder().delete(built(delete.build())?).build())
    }

    /// Reads the keys of all announced exchanges consistently.
    pub(crate) async fn announced_exchanges(&self) -> Result<Vec<String>, AwsError> {
        let mut keys = Vec::new();
        for number in 0..SHARDS {
            let mut items = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("zoom_user = :shard")
                .expression_attribute_values(":shard", text(shard(number)))
                .into_paginator()
                .items()
                .send();
            while let Some(item) = items.next().await {
                let item = item.map_err(|error| AwsError::from_sdk("Query Links", &error))?;
                keys.extend(text_of(&item, "entry").map(str::to_owned));
            }
        }
        Ok(keys)
    }
}
