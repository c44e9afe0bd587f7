use super::*;
use proptest::prelude::*;

fn now() -> Timestamp {
    "2026-01-01T10:00:00Z".parse().unwrap()
}

fn user(n: u8) -> AppUserId {
    format!("user{n}").parse().unwrap()
}

fn link(n: u8) -> Link {
    let zoom_user = ZoomUser { account_id: "A".parse().unwrap(), user_id: "u".parse().unwrap() };
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
    GrantChange::Consent { link: Some(link(n)), superseded: false }
}

fn run(changes: &[GrantChange]) -> GrantState {
    changes
        .iter()
        .fold(GrantState::default(), |state, change| state.apply(change, now()).unwrap_or(state))
}

#[test]
fn linking_again_keeps_an_active_link_active() {
    let state = run(&[consent(1), GrantChange::Confirm { app_user: user(1) }, consent(1)]);
    assert_eq!(state.links[0].status, LinkStatus::Active);
    assert_eq!(state.links.len(), 1);
}

#[test]
fn new_consent_reactivates_all_links() {
    let mut changes = vec![
        consent(1),
        GrantChange::Confirm { app_user: user(1) },
        GrantChange::RequireReauthorization,
    ];
    assert_eq!(run(&changes).links[0].status, LinkStatus::ReauthorizationRequired);
    changes.push(consent(2));
    assert_eq!(run(&changes).links[0].status, LinkStatus::Active);
}

#[test]
fn removing_last_link_revokes_the_grant() {
    let state = run(&[consent(1), GrantChange::Disconnect { app_user: user(1) }]);
    assert_eq!(state.grant, Some(GrantStatus::Revoking));
    assert_eq!(state.apply(&consent(2), now()), Err(ChangeError::GrantRevoking));
    let tokens = GrantChange::Consent { link: None, superseded: false };
    assert_eq!(state.apply(&tokens, now()).as_ref(), Ok(&state));
    assert_eq!(
        state.apply(&GrantChange::CompleteRevocation, now()).unwrap(),
        GrantState::default()
    );
}

#[test]
fn pending_link_keeps_the_grant_live() {
    let state = run(&[consent(1), consent(2), GrantChange::Disconnect { app_user: user(1) }]);
    assert_eq!(state.grant, Some(GrantStatus::Live));
}

#[test]
fn grant_without_link_is_revoked() {
    assert_eq!(
        run(&[GrantChange::Consent { link: None, superseded: false }]).grant,
        Some(GrantStatus::Revoking)
    );
}

#[test]
fn pending_links_cause_no_notification() {
    let before = run(&[consent(1)]);
    assert!(GrantState::default().notifications(&before).is_empty());
    let after = before.apply(&GrantChange::ExpirePending { app_user: user(1) }, now()).unwrap();
    assert!(before.notifications(&after).is_empty());
}

#[test]
fn latest_claim_determines_expiry() {
    let later = now() + jiff::SignedDuration::from_mins(10);
    let again = GrantChange::Consent {
        link: Some(Link { pending_until: Some(later), ..link(1) }),
        superseded: false,
    };
    let state = run(&[consent(1), again]);
    let expire = GrantChange::ExpirePending { app_user: user(1) };
    assert_eq!(state.apply(&expire, now()).unwrap().links.len(), 1);
    assert!(state.apply(&expire, later).unwrap().links.is_empty());
}

#[test]
fn each_visible_change_is_notified_once() {
    let pending = run(&[consent(1)]);
    let active = pending.apply(&GrantChange::Confirm { app_user: user(1) }, now()).unwrap();
    assert!(matches!(pending.notifications(&active)[..], [LinkNotification::Activated(_)]));
    assert!(
        active
            .notifications(
                &active.apply(&GrantChange::Confirm { app_user: user(1) }, now()).unwrap()
            )
            .is_empty()
    );
    let dead = active.apply(&GrantChange::RequireReauthorization, now()).unwrap();
    assert!(matches!(
        active.notifications(&dead)[..],
        [LinkNotification::ReauthorizationRequired(_)]
    ));
    let gone = dead.apply(&GrantChange::Deauthorize, now()).unwrap();
    assert!(matches!(dead.notifications(&gone)[..], [LinkNotification::Removed(_)]));
}

#[test]
fn links_per_grant_are_limited() {
    let full =
        (1..=45).fold(GrantState::default(), |state, n| state.apply(&consent(n), now()).unwrap());
    assert_eq!(full.apply(&consent(46), now()), Err(ChangeError::TooManyLinks));
    assert!(full.apply(&consent(1), now()).is_ok());
}

