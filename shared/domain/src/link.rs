//! Links and the grant that they share: what there is, what can happen to it, and what follows.
//!
//! A *link* says "this app user may have that Zoom user's recordings". All links of one Zoom user share
//! one *grant*, Zoom's OAuth tokens, because Zoom ends the older grant when the same user authorizes the
//! app again. The rules below are one function of the state and what happens; whoever writes the result
//! does so in one transaction.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{AppUserId, LinkId, ZoomUser};

/// How many app users may share one Zoom user's grant. A change of the grant and all of its links is one
/// transaction, which in DynamoDB has 100 items; when a Zoom user changes accounts each link takes two.
pub const MAX_LINKS_PER_GRANT: usize = 45;

/// A link's state. A pending link is never listed, routed to or notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkStatus {
    /// Zoom consented; the app has not confirmed yet.
    Pending,
    /// Confirmed by the app.
    Active,
    /// Confirmed, but Zoom no longer honours the grant; the user must connect again.
    ReauthorizationRequired,
}

impl LinkStatus {
    /// Whether the app sees the link and gets its recordings.
    pub fn is_visible(self) -> bool {
        matches!(self, Self::Active | Self::ReauthorizationRequired)
    }
}

/// A grant's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantStatus {
    /// It has tokens that Zoom honours, as far as we know.
    #[default]
    Live,
    /// Zoom does not honour it any more; it has no tokens. Its links wait for a new consent.
    ReauthorizationRequired,
    /// Nobody needs it any more; it is being revoked. There is no way back from here: revoking ends
    /// whatever the Zoom user has granted to this app.
    Revoking,
}

/// A link as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Derived from the pair, so linking again finds the same one.
    pub id: LinkId,
    /// The app's user.
    pub app_user: AppUserId,
    /// Zoom's user.
    pub zoom_user: ZoomUser,
    /// The name that Zoom shows; may be empty.
    pub display_name: String,
    /// Where it stands.
    pub status: LinkStatus,
    /// When Zoom consented for the first time.
    pub created_at: Timestamp,
    /// When the app confirmed it.
    pub activated_at: Option<Timestamp>,
    /// Until when the app may confirm it; the latest claim counts.
    pub pending_until: Option<Timestamp>,
    /// What Zoom called the same user before, in other accounts: recordings of then are still theirs.
    pub previous_zoom_users: Vec<ZoomUser>,
}

/// `link` of the API and of notifications.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(
    missing_docs,
    reason = "the fields are those of the public API, documented there"
)]
pub struct LinkView {
    pub id: LinkId,
    pub status: LinkStatus,
    pub zoom: LinkedZoomUser,
    pub created_at: Timestamp,
    pub activated_at: Option<Timestamp>,
}

/// `link.zoom`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(
    missing_docs,
    reason = "the fields are those of the public API, documented there"
)]
pub struct LinkedZoomUser {
    #[serde(flatten)]
    pub user: ZoomUser,
    pub display_name: String,
}

impl Link {
    /// Everybody whose recordings the link gives: the Zoom user, under all of their names.
    pub fn zoom_users(&self) -> impl Iterator<Item = &ZoomUser> {
        std::iter::once(&self.zoom_user).chain(&self.previous_zoom_users)
    }

    /// As the app sees it.
    pub fn view(&self) -> LinkView {
        LinkView {
            id: self.id.clone(),
            status: self.status,
            zoom: LinkedZoomUser {
                user: self.zoom_user.clone(),
                display_name: self.display_name.clone(),
            },
            created_at: self.created_at,
            activated_at: self.activated_at,
        }
    }
}

/// A Zoom user's grant and links at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrantState {
    /// The grant, if there is one.
    pub grant: Option<GrantStatus>,
    /// All links, pending ones included.
    pub links: Vec<Link>,
}

/// What can happen to a Zoom user's grant and links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantChange {
    /// Zoom consented: there are new tokens, good for all links, and perhaps a new link that waits for
    /// the app's word.
    Consent {
        /// The link that is begun; absent when the tokens make none (a scope is missing).
        link: Option<Link>,
        /// Whether tokens that Zoom gave later are with the grant already: then these are dead, and only
        /// the link counts.
        superseded: bool,
    },
    /// The app confirmed the link of this user.
    Confirm {
        /// Whose.
        app_user: AppUserId,
    },
    /// The app, or the user in it, gave up the link.
    Disconnect {
        /// Whose.
        app_user: AppUserId,
    },
    /// The link's claim has expired; if it was never confirmed, it goes.
    ExpirePending {
        /// Whose.
        app_user: AppUserId,
    },
    /// Zoom refuses the tokens for good.
    RequireReauthorization,
    /// The Zoom user removed the app at Zoom: nothing of the grant is left there.
    Deauthorize,
    /// The revocation that [`GrantStatus::Revoking`] began is done.
    CompleteRevocation,
}

