//! What holds whenever the world is at rest.
//!
//! - The table has a live grant exactly if Zoom honours one, and then it has exactly its pair.
//! - A grant has links, and no link is without a grant.
//! - Nothing that is gone has left tokens, in Links or in Sessions.
//! - Every visible change was told once, under one id; what was told last is how it is.
//! - Nobody sent a refresh token twice, unless an answer was lost on purpose.
//!
//! One loss can't be avoided: whoever dies between Zoom's answer and the write takes the pair along. It
//! is told from all others by this: the pair that Zoom honours was never saved anywhere. Then no link
//! may still say that it is active.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{GrantStatus, Link, LinkStatus};
use reelay_store::links::GrantSnapshot;
use reelay_store::vault::TokenOwner;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::case::Case;

impl Case<'_> {
    /// Checks everything at rest.
    ///
    /// # Errors
    /// If the simulation itself does not work.
    pub(crate) async fn check(&mut self) -> anyhow::Result<()> {
        let mut links = Vec::new();
        let mut kept: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for zoom_user in self.zoom_users.clone() {
            let pair = self.check_grant(&zoom_user, &mut links).await?;
            let of_user = kept.entry(zoom_user.user_id.to_string()).or_default();
            of_user.extend(pair);
        }
        let mut lost = 0;
        for (user_id, kept) in kept {
            lost += usize::from(self.agrees(&user_id, &kept).await?);
        }
        self.verdict.unavoidable_losses = self.verdict.unavoidable_losses.max(lost);
        for open in self.world.sessions.open_exchanges().await? {
            self.violation(format!("an exchange is left: {:?}", open.item.stage));
            // It is no business of the next seed.
            self.world.sessions.delete_exchange(&open.key).await?;
        }
        self.check_listed(&links).await?;
        self.check_told(&links);
        self.check_refreshes()
    }

    /// Checks that nothing is left in the table of anybody, once all links are given up.
    ///
    /// # Errors
    /// If the simulation itself does not work.
    pub(crate) async fn check_nothing_is_left(&mut self) -> anyhow::Result<()> {
        for zoom_user in self.zoom_users.clone() {
            let holding = self.world.links.snapshot(&zoom_user).await?;
            if holding != GrantSnapshot::default() {
                let grant = holding.grant.map(|grant| grant.status);
                let links = holding.links.len();
                self.violation(format!("left in the end: grant {grant:?}, {links} links"));
            }
        }
        Ok(())
    }

    /// Checks one partition of the table. Gives the refresh token that it keeps, if it says that Zoom honours
    /// it.
    async fn check_grant(
        &mut self,
        zoom_user: &ZoomUser,
        links: &mut Vec<Link>,
    ) -> anyhow::Result<Option<String>> {
        let holding = self.world.links.snapshot(zoom_user).await?;
        if !holding.outbox.is_empty() {
            self.violation("something is left to be told");
        }
        let all = |status: LinkStatus| holding.links.iter().all(|link| link.status == status);
        let mut kept = None;
        match holding.grant.as_ref().map(|grant| grant.status) {
            None if holding.links.is_empty() => {}
            None => self.violation(format!("{} links without a grant", holding.links.len())),
            Some(_) if holding.links.is_empty() => self.violation("a grant that nobody needs"),
            Some(GrantStatus::Revoking) => self.violation("a grant that is ending has links"),
            Some(GrantStatus::ReauthorizationRequired)
                if !all(LinkStatus::ReauthorizationRequired) =>
            {
                let found = statuses(&holding.links);
                self.violation(format!(
                    "on a dead grant there are links that are {found:?}"
                ));
            }
            Some(GrantStatus::Live) if !all(LinkStatus::Active) => {
                let found = statuses(&holding.links);
                self.violation(format!(
                    "on a live grant there are links that are {found:?}"
                ));
            }
            Some(GrantStatus::ReauthorizationRequired | GrantStatus::Live) => {}
        }
        if let Some(grant) = holding.grant {
            match (grant.status, grant.tokens) {
                (GrantStatus::Live, Some(sealed)) => {
                    let owner = TokenOwner::Grant(zoom_user.clone());
                    let pair = self.world.vault.decrypt(&owner, &sealed).await?;
                    kept = Some(pair.refresh_token.expose_secret().to_owned());
                }
                (GrantStatus::Live, None) => self.violation("a live grant without tokens"),
                (GrantStatus::ReauthorizationRequired, Some(_)) => {
                    self.violation("a dead grant has kept its tokens")
                }
                (GrantStatus::ReauthorizationRequired, None) | (GrantStatus::Revoking, _) => {}
            }
        }
        links.extend(holding.links);
        Ok(kept)
    }

    /// What the table keeps of one Zoom user, under all of their accounts, is what Zoom honours. Whether a
    /// pair was lost as it can't be avoided.
    async fn agrees(&mut self, user_id: &str, kept: &[String]) -> anyhow::Result<bool> {
        let honoured = self.world.zoom()?.live_grant(user_id);
        let honoured = honoured.map(|grant| grant.refresh_token);
        if kept.iter().any(|pair| Some(pair) != honoured.as_ref()) {
            self.violation("the table's pair is not the one that Zoom honours");
        }
        match honoured {
            Some(honoured) if !kept.contains(&honoured) => self.is_lost(&honoured).await,
            _ => Ok(false),
        }
    }

    /// Zoom honours a pair that the table does not have: unavoidable only if it was never saved.
    async fn is_lost(&mut self, honoured: &str) -> anyhow::Result<bool> {
        for saved in self.world.journal.saved() {
            let pair = self
                .world
                .vault
                .decrypt(&saved.owner, &saved.sealed)
                .await?;
            if pair.refresh_token.expose_secret() == honoured {
                self.violation("Zoom honours a grant whose pair was saved, and is gone");
                return Ok(false);
            }
        }
        if !self.disturbed {
            self.violation("Zoom honours a grant whose pair nobody saved, and nobody died");
            return Ok(false);
        }
        Ok(true)
    }

    /// The app sees what is in the table.
    async fn check_listed(&mut self, links: &[Link]) -> anyhow::Result<()> {
        for app_user in self.app_users.clone() {
            let mine =
                |link: &&Link| link.app_user.as_str() == app_user && link.status.is_visible();
            let expected: BTreeSet<String> = links
                .iter()
                .filter(mine)
                .map(|link| format!("{} {:?}", link.id, link.status).to_lowercase())
                .collect();
            let listed: BTreeSet<String> = self
                .world
                .listed(&app_user)
                .await?
                .iter()
                .map(|link| {
                    let text = |name: &str| link[name].as_str().unwrap_or_default().to_owned();
                    let status = text("status").replace('_', "");
                    format!("{} {status}", text("id")).to_lowercase()
                })
                .collect();
            if listed != expected {
                self.violation(format!("listed {listed:?}, kept {expected:?}"));
            }
        }
        Ok(())
    }

    /// What the app was told of each link, in the order in which it happened, makes sense.
    fn check_told(&mut self, links: &[Link]) {
        let mut bodies: BTreeMap<String, String> = BTreeMap::new();
        let mut stories: BTreeMap<String, BTreeMap<(Timestamp, u64), Fact>> = BTreeMap::new();
        for told in self.world.journal.told() {
            if let Some(first) = bodies.insert(told.id.clone(), told.body.clone()) {
                if first != told.body {
                    self.violation(format!("{} was told with two bodies", told.id));
                }
                continue;
            }
            let Some((link, at, fact)) = fact(&told.body) else {
                self.violation(format!("told of something else: {}", told.event_type));
                continue;
            };
            let story = stories.entry(link).or_default();
            if let Some(other) = story.insert(at, fact.clone()) {
                self.violation(format!("{other:?} and {fact:?} are told as one change"));
            }
        }
        for (link, story) in &stories {
            let facts: Vec<&Fact> = story.values().collect();
            if facts.windows(2).any(|pair| pair[0] == pair[1]) {
                self.violation(format!("one thing was told twice: {facts:?}"));
            }
            let status = links.iter().find(|kept| kept.id.as_str() == link);
            let expected = match status.map(|link| link.status) {
                Some(LinkStatus::Active) => "link.activated",
                Some(LinkStatus::ReauthorizationRequired) => "link.reauthorization_required",
                Some(LinkStatus::Pending) | None => "link.removed",
            };
            if facts.last().is_some_and(|last| last.kind != expected) {
                self.violation(format!("told {facts:?}, and it is {expected}"));
            }
        }
        for link in links.iter().filter(|link| link.status.is_visible()) {
            if !stories.contains_key(link.id.as_str()) {
                self.violation("the app was never told of a link");
            }
        }
    }

    /// A refresh token is good once.
    fn check_refreshes(&mut self) -> anyhow::Result<()> {
        let ours: BTreeSet<&str> = self
            .zoom_users
            .iter()
            .map(|it| it.user_id.as_str())
            .collect();
        let grants = self.world.zoom()?.grants();
        let spent: u32 = grants
            .iter()
            .filter(|grant| ours.contains(grant.user_id.as_str()))
            .map(|grant| grant.refresh_token_reuses)
            .sum();
        if spent > 0 && !self.disturbed {
            self.violation(format!(
                "{spent} refreshes with a token that was spent, and nobody died"
            ));
        }
        Ok(())
    }
}

