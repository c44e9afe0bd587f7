mod model;

use jiff::SignedDuration;

use super::*;
use crate::coverage::{Coverage, DayRange};
use crate::erasure::RemovalReason;
use crate::refresh_breaker::Rejection;

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
        consented_at: None,
        activated_at: None,
        pending_until: Some(now() + CLAIM_TTL),
        cut_off_at: None,
        coverage: Coverage::default(),
        inactive_since: None,
        issue: None,
        email: None,
        last_event_at: None,
        previous_zoom_users: Vec::new(),
    }
}

/// Lifetime of the claims in these tests.
const CLAIM_TTL: SignedDuration = SignedDuration::from_mins(10);

/// A consent just after [`now`], at which the changes of these tests are made.
fn consent(n: u8) -> GrantChange {
    let obtained_at = now() + SignedDuration::from_secs(1);
    GrantChange::Consent { link: Some(link(n)), superseded: false, obtained_at }
}

const MARK: GrantChange = GrantChange::RequireReauthorization { reason: Rejection::InvalidGrant };

fn confirm(n: u8) -> GrantChange {
    GrantChange::Confirm { app_user: user(n) }
}

fn expire(n: u8, until: Timestamp) -> GrantChange {
    GrantChange::ExpirePending { app_user: user(n), until }
}

fn status(state: &GrantState, n: u8) -> LinkStatus {
    let link = state.links.iter().find(|link| link.app_user == user(n));
    link.unwrap().status
}

fn run(changes: &[GrantChange]) -> GrantState {
    changes
        .iter()
        .fold(GrantState::default(), |state, change| state.apply(change, now()).unwrap_or(state))
}

#[test]
fn linking_again_keeps_an_active_link_active() {
    let state = run(&[consent(1), confirm(1), consent(1)]);
    assert_eq!(state.links[0].status, LinkStatus::Active);
    assert_eq!(state.links.len(), 1);
}

#[test]
fn consent_revives_only_the_confirmed_link() {
    let dead = run(&[consent(1), confirm(1), consent(2), confirm(2), MARK]);
    assert!(dead.links.iter().all(Link::is_receiving), "events of a dead grant are still routed");
    let later = now() + SignedDuration::from_hours(1);
    let again = Link { pending_until: Some(later + CLAIM_TTL), ..link(1) };
    let again = GrantChange::Consent { link: Some(again), superseded: false, obtained_at: later };
    let revived = dead.apply(&again, later).unwrap();
    assert_eq!(revived.grant, Some(GrantStatus::Live));
    for link in &revived.links {
        assert_eq!(link.status, LinkStatus::ReauthorizationRequired);
        assert_eq!((link.is_receiving(), link.reads_until()), (false, Some(later)));
    }
    let confirmed = revived.apply(&confirm(1), later).unwrap();
    assert_eq!(status(&confirmed, 1), LinkStatus::Active);
    assert_eq!(status(&confirmed, 2), LinkStatus::ReauthorizationRequired);
    let first = &confirmed.links[0];
    assert_eq!((first.reads_until(), first.activated_at), (None, Some(later)));
    assert_eq!(first.created_at, now());
    assert!(matches!(revived.notifications(&confirmed)[..], [LinkNotification::Activated(_)]));

    // Without a confirmation no active link uses the new tokens.
    let expired = revived.apply(&expire(1, later + CLAIM_TTL), later + CLAIM_TTL).unwrap();
    assert_eq!(expired.grant, Some(GrantStatus::Revoking));
    assert_eq!(expired.apply(&confirm(1), later), Err(ChangeError::GrantRevoking));
    let revoked = expired.apply(&GrantChange::CompleteRevocation, later).unwrap();
    assert_eq!((revoked.grant, revoked.links.len()), (Some(GrantStatus::Revoked), 2));
    assert_eq!(revoked.apply(&again, later).unwrap().grant, Some(GrantStatus::Live));
}

#[test]
fn consent_older_than_the_marking_undoes_it() {
    // The consent's exchange had invalidated the marked tokens before it was adopted.
    let dead = run(&[consent(1), confirm(1), MARK]);
    let adopted = GrantChange::Consent { link: None, superseded: false, obtained_at: now() };
    let state = dead.apply(&adopted, now()).unwrap();
    assert_eq!((state.grant, status(&state, 1)), (Some(GrantStatus::Live), LinkStatus::Active));
}