/// Why a change can't be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The grant is being revoked; whatever is written now would not outlive it.
    #[error("the grant is being revoked")]
    GrantRevoking,
    /// There is no such link.
    #[error("there is no such link")]
    LinkNotFound,
    /// [`MAX_LINKS_PER_GRANT`] app users share this Zoom user already.
    #[error("too many app users share this Zoom user")]
    TooManyLinks,
}

/// What became of a link that the app sees, or saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkNotification {
    /// `link.activated`.
    Activated(Link),
    /// `link.reauthorization_required`.
    ReauthorizationRequired(Link),
    /// `link.removed`.
    Removed(Link),
}

impl GrantState {
    /// The state after a change. Repeating a change that is done changes nothing.
    ///
    /// # Errors
    /// [`ChangeError`]; then nothing is to be written.
    pub fn apply(&self, change: &GrantChange, now: Timestamp) -> Result<Self, ChangeError> {
        let mut next = self.clone();
        match change {
            GrantChange::Consent { link, superseded } => {
                if self.grant == Some(GrantStatus::Revoking) {
                    // Nothing begins here any more. Tokens alone are taken in, so that what is revoked in
                    // the end is what Zoom honours.
                    return if link.is_none() {
                        Ok(next)
                    } else {
                        Err(ChangeError::GrantRevoking)
                    };
                }
                if !superseded {
                    next.grant = Some(GrantStatus::Live);
                    for known in &mut next.links {
                        if known.status == LinkStatus::ReauthorizationRequired {
                            known.status = LinkStatus::Active;
                        }
                    }
                }
                if let Some(link) = link {
                    let full = next.links.len() >= MAX_LINKS_PER_GRANT;
                    match next
                        .links
                        .iter_mut()
                        .find(|known| known.app_user == link.app_user)
                    {
                        // Linking again keeps the link, so that what works is not taken away.
                        Some(known) => {
                            known.display_name.clone_from(&link.display_name);
                            if known.status == LinkStatus::Pending {
                                known.pending_until = known.pending_until.max(link.pending_until);
                            }
                        }
                        None if full => return Err(ChangeError::TooManyLinks),
                        None => next.links.push(Link {
                            status: LinkStatus::Pending,
                            ..link.clone()
                        }),
                    }
                }
                // New tokens that no link needs are nobody's: the grant begins to end at once.
                next.end_without_links();
            }
            GrantChange::Confirm { app_user } => {
                let dead = self.grant == Some(GrantStatus::ReauthorizationRequired);
                let link = next
                    .links
                    .iter_mut()
                    .find(|link| link.app_user == *app_user)
                    .ok_or(ChangeError::LinkNotFound)?;
                if link.status == LinkStatus::Pending {
                    link.status = if dead {
                        LinkStatus::ReauthorizationRequired
                    } else {
                        LinkStatus::Active
                    };
                    link.activated_at = Some(now);
                    link.pending_until = None;
                }
            }
            GrantChange::Disconnect { app_user } => {
                next.links.retain(|link| link.app_user != *app_user);
                next.end_without_links();
            }
            GrantChange::ExpirePending { app_user } => {
                let expired = |link: &Link| {
                    link.status == LinkStatus::Pending
                        && link.pending_until.is_none_or(|until| until <= now)
                };
                next.links
                    .retain(|link| link.app_user != *app_user || !expired(link));
                next.end_without_links();
            }
            GrantChange::RequireReauthorization => {
                if self.grant == Some(GrantStatus::Live) {
                    next.grant = Some(GrantStatus::ReauthorizationRequired);
                    for link in &mut next.links {
                        if link.status == LinkStatus::Active {
                            link.status = LinkStatus::ReauthorizationRequired;
                        }
                    }
                }
            }
            GrantChange::Deauthorize => next = Self::default(),
            GrantChange::CompleteRevocation => {
                if self.grant == Some(GrantStatus::Revoking) {
                    next.grant = None;
                }
            }
        }
        Ok(next)
    }

