//! The items of a transaction.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};
use jiff::Timestamp;
use jiff::civil::Date;
use reelay_domain::claim::Claim;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{GrantState, GrantStatus};
use reelay_runtime::AwsError;

use super::{
    Grant, Lease, LinkTable, NewTokens, checks, entry_item, initial_count, link_entry, link_item,
};
use crate::item::{Item, number, text, to_attribute};
use crate::sessions::claim_key;

/// Pause after a conflict, in which the other write ends.
const CONFLICT_DELAY: Duration = Duration::from_millis(10);

/// Condition of every change.
const UNCHANGED: &str = "generation = :generation";

/// Condition of a change that follows from Zoom's response to the holder of a lease.
const LEASED: &str = "generation = :generation AND lease_owner = :owner";

/// Parts of a transaction that only some changes have.
#[derive(Default)]
pub(super) struct Extras<'a> {
    /// The pair that replaces the grant's.
    pub(super) tokens: Option<&'a NewTokens>,
    /// The lease that must still be held.
    pub(super) lease: Option<&'a Lease>,
    /// Writes to other items.
    pub(super) extra_writes: Vec<TransactWriteItem>,
}

impl LinkTable {
    /// The write of the grant's item, conditioned on its generation and, for what follows from Zoom's response,
    /// on the lease. New tokens end the lease, because they replace the tokens that it protects.
    pub(super) fn grant_item_after(
        &self,
        zoom_user: &ZoomUser,
        before: Option<&Grant>,
        after: &GrantState,
        extras: &Extras<'_>,
        generation: u64,
        now: Timestamp,
    ) -> Result<TransactWriteItem, AwsError> {
        let Extras { tokens, lease, .. } = *extras;
        let no_tokens = || AwsError::unexpected_response("Links", "a new grant has no tokens");
        let next_check = checks::next_check_day(after, tokens.is_some(), now);
        match (before, after.grant) {
            (None, None) => Err(no_tokens()),
            (None, Some(status)) => {
                let new = tokens.ok_or_else(no_tokens)?;
                let grant = Grant {
                    status,
                    tokens: Some(new.tokens.clone()),
                    access_expires_at: new.access_expires_at,
                    scope: new.scope.clone(),
                    client_id: new.client_id.clone(),
                    failing_since: None,
                    obtained_at: new.obtained_at,
                    exchange: new.exchange.clone(),
                    next_check_day: next_check,
                    user_id: zoom_user.user_id.clone(),
                    version: initial_count(now),
                    generation,
                    lease_owner: None,
                    lease_until: None,
                };
                let put = Put::builder()
                    .table_name(&self.table)
                    .set_item(Some(entry_item(zoom_user, "grant", &grant)?))
                    .condition_expression("attribute_not_exists(entry)");
                Ok(TransactWriteItem::builder().put(built(put.build())?).build())
            }
            (Some(before), None) => self.delete_grant(zoom_user, before, lease),
            (Some(before), Some(status)) => {
                let mut update =
                    self.grant_update(zoom_user, before, status, tokens, next_check, generation)?;
                if let Some(lease) = lease {
                    update = update
                        .condition_expression(LEASED)
                        .expression_attribute_values(":owner", text(lease.owner.clone()));
                }
                Ok(TransactWriteItem::builder().update(built(update.build())?).build())
            }
        }
    }

    pub(super) fn delete_grant(
        &self,
        zoom_user: &ZoomUser,
        grant: &Grant,
        lease: Option<&Lease>,
    ) -> Result<TransactWriteItem, AwsError> {
        let mut delete = Delete::builder()
            .table_name(&self.table)
            .key("zoom_user", text(zoom_user.key()))
            .key("entry", text("grant"))
            .condition_expression(UNCHANGED)
            .expression_attribute_values(":generation", number(grant.generation));
        if let Some(lease) = lease {
            delete = delete
                .condition_expression(LEASED)
                .expression_attribute_values(":owner", text(lease.owner.clone()));
        }
        Ok(TransactWriteItem::builder().delete(built(delete.build())?).build())
    }