#[test]
fn account_move_keeps_links_and_previous_keys() {
    let new_key = ZoomUser { account_id: "B".parse().unwrap(), user_id: "u".parse().unwrap() };
    let old_key = link(1).zoom_user;
    let old = run(&[
        consent(1),
        GrantChange::Confirm { app_user: user(1) },
        consent(2),
        GrantChange::Confirm { app_user: user(2) },
    ]);
    // The second app user already has a pending link under the new account.
    let new = GrantState {
        grant: Some(GrantStatus::ReauthorizationRequired),
        links: vec![Link {
            id: LinkId::derive(&user(2), &new_key),
            zoom_user: new_key.clone(),
            ..link(2)
        }],
    };
    let joined = new.merge_moved(&old, &new_key).unwrap();
    assert_eq!(joined.grant, Some(GrantStatus::Live));
    assert_eq!(joined.links.len(), 2);
    for link in &joined.links {
        assert_eq!(link.status, LinkStatus::Active);
        assert_eq!(link.zoom_user, new_key);
        assert_eq!(link.previous_zoom_users, std::slice::from_ref(&old_key));
    }
    let kept = joined.links.iter().find(|link| link.app_user == user(1));
    assert_eq!(kept.unwrap().id, old.links[0].id);
    let revoking = GrantState { grant: Some(GrantStatus::Revoking), links: Vec::new() };
    assert_eq!(revoking.merge_moved(&old, &new_key), Err(ChangeError::GrantRevoking));
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

/// Reference model: sets of linked app users, and whether Zoom accepts the tokens.
#[derive(Default)]
struct Model {
    confirmed: std::collections::BTreeSet<AppUserId>,
    linked: std::collections::BTreeSet<AppUserId>,
    has_valid_tokens: bool,
    is_revoking: bool,
}

impl Model {
    fn apply(&mut self, change: &GrantChange) {
        match change {
            GrantChange::Consent { link, .. } => {
                if !self.is_revoking {
                    self.has_valid_tokens = true;
                    self.linked.extend(link.iter().map(|link| link.app_user.clone()));
                }
            }
            GrantChange::Confirm { app_user } => {
                if self.linked.contains(app_user) {
                    self.confirmed.insert(app_user.clone());
                }
            }
            GrantChange::Disconnect { app_user } | GrantChange::Erase { app_user } => {
                self.remove_user(app_user);
            }
            GrantChange::ExpirePending { app_user } => {
                if !self.confirmed.contains(app_user) {
                    self.remove_user(app_user);
                }
            }
            GrantChange::RequireReauthorization => self.has_valid_tokens &= self.is_revoking,
            GrantChange::Deauthorize => *self = Self::default(),
            GrantChange::CompleteRevocation => {
                if self.is_revoking {
                    *self = Self::default();
                }
            }
        }
    }

    fn remove_user(&mut self, app_user: &AppUserId) {
        self.linked.remove(app_user);
        self.confirmed.remove(app_user);
        self.is_revoking |= self.linked.is_empty() && self.has_valid_tokens;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn any_sequence_agrees_with_the_model(changes in proptest::collection::vec(change(), 1..40)) {
        let (mut state, mut model) = (GrantState::default(), Model::default());
        for change in &changes {
            state = state.apply(change, now()).unwrap_or(state);
            model.apply(change);

            // A grant has links exactly if it is not being revoked.
            match state.grant {
                Some(GrantStatus::Live | GrantStatus::ReauthorizationRequired) => prop_assert!(!state.links.is_empty()),
                Some(GrantStatus::Revoking) | None => prop_assert!(state.links.is_empty()),
            }
            let users = |wanted: fn(LinkStatus) -> bool| -> std::collections::BTreeSet<AppUserId> {
                state.links.iter().filter(|l| wanted(l.status)).map(|l| l.app_user.clone()).collect()
            };
            prop_assert_eq!(users(|_| true), model.linked.clone());
            prop_assert_eq!(users(LinkStatus::is_visible), model.confirmed.clone());
            // The grant has tokens exactly while Zoom may accept them.
            let has_tokens = matches!(state.grant, Some(GrantStatus::Live | GrantStatus::Revoking));
            prop_assert_eq!(has_tokens, model.has_valid_tokens);
            // An active link implies valid tokens.
            prop_assert!(state.links.iter().all(|l| l.status != LinkStatus::Active || model.has_valid_tokens));
        }
    }
}
