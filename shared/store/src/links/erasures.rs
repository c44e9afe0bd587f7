//! Scheduled erasures: an item `erasure` under the key of each Zoom user whose recordings will be erased.
//!
//! The transaction that removes the last visible link writes it, and the transaction that makes a link visible
//! again deletes it. Each recording is erased in a transaction that checks its stamp, so an erasure ends the
//! moment the Zoom user is linked again. Receipts say how much was erased.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{ConditionCheck, Delete, Put, TransactWriteItem, Update};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::erasure::{ErasureTotals, KeepAfterRemoval, Removal, RemovalReason};
use reelay_domain::ids::{AppUserId, ZoomUser};
use reelay_domain::link::{GrantChange, GrantState, Link};
use reelay_domain::time::utc_date;
use reelay_runtime::environment::{ConfigError, Variables};
use reelay_runtime::{AwsError, random};
use serde::{Deserialize, Serialize};

use super::change::MAX_ATTEMPTS;
use super::pointers::partition;
use super::removed::{removed_entry, visible_only_in};
use super::write::{built, delete, put};
use super::{LinkError, LinkTable, MOVED, TABLE, entry_item, link_entry, receipt, reconciliations};
use crate::item::{Item, from_item, number, text, text_of};

/// Sort key of [`Erasure`].
pub(super) const ERASURE: &str = "erasure";

/// A scheduled erasure of everything that is stored under one Zoom user's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Random text that identifies it.
    stamp: String,
    /// Why the last link was removed.
    pub reason: RemovalReason,
    /// Time from which recordings are erased, epoch milliseconds.
    due_at: i64,
    next_check_day: Date,
}

impl Erasure {
    fn new(reason: RemovalReason, due_at: Timestamp) -> Self {
        Self {
            stamp: random::hex_id(),
            reason,
            due_at: due_at.as_millisecond(),
            next_check_day: utc_date(due_at),
        }
    }

    /// Whether it is due.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.due_at <= now.as_millisecond()
    }

    /// Whether an operator requested it.
    pub fn is_requested(&self) -> bool {
        self.reason == RemovalReason::Erased
    }
}

/// Reads `ERASE_AFTER_DEAUTHORIZATION_DAYS` and `ERASE_AFTER_UNLINK_DAYS`, which are set for the functions that
/// remove links.
pub(super) fn keep_after_removal(variables: &Variables) -> Result<KeepAfterRemoval, ConfigError> {
    let days = |name: &str| {
        let days = variables.optional(name).map(|_| variables.parsed::<u16>(name)).transpose()?;
        Ok(days.map(|days| SignedDuration::from_hours(24 * i64::from(days))))
    };
    Ok(KeepAfterRemoval {
        deauthorization: days("ERASE_AFTER_DEAUTHORIZATION_DAYS")?,
        unlink: days("ERASE_AFTER_UNLINK_DAYS")?,
    })
}

impl LinkTable {
    /// How the links that a change removes end. The last visible one schedules an erasure.
    pub(super) fn removal(
        &self,
        change: &GrantChange,
        before: &GrantState,
        after: &GrantState,
        now: Timestamp,
    ) -> Removal {
        let reason = change.removal_reason();
        let is_linked = after.links.iter().any(|link| link.status.is_visible());
        let is_last = !is_linked && visible_only_in(before, after).next().is_some();
        let erase_at = reason.filter(|_| is_last).and_then(|it| self.keep.erase_at(it, now));
        Removal { reason, erase_at }
    }

    /// The writes of a transition that schedule an erasure with the last visible link, or cancel it for a link that
    /// becomes visible, even if the snapshot showed no erasure.
    pub(super) fn erasure_items(
        &self,
        before: &GrantState,
        after: &GrantState,
        removal: &Removal,
    ) -> Result<Vec<TransactWriteItem>, AwsError> {
        let keys = |links: &mut dyn Iterator<Item = &Link>| -> BTreeSet<_> {
            links.flat_map(|link| link.zoom_users().cloned()).collect()
        };
        let mut items = Vec::new();
        if let (Some(reason), Some(erase_at)) = (removal.reason, removal.erase_at) {
            for key in keys(&mut visible_only_in(before, after)) {
                let erasure = Erasure::new(reason, erase_at);
                items.push(put(&self.table, entry_item(&key, ERASURE, &erasure)?)?);
            }
        }
        for key in keys(&mut visible_only_in(after, before)) {
            items.push(delete(&self.table, &key, ERASURE)?);
        }
        Ok(items)
    }

