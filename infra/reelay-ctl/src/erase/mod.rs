//! `erase-user`: deletes an app user's links and the recordings that no other app user's link covers.
//!
//! Links are deleted through the API, which also revokes grants. Deleted links no longer tell whose recordings
//! these were, so the Zoom users are stored first (`LinkTable::add_pending_erasure`) and removed last. An
//! interrupted run can be repeated.

mod objects;
mod plan;
mod report;

use std::io::{BufRead as _, IsTerminal as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use reelay_domain::ids::{AppUserId, LinkId};
use reelay_domain::jwt::{Audience, MAX_LIFETIME};
use reelay_store::links::LinkTable;
use reelay_store::recordings::RecordingTable;
use secrecy::ExposeSecret as _;

use self::objects::Objects;
use self::plan::{Holding, Plan};
use self::report::{Grants, Receipt};
use crate::deployment::Deployment;
use crate::output::{Outcome, Output, UsageError, plural};
use crate::token::{self, TokenRequest};

/// Deletion is repeated for files that finish meanwhile. Usually the second pass finds nothing.
const MAX_PASSES: u32 = 5;
const POLL_INTERVAL: Duration = Duration::from_secs(1);

struct Eraser<'a> {
    deployment: &'a Deployment,
    links: LinkTable,
    recordings: RecordingTable,
    objects: Objects,
    output: &'a Output,
}

pub(crate) async fn run(
    deployment: &Deployment,
    user: &AppUserId,
    yes: bool,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let eraser = Eraser {
        deployment,
        links: LinkTable::new(&deployment.environment)?,
        recordings: RecordingTable::new(&deployment.environment)?,
        objects: Objects::new(deployment)?,
        output,
    };
    let plan = plan::load(&eraser.links, &eraser.recordings, user).await?;
    if plan.is_empty() {
        eraser.remove_pending(user, &plan.to_keep).await?;
        let receipt = Receipt::empty(user, deployment.environment.clock.now());
        output.json(&receipt);
        output.line(&format!("Reelay stores nothing of {user}."));
        return Ok(Outcome::Success);
    }
    output.note(&report::describe_plan(user, &plan));
    if !yes {
        confirm(user, output)?;
    }
    let receipt = eraser.erase(user, &plan).await?;
    output.json(&receipt);
    output.line(&receipt.to_string());
    Ok(Outcome::Success)
}

/// Lets the operator confirm by typing the user's id.
fn confirm(user: &AppUserId, output: &Output) -> anyhow::Result<()> {
    let stdin = std::io::stdin();
    if output.is_json() || !stdin.is_terminal() {
        return Err(UsageError(
            "erasure needs confirmation: run it in a terminal, or with --yes".to_owned(),
        )
        .into());
    }
    output.note(&format!("\nThis cannot be undone. Type {user} to continue:"));
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    if line.trim() != user.as_str() {
        bail!("not confirmed: nothing was erased");
    }
    Ok(())
}

impl Eraser<'_> {
    async fn erase(&self, user: &AppUserId, plan: &Plan) -> anyhow::Result<Receipt> {
        let started_at = self.now();
        for holding in &plan.to_erase {
            self.links.add_pending_erasure(user, &holding.erasure).await?;
        }
        self.delete_links(user, &plan.links).await?;
        let mut receipt = Receipt::new(user, plan, started_at);
        for holding in &plan.to_erase {
            // Another app user may have linked the same Zoom user meanwhile.
            if plan::count_others(&self.links, user, &holding.erasure).await? > 0 {
                receipt.kept += holding.recordings;
                receipt.recordings -= holding.recordings;
            } else {
                self.erase_recordings(holding, &mut receipt).await?;
            }
            self.links.remove_pending_erasure(user, &holding.erasure).await?;
        }
        self.remove_pending(user, &plan.to_keep).await?;
        receipt.ended_at = self.now();
        receipt.grants = self.load_grants(plan).await?;
        Ok(receipt)
    }

    /// Removes pending erasures of recordings that other users' links now cover.
    async fn remove_pending(&self, user: &AppUserId, kept: &[Holding]) -> anyhow::Result<()> {
        for holding in kept {
            self.links.remove_pending_erasure(user, &holding.erasure).await?;
        }
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.deployment.environment.clock.now()
    }

    /// Deletes the links through the API, with a token of the user.
    async fn delete_links(&self, user: &AppUserId, links: &[LinkId]) -> anyhow::Result<()> {
        if links.is_empty() {
            return Ok(());
        }
        let request = TokenRequest::new(Audience::Api, MAX_LIFETIME);
        let (token, _) = token::mint(self.deployment, user, request).await?;
        let api = self.deployment.endpoint("ApiUrl")?;
        let bar = self.output.progress_bar(links.len() as u64, "links");
        for id in links {
            let url = format!("{}/links/{id}", api.as_str().trim_end_matches('/'));
            let response = self
                .deployment
                .http
                .delete(url)
                .bearer_auth(token.expose_secret())
                .send()
                .await
                .with_context(|| format!("failed to delete link {id}; run the command again"))?;
            if response.status().as_u16() != 204 {
                bail!(
                    "failed to delete link {id}: the API responded {}. No recording was erased; find the cause with: {}",
                    response.status().as_u16(),
                    self.deployment.reelay_command("doctor")
                );
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Deletes table items, then open uploads, then objects. Without its item a running transfer fails; the pass is
    /// repeated for a transfer that was about to finish.
    async fn erase_recordings(
        &self,
        holding: &Holding,
        receipt: &mut Receipt,
    ) -> anyhow::Result<()> {
        let zoom_user = &holding.erasure.zoom_user;
        let bar = self.output.progress_bar(holding.rows as u64, "recordings");
        let mut leased_until = None;
        for _ in 0..MAX_PASSES {
            let held = self.recordings.inventory(zoom_user).await?;
            leased_until = leased_until.max(held.leased_until);
            let rows = self.recordings.erase(zoom_user, |rows| bar.inc(rows as u64)).await?;
            receipt.uploads += self.objects.abort_uploads(zoom_user).await?;
            let (objects, bytes) = self.objects.erase(zoom_user).await?;
            receipt.objects += objects;
            receipt.bytes += bytes;
            if let Some(until) = leased_until.filter(|until| *until > self.now()) {
                self.wait(until).await;
            } else if rows == 0 && objects == 0 {
                bar.finish_and_clear();
                return Ok(());
            }
        }
        bail!(
            "new files of {} / {} keep arriving; run the command again",
            zoom_user.account_id,
            zoom_user.user_id
        )
    }

    /// Waits until the leases of running transfers expire: a few minutes at most.
    async fn wait(&self, until: Timestamp) {
        let left = until.duration_since(self.now()).as_secs().max(0);
        self.output.note(&format!(
            "A transfer is running; its remains are erased at {until}, {} from now. You can stop here and run the command \
             again later.",
            plural(left.unsigned_abs(), "second")
        ));
        while self.now() <= until {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Loads the status of the grants. The reconciler revokes them in jobs that the API has enqueued.
    async fn load_grants(&self, plan: &Plan) -> anyhow::Result<Grants> {
        let mut grants = Grants::default();
        for zoom_user in &plan.linked {
            let snapshot = self.links.snapshot(zoom_user).await?;
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
