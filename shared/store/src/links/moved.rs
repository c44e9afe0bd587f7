//! Zoom users who change accounts: Zoom keeps their user id, and what we know of them follows.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::LinkNotification;

use super::change::{MOST_ATTEMPTS, put};
use super::{Changed, LinkError, LinkTable, NewTokens, OutboxEntry, zoom_user_of};
use reelay_runtime::AwsError;

const BY_USER_ID: &str = "by-user-id";

impl LinkTable {
    /// The Zoom users with a grant who have this one's user id, in other accounts. An id alone proves
    /// nothing; whoever holds the tokens asks Zoom.
    pub async fn with_same_user_id(&self, zoom_user: &ZoomUser) -> Result<Vec<ZoomUser>, AwsError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_USER_ID)
            .key_condition_expression("user_id = :id")
            .expression_attribute_values(
                ":id",
                AttributeValue::S(zoom_user.user_id.as_str().to_owned()),
            )
            .into_paginator()
            .items()
            .send();
        let mut found = Vec::new();
        while let Some(item) = pages.next().await {
            let item =
                item.map_err(|error| AwsError::from_sdk("Query Links by-user-id", &error))?;
            found.push(zoom_user_of(&item)?);
        }
        found.retain(|known| known != zoom_user);
        Ok(found)
    }

    /// Moves a grant and its links to where Zoom says that its user is now, in one transaction. `None` if
    /// the tokens are not of this version any more. The tokens come along, sealed for their new place.
    ///
    /// # Errors
    /// [`LinkError`]; then nothing was written.
    pub async fn move_to_account(
        &self,
        from: &ZoomUser,
        version: u64,
        to: &ZoomUser,
        tokens: &NewTokens,
        now: Timestamp,
    ) -> Result<Option<Changed>, LinkError> {
        for _ in 0..MOST_ATTEMPTS {
            let (old, new) = (self.snapshot(from).await?, self.snapshot(to).await?);
            let Some(grant) = old.grant.as_ref().filter(|grant| grant.version == version) else {
                return Ok(None);
            };
            let before = new.grant_state();
            let after = before.merge_moved(&old.grant_state(), to)?;
            // Above both, so that no fact is told under the id of another.
            let generation = new.next_generation(now).max(grant.generation + 1);
            let mut notifications = before.notifications(&after);
            let kept = |id| after.links.iter().any(|link| link.id == id);
            let merged = old.links.iter().filter(|link| link.status.is_visible());
            let merged = merged.filter(|link| !kept(link.id.clone()));
            notifications.extend(merged.cloned().map(LinkNotification::Removed));
            let told = notifications
                .iter()
                .map(|notification| notification.render(generation, now))
                .collect();
            let unsent = OutboxEntry::of(told, now);

            let mut items = vec![self.delete_grant(from, grant)?];
            items.extend(self.link_items(from, &old.grant_state(), &Default::default())?);
            items.push(self.grant_item_after(
                to,
                new.grant.as_ref(),
                after.grant,
                Some(tokens),
                generation,
                now,
            )?);
            items.extend(self.link_items(to, &before, &after)?);
            if let Some(unsent) = &unsent {
                items.push(put(&self.table, unsent.item(to)?)?);
            }
            if self.transact(items).await? {
                let outbox = new.outbox.into_iter().chain(unsent).collect();
                return Ok(Some(Changed {
                    before,
                    after,
                    outbox,
                }));
            }
        }
        Err(LinkError::Contended)
    }
}
