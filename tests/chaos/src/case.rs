//! One seed of one scenario: its people, what was done to them, and how the world comes to rest.

use reelay_domain::ids::ZoomUser;
use reelay_zoom_sim::{NewFault, NewUser};

use crate::dice::Dice;
use crate::interleave::{Op, Ran};
use crate::verdict::Verdict;
use crate::work::{Used, use_grant};
use crate::world::{ACCESS_TOKENS_END, World};

/// How the clock is helped by orders that were sent ahead, at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Orders come when they should.
    Ordered,
    /// Orders that were sent ahead are lost; the hourly look has to do.
    OrdersLost,
}

/// A seed's own corner of the world.
#[derive(Debug)]
pub(crate) struct Case<'w> {
    /// Where it happens.
    pub(crate) world: &'w World,
    /// Its chances.
    pub(crate) dice: Dice,
    /// Its Zoom users, under each account that they were in.
    pub(crate) zoom_users: Vec<ZoomUser>,
    /// Its app users.
    pub(crate) app_users: Vec<String>,
    /// What was found so far.
    pub(crate) verdict: Verdict,
    /// Whether anything was killed, or failed on purpose: then a pair may have been lost on its way.
    pub(crate) disturbed: bool,
    /// Whether a Zoom user has changed accounts.
    pub(crate) moved: bool,
}

impl<'w> Case<'w> {
    /// With so many users of each kind, new to everybody.
    ///
    /// # Errors
    /// If the simulator does not take them.
    pub(crate) fn begin(
        world: &'w World,
        dice: Dice,
        zoom_users: usize,
        app_users: usize,
    ) -> anyhow::Result<Self> {
        world.journal.clear();
        let zoom = world.zoom()?;
        let mut people = Vec::new();
        for _ in 0..zoom_users {
            let user = zoom.create_user(NewUser::default())?;
            people.push(ZoomUser {
                account_id: user.account_id.parse()?,
                user_id: user.id.parse()?,
            });
        }
        // Named by a Zoom user of theirs, for a stack may see a seed twice.
        let name = people.first().map(|user| user.user_id.to_string());
        let name = name.unwrap_or_default();
        Ok(Self {
            world,
            dice,
            zoom_users: people,
            app_users: (0..app_users).map(|n| format!("app-{n}-{name}")).collect(),
            verdict: Verdict::default(),
            disturbed: false,
            moved: false,
        })
    }

    /// Runs operations side by side, and counts.
    pub(crate) async fn run<T>(&mut self, ops: Vec<Op<'_, T>>) -> Ran<T> {
        let ran = self.world.run(ops, &mut self.dice).await;
        self.verdict.steps += ran.steps;
        self.verdict.kills += ran.kills;
        self.disturbed |= ran.kills > 0;
        ran
    }

    /// Spoils AWS calls from now on.
    pub(crate) fn spoil(&mut self) {
        self.world.spoil(self.dice.split());
    }

    /// Spoils nothing any more.
    pub(crate) fn spare(&mut self) {
        let spoiled = self.world.spare();
        self.verdict.spoiled += spoiled;
        self.disturbed |= spoiled > 0;
    }

    /// Has Zoom fail in some way.
    ///
    /// # Errors
    /// If the simulator does not take it.
    pub(crate) fn arm(&mut self, fault: NewFault) -> anyhow::Result<()> {
        self.world.zoom()?.arm(fault)?;
        self.disturbed = true;
        Ok(())
    }

    /// Notes that something was found that must not be.
    pub(crate) fn violation(&mut self, what: impl Into<String>) {
        self.verdict.violations.push(what.into());
    }

    /// Works off what is due.
    ///
    /// # Errors
    /// If a function does not start, or there is no end to it.
    pub(crate) async fn work(&mut self) -> anyhow::Result<()> {
        for dead in self.world.work().await? {
            self.violation(format!("given up by SQS: {dead}"));
        }
        Ok(())
    }

    /// Lets the world come to rest: everybody dead is waited for, messages come, claims and tokens
    /// expire, whoever is linked uses their grant.
    ///
    /// # Errors
    /// If the simulation itself does not work.
    pub(crate) async fn rest(&mut self, how: Rest) -> anyhow::Result<()> {
        self.spare();
        self.world.zoom()?.clear_faults(None);
        self.world.advance(crate::world::LEASES_END);
        if how == Rest::OrdersLost {
            self.world.journal.lose_what_was_sent_ahead();
        }
        self.work().await?;
        self.world.wait_for_what_was_sent_ahead();
        self.work().await?;
        self.world.advance(ACCESS_TOKENS_END);
        // A pending link that went along to another account has no order there.
        if how == Rest::OrdersLost || self.moved {
            self.world.strike().await?;
            self.work().await?;
        }
        let grants = self.world.warm.grants()?;
        for zoom_user in self.zoom_users.clone() {
            match use_grant(grants, &zoom_user).await {
                Used::Works | Used::Over("none" | "reauthorization required") => {}
                other => self.violation(format!("used at rest: {other:?}")),
            }
        }
        self.work().await
    }

    /// All app users give up all links; the world comes to rest once more.
    ///
    /// # Errors
    /// If the simulation itself does not work.
    pub(crate) async fn give_up_everything(&mut self) -> anyhow::Result<()> {
        for app_user in self.app_users.clone() {
            for link in self.world.listed(&app_user).await? {
                let id = link["id"].as_str().unwrap_or_default();
                let request = self.world.disconnecting(&app_user, id)?;
                let answer = self.world.warm.app_api()?.handle(request).await;
                if answer.status() != 204 {
                    self.violation(format!("not disconnected: {}", answer.status()));
                }
            }
        }
        self.work().await?;
        self.world.wait_for_what_was_sent_ahead();
        self.work().await
    }
}