    /// Begins the erasure of a Zoom user's key for an operator, or continues it. `None` if the key has a
    /// visible link.
    ///
    /// # Errors
    /// [`LinkError`]. Nothing was written.
    pub async fn begin_erasure(
        &self,
        zoom_user: &ZoomUser,
        now: Timestamp,
    ) -> Result<Option<Erasure>, LinkError> {
        for _ in 0..MAX_ATTEMPTS {
            let snapshot = self.snapshot(zoom_user).await?;
            if snapshot.app_users().next().is_some() {
                return Ok(None);
            }
            if let Some(erasure) = snapshot.erasure.filter(Erasure::is_requested) {
                return Ok(Some(erasure));
            }
            // A new generation, so that a link whose confirmation has read the old one does not become visible
            // without cancelling the erasure.
            let grant = match &snapshot.grant {
                Some(grant) => {
                    let update = Update::builder()
                        .table_name(&self.table)
                        .key("zoom_user", text(zoom_user.key()))
                        .key("entry", text("grant"))
                        .update_expression("SET generation = :next")
                        .condition_expression("generation = :generation")
                        .expression_attribute_values(":generation", number(grant.generation))
                        .expression_attribute_values(":next", number(grant.generation + 1));
                    TransactWriteItem::builder().update(built(update.build())?).build()
                }
                None => self.check(zoom_user, "grant", "attribute_not_exists(entry)", None)?,
            };
            let erasure = Erasure::new(RemovalReason::Erased, now);
            let item = put(&self.table, entry_item(zoom_user, ERASURE, &erasure)?)?;
            if self.transact(vec![grant, item]).await? {
                return Ok(Some(erasure));
            }
        }
        Err(LinkError::Contended)
    }

