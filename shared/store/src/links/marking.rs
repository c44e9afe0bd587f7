//! Marked grants: Zoom rejected their tokens, and the pair is kept in case that was a mistake.

use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{GrantState, Marking};
use reelay_runtime::AwsError;
use serde::{Deserialize, Serialize};

use super::write::{delete, put};
use super::{GrantSnapshot, LinkTable, TABLE, entry_item};
use crate::item::{from_item, number, text, zoom_user_of};
use crate::vault::EncryptedTokens;
use aws_sdk_dynamodb::types::TransactWriteItem;

/// Time for which the pair of a marked grant is kept.
const MARKING_TTL: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Sort key of the item.
pub(super) const ENTRY: &str = "marking";

/// The item of a marking. A consent, disconnect or deauthorization deletes it; DynamoDB does so at its expiry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkingItem {
    /// The change.
    #[serde(flatten)]
    pub marking: Marking,
    /// Version of the rejected pair.
    pub version: u64,
    /// Client that the pair was issued to.
    pub client_id: String,
    /// The pair, encrypted for [`crate::vault::TokenOwner::Grant`].
    pub tokens: EncryptedTokens,
    /// Expiry, epoch seconds.
    pub expires_at: i64,
}

impl MarkingItem {
    /// Whether the pair may no longer be used. DynamoDB deletes expired items late.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now.as_second()
    }
}

impl LinkTable {
    /// The write that follows from a change of the marking.
    pub(super) fn marking_item(
        &self,
        zoom_user: &ZoomUser,
        snapshot: &GrantSnapshot,
        after: &GrantState,
    ) -> Result<Option<TransactWriteItem>, AwsError> {
        let before = snapshot.marking.as_ref().map(|item| &item.marking);
        let Some(marking) = after.marking.as_ref().filter(|after| before != Some(after)) else {
            let is_undone = before.is_some() && after.marking.is_none();
            return is_undone.then(|| delete(&self.table, zoom_user, ENTRY)).transpose();
        };
        let Some((grant, tokens)) =
            snapshot.grant.as_ref().and_then(|grant| Some((grant, grant.tokens.clone()?)))
        else {
            return Ok(None);
        };
        let item = MarkingItem {
            marking: marking.clone(),
            version: grant.version,
            client_id: grant.client_id.clone(),
            tokens,
            expires_at: (marking.marked_at + MARKING_TTL).as_second(),
        };
        put(&self.table, entry_item(zoom_user, ENTRY, &item)?).map(Some)
    }

    /// Reads the unexpired markings of all grants since a time, by a consistent scan of the table.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn marked_since(
        &self,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<(ZoomUser, MarkingItem)>, AwsError> {
        let mut pages = self
            .client
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .filter_expression("entry = :marking AND expires_at > :now")
            .expression_attribute_values(":marking", text(ENTRY))
            .expression_attribute_values(":now", number(now.as_second()))
            .into_paginator()
            .items()
            .send();
        let mut found = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| AwsError::from_sdk("Scan Links", &error))?;
            let zoom_user = zoom_user_of(TABLE, &item)?;
            let item: MarkingItem = from_item(TABLE, item)?;
            if item.marking.marked_at >= since {
                found.push((zoom_user, item));
            }
        }
        Ok(found)
    }
}
