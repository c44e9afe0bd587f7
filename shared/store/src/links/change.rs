//! Changes of grant and links, each one transaction.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};
use jiff::Timestamp;
use reelay_domain::claim::Claim;
use reelay_domain::ids::{LinkId, ZoomUser};
use reelay_domain::link::{ChangeError, GrantChange, GrantState, GrantStatus, Link, LinkStatus};
use serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value;

use super::{
    Changed, Confirmation, Consent, Grant, GrantSnapshot, LinkError, LinkTable, NewTokens,
    OutboxEntry, beginning, due, erasure, keyed, link_entry, link_item,
};
use crate::sessions::{
    ClaimItem, ExchangeItem, ExchangeStage, Item, SessionTable, claim_key, exchange_expiry,
    exchange_item, with_id,
};
use reelay_runtime::AwsError;

/// How often a change is tried again that lost against another. Each loss means that somebody else's
/// change went through, so this many in a row are not expected.
pub(super) const MOST_ATTEMPTS: usize = 12;

impl LinkTable {
    /// Makes a change that touches nothing but grant and links.
    ///
    /// # Errors
    /// [`LinkError`]; then nothing was written.
    pub async fn change(
        &self,
        zoom_user: &ZoomUser,
        change: &GrantChange,
        now: Timestamp,
    ) -> Result<Changed, LinkError> {
        for _ in 0..MOST_ATTEMPTS {
            let holding = self.snapshot(zoom_user).await?;
            if let Some(changed) = self
                .attempt(zoom_user, &holding, change, None, Vec::new(), now)
                .await?
            {
                return Ok(changed);
            }
        }
        Err(LinkError::Contended)
    }

    /// Makes a change that follows from what Zoom said of the tokens of this version. `None` if they are
    /// others by now: then it was not said of these.
    ///
    /// # Errors
    /// [`LinkError`]; then nothing was written.
    pub async fn change_of_version(
        &self,
        zoom_user: &ZoomUser,
        version: u64,
        change: &GrantChange,
        now: Timestamp,
    ) -> Result<Option<Changed>, LinkError> {
        for _ in 0..MOST_ATTEMPTS {
            let holding = self.snapshot(zoom_user).await?;
            if holding
                .grant
                .as_ref()
                .is_none_or(|grant| grant.version != version)
            {
                return Ok(None);
            }
            if let Some(changed) = self
                .attempt(zoom_user, &holding, change, None, Vec::new(), now)
                .await?
            {
                return Ok(Some(changed));
            }
        }
        Err(LinkError::Contended)
    }

    /// Stores a consent: the grant's new tokens, a pending link with its claim, and the end of the
    /// interrupted exchange, all or nothing. A link that exists keeps its state: linking again must
    /// not take away what works.
    ///
    /// # Errors
    /// [`LinkError`]; then nothing was written.
    pub async fn store_consent(
        &self,
        sessions: &SessionTable,
        consent: &Consent<'_>,
        now: Timestamp,
    ) -> Result<Changed, LinkError> {
        let link = consent.link.as_ref().map(|pending| Link {
            id: LinkId::derive(consent.begun_by, consent.zoom_user),
            app_user: consent.begun_by.clone(),
            zoom_user: consent.zoom_user.clone(),
            display_name: consent.display_name.to_owned(),
            status: LinkStatus::Pending,
            created_at: now,
            activated_at: None,
            pending_until: Timestamp::from_second(pending.claim_item.expires_at).ok(),
            previous_zoom_users: Vec::new(),
        });
        for _ in 0..MOST_ATTEMPTS {
            let holding = self.snapshot(consent.zoom_user).await?;
            // Two callbacks may store in another order than Zoom answered them. And what this exchange
            // brought may have been taken in already, and refreshed since: its first pair is dead then.
            let superseded = holding.grant.as_ref().is_some_and(|grant| {
                grant.obtained_at > consent.tokens.obtained_at
                    || grant.exchange == consent.tokens.exchange
            });
            let change = GrantChange::Consent {
                link: link.clone(),
                superseded,
            };
            let linked = ExchangeItem {
                app_user: consent.begun_by.clone(),
                stage: ExchangeStage::Linked {
                    zoom_user: consent.zoom_user.clone(),
                },
                begun_at: now.as_millisecond(),
                expires_at: exchange_expiry(now),
            };
            let linked = exchange_item(&consent.tokens.exchange, &linked)?;
            let mut more = vec![put(sessions.name(), linked)?];
            if let Some(pending) = &consent.link {
                more.push(put(
                    sessions.name(),
                    with_id(claim_key(pending.claim), pending.claim_item)?,
                )?);
            }
            let tokens = Some(&consent.tokens).filter(|_| !superseded);
            if let Some(changed) = self
                .attempt(consent.zoom_user, &holding, &change, tokens, more, now)
                .await?
            {
                return Ok(changed);
            }
        }
        Err(LinkError::Contended)
    }

