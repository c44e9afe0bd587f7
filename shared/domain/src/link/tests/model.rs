//! Any sequence of changes agrees with a simpler model.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;

fn change() -> impl Strategy<Value = (GrantChange, i64)> {
    let kinds = (0u8..14, 1u8..4, 0i64..400, 0i64..60);
    kinds.prop_map(|(kind, n, wait, age)| {
        let change = match kind {
            0..=2 => GrantChange::Consent {
                link: (kind < 2).then(|| link(n)),
                superseded: false,
                // Relative to the time of the change, until `at` makes it absolute.
                obtained_at: Timestamp::UNIX_EPOCH - SignedDuration::from_secs(age),
            },
            3 | 4 => confirm(n),
            5 => GrantChange::Disconnect { app_user: user(n) },
            6 | 7 => expire(n, now()),
            8 => MARK,
            9 => GrantChange::Revive,
            10 => GrantChange::Deauthorize,
            11 => {
                GrantChange::SetIssue { issue: (age % 2 == 0).then_some(LinkIssue::ScopeMissing) }
            }
            12 => GrantChange::DeauthorizeEarlier {
                at: Timestamp::UNIX_EPOCH - SignedDuration::from_secs(10 * age),
            },
            _ => GrantChange::CompleteRevocation,
        };
        (change, wait)
    })
}

/// Moves the times of a change to the time at which it is made.
fn at(change: GrantChange, time: Timestamp) -> GrantChange {
    match change {
        GrantChange::Consent { link, superseded, obtained_at } => GrantChange::Consent {
            link: link.map(|link| Link { pending_until: Some(time + CLAIM_TTL), ..link }),
            superseded,
            obtained_at: time + obtained_at.duration_since(Timestamp::UNIX_EPOCH),
        },
        GrantChange::ExpirePending { app_user, .. } => {
            GrantChange::ExpirePending { app_user, until: time }
        }
        GrantChange::DeauthorizeEarlier { at } => {
            GrantChange::DeauthorizeEarlier { at: time + at.duration_since(Timestamp::UNIX_EPOCH) }
        }
        change => change,
    }
}

/// Reference model: sets of app users, and whether Zoom accepts the tokens.
#[derive(Default)]
struct Model {
    active: BTreeSet<AppUserId>,
    waiting: BTreeSet<AppUserId>,
    cut_off: BTreeSet<AppUserId>,
    claims: BTreeMap<AppUserId, Timestamp>,
    consents: BTreeMap<AppUserId, Timestamp>,
    has_valid_tokens: bool,
    is_revoking: bool,
    marked: Option<(BTreeSet<AppUserId>, Timestamp)>,
}

impl Model {
    fn users(&self) -> BTreeSet<AppUserId> {
        let visible = self.active.union(&self.waiting);
        visible.chain(self.claims.keys()).cloned().collect()
    }

