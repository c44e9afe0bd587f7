//! Pointers: which Zoom users an app user has, or had, a link to.
//!
//! A pointer is an item under the app user's own key that names a Zoom user. It is written before the
//! transaction that makes a link visible or moves it, so a consistent query of the pointers finds every visible
//! link, without an index. A pointer decides nothing: the link's item does. A pointer without a link leads an erasure
//! to recordings that may still be stored.

use futures_util::future::try_join_all;
use reelay_domain::ids::{AppUserId, ZoomUser};
use reelay_domain::link::Link;
use reelay_runtime::{AwsError, random};

use super::{GrantSnapshot, LinkTable, TABLE, link_entry, read_link};
use crate::item::{text, text_of};

/// Maximum account moves that are followed from one key.
const MAX_MOVES: usize = 16;

/// A pointer of an app user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// The Zoom user that it names.
    pub zoom_user: ZoomUser,
    /// Random text of the last write. A pointer is removed only if it has not been written since.
    stamp: String,
}

/// Distinct from the key of any Zoom user, which contains one `#`.
pub(super) fn partition(app_user: &AppUserId) -> String {
    format!("app-user##{app_user}")
}

impl LinkTable {
    /// Writes pointers of app users to a Zoom user. Call it after the snapshot and before the transaction that
    /// makes the links visible under this key.
    pub(super) async fn point(
        &self,
        app_users: impl Iterator<Item = &AppUserId>,
        zoom_user: &ZoomUser,
    ) -> Result<(), AwsError> {
        let puts = app_users.map(async |app_user| {
            let stamp = random::hex_id();
            let put = self.client.put_item().table_name(&self.table);
            let put = put
                .item("zoom_user", text(partition(app_user)))
                .item("entry", text(zoom_user.key()))
                .item("stamp", text(stamp));
            let response = put.send().await;
            response.map_err(|error| AwsError::from_sdk("PutItem Links", &error))
        });
        try_join_all(puts).await.map(|_| ())
    }

    /// Reads an app user's pointers consistently.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn pointers(&self, app_user: &AppUserId) -> Result<Vec<Pointer>, AwsError> {
        let mut items = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("zoom_user = :user")
            .expression_attribute_values(":user", text(partition(app_user)))
            .into_paginator()
            .items()
            .send();
        let mut pointers = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| AwsError::from_sdk("Query Links", &error))?;
            let zoom_user = text_of(&item, "entry").and_then(|key| ZoomUser::from_key(key).ok());
            let (Some(zoom_user), Some(stamp)) = (zoom_user, text_of(&item, "stamp")) else {
                return Err(AwsError::unexpected_response(TABLE, "a pointer is invalid"));
            };
            pointers.push(Pointer { zoom_user, stamp: stamp.to_owned() });
        }
        Ok(pointers)
    }

    /// Reads the links of an app user that the app may see, consistently. A link that moves to another key
    /// during the read is found: its new pointer precedes the move, so the pointers are read again until they
    /// no longer change.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn visible_links(&self, app_user: &AppUserId) -> Result<Vec<Link>, AwsError> {
        let (mut links, mut known) = (Vec::<Link>::new(), Vec::new());
        loop {
            let pointers = self.pointers(app_user).await?;
            let is_found =
                |pointer: &&Pointer| links.iter().any(|link| link.zoom_user == pointer.zoom_user);
            let rest: Vec<&Pointer> = pointers.iter().filter(|it| !is_found(it)).collect();
            let reads = rest.iter().map(|pointer| self.visible_link(app_user, &pointer.zoom_user));
            let found: Vec<Link> = try_join_all(reads).await?.into_iter().flatten().collect();
            let is_complete = found.len() == rest.len() || pointers == known;
            // A link that was read both before and after its move has its new key.
            links.retain(|link| found.iter().all(|newer| newer.id != link.id));
            links.extend(found);
            if is_complete {
                links.sort_by(|a, b| a.zoom_user.cmp(&b.zoom_user));
                return Ok(links);
            }
            known = pointers;
        }
    }

    /// Reads all visible links, by a consistent scan of the table.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn all_visible_links(&self) -> Result<Vec<Link>, AwsError> {
        let mut pages = self
            .client
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .filter_expression("begins_with(entry, :link)")
            .expression_attribute_values(":link", text("link#"))
            .into_paginator()
            .items()
            .send();
        let mut links = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| AwsError::from_sdk("Scan Links", &error))?;
            links.push(read_link(item)?);
        }
        links.retain(|link| link.status.is_visible());
        links.sort_by(|a, b| (&a.zoom_user, &a.app_user).cmp(&(&b.zoom_user, &b.app_user)));
        Ok(links)
    }

    async fn visible_link(
        &self,
        app_user: &AppUserId,
        zoom_user: &ZoomUser,
    ) -> Result<Option<Link>, AwsError> {
        let item = self.item(zoom_user.key(), link_entry(app_user)).await?;
        let link = item.map(read_link).transpose()?;
        Ok(link.filter(|link| link.status.is_visible()))
    }

    /// Reads the visible links that cover the recordings stored under a Zoom user's key, consistently: the
    /// links at that key, and, if the Zoom user has changed accounts, those that moved from it to another key.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn covering_links(&self, zoom_user: &ZoomUser) -> Result<Vec<Link>, AwsError> {
        let snapshots = self.snapshots_along_moves(zoom_user).await?;
        let links = snapshots.into_iter().flat_map(|(_, snapshot)| snapshot.links);
        let covers = |link: &Link| {
            link.status.is_visible() && link.zoom_users().any(|covered| covered == zoom_user)
        };
        Ok(links.filter(covers).collect())
    }

    /// Reads consistently the link by which an app user may see the recordings stored under a Zoom user's key.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn covering_link(
        &self,
        app_user: &AppUserId,
        zoom_user: &ZoomUser,
    ) -> Result<Option<Link>, AwsError> {
        if let Some(link) = self.visible_link(app_user, zoom_user).await? {
            return Ok(Some(link));
        }
        // The link may have moved with its Zoom user to another account.
        let links = self.covering_links(zoom_user).await?;
        Ok(links.into_iter().find(|link| link.app_user == *app_user))
    }

    /// The key of the Zoom user's grant: the given one, or one to which the user moved. What is stored keeps the key of
    /// its account.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn current_key(&self, zoom_user: &ZoomUser) -> Result<ZoomUser, AwsError> {
        let mut snapshots = self.snapshots_along_moves(zoom_user).await?.into_iter();
        let current = snapshots.find(|(_, snapshot)| snapshot.grant.is_some());
        Ok(current.map_or_else(|| zoom_user.clone(), |(key, _)| key))
    }

    /// Reads the snapshot of a key, and those of the keys to which the Zoom user moved from it.
    pub(super) async fn snapshots_along_moves(
        &self,
        zoom_user: &ZoomUser,
    ) -> Result<Vec<(ZoomUser, GrantSnapshot)>, AwsError> {
        let mut snapshots = Vec::new();
        let mut next = Some(zoom_user.clone());
        while let Some(key) = next {
            if snapshots.len() > MAX_MOVES {
                return Err(AwsError::unexpected_response(
                    TABLE,
                    "a Zoom user has moved too often",
                ));
            }
            let snapshot = self.snapshot(&key).await?;
            next = snapshot.moved_to.clone();
            snapshots.push((key, snapshot));
        }
        Ok(snapshots)
    }
}