fn statuses(links: &[Link]) -> Vec<LinkStatus> {
    links.iter().map(|link| link.status).collect()
}

/// What was told of a link. That it is active is told again when it goes along to another account.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fact {
    kind: String,
    account: String,
}

/// Of which link, when, and what: by the link's beginning and its sequence, which rises with every change.
fn fact(body: &str) -> Option<(String, (Timestamp, u64), Fact)> {
    let body: Value = serde_json::from_str(body).ok()?;
    let text = |pointer| body.pointer(pointer)?.as_str().map(str::to_owned);
    let created_at: Timestamp = text("/data/link/created_at")?.parse().ok()?;
    let sequence = body.pointer("/data/sequence")?.as_u64()?;
    let fact = Fact {
        kind: text("/type")?,
        account: text("/data/link/zoom/account_id")?,
    };
    Some((text("/data/link/id")?, (created_at, sequence), fact))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use aws_sdk_dynamodb::types::AttributeValue;

    use super::*;
    use crate::dice::Dice;
    use crate::world::World;

    /// A world at rest: one link, active.
    async fn linked(world: &World) -> Case<'_> {
        let mut case = Case::begin(world, Dice::new(0, ""), 1, 1).unwrap();
        let user = case.zoom_users[0].user_id.to_string();
        world.link(&case.app_users[0], &user).await.unwrap();
        case.work().await.unwrap();
        case.check().await.unwrap();
        assert_eq!(case.verdict.violations, [""; 0]);
        case
    }

    /// Checks once more, after something was spoiled.
    async fn found(case: &mut Case<'_>) -> Vec<String> {
        case.check().await.unwrap();
        std::mem::take(&mut case.verdict.violations)
    }

    async fn delete(world: &World, zoom_user: &ZoomUser, entry: &str) {
        let table = &world.stack().config().tables.links;
        let delete = world
            .stack()
            .sdk()
            .dynamodb()
            .delete_item()
            .table_name(table);
        let delete = delete.key("zoom_user", AttributeValue::S(zoom_user.key()));
        let delete = delete.key("entry", AttributeValue::S(entry.to_owned()));
        delete.send().await.unwrap();
    }

    #[tokio::test]
    async fn a_pair_that_zoom_does_not_honour_is_found() {
        let world = World::start().await.unwrap();
        let mut case = linked(&world).await;
        let user = case.zoom_users[0].user_id.to_string();
        world.zoom().unwrap().authorize(&user).unwrap();
        assert_eq!(
            found(&mut case).await,
            [
                "the table's pair is not the one that Zoom honours",
                "Zoom honours a grant whose pair nobody saved, and nobody died"
            ]
        );
    }

    #[tokio::test]
    async fn a_link_without_a_grant_and_a_grant_without_a_link_are_found() {
        let world = World::start().await.unwrap();
        let mut case = linked(&world).await;
        let (user, app_user) = (case.zoom_users[0].clone(), case.app_users[0].clone());
        delete(&world, &user, "grant").await;
        let violations = found(&mut case).await.join("; ");
        assert!(
            violations.contains("1 links without a grant"),
            "{violations}"
        );

        let mut case = linked(&world).await;
        delete(
            &world,
            &case.zoom_users[0],
            &format!("link#{}", case.app_users[0]),
        )
        .await;
        let violations = found(&mut case).await.join("; ");
        assert!(
            violations.contains("a grant that nobody needs"),
            "{violations}"
        );
        assert!(
            violations.contains("and it is link.removed"),
            "{violations}"
        );
        assert_ne!(app_user, case.app_users[0]);
    }

    #[tokio::test]
    async fn a_saved_pair_that_is_gone_is_no_unavoidable_loss() {
        let world = World::start().await.unwrap();
        let mut case = linked(&world).await;
        let (user, app_user) = (case.zoom_users[0].clone(), case.app_users[0].clone());
        delete(&world, &user, "grant").await;
        delete(&world, &user, &format!("link#{app_user}")).await;
        case.disturbed = true;
        let violations = found(&mut case).await.join("; ");
        assert!(
            violations.contains("whose pair was saved, and is gone"),
            "{violations}"
        );
        assert_eq!(case.verdict.unavoidable_losses, 0);
    }

    #[tokio::test]
    async fn a_pair_that_nobody_saved_is_forgiven_only_if_somebody_died() {
        let world = World::start().await.unwrap();
        let mut case = Case::begin(&world, Dice::new(0, ""), 1, 1).unwrap();
        let user = case.zoom_users[0].user_id.to_string();
        world.zoom().unwrap().authorize(&user).unwrap();
        assert_eq!(
            found(&mut case).await,
            ["Zoom honours a grant whose pair nobody saved, and nobody died"]
        );
        case.disturbed = true;
        assert_eq!(found(&mut case).await, [""; 0]);
        assert_eq!(case.verdict.unavoidable_losses, 1);
    }

    #[tokio::test]
    async fn what_the_app_was_not_told_is_found() {
        let world = World::start().await.unwrap();
        let mut case = linked(&world).await;
        world.journal.clear();
        assert_eq!(found(&mut case).await, ["the app was never told of a link"]);
    }

    #[tokio::test]
    async fn a_spent_refresh_token_is_noticed() {
        let world = World::start().await.unwrap();
        let mut case = linked(&world).await;
        let user = case.zoom_users[0].clone();
        let grants = world.warm.grants().unwrap();
        let holding = world.links.snapshot(&user).await.unwrap();
        let owner = TokenOwner::Grant(user);
        let sealed = holding.grant.unwrap().tokens.unwrap();
        let pair = world.vault.decrypt(&owner, &sealed).await.unwrap();
        let credentials = grants.credentials().await.unwrap();
        for _ in 0..2 {
            let refreshed = grants.zoom().refresh(&credentials, &pair.refresh_token);
            let _ = refreshed.await;
        }
        let violations = found(&mut case).await.join("; ");
        assert!(
            violations.contains("1 refreshes with a token that was spent"),
            "{violations}"
        );
    }
}
