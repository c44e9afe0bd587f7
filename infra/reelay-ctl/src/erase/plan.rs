//! Finds what to erase of an app user, and what other app users' links also cover.

use reelay_domain::ids::{AppUserId, LinkId, ZoomUser};
use reelay_store::links::{LinkTable, PendingErasure};
use reelay_store::recordings::RecordingTable;

/// What to erase and what to keep.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) links: Vec<LinkId>,
    /// Current Zoom users of the links.
    pub(super) linked: Vec<ZoomUser>,
    pub(super) to_erase: Vec<Holding>,
    /// Recordings that other app users' links also cover.
    pub(super) to_keep: Vec<Holding>,
}

/// Recordings of one Zoom user under one of its current or former ids.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) erasure: PendingErasure,
    pub(super) recordings: usize,
    pub(super) files: usize,
    pub(super) bytes: u64,
    /// Number of table items.
    pub(super) rows: usize,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty() && self.to_erase.is_empty()
    }
}

/// Loads the user's links and the pending erasures of an interrupted run.
pub(super) async fn load(
    links: &LinkTable,
    recordings: &RecordingTable,
    user: &AppUserId,
) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    let mut erasures = Vec::new();
    for link in links.visible_links(user).await? {
        erasures.extend(link.zoom_users().map(|zoom_user| PendingErasure {
            zoom_user: zoom_user.clone(),
            current_zoom_user: link.zoom_user.clone(),
        }));
        plan.linked.push(link.zoom_user);
        plan.links.push(link.id);
    }
    for pending in links.pending_erasures(user).await? {
        let is_known = |erasure: &PendingErasure| erasure.zoom_user == pending.zoom_user;
        if !erasures.iter().any(is_known) {
            erasures.push(pending);
        }
    }
    for erasure in erasures {
        let inventory = recordings.inventory(&erasure.zoom_user).await?;
        let is_shared = count_others(links, user, &erasure).await? > 0;
        let holding = Holding {
            erasure,
            recordings: inventory.recordings,
            files: inventory.files,
            bytes: inventory.bytes,
            rows: inventory.rows,
        };
        if is_shared {
            plan.to_keep.push(holding);
        } else {
            plan.to_erase.push(holding);
        }
    }
    Ok(plan)
}

/// Counts links of other app users that cover these recordings, pending links included.
pub(super) async fn count_others(
    links: &LinkTable,
    user: &AppUserId,
    erasure: &PendingErasure,
) -> anyhow::Result<usize> {
    let current = links.snapshot(&erasure.current_zoom_user).await?;
    let mut others = current
        .links
        .iter()
        .filter(|link| link.app_user != *user)
        .filter(|link| link.zoom_users().any(|known| *known == erasure.zoom_user))
        .count();
    if erasure.zoom_user != erasure.current_zoom_user {
        let former = links.snapshot(&erasure.zoom_user).await?;
        let of_others = former.links.iter().filter(|link| link.app_user != *user);
        others += of_others.count();
    }
    Ok(others)
}