    /// Reads the erasure of a Zoom user's key consistently.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn erasure(&self, zoom_user: &ZoomUser) -> Result<Option<Erasure>, AwsError> {
        let item = self.item(zoom_user.key(), ERASURE.to_owned()).await?;
        item.map(|item| from_item(TABLE, item)).transpose()
    }

    /// Returns whether the erasure is still scheduled: no link has become visible since.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn is_erasing(
        &self,
        zoom_user: &ZoomUser,
        erasure: &Erasure,
    ) -> Result<bool, AwsError> {
        Ok(self.erasure(zoom_user).await?.is_some_and(|known| known.stamp == erasure.stamp))
    }

    /// Defers an erasure, unless it was cancelled. A pass of it that is running ends, because the stamp changes.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub(crate) async fn defer_erasure(
        &self,
        zoom_user: &ZoomUser,
        erasure: &Erasure,
        until: Timestamp,
    ) -> Result<(), AwsError> {
        let deferred = Erasure::new(erasure.reason, until);
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(entry_item(zoom_user, ERASURE, &deferred)?))
            .condition_expression("stamp = :stamp")
            .expression_attribute_values(":stamp", text(&erasure.stamp));
        let put = TransactWriteItem::builder().put(built(put.build())?).build();
        self.transact(vec![put]).await.map(|_| ())
    }

    /// The condition that an erasure is still scheduled, for the transaction that erases a recording.
    pub(crate) fn erasure_check(
        &self,
        zoom_user: &ZoomUser,
        erasure: &Erasure,
    ) -> Result<TransactWriteItem, AwsError> {
        self.check(zoom_user, ERASURE, "stamp = :stamp", Some(&erasure.stamp))
    }

    /// Removes an erasure whose recordings a link covers.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub(crate) async fn cancel_erasure(
        &self,
        zoom_user: &ZoomUser,
        erasure: &Erasure,
    ) -> Result<(), AwsError> {
        self.transact(vec![self.delete_erasure(zoom_user, erasure)?]).await.map(|_| ())
    }

    fn delete_erasure(
        &self,
        zoom_user: &ZoomUser,
        erasure: &Erasure,
    ) -> Result<TransactWriteItem, AwsError> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .key("zoom_user", text(zoom_user.key()))
            .key("entry", text(ERASURE))
            .condition_expression("stamp = :stamp")
            .expression_attribute_values(":stamp", text(&erasure.stamp));
        Ok(TransactWriteItem::builder().delete(built(delete.build())?).build())
    }

    /// Removes the items that lead to erased recordings: pointers and removed links, and the backfills of app users
    /// without a pointer. Returns the number of removed links; `None` if the erasure has to wait for a pending link
    /// or for the same Zoom user's other keys, or was cancelled.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub(crate) async fn forget_removed(
        &self,
        zoom_user: &ZoomUser,
        erasure: &Erasure,
    ) -> Result<Option<usize>, AwsError> {
        let snapshot = self.snapshot(zoom_user).await?;
        if !snapshot.links.is_empty() {
            return Ok(None);
        }
        for removed in &snapshot.removed {
            for key in &removed.previous_zoom_users {
                if self.erasure(key).await?.is_none() {
                    continue;
                }
                // After a move back, each of two keys is the earlier one of the other. Then one of them goes first.
                let other = self.snapshot(key).await?;
                let mut others = other.removed.iter();
                let is_mutual = others.any(|it| it.previous_zoom_users.contains(zoom_user));
                if !is_mutual || zoom_user.key() > key.key() {
                    return Ok(None);
                }
            }
        }
        for removed in &snapshot.removed {
            let app_user = &removed.app_user_id;
            for key in std::iter::once(zoom_user).chain(&removed.previous_zoom_users) {
                let check = self.erasure_check(zoom_user, erasure)?;
                let is_erased = key == zoom_user || self.covering_links(key).await?.is_empty();
                if is_erased && !self.remove_pointer(app_user, key, vec![check]).await? {
                    return Ok(None);
                }
            }
            if self.pointers(app_user).await?.is_empty() {
                self.delete_backfills(app_user).await?;
            }
            let record = delete(&self.table, zoom_user, &removed_entry(app_user))?;
            let check = self.erasure_check(zoom_user, erasure)?;
            if !self.transact(vec![record, check]).await? {
                return Ok(None);
            }
        }
        Ok(Some(snapshot.removed.len()))
    }

    /// Completes an erasure whose pointers are removed: deletes the reconciliation's report, the item `moved` and the
    /// erasure itself, and writes a receipt. `false` if a link is pending or the erasure was cancelled.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub(crate) async fn complete_erasure(
        &self,
        zoom_user: &ZoomUser,
        erasure: &Erasure,
        totals: &ErasureTotals,
        now: Timestamp,
    ) -> Result<bool, AwsError> {
        let snapshot = self.snapshot(zoom_user).await?;
        if !snapshot.links.is_empty() || !snapshot.removed.is_empty() {
            return Ok(false);
        }
        let report = Delete::builder()
            .table_name(&self.table)
            .key("zoom_user", text(reconciliations::partition(zoom_user)))
            .key("entry", text(reconciliations::ENTRY));
        let report = TransactWriteItem::builder().delete(built(report.build())?).build();
        let mut items = vec![self.delete_erasure(zoom_user, erasure)?, report];
        if snapshot.moved_to.is_some() {
            items.push(delete(&self.table, zoom_user, MOVED)?);
        }
        if let Some(receipt) = receipt::of_erasure(erasure.reason, totals, now) {
            items.push(put(&self.table, receipt)?);
        }
        self.transact(items).await
    }

    /// Removes an app user's pointer to a Zoom user, unless a link exists or the pointer was written since it was
    /// read.
    async fn remove_pointer(
        &self,
        app_user: &AppUserId,
        zoom_user: &ZoomUser,
        mut checks: Vec<TransactWriteItem>,
    ) -> Result<bool, AwsError> {
        let Some(pointer) = self.item(partition(app_user), zoom_user.key()).await? else {
            return Ok(true);
        };
        let stamp = text_of(&pointer, "stamp").unwrap_or_default();
        let delete = Delete::builder()
            .table_name(&self.table)
            .key("zoom_user", text(partition(app_user)))
            .key("entry", text(zoom_user.key()))
            .condition_expression("stamp = :stamp")
            .expression_attribute_values(":stamp", text(stamp));
        checks.push(TransactWriteItem::builder().delete(built(delete.build())?).build());
        let link = link_entry(app_user);
        checks.push(self.check(zoom_user, &link, "attribute_not_exists(entry)", None)?);
        self.transact(checks).await
    }

    /// Removes the items that lead from an app user to recordings that other links cover: the pointer and the removed
    /// link. `false` if the app user is linked again.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn forget_app_user(
        &self,
        app_user: &AppUserId,
        zoom_user: &ZoomUser,
    ) -> Result<bool, AwsError> {
        let record = delete(&self.table, zoom_user, &removed_entry(app_user))?;
        let link =
            self.check(zoom_user, &link_entry(app_user), "attribute_not_exists(entry)", None)?;
        if !self.transact(vec![record, link]).await? {
            return Ok(false);
        }
        self.remove_pointer(app_user, zoom_user, Vec::new()).await
    }

    /// Reads an item consistently.
    pub(super) async fn item(
        &self,
        zoom_user: String,
        entry: String,
    ) -> Result<Option<Item>, AwsError> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let response = get.key("zoom_user", text(zoom_user)).key("entry", text(entry)).send().await;
        Ok(response.map_err(|error| AwsError::from_sdk("GetItem Links", &error))?.item)
    }

    fn check(
        &self,
        zoom_user: &ZoomUser,
        entry: &str,
        condition: &str,
        stamp: Option<&str>,
    ) -> Result<TransactWriteItem, AwsError> {
        let check = ConditionCheck::builder()
            .table_name(&self.table)
            .key("zoom_user", text(zoom_user.key()))
            .key("entry", text(entry))
            .condition_expression(condition);
        let check = match stamp {
            Some(stamp) => check.expression_attribute_values(":stamp", text(stamp)),
            None => check,
        };
        Ok(TransactWriteItem::builder().condition_check(built(check.build())?).build())
    }
}
