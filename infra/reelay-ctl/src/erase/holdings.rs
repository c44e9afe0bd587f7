//! What is held of an app user, and what of it is held by others as well.

use reelay_domain::ids::{AppUserId, LinkId, ZoomUser};
use reelay_store::links::{LinkTable, PendingErasure};
use reelay_store::recordings::RecordingTable;

use super::leaving;

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The user's links.
    pub(super) links: Vec<LinkId>,
    /// The Zoom users that they are links to.
    pub(super) linked: Vec<ZoomUser>,
    /// Zoom users all of whose recordings go.
    pub(super) to_erase: Vec<Holding>,
    /// Zoom users whose recordings somebody else holds, too.
    pub(super) to_keep: Vec<Holding>,
}

/// The recordings of one Zoom user under one of their names.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) leaving: PendingErasure,
    pub(super) recordings: usize,
    pub(super) files: usize,
    pub(super) bytes: u64,
    /// Items of the table.
    pub(super) rows: usize,
}

impl Plan {
    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty() && self.to_erase.is_empty()
    }
}

/// Looks at the user's links, and at what an earlier run has left undone.
pub(super) async fn plan(
    links: &LinkTable,
    recordings: &RecordingTable,
    user: &AppUserId,
) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    let mut names = Vec::new();
    for link in links.visible_links(user).await? {
        names.extend(
            link.zoom_users()
                .map(|zoom_user| leaving(zoom_user, &link.zoom_user)),
        );
        plan.linked.push(link.zoom_user);
        plan.links.push(link.id);
    }
    for unfinished in links.pending_erasures(user).await? {
        if !names
            .iter()
            .any(|name| name.zoom_user == unfinished.zoom_user)
        {
            names.push(unfinished);
        }
    }
    for name in names {
        let held = recordings.inventory(&name.zoom_user).await?;
        let is_shared = others(links, user, &name).await? > 0;
        let holding = Holding {
            leaving: name,
            recordings: held.recordings,
            files: held.files,
            bytes: held.bytes,
            rows: held.rows,
        };
        if is_shared {
            plan.to_keep.push(holding);
        } else {
            plan.to_erase.push(holding);
        }
    }
    Ok(plan)
}

/// How many other app users may have these recordings, or may be about to: a pending link counts.
pub(super) async fn others(
    links: &LinkTable,
    user: &AppUserId,
    name: &PendingErasure,
) -> anyhow::Result<usize> {
    let now = links.snapshot(&name.current_zoom_user).await?;
    let mut others = now
        .links
        .iter()
        .filter(|link| link.app_user != *user)
        .filter(|link| link.zoom_users().any(|known| *known == name.zoom_user))
        .count();
    if name.zoom_user != name.current_zoom_user {
        let formerly = links.snapshot(&name.zoom_user).await?;
        let of_others = formerly.links.iter().filter(|link| link.app_user != *user);
        others += of_others.count();
    }
    Ok(others)
}
