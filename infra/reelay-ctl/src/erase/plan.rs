//! Finds the data to erase of an app user or a Zoom user, and the recordings that other app users' links also cover.

use jiff::Timestamp;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::Link;
use reelay_store::links::LinkTable;
use reelay_store::recordings::{RecordingTable, StoredInventory};

use super::Subject;

/// The data to erase, and the data to keep.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) links: Vec<Link>,
    pub(super) to_erase: Vec<Holding>,
    /// Recordings that other app users' links also cover.
    pub(super) to_keep: Vec<Holding>,
}

/// Recordings of one Zoom user under one of its current or former keys.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) zoom_user: ZoomUser,
    pub(super) inventory: StoredInventory,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty() && self.to_erase.is_empty() && self.to_keep.is_empty()
    }
}

/// Loads the links, and the keys that pointers lead to.
pub(super) async fn load(
    links: &LinkTable,
    recordings: &RecordingTable,
    subject: &Subject,
    now: Timestamp,
) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    let mut keys = Vec::new();
    match subject {
        Subject::AppUser(user) => {
            plan.links = links.visible_links(user).await?;
            for pointer in links.pointers(user).await? {
                let snapshot = links.snapshot(&pointer.zoom_user).await?;
                let removed = snapshot.removed.into_iter().filter(|it| it.app_user_id == *user);
                keys.extend(removed.flat_map(|removed| removed.previous_zoom_users));
                keys.push(pointer.zoom_user);
            }
        }
        Subject::ZoomUser(zoom_user) => {
            let snapshot = links.snapshot(zoom_user).await?;
            plan.links = links.covering_links(zoom_user).await?;
            plan.links.extend(snapshot.links.into_iter().filter(|link| !link.status.is_visible()));
            keys.extend(snapshot.removed.into_iter().flat_map(|link| link.previous_zoom_users));
            keys.push(zoom_user.clone());
        }
    }
    for link in &plan.links {
        // The current key last: it completes the erasure.
        keys.splice(0..0, link.previous_zoom_users.iter().cloned());
        keys.push(link.zoom_user.clone());
    }
    let mut seen = std::collections::BTreeSet::new();
    keys.retain(|key| seen.insert(key.clone()));
    for zoom_user in keys {
        let is_shared = match subject {
            Subject::AppUser(user) => {
                let covering = links.covering_links(&zoom_user).await?;
                covering.iter().any(|link| link.app_user != *user)
            }
            Subject::ZoomUser(_) => false,
        };
        let inventory = recordings.inventory(&zoom_user, now).await?;
        let holding = Holding { zoom_user, inventory };
        if is_shared { plan.to_keep.push(holding) } else { plan.to_erase.push(holding) }
    }
    if let Subject::ZoomUser(zoom_user) = subject
        && plan.links.is_empty()
        && plan.to_erase.iter().all(|holding| holding.inventory == StoredInventory::default())
        && !links.snapshot(zoom_user).await?.leads_to_app_users()
    {
        plan.to_erase.clear();
    }
    Ok(plan)
}