    /// Confirms a claim for its own user: the link becomes active, the connect token's `jti` is spent,
    /// the claim is marked so that a repetition gets the same answer.
    ///
    /// # Errors
    /// [`LinkError`]; then nothing was written.
    pub async fn confirm(
        &self,
        sessions: &SessionTable,
        claim: &Claim,
        mut item: ClaimItem,
        now: Timestamp,
    ) -> Result<Confirmation, LinkError> {
        let change = GrantChange::Confirm {
            app_user: item.app_user.clone(),
        };
        for _ in 0..MOST_ATTEMPTS {
            let holding = self.snapshot(&item.zoom_user).await?;
            let ours = |links: &[Link]| {
                links
                    .iter()
                    .find(|link| link.app_user == item.app_user)
                    .cloned()
            };
            if item.confirmed {
                // It may be another consent's by now, which waits for a claim of its own.
                return Ok(
                    match ours(&holding.links).filter(|link| link.status.is_visible()) {
                        Some(link) => Confirmation::Active(Box::new(link), holding.outbox),
                        None => Confirmation::Expired,
                    },
                );
            }
            let mut more = vec![mark_confirmed(sessions.name(), claim)?];
            if let Some(jti) = &item.jti {
                more.push(spend_jti(sessions.name(), &jti.key, jti.expires_at)?);
            }
            match self
                .attempt(&item.zoom_user, &holding, &change, None, more, now)
                .await
            {
                Ok(Some(changed)) => {
                    return Ok(match ours(&changed.after.links) {
                        Some(link) => Confirmation::Active(Box::new(link), changed.outbox),
                        None => Confirmation::Expired,
                    });
                }
                Ok(None) => {}
                Err(LinkError::Rejected(ChangeError::LinkNotFound)) => {
                    return Ok(Confirmation::Expired);
                }
                Err(error) => return Err(error),
            }
            // Somebody else changed something. It may have been this very claim: then the next round
            // finds it confirmed. If the jti is spent for another link, this one never will be active.
            match sessions.find_claim(claim, now).await? {
                Some(again) => item = again,
                None => return Ok(Confirmation::Expired),
            }
            if let Some(jti) = item.jti.as_ref().filter(|_| !item.confirmed)
                && sessions.is_jti_consumed(jti).await?
            {
                return Ok(Confirmation::Expired);
            }
        }
        Err(LinkError::Contended)
    }

    /// One attempt on what was just read. `None` if somebody else came first.
    async fn attempt(
        &self,
        zoom_user: &ZoomUser,
        holding: &GrantSnapshot,
        change: &GrantChange,
        tokens: Option<&NewTokens>,
        more: Vec<TransactWriteItem>,
        now: Timestamp,
    ) -> Result<Option<Changed>, LinkError> {
        let before = holding.grant_state();
        let after = before.apply(change, now)?;
        let generation = holding.next_generation(now);
        let told = before
            .notifications(&after)
            .iter()
            .map(|notification| notification.render(generation, now))
            .collect();
        let unsent = OutboxEntry::of(told, now);
        let unchanged = before == after && tokens.is_none() && more.is_empty();
        if !unchanged {
            let grant = holding.grant.as_ref();
            let mut items = Vec::new();
            if grant.is_some() || after.grant.is_some() {
                items.push(self.grant_item_after(
                    zoom_user,
                    grant,
                    after.grant,
                    tokens,
                    generation,
                    now,
                )?);
            }
            items.extend(self.link_items(zoom_user, &before, &after)?);
            if let Some(unsent) = &unsent {
                items.push(put(&self.table, unsent.item(zoom_user)?)?);
            }
            if let Some(receipt) = erasure::receipt(change, &before, &after, now) {
                items.push(put(&self.table, receipt)?);
            }
            items.extend(more);
            if !self.transact(items).await? {
                return Ok(None);
            }
        }
        let outbox = holding.outbox.iter().cloned().chain(unsent).collect();
        Ok(Some(Changed {
            before,
            after,
            outbox,
        }))
    }

