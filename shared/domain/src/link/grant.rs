//! The state of a grant and its links, and how it changes.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Link, LinkIssue, LinkStatus};
use crate::coverage::{Coverage, DayRange};
use crate::erasure::RemovalReason;
use crate::ids::{AppUserId, ZoomUser};
use crate::refresh_breaker::Rejection;

/// Maximum number of links per grant. A change of a grant and its links is one DynamoDB transaction of at
/// most 100 items, and an account move takes two items per link.
pub const MAX_LINKS_PER_GRANT: usize = 45;

/// Status of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantStatus {
    /// The tokens are valid, as far as known.
    #[default]
    Live,
    /// Zoom revoked the grant. Its links wait for a new consent.
    ReauthorizationRequired,
    /// No link uses the grant, and Reelay is revoking it. This is final: revocation ends every grant of the
    /// Zoom user to this Zoom app.
    Revoking,
    /// Reelay revoked the grant and erased its tokens. The remaining links wait for a new consent.
    Revoked,
}

/// The links that a rejection by Zoom changed, so that the change can be undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marking {
    /// App users whose links were active.
    pub links: Vec<AppUserId>,
    /// Time of the change.
    pub marked_at: Timestamp,
    /// Why.
    pub reason: Rejection,
}

/// State of a Zoom user's grant and its links.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrantState {
    /// Status of the grant, if there is one.
    pub grant: Option<GrantStatus>,
    /// All links, including pending ones.
    pub links: Vec<Link>,
    /// Present if the grant requires reauthorization and can be revived.
    pub marking: Option<Marking>,
}

/// A change of a grant or its links.
#[expect(clippy::large_enum_variant, reason = "changes are few and passed by reference")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantChange {
    /// The user consented at Zoom: the new tokens serve the active links, and a pending link may be added.
    Consent {
        /// The pending link; absent if the tokens do not allow one (a scope is missing).
        link: Option<Link>,
        /// Whether the grant already has newer tokens. Then these are invalid, and only the link is added.
        superseded: bool,
        /// Time of the code exchange.
        obtained_at: Timestamp,
    },
    /// The app confirmed the app user's link, which thereby becomes active if the grant is live.
    Confirm {
        /// The app user.
        app_user: AppUserId,
    },
    /// The app deleted the link.
    Disconnect {
        /// The app user.
        app_user: AppUserId,
    },
    /// The operator erases the app user or the Zoom user: the link is removed as if the app had deleted it.
    Erase {
        /// The app user.
        app_user: AppUserId,
    },
    /// The link's claims are void; a link that is still pending is removed.
    ExpirePending {
        /// The app user.
        app_user: AppUserId,
        /// Latest expiry of the void claims. A later claim keeps the link.
        until: Timestamp,
    },
    /// Zoom rejected the grant's tokens (`invalid_grant`), or no credentials of its client remain.
    RequireReauthorization {
        /// Why.
        reason: Rejection,
    },
    /// Zoom accepts the tokens of a marked grant after all.
    Revive,
    /// The Zoom user removed the app at Zoom, which ends the grant and all links.
    Deauthorize,
    /// The Zoom user removed the app at Zoom before the consent that the grant serves. Links whose app users have not
    /// consented since end.
    DeauthorizeEarlier {
        /// Time of the removal.
        at: Timestamp,
    },
    /// The revocation of a [`GrantStatus::Revoking`] grant succeeded.
    CompleteRevocation,
    /// The app requested a backfill for its active link. Reconciliations then compare these days as well.
    RequestBackfill {
        /// The app user.
        app_user: AppUserId,
        /// The requested days.
        days: DayRange,
    },
    /// A listing of the Zoom user's recordings failed for a reason that concerns this user alone, or succeeded.
    SetIssue {
        /// The reason; `None` after a success.
        issue: Option<LinkIssue>,
    },
}

impl GrantChange {
    /// Returns the removal reason of the links that the change removes. Reelay revokes a grant only after its last
    /// link is deleted, so a deauthorization that follows from it removes none.
    pub fn removal_reason(&self) -> Option<RemovalReason> {
        match self {
            Self::Disconnect { .. } => Some(RemovalReason::Disconnected),
            Self::Erase { .. } => Some(RemovalReason::Erased),
            Self::Deauthorize | Self::DeauthorizeEarlier { .. } => {
                Some(RemovalReason::Deauthorized)
            }
            _ => None,
        }
    }
}

