//! Invariants of a settled world.
//!
//! - The table has a live grant with the current token pair if and only if Zoom honours a grant.
//! - Each grant has links, and each link has a grant.
//! - Neither Links nor Sessions holds tokens of a removed grant.
//! - A live grant has an active link; a link becomes active only by a claim that its own app user confirms.
//! - Each visible change has one notification id, and the last notification matches the current state.
//! - No refresh token is sent twice, unless a fault lost a response.
//!
//! Two losses are unavoidable. An operation killed between Zoom's response and the write loses the token pair; this is
//! distinguished from other losses by a pair that Zoom honours and that no table ever held. And two exchanges
//! whose responses Reelay received in another order than Zoom processed them cannot be ordered. Then no link may still be active.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{GrantState, GrantStatus, Link, LinkStatus};
use reelay_domain::message::Notification;
use reelay_store::vault::TokenOwner;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::case::Case;
use crate::journal::SavedPair;

impl Case<'_> {
    /// Checks all invariants.
    pub(crate) async fn check(&mut self) -> anyhow::Result<()> {
        let mut links = Vec::new();
        let mut stored_tokens: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for zoom_user in self.zoom_users.clone() {
            let token = self.check_grant(&zoom_user, &mut links).await?;
            let of_user = stored_tokens.entry(zoom_user.user_id.to_string());
            of_user.or_default().extend(token);
        }
        let mut losses = 0;
        for (user_id, stored) in stored_tokens {
            losses += usize::from(self.check_tokens(&user_id, &stored).await?);
        }
        self.outcome.unavoidable_losses = self.outcome.unavoidable_losses.max(losses);
        let now = self.world.stack().clock().now();
        for exchange in self.world.sessions.open_exchanges(&self.world.links, now).await? {
            self.violation(format!("an exchange remains: {:?}", exchange.item.stage));
            // Delete it, so that it does not fail the next seed.
            self.world.sessions.delete_exchange(&self.world.links, &exchange.key).await?;
        }
        self.check_listed_links(&links).await?;
        self.check_link_notifications(&links)?;
        self.check_token_reuse()
    }

    /// Checks that no grant or link remains after all links are disconnected.
    pub(crate) async fn check_nothing_remains(&mut self) -> anyhow::Result<()> {
        for zoom_user in self.zoom_users.clone() {
            let snapshot = self.world.links.snapshot(&zoom_user).await?;
            let is_gone = snapshot.grant_state() == GrantState::default();
            if !is_gone || !snapshot.outbox.is_empty() {
                let grant = snapshot.grant.map(|grant| grant.status);
                let links = snapshot.links.len();
                self.violation(format!("grant {grant:?} and {links} links remain"));
            }
        }
        Ok(())
    }

    /// Checks one partition of the Links table; returns the refresh token of a live grant.
    async fn check_grant(
        &mut self,
        zoom_user: &ZoomUser,
        links: &mut Vec<Link>,
    ) -> anyhow::Result<Option<String>> {
        let snapshot = self.world.links.snapshot(zoom_user).await?;
        if !snapshot.outbox.is_empty() {
            self.violation("the outbox holds an unpublished notification");
        }
        let count = snapshot.links.len();
        let statuses: Vec<_> = snapshot.links.iter().map(|link| link.status).collect();
        // A consent revives only the link that is confirmed.
        let is_served = |link: &Link| {
            link.status == LinkStatus::Active
                || (link.status == LinkStatus::ReauthorizationRequired && !link.is_receiving())
        };
        let are_served =
            snapshot.links.iter().all(is_served) && statuses.contains(&LinkStatus::Active);
        let are_waiting =
            statuses.iter().all(|status| *status == LinkStatus::ReauthorizationRequired);
        links.extend(snapshot.links);
        let Some(grant) = snapshot.grant else {
            if count > 0 {
                self.violation(format!("{count} links without a grant"));
            }
            return Ok(None);
        };
        if count == 0 {
            self.violation("a grant without links");
        }
        let is_expected = match grant.status {
            _ if count == 0 => true,
            GrantStatus::Live => are_served,
            GrantStatus::ReauthorizationRequired | GrantStatus::Revoked => are_waiting,
            GrantStatus::Revoking => false,
        };
        if !is_expected {
            let status = grant.status;
            self.violation(format!("a {status:?} grant has links in {statuses:?}"));
        }
        match (grant.status, grant.tokens) {
            (GrantStatus::Live, Some(encrypted)) => {
                let owner = TokenOwner::Grant(zoom_user.clone());
                let pair = self.world.vault.decrypt(&owner, &encrypted).await?;
                return Ok(Some(pair.refresh_token.expose_secret().to_owned()));
            }
            (GrantStatus::Live, None) => self.violation("a live grant has no tokens"),
            (GrantStatus::ReauthorizationRequired | GrantStatus::Revoked, Some(_)) => {
                self.violation("a grant that has ended has tokens")
            }
            (GrantStatus::ReauthorizationRequired | GrantStatus::Revoked, None)
            | (GrantStatus::Revoking, _) => {}
        }
        Ok(None)
    }

    /// Compares a Zoom user's stored refresh tokens, over all accounts, with the token that Zoom accepts.
    /// Returns whether a token pair was lost unavoidably.
    async fn check_tokens(&mut self, user_id: &str, stored: &[String]) -> anyhow::Result<bool> {
        let honoured = self.world.zoom()?.live_grant(user_id);
        let honoured = honoured.map(|grant| grant.refresh_token);
        if stored.iter().any(|token| Some(token) != honoured.as_ref()) {
            self.violation("Zoom does not honour the stored token pair");
        }
        let Some(honoured) = honoured.filter(|token| !stored.contains(token)) else {
            return Ok(false);
        };
        let saved = self.world.journal.saved_pairs();
        for pair in &saved {
            let tokens = self.world.vault.decrypt(&pair.owner, &pair.encrypted).await?;
            if tokens.refresh_token.expose_secret() == honoured {
                if self.is_order_uncertain(user_id, pair, &saved).await? {
                    return Ok(true);
                }
                self.violation("a saved token pair that Zoom honours is gone");
                return Ok(false);
            }
        }
        if !self.is_disturbed {
            self.violation("Zoom honours a pair that was not saved, without a kill or fault");
        }
        Ok(self.is_disturbed)
    }

    /// Whether Reelay received the response to an earlier exchange of this Zoom user at the time of the honoured one's or
    /// later. It orders them by these times. No person consents twice within milliseconds.
    async fn is_order_uncertain(
        &self,
        user_id: &str,
        honoured: &SavedPair,
        saved: &[SavedPair],
    ) -> anyhow::Result<bool> {
        let grants = self.world.zoom()?.grants().into_iter();
        let ended: BTreeSet<String> = grants
            .filter(|it| it.user_id == user_id && it.end_reason.is_some())
            .map(|grant| grant.refresh_token)
            .collect();
        let exchanged_at = honoured.exchanged_at;
        for pair in saved {
            if exchanged_at.is_some() && pair.exchanged_at >= exchanged_at {
                let tokens = self.world.vault.decrypt(&pair.owner, &pair.encrypted).await?;
                if ended.contains(tokens.refresh_token.expose_secret()) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Compares the links that the API lists with the table.
    async fn check_listed_links(&mut self, links: &[Link]) -> anyhow::Result<()> {
        for app_user in self.app_users.clone() {
            let expected: BTreeSet<String> = links
                .iter()
                .filter(|link| link.app_user.as_str() == app_user && link.status.is_visible())
                .map(|link| format!("{} {:?}", link.id, link.status).to_lowercase())
                .collect();
            let listed: BTreeSet<String> = self
                .world
                .list_links(&app_user)
                .await?
                .iter()
                .map(|link| {
                    let text = |name: &str| link[name].as_str().unwrap_or_default().to_owned();
                    let status = text("status").replace('_', "");
                    format!("{} {status}", text("id")).to_lowercase()
                })
                .collect();
            if listed != expected {
                self.violation(format!("the API lists {listed:?}, the table {expected:?}"));
            }
        }
        Ok(())
    }

    /// Returns the notifications without repeated ids; a repeated id with another body is a violation.
    pub(crate) fn distinct_notifications(&mut self) -> Vec<Notification> {
        let mut distinct: BTreeMap<String, Notification> = BTreeMap::new();
        let own = |notification: &Notification| {
            self.app_users.iter().any(|user| user == notification.app_user_id.as_str())
        };
        // Maintenance also enqueues undelivered notifications of earlier seeds.
        let notifications = self.world.journal.notifications();
        for notification in notifications.into_iter().filter(own).collect::<Vec<_>>() {
            let first =
                distinct.entry(notification.id.clone()).or_insert_with(|| notification.clone());
            if first.body != notification.body {
                self.violation(format!("notification {} has two bodies", notification.id));
            }
        }
        distinct.into_values().collect()
    }

    /// Checks that the notifications of each link form a consistent history.
    fn check_link_notifications(&mut self, links: &[Link]) -> anyhow::Result<()> {
        let mut histories: BTreeMap<String, BTreeMap<(Timestamp, u64), Change>> = BTreeMap::new();
        for notification in self.distinct_notifications() {
            let Some((link, position, change)) = parse_change(&notification.body) else {
                let event_type = notification.event_type;
                self.violation(format!("unexpected notification {event_type}"));
                continue;
            };
            let history = histories.entry(link).or_default();
            if let Some(other) = history.insert(position, change.clone()) {
                self.violation(format!("{other:?} and {change:?} share a sequence number"));
            }
        }
        let consents = self.consent_times()?;
        let mut activations: BTreeMap<&str, usize> = BTreeMap::new();
        for (link, history) in &histories {
            let changes: Vec<&Change> = history.values().collect();
            for (index, change) in changes.iter().enumerate() {
                if change.is_activation() && !is_continued(&changes[..index], &consents) {
                    *activations.entry(&change.app_user).or_default() += 1;
                }
            }
            if changes.windows(2).any(|pair| pair[0].is_repeated_by(pair[1])) {
                self.violation(format!("a change was notified twice: {changes:?}"));
            }
            let current = links.iter().find(|it| it.id.as_str() == link);
            let expected = match current.map(|link| link.status) {
                Some(LinkStatus::Active) => "link.activated",
                Some(LinkStatus::ReauthorizationRequired) => "link.reauthorization_required",
                Some(LinkStatus::Pending) | None => "link.removed",
            };
            if changes.last().is_some_and(|last| last.kind != expected) {
                self.violation(format!("{changes:?} does not end with {expected}"));
            }
        }
        for (app_user, activations) in activations {
            let confirmed = self.world.journal.confirmed_claims(app_user);
            let revivals = self.revivals;
            if activations > confirmed + revivals {
                self.violation(format!(
                    "{activations} activations by {confirmed} claims and {revivals} revivals: {histories:?}"
                ));
            }
        }
        for link in links.iter().filter(|link| link.status.is_visible()) {
            if !histories.contains_key(link.id.as_str()) {
                self.violation("a visible link has no notification");
            }
        }
        Ok(())
    }

    /// Times at which the Zoom users consented.
    fn consent_times(&self) -> anyhow::Result<Vec<Timestamp>> {
        let grants = self.world.zoom()?.grants().into_iter();
        let is_own =
            |user_id: &str| self.zoom_users.iter().any(|it| it.user_id.as_str() == user_id);
        Ok(grants.filter(|it| is_own(&it.user_id)).map(|grant| grant.created_at).collect())
    }

    /// Checks that no refresh token was sent twice without a kill or fault.
    fn check_token_reuse(&mut self) -> anyhow::Result<()> {
        let is_own =
            |user_id: &str| (self.zoom_users.iter()).any(|it| it.user_id.as_str() == user_id);
        let grants = self.world.zoom()?.grants();
        let own = grants.iter().filter(|grant| is_own(&grant.user_id));
        let reuses: u32 = own.map(|grant| grant.refresh_token_reuses).sum();
        if reuses > u32::from(self.may_be_diverted) && !self.is_disturbed {
            self.violation(format!("{reuses} reuses of a refresh token, without a kill or fault"));
        }
        Ok(())
    }
}

/// A notified change of a link. A move to another account repeats the kind with another account.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    kind: String,
    account: String,
    app_user: String,
    at: Timestamp,
}

impl Change {
    fn is_activation(&self) -> bool {
        self.kind == "link.activated"
    }

    fn is_repeated_by(&self, next: &Self) -> bool {
        *self == Self { at: self.at, ..next.clone() }
    }
}

/// Whether an activation after these changes of its link needs no claim: the link was active, or was marked only
/// because a consent had invalidated the older tokens. Storing that consent undoes the marking.
fn is_continued(before: &[&Change], consents: &[Timestamp]) -> bool {
    match before {
        [.., last] if last.is_activation() => true,
        [.., active, marked] if marked.kind == "link.reauthorization_required" => {
            active.is_activation() && consents.iter().any(|at| (active.at..=marked.at).contains(at))
        }
        _ => false,
    }
}

/// Parses a notification body into link id, position in the link's history, and change.
fn parse_change(body: &str) -> Option<(String, (Timestamp, u64), Change)> {
    let body: Value = serde_json::from_str(body).ok()?;
    let text = |pointer| body.pointer(pointer)?.as_str().map(str::to_owned);
    let created_at: Timestamp = text("/data/link/created_at")?.parse().ok()?;
    let sequence = body.pointer("/data/sequence")?.as_u64()?;
    let change = Change {
        kind: text("/type")?,
        account: text("/data/link/zoom/account_id")?,
        app_user: text("/data/app_user_id")?,
        at: text("/timestamp")?.parse().ok()?,
    };
    Some((text("/data/link/id")?, (created_at, sequence), change))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use aws_sdk_dynamodb::types::AttributeValue;

    use reelay_zoom::ClientCredentials;

    use super::*;
    use crate::rng::SeededRng;
    use crate::world::World;

    fn new_case(world: &World) -> Case<'_> {
        Case::new(world, SeededRng::new(0, ""), 1, 1).unwrap()
    }

    /// A settled world with one active link.
    async fn linked_case(world: &World) -> Case<'_> {
        let mut case = new_case(world);
        let user = case.zoom_users[0].user_id.as_str();
        world.link(&case.app_users[0], user).await.unwrap();
        case.process_messages().await.unwrap();
        assert_eq!(check(&mut case).await, "");
        case
    }

    async fn check(case: &mut Case<'_>) -> String {
        case.check().await.unwrap();
        std::mem::take(&mut case.outcome.violations).join("; ")
    }

    async fn delete_entry(case: &Case<'_>, entry: &str) {
        let stack = case.world.stack();
        let key = case.zoom_users[0].key();
        stack
            .sdk()
            .dynamodb()
            .delete_item()
            .table_name(&stack.config().tables.links)
            .key("zoom_user", AttributeValue::S(key))
            .key("entry", AttributeValue::S(entry.to_owned()))
            .send()
            .await
            .unwrap();
    }

    fn authorize_elsewhere(case: &Case<'_>) {
        let user = case.zoom_users[0].user_id.as_str();
        case.world.zoom().unwrap().authorize(user).unwrap();
    }

    #[tokio::test]
    async fn outdated_token_pair_is_found() {
        let world = World::start().await.unwrap();
        let mut case = linked_case(&world).await;
        authorize_elsewhere(&case);
        assert_eq!(
            check(&mut case).await,
            "Zoom does not honour the stored token pair; \
             Zoom honours a pair that was not saved, without a kill or fault"
        );
    }

    #[tokio::test]
    async fn link_without_grant_and_grant_without_link_are_found() {
        let world = World::start().await.unwrap();
        let mut case = linked_case(&world).await;
        delete_entry(&case, "grant").await;
        let violations = check(&mut case).await;
        assert!(violations.contains("1 links without a grant"), "{violations}");

        let mut case = linked_case(&world).await;
        delete_entry(&case, &format!("link#{}", case.app_users[0])).await;
        let violations = check(&mut case).await;
        for expected in ["a grant without links", "does not end with link.removed"] {
            assert!(violations.contains(expected), "{violations}");
        }
    }

    #[tokio::test]
    async fn missing_saved_pair_is_no_unavoidable_loss() {
        let world = World::start().await.unwrap();
        let mut case = linked_case(&world).await;
        delete_entry(&case, "grant").await;
        delete_entry(&case, &format!("link#{}", case.app_users[0])).await;
        case.is_disturbed = true;
        let violations = check(&mut case).await;
        let expected = "a saved token pair that Zoom honours is gone";
        assert!(violations.contains(expected), "{violations}");
        assert_eq!(case.outcome.unavoidable_losses, 0);
    }

    #[tokio::test]
    async fn unsaved_pair_is_accepted_only_after_kill() {
        let world = World::start().await.unwrap();
        let mut case = new_case(&world);
        authorize_elsewhere(&case);
        assert_eq!(
            check(&mut case).await,
            "Zoom honours a pair that was not saved, without a kill or fault"
        );
        case.is_disturbed = true;
        assert_eq!(check(&mut case).await, "");
        assert_eq!(case.outcome.unavoidable_losses, 1);
    }

    #[tokio::test]
    async fn missing_notification_is_found() {
        let world = World::start().await.unwrap();
        let mut case = linked_case(&world).await;
        world.journal.clear();
        assert_eq!(check(&mut case).await, "a visible link has no notification");
    }

    #[tokio::test]
    async fn reused_refresh_token_is_found() {
        let world = World::start().await.unwrap();
        let mut case = linked_case(&world).await;
        let user = case.zoom_users[0].clone();
        let grants = world.warm.grants().unwrap();
        let snapshot = world.links.snapshot(&user).await.unwrap();
        let tokens = snapshot.grant.unwrap().tokens.unwrap();
        let owner = TokenOwner::Grant(user);
        let pair = world.vault.decrypt(&owner, &tokens).await.unwrap();
        let secrets = &world.stack().config().secrets;
        let credentials = ClientCredentials {
            client_id: secrets.zoom_client_id.clone(),
            client_secret: secrets.zoom_client_secret.clone().into(),
        };
        for _ in 0..2 {
            let refreshed = grants.zoom().refresh(&credentials, &pair.refresh_token);
            let _ = refreshed.await;
        }
        let violations = check(&mut case).await;
        let expected = "1 reuses of a refresh token";
        assert!(violations.contains(expected), "{violations}");
    }
}