#[test]
fn revival_restores_exactly_the_marked_links() {
    let dead = run(&[consent(1), confirm(1), consent(2), confirm(2), consent(3), MARK, confirm(3)]);
    let revived = dead.apply(&GrantChange::Revive, now()).unwrap();
    assert_eq!(revived.grant, Some(GrantStatus::Live));
    for (n, expected) in
        [(1, LinkStatus::Active), (2, LinkStatus::Active), (3, LinkStatus::ReauthorizationRequired)]
    {
        assert_eq!(status(&revived, n), expected, "{n}");
    }
    assert_eq!(revived.apply(&GrantChange::Revive, now()), Err(ChangeError::NotMarked));
    for since in
        [consent(1), GrantChange::Disconnect { app_user: user(1) }, GrantChange::Deauthorize]
    {
        let state = dead.apply(&since, now()).unwrap();
        assert_eq!(state.apply(&GrantChange::Revive, now()), Err(ChangeError::NotMarked));
    }
}

#[test]
fn expired_pending_link_does_not_keep_the_grant() {
    let expired = now() + CLAIM_TTL;
    let state = run(&[consent(1), confirm(1), consent(2)]);
    let disconnect = GrantChange::Disconnect { app_user: user(1) };
    let state = state.apply(&disconnect, expired).unwrap();
    assert_eq!((state.grant, state.links.len()), (Some(GrantStatus::Revoking), 0));
}

#[test]
fn removing_last_link_revokes_the_grant() {
    let state = run(&[consent(1), GrantChange::Disconnect { app_user: user(1) }]);
    assert_eq!(state.grant, Some(GrantStatus::Revoking));
    assert_eq!(state.apply(&consent(2), now()), Err(ChangeError::GrantRevoking));
    let tokens = GrantChange::Consent { link: None, superseded: false, obtained_at: now() };
    assert_eq!(state.apply(&tokens, now()).as_ref(), Ok(&state));
    assert_eq!(
        state.apply(&GrantChange::CompleteRevocation, now()).unwrap(),
        GrantState::default()
    );
}

#[test]
fn only_ends_of_links_have_a_removal_reason() {
    let app_user = user(1);
    for (change, reason) in [
        (GrantChange::Disconnect { app_user: app_user.clone() }, Some(RemovalReason::Disconnected)),
        (GrantChange::Erase { app_user: app_user.clone() }, Some(RemovalReason::Erased)),
        (GrantChange::Deauthorize, Some(RemovalReason::Deauthorized)),
        (GrantChange::DeauthorizeEarlier { at: now() }, Some(RemovalReason::Deauthorized)),
        (expire(1, now()), None),
        (confirm(1), None),
    ] {
        assert_eq!(change.removal_reason(), reason, "{change:?}");
    }
}

#[test]
fn pending_link_keeps_the_grant_live() {
    let state = run(&[consent(1), consent(2), GrantChange::Disconnect { app_user: user(1) }]);
    assert_eq!(state.grant, Some(GrantStatus::Live));
}

#[test]
fn grant_without_link_is_revoked() {
    let consent = GrantChange::Consent { link: None, superseded: false, obtained_at: now() };
    assert_eq!(run(&[consent]).grant, Some(GrantStatus::Revoking));
}

#[test]
fn pending_links_cause_no_notification() {
    let before = run(&[consent(1)]);
    assert!(GrantState::default().notifications(&before).is_empty());
    let after = before.apply(&expire(1, now() + CLAIM_TTL), now()).unwrap();
    assert_eq!(after.grant, Some(GrantStatus::Revoking));
    assert!(before.notifications(&after).is_empty());
}

#[test]
fn latest_claim_determines_expiry() {
    let (first, second) = (now() + CLAIM_TTL, now() + CLAIM_TTL + CLAIM_TTL);
    let again = GrantChange::Consent {
        link: Some(Link { pending_until: Some(second), ..link(1) }),
        superseded: false,
        obtained_at: now(),
    };
    let state = run(&[consent(1), again]);
    assert_eq!(state.apply(&expire(1, first), first).unwrap().links.len(), 1);
    assert!(state.apply(&expire(1, second), second).unwrap().links.is_empty());
}

