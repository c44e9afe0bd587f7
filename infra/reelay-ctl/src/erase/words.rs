//! What is said before, and the receipt after.

use std::fmt;

use jiff::Timestamp;
use reelay_domain::ids::AppUserId;
use serde::Serialize;

use super::holdings::{Holding, Plan};
use crate::output::{several, size};

/// What will be erased.
pub(super) fn plan(user: &AppUserId, plan: &Plan) -> String {
    let mut lines = vec![format!("Of {user} will be erased:")];
    lines.push(format!(
        "  {}; with the last link of a Zoom user the grant is revoked at Zoom",
        several(plan.links.len(), "link")
    ));
    lines.extend(plan.to_erase.iter().map(|it| format!("  {}", held(it))));
    if !plan.to_keep.is_empty() {
        lines.push("Kept, for other users of the app hold it as well:".to_owned());
        lines.extend(plan.to_keep.iter().map(|it| format!("  {}", held(it))));
    }
    lines.join("\n")
}

fn held(holding: &Holding) -> String {
    let zoom_user = &holding.leaving.zoom_user;
    format!(
        "{} in {} ({}) of {} / {}",
        several(holding.recordings, "recording"),
        several(holding.files, "file"),
        size(holding.bytes),
        zoom_user.account_id,
        zoom_user.user_id
    )
}

/// What became of the grants behind the links.
#[derive(Debug, Default, Serialize)]
pub(super) struct Grants {
    /// Revoked and erased.
    pub(super) ended: usize,
    /// Ordered, and not done yet.
    pub(super) being_revoked: usize,
    /// Other users of the app need them.
    pub(super) kept_for_others: usize,
}

/// What was erased.
#[derive(Debug, Serialize)]
pub(super) struct Receipt {
    user: AppUserId,
    links: usize,
    pub(super) grants: Grants,
    /// Recordings whose items are gone from the table.
    pub(super) recordings: usize,
    /// Objects that are gone from the bucket, manifests among them.
    pub(super) objects: usize,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Uploads that were not completed, aborted.
    pub(super) uploads: usize,
    /// Recordings that others hold.
    pub(super) kept: usize,
    begun_at: Timestamp,
    pub(super) ended_at: Timestamp,
}

impl Receipt {
    pub(super) fn new(user: &AppUserId, plan: &Plan, begun_at: Timestamp) -> Self {
        let count = |holdings: &[Holding]| holdings.iter().map(|it| it.recordings).sum();
        Self {
            user: user.clone(),
            links: plan.links.len(),
            grants: Grants::default(),
            recordings: count(&plan.to_erase),
            objects: 0,
            bytes: 0,
            uploads: 0,
            kept: count(&plan.to_keep),
            begun_at,
            ended_at: begun_at,
        }
    }

    pub(super) fn of_nothing(user: &AppUserId, now: Timestamp) -> Self {
        Self::new(user, &Plan::default(), now)
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Erased of {}, {} to {}:",
            self.user, self.begun_at, self.ended_at
        )?;
        writeln!(f, "  links         {}", self.links)?;
        let Grants {
            ended,
            being_revoked,
            kept_for_others,
        } = self.grants;
        writeln!(
            f,
            "  grants        {ended} ended, {being_revoked} being revoked, {kept_for_others} kept for other users"
        )?;
        writeln!(f, "  recordings    {}", self.recordings)?;
        writeln!(f, "  objects       {} ({})", self.objects, size(self.bytes))?;
        writeln!(f, "  open uploads  {}", self.uploads)?;
        writeln!(f, "  kept          {}", several(self.kept, "recording"))?;
        write!(
            f,
            "Logs go after 30 days, backups of the tables (point-in-time recovery) after 35."
        )
    }
}
