//! Describes the plan and the receipt of an erasure.

use std::fmt;

use jiff::Timestamp;
use reelay_domain::ids::AppUserId;
use serde::Serialize;

use super::plan::{Holding, Plan};
use crate::output::{plural, size};

pub(super) fn describe_plan(user: &AppUserId, plan: &Plan) -> String {
    let mut lines = vec![
        format!("The following data of {user} will be erased:"),
        format!(
            "  {}; a grant without any other link is revoked at Zoom",
            plural(plan.links.len() as u64, "link")
        ),
    ];
    lines.extend(plan.to_erase.iter().map(|holding| format!("  {}", describe(holding))));
    if !plan.to_keep.is_empty() {
        lines.push("The following data will be kept, because other app users are linked to the same Zoom user:".to_owned());
        lines.extend(plan.to_keep.iter().map(|holding| format!("  {}", describe(holding))));
    }
    lines.join("\n")
}

fn describe(holding: &Holding) -> String {
    let zoom_user = &holding.erasure.zoom_user;
    format!(
        "{} in {} ({}) of {} / {}",
        plural(holding.recordings as u64, "recording"),
        plural(holding.files as u64, "file"),
        size(holding.bytes),
        zoom_user.account_id,
        zoom_user.user_id
    )
}

/// Number of grants by status.
#[derive(Debug, Default, Serialize)]
pub(super) struct Grants {
    pub(super) ended: usize,
    /// The revocation job is enqueued.
    pub(super) being_revoked: usize,
    /// Other app users' links use them.
    pub(super) kept_for_others: usize,
}

/// Result of an erasure.
#[derive(Debug, Serialize)]
pub(super) struct Receipt {
    user: AppUserId,
    links: usize,
    pub(super) grants: Grants,
    pub(super) recordings: usize,
    /// Deleted objects, including manifests.
    pub(super) objects: usize,
    pub(super) bytes: u64,
    /// Aborted multipart uploads.
    pub(super) uploads: usize,
    /// Recordings kept for other app users.
    pub(super) kept: usize,
    begun_at: Timestamp,
    pub(super) ended_at: Timestamp,
}

impl Receipt {
    pub(super) fn new(user: &AppUserId, plan: &Plan, begun_at: Timestamp) -> Self {
        let count = |holdings: &[Holding]| holdings.iter().map(|holding| holding.recordings).sum();
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

    pub(super) fn empty(user: &AppUserId, now: Timestamp) -> Self {
        Self::new(user, &Plan::default(), now)
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Erased data of {}, {} to {}:", self.user, self.begun_at, self.ended_at)?;
        writeln!(f, "  links         {}", self.links)?;
        let Grants { ended, being_revoked, kept_for_others } = self.grants;
        writeln!(
            f,
            "  grants        {ended} ended, {being_revoked} being revoked, {kept_for_others} kept for other users"
        )?;
        writeln!(f, "  recordings    {}", self.recordings)?;
        writeln!(f, "  objects       {} ({})", self.objects, size(self.bytes))?;
        writeln!(f, "  open uploads  {}", self.uploads)?;
        writeln!(f, "  kept          {}", plural(self.kept as u64, "recording"))?;
        write!(
            f,
            "Logs are deleted after 30 days, point-in-time backups of the tables after 35 days."
        )
    }
}
