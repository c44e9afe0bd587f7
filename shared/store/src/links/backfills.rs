//! Backfills that the app requested: one item each, which counts the links whose Zoom users have been read.
//!
//! The item is written before the jobs are sent, and deleted after `backfill.completed` was sent. Each link is
//! counted once, by a condition on the set of links that are left.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::{AppUserId, LinkId};
use reelay_domain::listing::{BackfillRequest, Found};
use reelay_domain::notification::BackfillCompleted;
use reelay_runtime::AwsError;
use serde::{Deserialize, Serialize};

use super::{LinkTable, TABLE};
use crate::item::{Item, from_item, number, text, to_item};

/// Sort key of the item.
const ENTRY: &str = "backfill";

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

/// Distinct from the key of any Zoom user, which contains one `#`.
fn partition(backfill_id: &str) -> String {
    format!("backfill##{backfill_id}")
}

impl LinkTable {
    /// Saves a backfill of these links, of which there must be one at least. Call it before the jobs are sent.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn begin_backfill(
        &self,
        backfill: &RequestedBackfill,
        links: impl Iterator<Item = &LinkId>,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let key = [("zoom_user", partition(&backfill.backfill_id)), ("entry", ENTRY.to_owned())];
        let mut item = to_item(TABLE, key, backfill)?;
        let expires_at = now.saturating_add(TTL).unwrap_or(now).as_second();
        item.extend([
            (LEFT.to_owned(), AttributeValue::Ss(links.map(ToString::to_string).collect())),
            ("expires_at".to_owned(), number(expires_at)),
        ]);
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map(|_| ()).map_err(|error| AwsError::from_sdk("PutItem Links", &error))
    }

    /// Records that the Zoom user of one link has been read. Returns the result once no link is left, each time,
    /// until [`Self::delete_backfill`].
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
            .key("zoom_user", text(partition(&request.backfill_id)))
            .key("entry", text(ENTRY))
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
            // It was counted before. The invocation may have ended before it published the result.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                self.item(partition(&request.backfill_id), ENTRY.to_owned()).await?
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

    /// Deletes a backfill whose result has been sent.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn delete_backfill(&self, backfill_id: &str) -> Result<(), AwsError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key("zoom_user", text(partition(backfill_id)))
            .key("entry", text(ENTRY))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("DeleteItem Links", &error))
    }
}