/// Why a change was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The grant is being revoked, so a new link would not last.
    #[error("the grant is being revoked")]
    GrantRevoking,
    /// The app user has no such link.
    #[error("link not found")]
    LinkNotFound,
    /// The grant is not marked, or was ended or replaced since.
    #[error("the grant cannot be revived")]
    NotMarked,
    /// [`MAX_LINKS_PER_GRANT`] links share the grant already.
    #[error("the grant has the maximum number of links")]
    TooManyLinks,
}

/// A notification about a link, before [`LinkNotification::render`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkNotification {
    /// `link.activated`.
    Activated(Link),
    /// `link.reauthorization_required`.
    ReauthorizationRequired(Link),
    /// `link.removed`.
    Removed(Link),
    /// `link.issue`.
    IssueChanged(Link),
}

impl GrantState {
    /// Returns the state after a change. Applying a change twice has the effect of applying it once.
    ///
    /// # Errors
    /// [`ChangeError`] if the change is not possible in this state.
    pub fn apply(&self, change: &GrantChange, now: Timestamp) -> Result<Self, ChangeError> {
        let mut next = self.clone();
        match change {
            GrantChange::Consent { link, superseded, obtained_at } => {
                if self.grant == Some(GrantStatus::Revoking) {
                    // Tokens without a link are stored, because only the newest tokens can revoke the grant.
                    return if link.is_none() { Ok(next) } else { Err(ChangeError::GrantRevoking) };
                }
                if !superseded {
                    next.resume(*obtained_at, now);
                }
                if let Some(link) = link {
                    let is_full = next.links.len() >= MAX_LINKS_PER_GRANT;
                    match next.links.iter_mut().find(|known| known.app_user == link.app_user) {
                        // Linking again keeps the status, so that an active link stays active.
                        Some(known) => {
                            known.display_name.clone_from(&link.display_name);
                            known.email.clone_from(&link.email);
                            known.consented_at = known.consented_at.max(Some(*obtained_at));
                            if known.status != LinkStatus::Active {
                                known.pending_until = known.pending_until.max(link.pending_until);
                            }
                        }
                        None if is_full => return Err(ChangeError::TooManyLinks),
                        None => next.links.push(Link {
                            status: LinkStatus::Pending,
                            consented_at: Some(*obtained_at),
                            ..link.clone()
                        }),
                    }
                }
                next.revoke_if_unused(now);
            }
            GrantChange::Confirm { app_user } => {
                let link = next
                    .links
                    .iter_mut()
                    .find(|link| link.app_user == *app_user)
                    .ok_or(ChangeError::LinkNotFound)?;
                match (self.grant, link.status) {
                    (_, LinkStatus::Active) => {}
                    (Some(GrantStatus::Live), _) => {
                        link.activate();
                        link.activated_at = Some(now);
                    }
                    (Some(GrantStatus::Revoking), _) => return Err(ChangeError::GrantRevoking),
                    (_, status) => {
                        if status == LinkStatus::Pending {
                            link.activated_at = Some(now);
                        }
                        link.status = LinkStatus::ReauthorizationRequired;
                        link.pending_until = None;
                        link.cut_off_at = None;
                    }
                }
            }
            GrantChange::Disconnect { app_user } | GrantChange::Erase { app_user } => {
                next.links.retain(|link| link.app_user != *app_user);
                if next.links.len() < self.links.len() {
                    next.marking = None;
                }
                next.revoke_if_unused(now);
            }
            GrantChange::ExpirePending { app_user, until } => {
                for link in next.links.iter_mut().filter(|link| link.app_user == *app_user) {
                    link.pending_until = link.pending_until.filter(|expiry| expiry > until);
                }
                next.links.retain(|link| {
                    link.status != LinkStatus::Pending || link.pending_until.is_some()
                });
                next.revoke_if_unused(now);
            }
            GrantChange::RequireReauthorization { reason } => {
                if self.grant == Some(GrantStatus::Live) {
                    next.grant = Some(GrantStatus::ReauthorizationRequired);
                    let mut links = Vec::new();
                    for link in &mut next.links {
                        if link.status == LinkStatus::Active {
                            link.status = LinkStatus::ReauthorizationRequired;
                            link.inactive_since = Some(now);
                            links.push(link.app_user.clone());
                        }
                    }
                    next.marking = Some(Marking { links, marked_at: now, reason: *reason });
                }
            }
            GrantChange::Revive => {
                let marking = self.marking.as_ref().ok_or(ChangeError::NotMarked)?;
                next.resume(marking.marked_at, now);
                next.revoke_if_unused(now);
            }
            GrantChange::Deauthorize => next = Self::default(),
            GrantChange::DeauthorizeEarlier { at } => {
                next.links.retain(|link| link.consented_at.is_none_or(|consent| consent >= *at));
                next.revoke_if_unused(now);
            }
            GrantChange::CompleteRevocation => {
                if self.grant == Some(GrantStatus::Revoking) {
                    next.grant = (!self.links.is_empty()).then_some(GrantStatus::Revoked);
                }
            }
            GrantChange::RequestBackfill { app_user, days } => {
                let mut links = next.links.iter_mut();
                let link = links
                    .find(|it| it.app_user == *app_user && it.status == LinkStatus::Active)
                    .ok_or(ChangeError::LinkNotFound)?;
                link.coverage.add(*days);
            }
            GrantChange::SetIssue { issue } => {
                // A link that was cut off learns nothing new.
                let links = next.links.iter_mut().filter(|link| link.cut_off_at.is_none());
                links.for_each(|link| link.issue = *issue);
            }
        }
        Ok(next)
    }

