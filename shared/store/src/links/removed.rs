//! Removed links: the remains of a link until the recordings that it covered are erased. A reconnected link gets its
//! id and creation time from them, and an erasure finds its pointers by them.
//!
//! They stand beside the links, not in their place: an unconfirmed consent must not replace one.

use aws_sdk_dynamodb::types::TransactWriteItem;
use jiff::Timestamp;
use reelay_domain::erasure::{Removal, RemovalReason};
use reelay_domain::ids::{AppUserId, LinkId, ZoomUser};
use reelay_domain::link::{GrantState, Link};
use reelay_runtime::AwsError;
use serde::{Deserialize, Serialize};

use super::write::put;
use super::{LinkTable, entry_item};

/// A removed link. While a link of the same app user exists, it has no effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedLink {
    /// Id of the link.
    pub link_id: LinkId,
    /// The app user.
    pub app_user_id: AppUserId,
    /// Time of the first consent.
    pub created_at: Timestamp,
    /// Time of the removal.
    pub removed_at: Timestamp,
    /// Why it was removed.
    pub removed_reason: Option<RemovalReason>,
    /// Keys of the same Zoom user in earlier accounts, whose recordings the link covered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous_zoom_users: Vec<ZoomUser>,
}

impl RemovedLink {
    /// Restores what a reconnected link keeps.
    pub(super) fn restore(&self, link: &mut Link) {
        link.id.clone_from(&self.link_id);
        link.created_at = self.created_at;
        link.previous_zoom_users.clone_from(&self.previous_zoom_users);
    }
}

pub(super) fn removed_entry(app_user: &AppUserId) -> String {
    format!("removed#{app_user}")
}

/// Links that are visible in one state and whose app users have no visible link in the other.
pub(super) fn visible_only_in<'a>(
    state: &'a GrantState,
    other: &'a GrantState,
) -> impl Iterator<Item = &'a Link> {
    let visible =
        |state: &'a GrantState| state.links.iter().filter(|link| link.status.is_visible());
    let is_in_other =
        move |link: &&Link| visible(other).any(|known| known.app_user == link.app_user);
    visible(state).filter(move |link| !is_in_other(link))
}

impl LinkTable {
    /// The items that a transition leaves in place of removed links.
    pub(super) fn removed_items(
        &self,
        zoom_user: &ZoomUser,
        before: &GrantState,
        after: &GrantState,
        removal: &Removal,
        now: Timestamp,
    ) -> Result<Vec<TransactWriteItem>, AwsError> {
        let items = visible_only_in(before, after).map(|link| {
            let item = RemovedLink {
                link_id: link.id.clone(),
                app_user_id: link.app_user.clone(),
                created_at: link.created_at,
                removed_at: now,
                removed_reason: removal.reason,
                previous_zoom_users: link.previous_zoom_users.clone(),
            };
            put(&self.table, entry_item(zoom_user, &removed_entry(&link.app_user), &item)?)
        });
        items.collect()
    }
}