    /// What becomes of the grant's item. Each way is conditioned on nothing having changed since it was
    /// read. A refresh under way keeps its lease, but for a consent: that ends the older tokens anyway.
    pub(super) fn grant_item_after(
        &self,
        zoom_user: &ZoomUser,
        before: Option<&Grant>,
        after: Option<GrantStatus>,
        tokens: Option<&NewTokens>,
        generation: u64,
        now: Timestamp,
    ) -> Result<TransactWriteItem, AwsError> {
        let nothing = || AwsError::unexpected_response("Links", "a grant begins with tokens");
        match (before, after) {
            (None, None) => Err(nothing()),
            (None, Some(status)) => {
                let new = tokens.ok_or_else(nothing)?;
                let grant = Grant {
                    status,
                    tokens: Some(new.tokens.clone()),
                    access_expires_at: new.access_expires_at,
                    scope: new.scope.clone(),
                    obtained_at: new.obtained_at,
                    exchange: new.exchange.clone(),
                    next_check_day: due::of_grant(status, true, now),
                    user_id: zoom_user.user_id.clone(),
                    version: beginning(now),
                    generation,
                    lease_owner: None,
                    lease_until: None,
                };
                let put = Put::builder()
                    .table_name(&self.table)
                    .set_item(Some(keyed(zoom_user, "grant", &grant)?))
                    .condition_expression("attribute_not_exists(entry)");
                Ok(TransactWriteItem::builder()
                    .put(built(put.build())?)
                    .build())
            }
            (Some(before), None) => self.delete_grant(zoom_user, before),
            (Some(before), Some(status)) => {
                let update =
                    self.grant_update(zoom_user, before, status, tokens, generation, now)?;
                Ok(TransactWriteItem::builder()
                    .update(built(update.build())?)
                    .build())
            }
        }
    }

