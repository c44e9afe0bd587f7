//! Zoom users who change accounts. They keep their user id at Zoom; their grant and links move.

use jiff::{SignedDuration, Timestamp};
use reelay_domain::erasure::Removal;
use reelay_domain::ids::{AppUserId, ZoomUser};
use reelay_domain::link::{GrantStatus, LinkNotification};

use super::change::MAX_ATTEMPTS;
use super::write::{Extras, delete, put};
use super::{
    Changed, Grant, LinkError, LinkTable, MOVED, MovedItem, NewTokens, OutboxEntry, PendingJobs,
    TABLE, entry_item,
};
use crate::item::{text, zoom_user_of};
use reelay_runtime::AwsError;

const BY_USER_ID: &str = "by-user-id";

/// How far the backfill reaches back from the time at which Reelay moves the grant. Events about these recordings named
/// the new key, which had no link; the first of them enqueued the job that finds the move.
const MISSED_BEFORE_MOVE: SignedDuration = SignedDuration::from_hours(48);

/// Time by which an erasure of the new key is deferred.
const ERASURE_DELAY: SignedDuration = SignedDuration::from_hours(24);

impl LinkTable {
    /// Grants in other accounts with the same user id. The id alone proves nothing; the caller must call Zoom with
    /// the grant's tokens.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn with_same_user_id(&self, zoom_user: &ZoomUser) -> Result<Vec<ZoomUser>, AwsError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_USER_ID)
            .key_condition_expression("user_id = :id")
            .expression_attribute_values(":id", text(zoom_user.user_id.as_str()))
            .into_paginator()
            .items()
            .send();
        let mut found = Vec::new();
        while let Some(item) = pages.next().await {
            let item =
                item.map_err(|error| AwsError::from_sdk("Query Links by-user-id", &error))?;
            found.push(zoom_user_of(TABLE, &item)?);
        }
        found.retain(|known| known != zoom_user);
        Ok(found)
    }

    /// Moves a live grant and its links to the Zoom user's key in another account, in one transaction. The old key keeps
    /// only an item that names the new one. `tokens` is the grant's pair, encrypted for the new key; it is ignored if a
    /// later consent stored a pair there. Returns `None` if the grant is not live or its tokens have been replaced.
    ///
    /// # Errors
    /// [`LinkError`]. Neither grant nor links have moved; pointers to the new key may have been written, and its erasure
    /// deferred.
    pub async fn move_to_account(
        &self,
        from: &ZoomUser,
        version: u64,
        to: &ZoomUser,
        tokens: &NewTokens,
        now: Timestamp,
    ) -> Result<Option<Changed>, LinkError> {
        for _ in 0..MAX_ATTEMPTS {
            let (old, new) = (self.snapshot(from).await?, self.snapshot(to).await?);
            let is_current =
                |grant: &&Grant| grant.version == version && grant.status == GrantStatus::Live;
            let Some(grant) = old.grant.as_ref().filter(is_current) else {
                return Ok(None);
            };
            let before = new.grant_state();
            let after = before.merge_moved(&old.grant_state(), to, now)?;
            // The pair of the later consent is the valid one.
            let has_later_pair = new.grant.as_ref().is_some_and(|grant| {
                grant.tokens.is_some() && grant.obtained_at > tokens.obtained_at
            });
            // Above both generations, so that notification ids stay unique.
            let generation = new.next_generation(now).max(grant.generation + 1);
            let mut notifications = before.notifications(&after);
            let kept = |id| after.links.iter().any(|link| link.id == id);
            let merged = old.links.iter().filter(|link| link.status.is_visible());
            let merged = merged.filter(|link| !kept(link.id.clone()));
            notifications.extend(merged.cloned().map(LinkNotification::Removed));
            let notifications = notifications
                .iter()
                .map(|notification| notification.render(generation, &Removal::default(), now))
                .collect();
            let entry = OutboxEntry::new(notifications, now);
            let missed_since = now.checked_sub(MISSED_BEFORE_MOVE).unwrap_or(now);
            // Links of the new account may have received recordings already, which a backfill finds known.
            let was_receiving = |app_user: &AppUserId| {
                let mut links = before.links.iter();
                links.any(|link| link.app_user == *app_user && link.is_receiving())
            };
            let joined = after.links.iter().filter(|link| link.is_receiving());
            let joined = joined.map(|link| &link.app_user).filter(|it| !was_receiving(it));
            let joined = joined.cloned().collect();
            let job = PendingJobs::new(to, missed_since, joined, true, generation, now);
            if let Some(erasure) = &new.erasure {
                // Completing an erasure of the new key would remove the pointers. The transaction deletes it; without
                // the transaction it remains due.
                self.defer_erasure(to, erasure, now + ERASURE_DELAY).await?;
            }
            self.point(old.app_users(), to).await?;

            let tokens = Some(tokens).filter(|_| !has_later_pair);
            let mut items = vec![self.delete_grant(from, grant, None)?];
            items.extend(self.link_items(from, &old.grant_state(), &Default::default())?);
            items.push(self.grant_item_after(
                to,
                new.grant.as_ref(),
                &after,
                &Extras { tokens, ..Extras::default() },
                generation,
                now,
            )?);
            items.extend(self.marking_item(to, &new, &after)?);
            items.extend(self.link_items(to, &before, &after)?);
            items.extend(self.erasure_items(&before, &after, &Removal::default())?);
            items.push(put(&self.table, entry_item(from, MOVED, &MovedItem { to: to.clone() })?)?);
            if new.moved_to.is_some() {
                items.push(delete(&self.table, to, MOVED)?);
            }
            if let Some(entry) = &entry {
                items.push(put(&self.table, entry.item(to)?)?);
            }
            items.push(put(&self.table, job.item(to)?)?);
            if self.transact(items).await? {
                let outbox = new.outbox.into_iter().chain(entry).collect();
                let jobs = new.jobs.into_iter().chain([job]).collect();
                return Ok(Some(Changed { before, after, outbox, jobs }));
            }
        }
        Err(LinkError::Contended)
    }
}