    fn grant_update(
        &self,
        zoom_user: &ZoomUser,
        before: &Grant,
        status: GrantStatus,
        tokens: Option<&NewTokens>,
        next_check: Option<Date>,
        generation: u64,
    ) -> Result<UpdateBuilder, AwsError> {
        let mut update = Update::builder()
            .table_name(&self.table)
            .key("zoom_user", text(zoom_user.key()))
            .key("entry", text("grant"))
            .condition_expression(UNCHANGED)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":status", to_attribute(&status)?)
            .expression_attribute_values(":generation", number(before.generation))
            .expression_attribute_values(":next", number(generation));
        let mut set = "SET #status = :status, generation = :next".to_owned();
        let mut remove = Vec::new();
        let is_ending = before.status != status
            && matches!(status, GrantStatus::ReauthorizationRequired | GrantStatus::Revoked);
        if let Some(new) = tokens {
            set += ", version = :version, tokens = :tokens, access_expires_at = :expires, \
                    obtained_at = :obtained, exchange = :exchange, #scope = :scope, \
                    client_id = :client";
            update = update
                .expression_attribute_names("#scope", "scope")
                .expression_attribute_values(":version", number(before.version + 1))
                .expression_attribute_values(":tokens", to_attribute(&new.tokens)?)
                .expression_attribute_values(":expires", number(new.access_expires_at))
                .expression_attribute_values(":obtained", number(new.obtained_at))
                .expression_attribute_values(":exchange", text(new.exchange.clone()))
                .expression_attribute_values(":client", text(new.client_id.clone()))
                .expression_attribute_values(":scope", to_attribute(&new.scope)?);
        } else if is_ending {
            remove.push("tokens");
        }
        if tokens.is_some() || is_ending {
            remove.extend(["lease_owner", "lease_until", "failing_since"]);
        }
        if let Some(day) = next_check {
            set += ", next_check_shard = :shard, next_check_day = :day";
            update = update
                .expression_attribute_values(":shard", checks::shard(zoom_user))
                .expression_attribute_values(":day", to_attribute(&day)?);
        } else if is_ending {
            remove.push("next_check_day");
        }
        if !remove.is_empty() {
            set = format!("{set} REMOVE {}", remove.join(", "));
        }
        Ok(update.update_expression(set))
    }

    pub(super) fn link_items(
        &self,
        zoom_user: &ZoomUser,
        before: &GrantState,
        after: &GrantState,
    ) -> Result<Vec<TransactWriteItem>, AwsError> {
        let mut items = Vec::new();
        for link in after.links.iter().filter(|link| !before.links.contains(link)) {
            items.push(put(&self.table, link_item(link)?)?);
        }
        for gone in &before.links {
            if after.links.iter().all(|link| link.app_user != gone.app_user) {
                items.push(delete(&self.table, zoom_user, &link_entry(&gone.app_user))?);
            }
        }
        Ok(items)
    }

    /// Commits a transaction. `false` if a condition failed or a concurrent write conflicted; then read the
    /// items again and retry.
    pub(crate) async fn transact(&self, items: Vec<TransactWriteItem>) -> Result<bool, AwsError> {
        match self.client.transact_write_items().set_transact_items(Some(items)).send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled))
                    if cancelled
                        .cancellation_reasons()
                        .iter()
                        .filter_map(|reason| reason.code())
                        .all(|code| {
                            matches!(
                                code,
                                "None" | "ConditionalCheckFailed" | "TransactionConflict"
                            )
                        }) =>
                {
                    tokio::time::sleep(CONFLICT_DELAY).await;
                    Ok(false)
                }
                _ => Err(AwsError::from_sdk("TransactWriteItems Links", &error)),
            },
        }
    }
}

pub(super) fn mark_confirmed(table: &str, claim: &Claim) -> Result<TransactWriteItem, AwsError> {
    let update = Update::builder()
        .table_name(table)
        .key("id", text(claim_key(claim)))
        .update_expression("SET confirmed = :yes")
        .condition_expression("confirmed = :no")
        .expression_attribute_values(":yes", AttributeValue::Bool(true))
        .expression_attribute_values(":no", AttributeValue::Bool(false));
    Ok(TransactWriteItem::builder().update(built(update.build())?).build())
}

pub(super) fn consume_jti(
    table: &str,
    key: &str,
    expires_at: i64,
) -> Result<TransactWriteItem, AwsError> {
    let put = Put::builder()
        .table_name(table)
        .item("id", text(key))
        .item("expires_at", number(expires_at))
        .condition_expression("attribute_not_exists(id)");
    Ok(TransactWriteItem::builder().put(built(put.build())?).build())
}

pub(super) fn put(table: &str, item: Item) -> Result<TransactWriteItem, AwsError> {
    let put = Put::builder().table_name(table).set_item(Some(item));
    Ok(TransactWriteItem::builder().put(built(put.build())?).build())
}

pub(super) fn delete(
    table: &str,
    zoom_user: &ZoomUser,
    entry: &str,
) -> Result<TransactWriteItem, AwsError> {
    let delete = Delete::builder()
        .table_name(table)
        .key("zoom_user", text(zoom_user.key()))
        .key("entry", text(entry));
    Ok(TransactWriteItem::builder().delete(built(delete.build())?).build())
}

pub(super) fn built<T, E>(result: Result<T, E>) -> Result<T, AwsError> {
    result.map_err(|_| {
        AwsError::unexpected_response("TransactWriteItems Links", "item could not be built")
    })
}
