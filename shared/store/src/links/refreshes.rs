//! Counts of token refreshes, shared by all instances: one item a minute, deleted by its time to live.

use jiff::Timestamp;
use reelay_domain::refresh_breaker::{self, RefreshCounts};
use reelay_runtime::AwsError;

use super::{LinkTable, TABLE};
use crate::item::{from_item, number, text};
use aws_sdk_dynamodb::types::AttributeValue;

/// Partition key of the counts. Zoom users' keys contain one `#`.
const PARTITION: &str = "refreshes##";

impl LinkTable {
    /// Adds counts to the current minute. Empty counts are not written.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn count_refreshes(
        &self,
        counts: &RefreshCounts,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("zoom_user", text(PARTITION))
            .key("entry", text(minute(now)))
            .expression_attribute_values(
                ":expiry",
                number((now + refresh_breaker::WINDOW + refresh_breaker::WINDOW).as_second()),
            );
        let mut added = Vec::new();
        for (name, count, accounts) in [
            ("invalid", counts.invalid, &counts.invalid_accounts),
            ("succeeded", counts.succeeded, &counts.succeeded_accounts),
        ] {
            if count > 0 {
                added.push(format!("{name} :{name}, {name}_accounts :{name}_accounts"));
                let accounts = accounts.iter().map(ToString::to_string).collect();
                update = update
                    .expression_attribute_values(format!(":{name}"), number(count))
                    .expression_attribute_values(
                        format!(":{name}_accounts"),
                        AttributeValue::Ns(accounts),
                    );
            }
        }
        if added.is_empty() {
            return Ok(());
        }
        update
            .update_expression(format!("SET expires_at = :expiry ADD {}", added.join(", ")))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("UpdateItem Links", &error))
    }

    /// Reads the counts of the last [`refresh_breaker::WINDOW`] consistently.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn recent_refreshes(&self, now: Timestamp) -> Result<RefreshCounts, AwsError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("zoom_user = :refreshes AND entry > :from")
            .expression_attribute_values(":refreshes", text(PARTITION))
            .expression_attribute_values(":from", text(minute(now - refresh_breaker::WINDOW)))
            .into_paginator()
            .items()
            .send();
        let mut sum = RefreshCounts::default();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| AwsError::from_sdk("Query Links", &error))?;
            sum.merge(from_item(TABLE, item)?);
        }
        Ok(sum)
    }
}

fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M").to_string()
}