#[test]
fn each_visible_change_is_notified_once() {
    let pending = run(&[consent(1)]);
    let active = pending.apply(&confirm(1), now()).unwrap();
    assert!(matches!(pending.notifications(&active)[..], [LinkNotification::Activated(_)]));
    assert!(active.notifications(&active.apply(&confirm(1), now()).unwrap()).is_empty());
    let dead = active.apply(&MARK, now()).unwrap();
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
    let old = run(&[consent(1), confirm(1), consent(2), confirm(2)]);
    // The second app user already has a pending link under the new account.
    let new = GrantState {
        grant: Some(GrantStatus::ReauthorizationRequired),
        marking: None,
        links: vec![Link {
            id: LinkId::derive(&user(2), &new_key),
            zoom_user: new_key.clone(),
            ..link(2)
        }],
    };
    let joined = new.merge_moved(&old, &new_key, now()).unwrap();
    assert_eq!(joined.grant, Some(GrantStatus::Live));
    assert_eq!(joined.links.len(), 2);
    for link in &joined.links {
        assert_eq!(link.status, LinkStatus::Active);
        assert_eq!(link.zoom_user, new_key);
        assert_eq!(link.previous_zoom_users, std::slice::from_ref(&old_key));
    }
    // Also the link of the second app user, who has not confirmed the pending one.
    for moved in &old.links {
        let kept = joined.links.iter().find(|link| link.app_user == moved.app_user).unwrap();
        assert_eq!((&kept.id, kept.created_at), (&moved.id, moved.created_at));
    }
    let revoking = GrantState { grant: Some(GrantStatus::Revoking), ..GrantState::default() };
    let joined = revoking.merge_moved(&old, &new_key, now()).unwrap();
    assert_eq!((joined.grant, joined.links.len()), (Some(GrantStatus::Live), 2));
}

#[test]
fn account_move_activates_no_link() {
    let new_key = ZoomUser { account_id: "B".parse().unwrap(), user_id: "u".parse().unwrap() };
    let old = run(&[consent(1), confirm(1)]);
    let dead = run(&[consent(2), confirm(2), MARK]);
    let joined = dead.merge_moved(&old, &new_key, now()).unwrap();
    assert_eq!(status(&joined, 1), LinkStatus::Active);
    assert_eq!(status(&joined, 2), LinkStatus::ReauthorizationRequired);
    assert_eq!(joined.links[0].reads_until(), Some(now()));
}

#[test]
fn issue_concerns_all_links_and_is_notified_once() {
    let state = run(&[consent(1), confirm(1), consent(2)]);
    let issue = Some(LinkIssue::ScopeMissing);
    let set = GrantChange::SetIssue { issue };
    let failed = state.apply(&set, now()).unwrap();
    assert!(failed.links.iter().all(|link| link.issue == issue));
    // Pending links are not notified; their activation shows the issue.
    let notifications = state.notifications(&failed);
    let [LinkNotification::IssueChanged(link)] = &notifications[..] else {
        panic!("{notifications:?}")
    };
    assert_eq!((&link.app_user, link.view().issue), (&user(1), issue));
    assert_eq!(failed.apply(&set, now()).unwrap(), failed);
    let activated = failed.apply(&confirm(2), now()).unwrap();
    assert_eq!(failed.notifications(&activated).len(), 1);
    let cleared = activated.apply(&GrantChange::SetIssue { issue: None }, now()).unwrap();
    assert_eq!(activated.notifications(&cleared).len(), 2);
}

#[test]
fn backfill_follows_how_a_link_became_active() {
    let window = SignedDuration::from_hours(48);
    let at = |hours| now() + SignedDuration::from_hours(hours);
    let pending = run(&[consent(1)]);
    let active = pending.apply(&confirm(1), now()).unwrap();
    assert_eq!(pending.backfill_since(&active, window, now()), Some(at(-48)));
    assert_eq!(active.backfill_since(&active, window, now()), None);

    let marked = active.apply(&MARK, at(1)).unwrap();
    assert_eq!(active.backfill_since(&marked, window, at(1)), None);
    let revived = marked.apply(&GrantChange::Revive, at(100)).unwrap();
    assert_eq!(marked.backfill_since(&revived, window, at(100)), Some(at(1)));

    // A new consent of the same user, confirmed soon or late.
    for (hours, expected) in [(2, at(2 - 48)), (100, at(1))] {
        let pending_until = Some(at(hours) + CLAIM_TTL);
        let link = Some(Link { pending_until, ..link(1) });
        let consent = GrantChange::Consent { link, superseded: false, obtained_at: at(hours) };
        let consented = marked.apply(&consent, at(hours)).unwrap();
        assert_eq!(marked.backfill_since(&consented, window, at(hours)), None);
        let confirmed = consented.apply(&confirm(1), at(hours)).unwrap();
        let since = consented.backfill_since(&confirmed, window, at(hours));
        assert_eq!(since, Some(expected), "{hours}");
    }
}