    /// The state of a Zoom user to whom the links and the tokens of `old` have come, because Zoom has moved
    /// that user from one account to another. Links keep their ids, so the app's remain what they were;
    /// of two links of one app user the better one stays.
    ///
    /// # Errors
    /// [`ChangeError`]; then nothing is to be written.
    pub fn merge_moved(&self, old: &Self, zoom_user: &ZoomUser) -> Result<Self, ChangeError> {
        if self.grant == Some(GrantStatus::Revoking) {
            return Err(ChangeError::GrantRevoking);
        }
        let mut next = self.clone();
        for link in &old.links {
            let mut previous = link.previous_zoom_users.clone();
            previous.push(link.zoom_user.clone());
            let same = |known: &&mut Link| known.app_user == link.app_user;
            match next.links.iter_mut().find(same) {
                Some(known) => {
                    if known.status == LinkStatus::Pending {
                        known.status = link.status;
                        known.activated_at = link.activated_at;
                        known.pending_until = known.pending_until.max(link.pending_until);
                    }
                    previous.retain(|user| {
                        user != zoom_user && !known.previous_zoom_users.contains(user)
                    });
                    known.previous_zoom_users.extend(previous);
                }
                None => {
                    previous.retain(|user| user != zoom_user);
                    next.links.push(Link {
                        zoom_user: zoom_user.clone(),
                        previous_zoom_users: previous,
                        ..link.clone()
                    });
                }
            }
        }
        if next.links.len() > MAX_LINKS_PER_GRANT {
            return Err(ChangeError::TooManyLinks);
        }
        // The tokens that come along are honoured: Zoom has just told by them who the user is.
        next.grant = Some(GrantStatus::Live);
        for link in &mut next.links {
            if link.status == LinkStatus::ReauthorizationRequired {
                link.status = LinkStatus::Active;
            }
        }
        Ok(next)
    }

    /// A grant that no link needs is revoked; one that is dead has nothing left to revoke.
    fn end_without_links(&mut self) {
        if self.links.is_empty() {
            self.grant = match self.grant {
                Some(GrantStatus::Live | GrantStatus::Revoking) => Some(GrantStatus::Revoking),
                Some(GrantStatus::ReauthorizationRequired) | None => None,
            };
        }
    }