    /// Returns the state after Zoom moved the user of `old`, a live grant, to the account of this state, whose
    /// key is `zoom_user`. Links keep their ids. If an app user has links in both states, one remains, with
    /// the further advanced status, and a pending link takes the id of the other; none becomes active that was not. If this
    /// grant was being revoked, it is live again for the links that need it.
    ///
    /// # Errors
    /// [`ChangeError::TooManyLinks`] if the states have too many links together.
    pub fn merge_moved(
        &self,
        old: &Self,
        zoom_user: &ZoomUser,
        now: Timestamp,
    ) -> Result<Self, ChangeError> {
        let mut next = self.clone();
        for link in &old.links {
            let mut previous = link.previous_zoom_users.clone();
            previous.push(link.zoom_user.clone());
            let is_same_app_user = |known: &&mut Link| known.app_user == link.app_user;
            match next.links.iter_mut().find(is_same_app_user) {
                Some(known) => {
                    let is_pending = known.status == LinkStatus::Pending;
                    // The app knows the moved link, and not the pending one.
                    if is_pending && link.status.is_visible() {
                        known.id.clone_from(&link.id);
                        known.created_at = link.created_at;
                    }
                    if is_pending || link.status == LinkStatus::Active {
                        known.status = link.status;
                        known.activated_at = known.activated_at.max(link.activated_at);
                        known.cut_off_at = link.cut_off_at;
                        known.inactive_since = link.inactive_since;
                    }
                    known.consented_at = known.consented_at.max(link.consented_at);
                    known.coverage.extend(&link.coverage);
                    known.pending_until = known.pending_until.max(link.pending_until);
                    if known.status == LinkStatus::Active {
                        known.activate();
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
        next.marking = None;
        next.resume(now, now);
        next.revoke_if_unused(now);
        Ok(next)
    }

    /// Makes the grant live with tokens of a consent at `obtained_at`. A marking at or after that time is
    /// undone: the consent itself had invalidated the marked tokens. Every other link that waits is cut off.
    fn resume(&mut self, obtained_at: Timestamp, now: Timestamp) {
        self.grant = Some(GrantStatus::Live);
        let undone = self.marking.take().filter(|marking| marking.marked_at >= obtained_at);
        for link in &mut self.links {
            let is_marked =
                undone.as_ref().is_some_and(|marking| marking.links.contains(&link.app_user));
            if link.status == LinkStatus::ReauthorizationRequired {
                if is_marked {
                    link.activate();
                } else {
                    link.cut_off_at.get_or_insert(now);
                }
            }
        }
    }

    /// Starts the revocation of a live grant that no link uses, and drops an ended grant without links.
    fn revoke_if_unused(&mut self, now: Timestamp) {
        match self.grant {
            Some(GrantStatus::Live) if !self.links.iter().any(|link| link.is_using_grant(now)) => {
                self.grant = Some(GrantStatus::Revoking);
                self.links.retain(|link| link.status.is_visible());
                self.links.iter_mut().for_each(|link| link.pending_until = None);
            }
            Some(GrantStatus::ReauthorizationRequired | GrantStatus::Revoked)
                if self.links.is_empty() =>
            {
                *self = Self::default();
            }
            _ => {}
        }
    }

    /// Returns since when completed recordings are to be fetched after the transition from `self` to `next`;
    /// `None` if no link becomes active. For a link that its app user confirmed, that is `activation_window` before
    /// `now`, or when it stopped being active, if that is earlier; for a revived link, when it stopped. (The app
    /// confirms at most ten minutes after the consent, which is less than a listing allows for processing.)
    pub fn backfill_since(
        &self,
        next: &Self,
        activation_window: SignedDuration,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let since = self.activations(next, activation_window, now);
        since.map(|(_, since)| since).min()
    }

    /// Whether a change confirms a link that is active and has an issue: the user has connected again to end it, which a list
    /// shows.
    pub fn is_reconnected_with_issue(&self, change: &GrantChange) -> bool {
        let GrantChange::Confirm { app_user } = change else { return false };
        let mut links = self.links.iter().filter(|link| link.app_user == *app_user);
        links.any(|link| link.status == LinkStatus::Active && link.issue.is_some())
    }

    /// Returns the state `next` with the activation windows of the links that become active in the transition.
    pub fn with_coverage(
        &self,
        mut next: Self,
        activation_window: SignedDuration,
        now: Timestamp,
    ) -> Self {
        let activations = self.activations(&next, activation_window, now);
        let activations: Vec<_> =
            activations.map(|(link, since)| (link.app_user.clone(), since)).collect();
        for (app_user, since) in activations {
            let mut links = next.links.iter_mut();
            if let Some(link) = links.find(|link| link.app_user == app_user) {
                link.coverage.extend(&Coverage::since(since));
            }
        }
        next
    }

    /// The links that become active in the transition, each with the start of its activation window.
    fn activations<'a>(
        &self,
        next: &'a Self,
        activation_window: SignedDuration,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'a Link, Timestamp)> {
        let is_active = |link: &&Link| link.status == LinkStatus::Active;
        next.links.iter().filter(is_active).filter_map(move |link| {
            let before = self.links.iter().find(|before| before.app_user == link.app_user);
            if before.as_ref().is_some_and(is_active) {
                return None;
            }
            let stopped_at = before.and_then(|before| before.inactive_since);
            let is_revived = before.is_some_and(|it| it.activated_at == link.activated_at);
            let window = now.checked_sub(activation_window).unwrap_or(Timestamp::MIN);
            let since = match stopped_at {
                Some(stopped_at) if is_revived => stopped_at,
                Some(stopped_at) => stopped_at.min(window),
                None => window,
            };
            Some((link, since))
        })
    }

    /// Returns the notifications for the transition from `self` to `next`.
    pub fn notifications(&self, next: &Self) -> Vec<LinkNotification> {
        let mut notifications = Vec::new();
        for link in &next.links {
            let before = self.links.iter().find(|before| before.app_user == link.app_user);
            match (before.map(|before| before.status), link.status) {
                (before, after) if before == Some(after) => {}
                (_, LinkStatus::Active) => {
                    notifications.push(LinkNotification::Activated(link.clone()))
                }
                (_, LinkStatus::ReauthorizationRequired) => {
                    notifications.push(LinkNotification::ReauthorizationRequired(link.clone()));
                }
                (_, LinkStatus::Pending) => {}
            }
            let has_issue_changed = before
                .is_some_and(|before| before.status.is_visible() && before.issue != link.issue);
            if has_issue_changed {
                notifications.push(LinkNotification::IssueChanged(link.clone()));
            }
        }
        let is_removed =
            |link: &&Link| next.links.iter().all(|kept| kept.app_user != link.app_user);
        let removed = self.links.iter().filter(is_removed).filter(|link| link.status.is_visible());
        notifications.extend(removed.cloned().map(LinkNotification::Removed));
        notifications
    }
}
