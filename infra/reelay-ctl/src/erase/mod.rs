//! `erase-user`: an app user's links, and the recordings that nobody else holds.
//!
//! Links end as they always do, by the app's own API: there is one way to that, with its revocations and
//! receipts. What is held of whom is noted before (`LinkTable::add_pending_erasure`), for once the links are gone nothing
//! says any more whose recordings these were; the notes go last. So it can die anywhere, and be run again.

mod holdings;
mod objects;
mod words;

use std::io::{BufRead as _, IsTerminal as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use reelay_domain::ids::{AppUserId, LinkId};
use reelay_domain::jwt::{Audience, MAX_LIFETIME};
use reelay_store::links::{LinkTable, PendingErasure};
use reelay_store::recordings::RecordingTable;
use secrecy::ExposeSecret as _;

use self::holdings::{Holding, Plan};
use self::objects::Objects;
use self::words::Receipt;
use crate::deployment::Deployment;
use crate::output::{Output, several};
use crate::tokens::{self, Wanted};
use crate::{Misused, Verdict};

/// How often what came in between is erased as well. After the links are gone nothing new begins, so the second
/// look as a rule finds nothing.
const MOST_ROUNDS: u32 = 5;
/// Between two looks at transfers that are under way.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
) -> anyhow::Result<Verdict> {
    let eraser = Eraser {
        deployment,
        links: LinkTable::new(&deployment.environment)?,
        recordings: RecordingTable::new(&deployment.environment)?,
        objects: Objects::new(deployment)?,
        output,
    };
    let plan = holdings::plan(&eraser.links, &eraser.recordings, user).await?;
    if plan.is_empty() {
        eraser.forget(user, &plan.to_keep).await?;
        let receipt = Receipt::of_nothing(user, deployment.environment.clock.now());
        output.object(&receipt);
        output.text(&format!("Nothing is held of {user}."));
        return Ok(Verdict::Fine);
    }
    output.note(&words::plan(user, &plan));
    if !yes {
        confirm(user, output)?;
    }
    let receipt = eraser.erase(user, &plan).await?;
    output.object(&receipt);
    output.text(&receipt.to_string());
    Ok(Verdict::Fine)
}

/// Lets a person say the user's id once more.
fn confirm(user: &AppUserId, output: &Output) -> anyhow::Result<()> {
    let stdin = std::io::stdin();
    if output.is_json() || !stdin.is_terminal() {
        return Err(Misused(
            "nobody is there to be asked: run it on a terminal, or with --yes".to_owned(),
        )
        .into());
    }
    output.note(&format!("\nThis can't be undone. Type {user} to go on:"));
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    if line.trim() != user.as_str() {
        bail!("not confirmed; nothing was erased");
    }
    Ok(())
}

impl Eraser<'_> {
    async fn erase(&self, user: &AppUserId, plan: &Plan) -> anyhow::Result<Receipt> {
        let begun = self.now();
        for holding in &plan.to_erase {
            self.links
                .add_pending_erasure(user, &holding.leaving)
                .await?;
        }
        self.end_links(user, &plan.links).await?;
        let mut receipt = Receipt::new(user, plan, begun);
        for holding in &plan.to_erase {
            // Somebody else may have linked the same Zoom user meanwhile.
            if holdings::others(&self.links, user, &holding.leaving).await? > 0 {
                receipt.kept += holding.recordings;
                receipt.recordings -= holding.recordings;
            } else {
                self.erase_recordings(holding, &mut receipt).await?;
            }
            self.links
                .remove_pending_erasure(user, &holding.leaving)
                .await?;
        }
        self.forget(user, &plan.to_keep).await?;
        receipt.ended_at = self.now();
        receipt.grants = self.grants(plan).await?;
        Ok(receipt)
    }

    /// What an earlier run has noted of recordings that others hold by now: they stay.
    async fn forget(&self, user: &AppUserId, kept: &[Holding]) -> anyhow::Result<()> {
        for holding in kept {
            self.links
                .remove_pending_erasure(user, &holding.leaving)
                .await?;
        }
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.deployment.environment.clock.now()
    }

    /// By the app's own API, in the user's name.
    async fn end_links(&self, user: &AppUserId, links: &[LinkId]) -> anyhow::Result<()> {
        if links.is_empty() {
            return Ok(());
        }
        let wanted = Wanted {
            audience: Audience::Api,
            life: MAX_LIFETIME,
            return_to: None,
            once: false,
        };
        let (token, _) = tokens::mint(self.deployment, user, wanted).await?;
        let api = self.deployment.reached_at("ApiUrl")?;
        let bar = self.output.bar(links.len() as u64, "links");
        for id in links {
            let url = format!("{}/links/{id}", api.as_str().trim_end_matches('/'));
            let answer = self
                .deployment
                .http
                .delete(url)
                .bearer_auth(token.expose_secret())
                .send()
                .await
                .with_context(|| format!("link {id} could not be ended; run it again"))?;
            if answer.status().as_u16() != 204 {
                bail!(
                    "link {id} could not be ended: the app's API answers {}. Nothing was erased; `reelay doctor` says \
                     what is wrong",
                    answer.status().as_u16()
                );
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Rows first: a transfer that is under way loses its file, and fails. Then what it had begun, then what is
    /// there; and again, if one of them was just about to finish.
    async fn erase_recordings(
        &self,
        holding: &Holding,
        receipt: &mut Receipt,
    ) -> anyhow::Result<()> {
        let zoom_user = &holding.leaving.zoom_user;
        let bar = self.output.bar(holding.rows as u64, "recordings");
        let mut leased_until = None;
        for _ in 0..MOST_ROUNDS {
            let held = self.recordings.inventory(zoom_user).await?;
            leased_until = leased_until.max(held.leased_until);
            let rows = self
                .recordings
                .erase(zoom_user, |rows| bar.inc(rows as u64))
                .await?;
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
            "recordings of {} / {} keep coming; run it again",
            zoom_user.account_id,
            zoom_user.user_id
        )
    }

    /// Until whoever had a file in hand has let go of it: a few minutes at most.
    async fn wait(&self, until: Timestamp) {
        let left = until.duration_since(self.now()).as_secs().max(0);
        self.output.note(&format!(
            "A transfer is under way; what it leaves is erased at {until}, {} from now. It is safe to stop here, and \
             to run it again.",
            several(usize::try_from(left).unwrap_or(0), "second")
        ));
        while self.now() <= until {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What became of the grants: the reconciler revokes them, on the order of the app's API.
    async fn grants(&self, plan: &Plan) -> anyhow::Result<words::Grants> {
        let mut grants = words::Grants::default();
        for zoom_user in &plan.linked {
            let holding = self.links.snapshot(zoom_user).await?;
            let is_needed = holding.app_users().next().is_some();
            match holding.grant {
                None => grants.ended += 1,
                Some(_) if is_needed => grants.kept_for_others += 1,
                Some(_) => grants.being_revoked += 1,
            }
        }
        Ok(grants)
    }
}

/// What is noted of somebody whose links are being ended.
fn leaving(
    zoom_user: &reelay_domain::ids::ZoomUser,
    current_zoom_user: &reelay_domain::ids::ZoomUser,
) -> PendingErasure {
    PendingErasure {
        zoom_user: zoom_user.clone(),
        current_zoom_user: current_zoom_user.clone(),
    }
}
