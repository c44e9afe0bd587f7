//! One seed of one scenario: its fixtures, the faults injected so far, and the return to a settled state.

use reelay_domain::ids::ZoomUser;
use reelay_store::sessions::{ExchangeStage, OpenExchange};
use reelay_zoom_sim::{NewFault, NewUser};

use crate::app::Claim;
use crate::delivery::{GrantUse, use_grant};
use crate::interleave::{Completion, Op};
use crate::report::Outcome;
use crate::rng::SeededRng;
use crate::world::{ACCESS_TOKEN_EXPIRY, LEASE_EXPIRY, World};

/// One run of a scenario, with users that no other run shares.
#[derive(Debug)]
pub(crate) struct Case<'w> {
    pub(crate) world: &'w World,
    pub(crate) rng: SeededRng,
    /// The Zoom users, once for each account that they have belonged to.
    pub(crate) zoom_users: Vec<ZoomUser>,
    pub(crate) app_users: Vec<String>,
    pub(crate) outcome: Outcome,
    /// Whether a kill or an injected fault may have lost a token pair.
    pub(crate) is_disturbed: bool,
    /// Whether a Zoom user has moved to another account.
    pub(crate) has_moved: bool,
    /// Whether a refreshed pair may be in the other table. The next refresh sends the older token before it looks there.
    pub(crate) may_be_diverted: bool,
    /// Revivals of a grant, each of which activates its links again.
    pub(crate) revivals: usize,
}

impl<'w> Case<'w> {
    /// Creates new users in Zoom and in the app.
    pub(crate) fn new(
        world: &'w World,
        mut rng: SeededRng,
        zoom_users: usize,
        app_users: usize,
    ) -> anyhow::Result<Self> {
        world.journal.clear();
        world.start_index_lag(&mut rng)?;
        let zoom = world.zoom()?;
        let mut users = Vec::new();
        for _ in 0..zoom_users {
            let user = zoom.create_user(NewUser::default())?;
            users
                .push(ZoomUser { account_id: user.account_id.parse()?, user_id: user.id.parse()? });
        }
        // A stack may run the same seed twice; the Zoom user's id keeps the app users distinct.
        let suffix = users.first().map(|user| user.user_id.to_string());
        let suffix = suffix.unwrap_or_default();
        Ok(Self {
            world,
            rng,
            zoom_users: users,
            app_users: (0..app_users).map(|n| format!("app-{n}-{suffix}")).collect(),
            outcome: Outcome::default(),
            is_disturbed: false,
            has_moved: false,
            may_be_diverted: false,
            revivals: 0,
        })
    }

    /// Runs operations concurrently and counts their steps and kills.
    pub(crate) async fn run<T>(&mut self, ops: Vec<Op<'_, T>>) -> Completion<T> {
        let (completion, disturbed_calls) =
            self.world.run(ops, &mut self.rng, self.outcome.kills > 0).await;
        self.outcome.disturbed_calls += disturbed_calls;
        self.outcome.steps += completion.steps;
        self.outcome.kills += completion.kills;
        self.is_disturbed |= completion.kills > 0;
        completion
    }

    /// Starts injecting faults into AWS calls.
    pub(crate) fn start_aws_faults(&mut self) {
        self.world.start_aws_faults(self.rng.fork());
    }

    /// Stops injecting faults into AWS calls and into Zoom.
    pub(crate) fn stop_faults(&mut self) -> anyhow::Result<()> {
        let faulted = self.world.stop_aws_faults();
        self.outcome.faulted_calls += faulted;
        self.is_disturbed |= faulted > 0;
        self.world.zoom()?.clear_faults(None);
        Ok(())
    }

    /// Injects a fault into Zoom.
    pub(crate) fn inject_zoom_fault(&mut self, fault: NewFault) -> anyhow::Result<()> {
        self.world.zoom()?.arm(fault)?;
        self.is_disturbed = true;
        Ok(())
    }

    /// Moves a Zoom user to another account.
    pub(crate) fn move_user(&mut self, to: ZoomUser) -> anyhow::Result<()> {
        let zoom = self.world.zoom()?;
        zoom.move_user(to.user_id.as_str(), to.account_id.as_str())?;
        self.has_moved = true;
        if !self.zoom_users.contains(&to) {
            self.zoom_users.push(to);
        }
        Ok(())
    }

    /// Records a violation of an invariant.
    pub(crate) fn violation(&mut self, message: impl Into<String>) {
        self.outcome.violations.push(message.into());
    }

    /// Processes all deliverable messages; a dead letter is a violation.
    pub(crate) async fn process_messages(&mut self) -> anyhow::Result<()> {
        for body in self.world.process_messages().await? {
            self.violation(format!("message became a dead letter: {body}"));
        }
        Ok(())
    }

    /// Confirms each claim with a probability of `chance` percent.
    pub(crate) async fn confirm_some(
        &mut self,
        claims: Vec<Claim>,
        chance: usize,
    ) -> anyhow::Result<()> {
        for claim in claims {
            if self.rng.percent(chance) {
                let request = self.world.confirm_request(&claim)?;
                Box::pin(self.world.warm.app_api()?.handle(request)).await;
            }
        }
        Ok(())
    }

    /// Ends all faults, leases, delays and access tokens, processes the messages that follow, and checks the
    /// invariants. Delayed jobs are lost with a probability of `loss_chance` percent; then only the
    /// schedule can finish their work.
    pub(crate) async fn settle(&mut self, loss_chance: usize) -> anyhow::Result<()> {
        let loses_delayed_jobs = self.rng.percent(loss_chance);
        self.stop_faults()?;
        self.world.advance(LEASE_EXPIRY);
        if loses_delayed_jobs {
            self.world.journal.drop_delayed();
        }
        self.process_messages().await?;
        self.world.advance_past_delays();
        self.process_messages().await?;
        self.world.advance(ACCESS_TOKEN_EXPIRY);
        // A pending link that moved to another account has no job there. An exchange that was interrupted before its
        // request may have none either, because item and job are written at the same time.
        let now = self.world.stack().clock().now();
        let open = self.world.sessions.open_exchanges(&self.world.links, now).await?;
        let is_begun = |open: &OpenExchange| matches!(open.item.stage, ExchangeStage::Begun {});
        let was_interrupted = self.is_disturbed && open.iter().any(is_begun);
        if loses_delayed_jobs || self.has_moved || was_interrupted {
            self.world.run_schedules().await?;
            self.process_messages().await?;
        }
        let grants = self.world.warm.grants()?;
        for zoom_user in self.zoom_users.clone() {
            match use_grant(grants, &zoom_user).await {
                GrantUse::Succeeded | GrantUse::NotFound | GrantUse::ReauthorizationRequired => {}
                other => self.violation(format!("use of a settled grant ended in {other:?}")),
            }
        }
        self.process_messages().await?;
        Box::pin(self.check()).await
    }

    /// Disconnects all links, processes the messages that follow, and checks that nothing remains.
    pub(crate) async fn finish(mut self) -> anyhow::Result<Outcome> {
        for app_user in self.app_users.clone() {
            for link in self.world.list_links(&app_user).await? {
                let id = link["id"].as_str().unwrap_or_default();
                let request = self.world.disconnect_request(&app_user, id)?;
                let response = Box::pin(self.world.warm.app_api()?.handle(request)).await;
                if response.status() != 204 {
                    self.violation(format!("disconnect returned {}", response.status()));
                }
            }
        }
        self.process_messages().await?;
        self.world.advance_past_delays();
        self.process_messages().await?;
        Box::pin(self.check()).await?;
        self.check_nothing_remains().await?;
        Ok(self.outcome)
    }
}