    pub(super) fn delete_grant(
        &self,
        zoom_user: &ZoomUser,
        grant: &Grant,
    ) -> Result<TransactWriteItem, AwsError> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .key("zoom_user", AttributeValue::S(zoom_user.key()))
            .key("entry", AttributeValue::S("grant".to_owned()))
            .condition_expression("generation = :generation")
            .expression_attribute_values(":generation", number(grant.generation));
        Ok(TransactWriteItem::builder()
            .delete(built(delete.build())?)
            .build())
    }

    fn grant_update(
        &self,
        zoom_user: &ZoomUser,
        before: &Grant,
        status: GrantStatus,
        tokens: Option<&NewTokens>,
        generation: u64,
        now: Timestamp,
    ) -> Result<UpdateBuilder, AwsError> {
        let mut update = Update::builder()
            .table_name(&self.table)
            .key("zoom_user", AttributeValue::S(zoom_user.key()))
            .key("entry", AttributeValue::S("grant".to_owned()))
            .condition_expression("generation = :generation")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":status", attribute(&status)?)
            .expression_attribute_values(":generation", number(before.generation))
            .expression_attribute_values(":next", number(generation));
        let mut set = "SET #status = :status, generation = :next".to_owned();
        let mut remove = Vec::new();
        if let Some(new) = tokens {
            set += ", version = :version, tokens = :tokens, access_expires_at = :expires, \
                    obtained_at = :obtained, exchange = :exchange, #scope = :scope";
            remove.extend(["lease_owner", "lease_until"]);
            update = update
                .expression_attribute_names("#scope", "scope")
                .expression_attribute_values(":version", number(before.version + 1))
                .expression_attribute_values(":tokens", attribute(&new.tokens)?)
                .expression_attribute_values(
                    ":expires",
                    AttributeValue::N(new.access_expires_at.to_string()),
                )
                .expression_attribute_values(
                    ":obtained",
                    AttributeValue::N(new.obtained_at.to_string()),
                )
                .expression_attribute_values(":exchange", AttributeValue::S(new.exchange.clone()))
                .expression_attribute_values(":scope", attribute(&new.scope)?);
        } else if status == GrantStatus::ReauthorizationRequired {
            remove.extend(["tokens", "next_check_day"]);
        }
        if let Some(day) = due::of_grant(status, tokens.is_some(), now) {
            set += ", next_check_day = :day";
            update = update.expression_attribute_values(":day", attribute(&day)?);
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
        for link in after
            .links
            .iter()
            .filter(|link| !before.links.contains(link))
        {
            items.push(put(&self.table, link_item(link)?)?);
        }
        for gone in &before.links {
            if after
                .links
                .iter()
                .all(|link| link.app_user != gone.app_user)
            {
                let key = [
                    ("zoom_user", zoom_user.key()),
                    ("entry", link_entry(&gone.app_user)),
                ];
                items.push(delete(
                    &self.table,
                    key.each_ref().map(|(name, value)| (*name, value.as_str())),
                )?);
            }
        }
        Ok(items)
    }

    /// Writes all items or none. `false` if a condition did not hold, or another transaction was in
    /// the way: read again, and try again.
    pub(super) async fn transact(&self, items: Vec<TransactWriteItem>) -> Result<bool, AwsError> {
        match self
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .send()
            .await
        {
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
                    Ok(false)
                }
                _ => Err(AwsError::from_sdk("TransactWriteItems Links", &error)),
            },
        }
    }
}

fn mark_confirmed(table: &str, claim: &Claim) -> Result<TransactWriteItem, AwsError> {
    let update = Update::builder()
        .table_name(table)
        .key("id", AttributeValue::S(claim_key(claim)))
        .update_expression("SET confirmed = :yes")
        .condition_expression("confirmed = :no")
        .expression_attribute_values(":yes", AttributeValue::Bool(true))
        .expression_attribute_values(":no", AttributeValue::Bool(false));
    Ok(TransactWriteItem::builder()
        .update(built(update.build())?)
        .build())
}

fn spend_jti(table: &str, key: &str, expires_at: i64) -> Result<TransactWriteItem, AwsError> {
    let put = Put::builder()
        .table_name(table)
        .item("id", AttributeValue::S(key.to_owned()))
        .item("expires_at", AttributeValue::N(expires_at.to_string()))
        .condition_expression("attribute_not_exists(id)");
    Ok(TransactWriteItem::builder()
        .put(built(put.build())?)
        .build())
}

pub(super) fn put(table: &str, item: Item) -> Result<TransactWriteItem, AwsError> {
    let put = Put::builder().table_name(table).set_item(Some(item));
    Ok(TransactWriteItem::builder()
        .put(built(put.build())?)
        .build())
}

fn delete<const N: usize>(
    table: &str,
    key: [(&str, &str); N],
) -> Result<TransactWriteItem, AwsError> {
    let delete = key.into_iter().fold(
        Delete::builder().table_name(table),
        |delete, (name, value)| delete.key(name, AttributeValue::S(value.to_owned())),
    );
    Ok(TransactWriteItem::builder()
        .delete(built(delete.build())?)
        .build())
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn attribute<T: serde::Serialize>(value: &T) -> Result<AttributeValue, AwsError> {
    to_attribute_value(value)
        .map_err(|_| AwsError::unexpected_response("Links", "value can't be an attribute"))
}

fn built<T, E>(result: Result<T, E>) -> Result<T, AwsError> {
    result.map_err(|_| {
        AwsError::unexpected_response("TransactWriteItems Links", "item could not be built")
    })
}