    /// What the app is to be told of the way from `self` to `next`.
    pub fn notifications(&self, next: &Self) -> Vec<LinkNotification> {
        let was = |app_user: &AppUserId| {
            self.links
                .iter()
                .find(|link| link.app_user == *app_user)
                .map(|link| link.status)
        };
        let mut notifications = Vec::new();
        for link in &next.links {
            match (was(&link.app_user), link.status) {
                (before, now) if before == Some(now) => {}
                (_, LinkStatus::Active) => {
                    notifications.push(LinkNotification::Activated(link.clone()))
                }
                (_, LinkStatus::ReauthorizationRequired) => {
                    notifications.push(LinkNotification::ReauthorizationRequired(link.clone()));
                }
                (_, LinkStatus::Pending) => {}
            }
        }
        let gone = |link: &&Link| next.links.iter().all(|kept| kept.app_user != link.app_user);
        let removed = self
            .links
            .iter()
            .filter(gone)
            .filter(|link| link.status.is_visible());
        notifications.extend(removed.cloned().map(LinkNotification::Removed));
        notifications
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> Timestamp {
        "2026-01-01T10:00:00Z".parse().unwrap()
    }

    fn user(n: u8) -> AppUserId {
        format!("user{n}").parse().unwrap()
    }

    fn link(n: u8) -> Link {
        let zoom_user = ZoomUser {
            account_id: "A".parse().unwrap(),
            user_id: "u".parse().unwrap(),
        };
        Link {
            id: LinkId::derive(&user(n), &zoom_user),
            app_user: user(n),
            zoom_user,
            display_name: "Sample Host".into(),
            status: LinkStatus::Pending,
            created_at: now(),
            activated_at: None,
            pending_until: Some(now()),
            previous_zoom_users: Vec::new(),
        }
    }

    fn consent(n: u8) -> GrantChange {
        GrantChange::Consent {
            link: Some(link(n)),
            superseded: false,
        }
    }

    fn run(changes: &[GrantChange]) -> GrantState {
        changes.iter().fold(GrantState::default(), |state, change| {
            state.apply(change, now()).unwrap_or(state)
        })
    }

    #[test]
    fn linking_again_keeps_an_active_link_active() {
        let state = run(&[
            consent(1),
            GrantChange::Confirm { app_user: user(1) },
            consent(1),
        ]);
        assert_eq!(state.links[0].status, LinkStatus::Active);
        assert_eq!(state.links.len(), 1);
    }

    #[test]
    fn a_new_consent_revives_every_link_of_the_grant() {
        let mut changes = vec![
            consent(1),
            GrantChange::Confirm { app_user: user(1) },
            GrantChange::RequireReauthorization,
        ];
        assert_eq!(
            run(&changes).links[0].status,
            LinkStatus::ReauthorizationRequired
        );
        changes.push(consent(2));
        assert_eq!(run(&changes).links[0].status, LinkStatus::Active);
    }

    #[test]
    fn the_last_link_ends_the_grant_and_nothing_starts_on_an_ending_one() {
        let state = run(&[consent(1), GrantChange::Disconnect { app_user: user(1) }]);
        assert_eq!(state.grant, Some(GrantStatus::Revoking));
        assert_eq!(
            state.apply(&consent(2), now()),
            Err(ChangeError::GrantRevoking)
        );
        let tokens = GrantChange::Consent {
            link: None,
            superseded: false,
        };
        assert_eq!(state.apply(&tokens, now()).as_ref(), Ok(&state));
        assert_eq!(
            state
                .apply(&GrantChange::CompleteRevocation, now())
                .unwrap(),
            GrantState::default()
        );
    }

    #[test]
    fn a_pending_link_of_somebody_else_keeps_the_grant() {
        let state = run(&[
            consent(1),
            consent(2),
            GrantChange::Disconnect { app_user: user(1) },
        ]);
        assert_eq!(state.grant, Some(GrantStatus::Live));
    }

    #[test]
    fn tokens_without_a_link_are_revoked() {
        assert_eq!(
            run(&[GrantChange::Consent {
                link: None,
                superseded: false
            }])
            .grant,
            Some(GrantStatus::Revoking)
        );
    }

    #[test]
    fn nobody_is_told_of_pending_links() {
        let before = run(&[consent(1)]);
        assert!(GrantState::default().notifications(&before).is_empty());
        let after = before
            .apply(&GrantChange::ExpirePending { app_user: user(1) }, now())
            .unwrap();
        assert!(before.notifications(&after).is_empty());
    }

    #[test]
    fn a_link_begun_again_waits_for_the_latest_claim() {
        let later = now() + jiff::SignedDuration::from_mins(10);
        let again = GrantChange::Consent {
            link: Some(Link {
                pending_until: Some(later),
                ..link(1)
            }),
            superseded: false,
        };
        let state = run(&[consent(1), again]);
        let expire = GrantChange::ExpirePending { app_user: user(1) };
        assert_eq!(state.apply(&expire, now()).unwrap().links.len(), 1);
        assert!(state.apply(&expire, later).unwrap().links.is_empty());
    }

    #[test]
    fn every_visible_change_is_told_once() {
        let pending = run(&[consent(1)]);
        let active = pending
            .apply(&GrantChange::Confirm { app_user: user(1) }, now())
            .unwrap();
        assert!(matches!(
            pending.notifications(&active)[..],
            [LinkNotification::Activated(_)]
        ));
        assert!(
            active
                .notifications(
                    &active
                        .apply(&GrantChange::Confirm { app_user: user(1) }, now())
                        .unwrap()
                )
                .is_empty()
        );
        let dead = active
            .apply(&GrantChange::RequireReauthorization, now())
            .unwrap();
        assert!(matches!(
            active.notifications(&dead)[..],
            [LinkNotification::ReauthorizationRequired(_)]
        ));
        let gone = dead.apply(&GrantChange::Deauthorize, now()).unwrap();
        assert!(matches!(
            dead.notifications(&gone)[..],
            [LinkNotification::Removed(_)]
        ));
    }

    #[test]
    fn the_forty_sixth_app_user_is_refused_and_the_first_may_come_again() {
        let full = (1..=45).fold(GrantState::default(), |state, n| {
            state.apply(&consent(n), now()).unwrap()
        });
        assert_eq!(
            full.apply(&consent(46), now()),
            Err(ChangeError::TooManyLinks)
        );
        assert!(full.apply(&consent(1), now()).is_ok());
    }

    #[test]
    fn whoever_changes_accounts_keeps_their_links_and_what_they_were_called() {
        let there = ZoomUser {
            account_id: "B".parse().unwrap(),
            user_id: "u".parse().unwrap(),
        };
        let here = link(1).zoom_user;
        let old = run(&[
            consent(1),
            GrantChange::Confirm { app_user: user(1) },
            consent(2),
            GrantChange::Confirm { app_user: user(2) },
        ]);
        // One of the two has begun again, under the new account.
        let new = GrantState {
            grant: Some(GrantStatus::ReauthorizationRequired),
            links: vec![Link {
                id: LinkId::derive(&user(2), &there),
                zoom_user: there.clone(),
                ..link(2)
            }],
        };
        let joined = new.merge_moved(&old, &there).unwrap();
        assert_eq!(joined.grant, Some(GrantStatus::Live));
        assert_eq!(joined.links.len(), 2);
        for link in &joined.links {
            assert_eq!(link.status, LinkStatus::Active);
            assert_eq!(link.zoom_user, there);
            assert_eq!(link.previous_zoom_users, std::slice::from_ref(&here));
        }
        let kept = joined.links.iter().find(|link| link.app_user == user(1));
        assert_eq!(kept.unwrap().id, old.links[0].id);
        let ending = GrantState {
            grant: Some(GrantStatus::Revoking),
            links: Vec::new(),
        };
        assert_eq!(
            ending.merge_moved(&old, &there),
            Err(ChangeError::GrantRevoking)
        );
    }

    fn change() -> impl Strategy<Value = GrantChange> {
        (0u8..9, 1u8..4).prop_map(|(kind, n)| match kind {
            0 | 1 => consent(n),
            2 | 3 => GrantChange::Confirm { app_user: user(n) },
            4 => GrantChange::Disconnect { app_user: user(n) },
            5 => GrantChange::ExpirePending { app_user: user(n) },
            6 => GrantChange::RequireReauthorization,
            7 => GrantChange::Deauthorize,
            _ => GrantChange::CompleteRevocation,
        })
    }

    /// The plain model: who is linked how, and whether Zoom honours tokens of ours.
    #[derive(Default)]
    struct Model {
        confirmed: std::collections::BTreeSet<AppUserId>,
        begun: std::collections::BTreeSet<AppUserId>,
        honoured: bool,
        ending: bool,
    }

    impl Model {
        fn apply(&mut self, change: &GrantChange) {
            match change {
                GrantChange::Consent { link, .. } => {
                    if !self.ending {
                        self.honoured = true;
                        self.begun
                            .extend(link.iter().map(|link| link.app_user.clone()));
                    }
                }
                GrantChange::Confirm { app_user } => {
                    if self.begun.contains(app_user) {
                        self.confirmed.insert(app_user.clone());
                    }
                }
                GrantChange::Disconnect { app_user } => self.drop_user(app_user),
                GrantChange::ExpirePending { app_user } => {
                    if !self.confirmed.contains(app_user) {
                        self.drop_user(app_user);
                    }
                }
                GrantChange::RequireReauthorization => self.honoured &= self.ending,
                GrantChange::Deauthorize => *self = Self::default(),
                GrantChange::CompleteRevocation => {
                    if self.ending {
                        *self = Self::default();
                    }
                }
            }
        }

        fn drop_user(&mut self, app_user: &AppUserId) {
            self.begun.remove(app_user);
            self.confirmed.remove(app_user);
            self.ending |= self.begun.is_empty() && self.honoured;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn any_sequence_of_changes_agrees_with_a_plain_model(changes in proptest::collection::vec(change(), 1..40)) {
            let (mut state, mut model) = (GrantState::default(), Model::default());
            for change in &changes {
                state = state.apply(change, now()).unwrap_or(state);
                model.apply(change);

                // No orphan grant, no link without a grant.
                match state.grant {
                    Some(GrantStatus::Live | GrantStatus::ReauthorizationRequired) => prop_assert!(!state.links.is_empty()),
                    Some(GrantStatus::Revoking) | None => prop_assert!(state.links.is_empty()),
                }
                let users = |wanted: fn(LinkStatus) -> bool| -> std::collections::BTreeSet<AppUserId> {
                    state.links.iter().filter(|l| wanted(l.status)).map(|l| l.app_user.clone()).collect()
                };
                prop_assert_eq!(users(|_| true), model.begun.clone());
                prop_assert_eq!(users(LinkStatus::is_visible), model.confirmed.clone());
                // Tokens are there exactly as long as Zoom may honour them.
                let has_tokens = matches!(state.grant, Some(GrantStatus::Live | GrantStatus::Revoking));
                prop_assert_eq!(has_tokens, model.honoured);
                // Whoever is active has tokens to be active with.
                prop_assert!(state.links.iter().all(|l| l.status != LinkStatus::Active || model.honoured));
            }
        }
    }
}
