//! `erase-user` and `erase-zoom-user`: end links and erase recordings.
//!
//! The app user's pointers, which outlive links, lead to the recordings. The erasure itself is the reconciler's
//! (`reelay_store::erasure`). An interrupted run can be repeated; the reconciler finishes begun erasures within the
//! hour.

mod plan;
mod report;

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::bail;
use jiff::Timestamp;
use reelay_domain::erasure::ErasureTotals;
use reelay_domain::ids::{AppUserId, ZoomUser};
use reelay_domain::link::GrantChange;
use reelay_domain::message::{Job, JobMessage};
use reelay_store::erasure::{Eraser, ErasurePass, SWEEP_DELAY_SECONDS};
use reelay_store::links::LinkTable;
use reelay_store::outbox::NotificationPublisher;
use reelay_store::queue::Queue;
use reelay_store::recordings::RecordingTable;

use self::plan::{Holding, Plan};
use self::report::{Grants, Receipt};
use crate::deployment::Deployment;
use crate::output::{Outcome, Output, UsageError};

/// Whose data to erase.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    AppUser(AppUserId),
    ZoomUser(ZoomUser),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AppUser(user) => user.fmt(f),
            Self::ZoomUser(user) => write!(f, "{}/{}", user.account_id, user.user_id),
        }
    }
}

struct Erasing<'a> {
    deployment: &'a Deployment,
    links: LinkTable,
    recordings: RecordingTable,
    eraser: Eraser,
    jobs: Queue<JobMessage>,
    notifications: NotificationPublisher,
    output: &'a Output,
}

pub(crate) async fn run(
    deployment: &Deployment,
    subject: &Subject,
    yes: bool,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let environment = &deployment.environment;
    let erasing = Erasing {
        deployment,
        links: LinkTable::new(environment)?,
        recordings: RecordingTable::new(environment)?,
        eraser: Eraser::new(environment)?,
        jobs: Queue::from_env(environment, "JOBS_QUEUE_URL")?,
        notifications: NotificationPublisher::new(environment)?,
        output,
    };
    let now = environment.clock.now();
    let plan = plan::load(&erasing.links, &erasing.recordings, subject, now).await?;
    if plan.is_empty() {
        output.json(&Receipt::new(subject, &plan, now));
        output.line(&format!("Reelay stores nothing of {subject}."));
        return Ok(Outcome::Success);
    }
    output.note(&report::describe_plan(subject, &plan));
    if !yes {
        confirm(subject, output)?;
    }
    let receipt = erasing.erase(subject, &plan).await?;
    output.json(&receipt);
    output.line(&receipt.to_string());
    Ok(Outcome::Success)
}

/// Lets the operator confirm by typing the id.
fn confirm(subject: &Subject, output: &Output) -> anyhow::Result<()> {
    let stdin = std::io::stdin();
    if output.is_json() || !stdin.is_terminal() {
        return Err(UsageError(
            "erasure needs confirmation: run it in a terminal, or with --yes".to_owned(),
        )
        .into());
    }
    output.note(&format!("\nThis cannot be undone. To continue, type the id: {subject}"));
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    if line.trim() != subject.to_string() {
        bail!("not confirmed: nothing was erased");
    }
    Ok(())
}

impl Erasing<'_> {
    async fn erase(&self, subject: &Subject, plan: &Plan) -> anyhow::Result<Receipt> {
        let mut receipt = Receipt::new(subject, plan, self.now());
        for link in &plan.links {
            let change = GrantChange::Erase { app_user: link.app_user.clone() };
            let (jobs, notifications) = (&self.jobs, &self.notifications);
            self.links.end_link(link, &change, jobs, notifications, self.now()).await?;
        }
        for holding in &plan.to_erase {
            if !self.erase_recordings(holding, &mut receipt.erased).await? {
                receipt.kept += holding.inventory.recordings;
            }
        }
        if let Subject::AppUser(user) = subject {
            // Delete backfills first, so that no `backfill.completed` follows. `link.removed` is kept, so that the
            // app is notified.
            self.links.delete_backfills(user).await?;
            let notifications = self.notifications.table();
            receipt.erased.notifications +=
                notifications.delete_of_app_user(user, self.now()).await?;
            for pointer in self.links.pointers(user).await? {
                if !self.links.forget_app_user(user, &pointer.zoom_user).await? {
                    bail!(
                        "{user} has connected Zoom again; run the command again to erase that too"
                    );
                }
            }
        }
        receipt.grants = self.load_grants(plan).await?;
        receipt.ended_at = self.now();
        Ok(receipt)
    }

    fn now(&self) -> Timestamp {
        self.deployment.environment.clock.now()
    }

    /// Erases everything under a key. `false` if another link covers it now.
    async fn erase_recordings(
        &self,
        holding: &Holding,
        erased: &mut ErasureTotals,
    ) -> anyhow::Result<bool> {
        let zoom_user = &holding.zoom_user;
        if self.links.begin_erasure(zoom_user, self.now()).await?.is_none() {
            return Ok(false);
        }
        let bar = self.output.progress_bar(holding.inventory.recordings, "recordings");
        let before = erased.recordings;
        let mut is_first = true;
        loop {
            let pass = self.eraser.run_pass(zoom_user, self.now(), erased).await?;
            bar.set_position(erased.recordings - before);
            match pass {
                ErasurePass::Continue => {
                    if std::mem::take(&mut is_first) {
                        let job =
                            Job::SweepErased { zoom_user: zoom_user.clone(), recording: None };
                        let sweep = JobMessage::new(job);
                        let tenant = zoom_user.account_id.as_str();
                        self.jobs.send_delayed(&sweep, tenant, SWEEP_DELAY_SECONDS).await?;
                    }
                }
                // A link cancelled the erasure, or the reconciler completed it.
                ErasurePass::Cancelled => {
                    bar.finish_and_clear();
                    return Ok(self.links.covering_links(zoom_user).await?.is_empty());
                }
                ErasurePass::Waiting => {
                    bar.finish_and_clear();
                    self.output.note(&format!(
                        "The reconciler finishes the erasure of {}/{} within the hour.",
                        zoom_user.account_id, zoom_user.user_id
                    ));
                    return Ok(true);
                }
                ErasurePass::Complete | ErasurePass::OnlyCopies(_) => {
                    bar.finish_and_clear();
                    return Ok(true);
                }
            }
        }
    }

    /// Loads the status of the grants. The reconciler revokes them in jobs.
    async fn load_grants(&self, plan: &Plan) -> anyhow::Result<Grants> {
        let mut grants = Grants::default();
        for link in &plan.links {
            let snapshot = self.links.snapshot(&link.zoom_user).await?;
            let is_needed = snapshot.app_users().next().is_some();
            match snapshot.grant {
                None => grants.ended += 1,
                Some(_) if is_needed => grants.kept_for_others += 1,
                Some(_) => grants.being_revoked += 1,
            }
        }
        Ok(grants)
    }
}