/// A change, and the seconds that pass before it.
#[test]
fn coverage_lasts_as_long_as_the_link() {
    let window = SignedDuration::from_hours(48);
    let later = |days: i64| now() + SignedDuration::from_hours(24 * days);
    let step = |state: &GrantState, change: &GrantChange, days: i64| {
        let after = state.apply(change, later(days)).unwrap();
        state.with_coverage(after, window, later(days))
    };
    let consent = |n: u8, days: i64| GrantChange::Consent {
        link: Some(Link { pending_until: Some(later(days) + CLAIM_TTL), ..link(n) }),
        superseded: false,
        obtained_at: later(days),
    };
    let confirm = |n: u8| GrantChange::Confirm { app_user: user(n) };
    let coverage = |state: &GrantState| active_coverage(&state.links);
    let pending = step(&GrantState::default(), &consent(1, 0), 0);
    assert_eq!(coverage(&pending), None);
    let active = step(&pending, &confirm(1), 0);
    let from_first = Coverage::since(now() - window);
    assert_eq!(coverage(&active), Some(from_first.clone()));

    // The grant ends and becomes live again: recordings from the time between are fetched, too.
    let reason = Rejection::GrantEnded;
    let ended = step(&active, &GrantChange::RequireReauthorization { reason }, 5);
    assert_eq!(coverage(&ended), None);
    let again = step(&step(&ended, &consent(1, 9), 9), &confirm(1), 9);
    assert_eq!(coverage(&again), Some(from_first));

    // A link that was removed and created again covers nothing from before.
    let shared = step(&step(&again, &consent(2, 10), 10), &confirm(2), 10);
    let removed = step(&shared, &GrantChange::Disconnect { app_user: user(1) }, 11);
    assert_eq!(coverage(&removed), Some(Coverage::since(later(10) - window)));
    let relinked = step(&step(&removed, &consent(1, 20), 20), &confirm(1), 20);
    assert_eq!(relinked.links.len(), 2);
    assert_eq!(coverage(&relinked), Some(Coverage::since(later(10) - window)));
    let alone = step(&relinked, &GrantChange::Disconnect { app_user: user(2) }, 21);
    assert_eq!(coverage(&alone), Some(Coverage::since(later(20) - window)));
}

#[test]
fn requested_backfill_extends_an_active_link() {
    let days = DayRange { from: "2025-01-01".parse().unwrap(), to: "2025-02-01".parse().unwrap() };
    let request = GrantChange::RequestBackfill { app_user: user(1), days };
    let consent =
        GrantChange::Consent { link: Some(link(1)), superseded: false, obtained_at: now() };
    let pending = GrantState::default().apply(&consent, now()).unwrap();
    assert_eq!(pending.apply(&request, now()), Err(ChangeError::LinkNotFound));
    let active = pending.apply(&GrantChange::Confirm { app_user: user(1) }, now()).unwrap();
    let extended = active.apply(&request, now()).unwrap();
    let mut expected = Coverage::default();
    expected.add(days);
    assert_eq!(extended.links[0].coverage, expected);
    assert_eq!(extended.apply(&request, now()), Ok(extended.clone()));
    assert!(active.notifications(&extended).is_empty());
}

#[test]
fn link_covers_notifications_until_it_is_cut_off() {
    let zoom_user = link(1).zoom_user;
    let other = ZoomUser { user_id: "other".parse().unwrap(), ..zoom_user.clone() };
    let active = Link { status: LinkStatus::Active, ..link(1) };
    let waiting = Link { status: LinkStatus::ReauthorizationRequired, ..link(1) };
    let cut_off = Link { cut_off_at: Some(now()), ..waiting.clone() };
    let moved = Link {
        zoom_user: other.clone(),
        previous_zoom_users: vec![zoom_user.clone()],
        ..active.clone()
    };
    let earlier = now() - SignedDuration::from_secs(1);
    for (link, stamp, is_covered) in [
        (&active, now(), true),
        (&link(1), now(), false),
        (&waiting, now(), true),
        (&cut_off, earlier, true),
        (&cut_off, now(), false),
        (&moved, now(), true),
    ] {
        assert_eq!(link.covers_notification(&zoom_user, stamp), is_covered, "{link:?}");
    }
    assert!(!active.covers_notification(&other, now()));
}