    fn apply(&mut self, change: &GrantChange, now: Timestamp) {
        match change {
            GrantChange::Consent { link, obtained_at, .. } if !self.is_revoking => {
                self.accept_tokens(*obtained_at);
                if let Some(link) = link {
                    let known = self.users();
                    self.consents.retain(|user, _| known.contains(user));
                    let consent = self.consents.entry(link.app_user.clone());
                    let consent = consent.or_insert(*obtained_at);
                    *consent = (*consent).max(*obtained_at);
                }
                if let Some(link) = link
                    && !self.active.contains(&link.app_user)
                {
                    self.claims.insert(link.app_user.clone(), now + CLAIM_TTL);
                }
            }
            GrantChange::Consent { .. } => {}
            GrantChange::Confirm { app_user } => {
                if self.users().contains(app_user)
                    && !self.active.contains(app_user)
                    && !self.is_revoking
                {
                    self.claims.remove(app_user);
                    self.cut_off.remove(app_user);
                    self.waiting.remove(app_user);
                    let users =
                        if self.has_valid_tokens { &mut self.active } else { &mut self.waiting };
                    users.insert(app_user.clone());
                }
                return;
            }
            GrantChange::Disconnect { app_user } | GrantChange::Erase { app_user } => {
                if self.users().contains(app_user) {
                    self.marked = None;
                }
                for users in [&mut self.active, &mut self.waiting, &mut self.cut_off] {
                    users.remove(app_user);
                }
                self.claims.remove(app_user);
            }
            GrantChange::ExpirePending { app_user, until } => {
                self.claims.retain(|user, expiry| user != app_user || *expiry > *until);
            }
            GrantChange::RequireReauthorization { .. } => {
                if self.has_valid_tokens && !self.is_revoking {
                    self.has_valid_tokens = false;
                    let active = std::mem::take(&mut self.active);
                    self.waiting.extend(active.clone());
                    self.marked = Some((active, now));
                }
                return;
            }
            GrantChange::Revive => match self.marked.clone() {
                Some((_, marked_at)) => self.accept_tokens(marked_at),
                None => return,
            },
            GrantChange::Deauthorize => *self = Self::default(),
            GrantChange::DeauthorizeEarlier { at } => {
                let is_kept = |user: &AppUserId| self.consents[user] >= *at;
                for users in [&mut self.active, &mut self.waiting, &mut self.cut_off] {
                    users.retain(is_kept);
                }
                self.claims.retain(|user, _| is_kept(user));
            }
            GrantChange::SetIssue { .. } | GrantChange::RequestBackfill { .. } => return,
            GrantChange::CompleteRevocation => {
                if !self.is_revoking {
                    return;
                }
                (self.is_revoking, self.has_valid_tokens) = (false, false);
            }
        }
        let is_used = !self.active.is_empty() || self.claims.values().any(|expiry| *expiry > now);
        if self.has_valid_tokens && !self.is_revoking && !is_used {
            self.is_revoking = true;
            self.claims.clear();
        }
        if !self.has_valid_tokens && self.users().is_empty() {
            self.marked = None;
        }
    }

    fn accept_tokens(&mut self, obtained_at: Timestamp) {
        if let Some((links, at)) = self.marked.take()
            && at >= obtained_at
        {
            self.active.extend(self.waiting.intersection(&links).cloned());
            self.waiting.retain(|user| !links.contains(user));
            self.claims.retain(|user, _| !links.contains(user));
        }
        self.has_valid_tokens = true;
        self.cut_off.extend(self.waiting.iter().cloned());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn any_sequence_agrees_with_the_model(changes in proptest::collection::vec(change(), 1..40)) {
        let (mut state, mut model) = (GrantState::default(), Model::default());
        let mut time = now();
        for (change, wait) in changes {
            time += SignedDuration::from_secs(wait);
            let change = at(change, time);
            state = state.apply(&change, time).unwrap_or(state);
            model.apply(&change, time);

            let users = |wanted: fn(&Link) -> bool| -> BTreeSet<AppUserId> {
                let links = state.links.iter().filter(|link| wanted(link));
                links.map(|link| link.app_user.clone()).collect()
            };
            prop_assert_eq!(users(|_| true), model.users());
            prop_assert_eq!(users(|link| link.status == LinkStatus::Active), model.active.clone());
            prop_assert_eq!(users(|link| link.reads_until().is_some()), model.cut_off.clone());
            let pending = model.users().iter().filter(|user| {
                !model.active.contains(*user) && !model.waiting.contains(*user)
            }).cloned().collect::<BTreeSet<_>>();
            prop_assert_eq!(users(|link| link.status == LinkStatus::Pending), pending);
            // The grant has tokens exactly while Zoom may accept them; without links it is gone.
            let has_tokens = matches!(state.grant, Some(GrantStatus::Live | GrantStatus::Revoking));
            prop_assert_eq!(has_tokens, model.has_valid_tokens);
            prop_assert_eq!(state.grant == Some(GrantStatus::Revoking), model.is_revoking);
            prop_assert!(state.grant.is_some() || state.links.is_empty());
            prop_assert!(has_tokens || state.grant.is_none() || !state.links.is_empty());
            // An active link implies valid tokens, and a live grant receives through active links alone.
            prop_assert!(state.links.iter().all(|l| l.status != LinkStatus::Active || model.has_valid_tokens));
            if state.grant == Some(GrantStatus::Live) {
                prop_assert_eq!(users(Link::is_receiving), model.active.clone());
            }
        }
    }
}
