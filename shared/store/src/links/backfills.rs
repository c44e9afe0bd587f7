//! Backfills that the app requested: one item each, which counts the links whose Zoom users have been read.
//!
//! The item is written before the jobs are sent, and deleted in the transaction that writes `backfill.completed`, so
//! that none is written after an erasure. Each link is counted once, by a condition on the set of links that are left.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, ReturnValue, TransactWriteItem,
};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::{AppUserId, LinkId, ZoomUser};
use reelay_domain::listing::{BackfillRequest, Found};
use reelay_domain::notification::BackfillCompleted;
use reelay_runtime::AwsError;
use serde::{Deserialize, Serialize};

use super::write::built;
use super::{LinkTable, TABLE, pointers};
use crate::item::{Item, from_item, number, text, text_of, to_item};

/// Attribute with the ids of the links that are left, a set. DynamoDB removes a set with its last element.
const LEFT: &str = "links_left";

/// Time after which DynamoDB deletes an item, also if a job of it is in the dead-letter queue.
const TTL: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A backfill that the app requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedBackfill {
    /// Id of the request.
    pub backfill_id: String,
    /// The app user who requested it.
    pub app_user_id: AppUserId,
    /// First day (UTC), inclusive.
    pub from: Date,
    /// Last day (UTC), inclusive.
    pub to: Date,
}

/// The counts in the item.
#[derive(Deserialize)]
struct Counts {
    #[serde(flatten)]
    backfill: RequestedBackfill,
    #[serde(flatten)]
    found: Found,
    incomplete: u64,
    completed_at: Timestamp,
}

/// An app user's backfills, each under its id. Distinct from the key of any Zoom user, which contains one `#`.
fn partition(app_user: &AppUserId) -> String {
    format!("backfill##{app_user}")
}

impl LinkTable {
    /// Saves a backfill of at least one link. Call it before the jobs are sent.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn begin_backfill(
        &self,
        backfill: &RequestedBackfill,
        links: impl Iterator<Item = &LinkId>,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let key = [
            ("zoom_user", partition(&backfill.app_user_id)),
            ("entry", backfill.backfill_id.clone()),
        ];
        let mut item = to_item(TABLE, key, backfill)?;
        // A user who moved accounts twice may have a link under two keys.
        let links: BTreeSet<String> = links.map(ToString::to_string).collect();
        let expires_at = now.saturating_add(TTL).unwrap_or(now).as_second();
        item.extend([
            (LEFT.to_owned(), AttributeValue::Ss(links.into_iter().collect())),
            ("expires_at".to_owned(), number(expires_at)),
        ]);
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map(|_| ()).map_err(|error| AwsError::from_sdk("PutItem Links", &error))
    }

    /// Records that the Zoom user of one link has been read. Once no link is left, returns the result, and again on
    /// each repetition until the item is deleted.
    ///
    /// # Errors
    /// If a DynamoDB call fails. Safe to repeat.
    pub async fn finish_backfill(
        &self,
        request: &BackfillRequest,
        found: Found,
        is_complete: bool,
        now: Timestamp,
    ) -> Result<Option<BackfillCompleted>, AwsError> {
        let link = request.link_id.to_string();
        let updated = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("zoom_user", text(partition(&request.app_user_id)))
            .key("entry", text(request.backfill_id.clone()))
            .update_expression(format!(
                "SET completed_at = :now DELETE {LEFT} :links \
                 ADD recordings :recordings, files :files, incomplete :incomplete"
            ))
            .condition_expression(format!("contains({LEFT}, :link)"))
            .expression_attribute_values(":now", text(now.to_string()))
            .expression_attribute_values(":links", AttributeValue::Ss(vec![link.clone()]))
            .expression_attribute_values(":link", text(link))
            .expression_attribute_values(":recordings", number(found.recordings))
            .expression_attribute_values(":files", number(found.files))
            .expression_attribute_values(":incomplete", number(u8::from(!is_complete)))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        let item = match updated {
            Ok(updated) => updated.attributes,
            // An earlier delivery counted it, and may have ended before it published the result.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                self.item(partition(&request.app_user_id), request.backfill_id.clone()).await?
            }
            Err(error) => return Err(AwsError::from_sdk("UpdateItem Links", &error)),
        };
        let is_finished = |item: &Item| {
            let left = item.get(LEFT).and_then(|left| left.as_ss().ok());
            left.is_none_or(Vec::is_empty)
        };
        let Some(item) = item.filter(is_finished) else {
            return Ok(None);
        };
        let Counts { backfill, found, incomplete, completed_at } = from_item(TABLE, item)?;
        Ok(Some(BackfillCompleted {
            backfill_id: backfill.backfill_id,
            app_user: backfill.app_user_id,
            from: backfill.from,
            to: backfill.to,
            found,
            is_complete: incomplete == 0,
            completed_at,
        }))
    }

    /// The writes that go with `backfill.completed`: they delete the item, and fail without it or without the app user's
    /// pointer to this Zoom user, which an erasure removes.
    ///
    /// # Errors
    /// If the SDK rejects a write.
    pub fn completion(
        &self,
        completed: &BackfillCompleted,
        zoom_user: &ZoomUser,
    ) -> Result<Vec<TransactWriteItem>, AwsError> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .key("zoom_user", text(partition(&completed.app_user)))
            .key("entry", text(completed.backfill_id.clone()))
            .condition_expression("attribute_exists(entry)");
        let check = ConditionCheck::builder()
            .table_name(&self.table)
            .key("zoom_user", text(pointers::partition(&completed.app_user)))
            .key("entry", text(zoom_user.key()))
            .condition_expression("attribute_exists(entry)");
        Ok(vec![
            TransactWriteItem::builder().delete(built(delete.build())?).build(),
            TransactWriteItem::builder().condition_check(built(check.build())?).build(),
        ])
    }

    /// Deletes an app user's backfills. Their running jobs then publish nothing.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn delete_backfills(&self, app_user: &AppUserId) -> Result<(), AwsError> {
        let mut items = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("zoom_user = :backfills")
            .expression_attribute_values(":backfills", text(partition(app_user)))
            .into_paginator()
            .items()
            .send();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| AwsError::from_sdk("Query Links", &error))?;
            self.client
                .delete_item()
                .table_name(&self.table)
                .key("zoom_user", text(partition(app_user)))
                .key("entry", text(text_of(&item, "entry").unwrap_or_default()))
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("DeleteItem Links", &error))?;
        }
        Ok(())
    }
}
