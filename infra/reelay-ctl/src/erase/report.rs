//! Describes the plan and the receipt of an erasure.

use std::fmt;

use jiff::Timestamp;
use reelay_domain::erasure::ErasureTotals;
use serde::{Serialize, Serializer};

use super::Subject;
use super::plan::{Holding, Plan};
use crate::output::{plural, size};

pub(super) fn describe_plan(subject: &Subject, plan: &Plan) -> String {
    let mut lines = vec![
        format!("The following data of {subject} will be erased:"),
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
    let Holding { zoom_user, inventory } = holding;
    format!(
        "{} in {} ({}{}) of {}/{}",
        plural(inventory.recordings, "recording"),
        plural(inventory.files, "file"),
        size(inventory.bytes),
        if inventory.is_transferring { ", transfers are running" } else { "" },
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
    /// `user`, or `zoom_user` as account and user id.
    #[serde(flatten, serialize_with = "subject")]
    subject: Subject,
    links: usize,
    pub(super) grants: Grants,
    /// Counts of the deletions. Objects include manifests and large events.
    #[serde(flatten)]
    pub(super) erased: ErasureTotals,
    /// Recordings kept for other app users.
    pub(super) kept: u64,
    begun_at: Timestamp,
    pub(super) ended_at: Timestamp,
}

fn subject<S: Serializer>(subject: &Subject, serializer: S) -> Result<S::Ok, S::Error> {
    let name = match subject {
        Subject::AppUser(_) => "user",
        Subject::ZoomUser(_) => "zoom_user",
    };
    std::collections::BTreeMap::from([(name, subject.to_string())]).serialize(serializer)
}

impl Receipt {
    pub(super) fn new(subject: &Subject, plan: &Plan, begun_at: Timestamp) -> Self {
        Self {
            subject: subject.clone(),
            links: plan.links.len(),
            grants: Grants::default(),
            erased: ErasureTotals::default(),
            kept: plan.to_keep.iter().map(|holding| holding.inventory.recordings).sum(),
            begun_at,
            ended_at: begun_at,
        }
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Erased data of {}, {} to {}:", self.subject, self.begun_at, self.ended_at)?;
        writeln!(f, "  links         {}", self.links)?;
        let Grants { ended, being_revoked, kept_for_others } = self.grants;
        writeln!(
            f,
            "  grants        {ended} ended, {being_revoked} being revoked, {kept_for_others} kept for other users"
        )?;
        let erased = &self.erased;
        writeln!(f, "  recordings    {}", erased.recordings)?;
        writeln!(f, "  objects       {} ({})", erased.objects, size(erased.bytes))?;
        writeln!(f, "  open uploads  {}", erased.uploads)?;
        writeln!(f, "  kept          {}", plural(self.kept, "recording"))?;
        write!(
            f,
            "What a running transfer still stores is removed after 15 minutes. SECURITY.md says what backups and logs keep."
        )
    }
}
