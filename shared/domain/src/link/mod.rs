//! State machine of a Zoom user's grant and the links that share it.
//!
//! A *link* gives one app user access to one Zoom user's recordings. All links of a Zoom user share one
//! *grant* (Zoom's OAuth tokens), because Zoom revokes the older grant when the same user authorizes the
//! app again. [`GrantState::apply`] computes the next state; the store writes it in one transaction.

mod email;
mod grant;
mod view;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::email::EmailAddress;
pub use self::grant::{
    ChangeError, GrantChange, GrantState, GrantStatus, LinkNotification, MAX_LINKS_PER_GRANT,
    Marking,
};
pub use self::view::{LinkView, LinkViewStatus, LinkedZoomUser};
use crate::coverage::Coverage;
use crate::ids::{AppUserId, LinkId, ZoomUser};

/// Status of a link. A pending link is not listed and receives neither recordings nor notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkStatus {
    /// The user consented at Zoom; the app has not confirmed the claim yet.
    Pending,
    /// Confirmed by the app.
    Active,
    /// Confirmed, but the grant ended; the user must connect again. The status lasts if another app user's consent
    /// makes the grant live again.
    ReauthorizationRequired,
}

impl LinkStatus {
    /// Returns whether the app can see the link.
    pub fn is_visible(self) -> bool {
        matches!(self, Self::Active | Self::ReauthorizationRequired)
    }
}

/// Issue of one Zoom user: why Zoom does not let Reelay list the recordings, or that Zoom sends no events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkIssue {
    /// The Zoom user's plan has no cloud recording.
    PlanWithoutCloudRecording,
    /// The grant lacks a scope that the app requires.
    ScopeMissing,
    /// Zoom denies access, because of a role or an account setting.
    AccessDenied,
    /// Zoom does not know the user.
    ZoomUserNotFound,
    /// Zoom lists recordings that no event announced.
    EventsNotArriving,
}

impl LinkIssue {
    /// Whether a successful listing of the recordings ends the issue.
    pub fn ends_with_listing(self) -> bool {
        self != Self::EventsNotArriving
    }
}

/// A link between an app user and a Zoom user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Derived from app user and Zoom user ([`LinkId::derive`]).
    pub id: LinkId,
    /// The app user.
    pub app_user: AppUserId,
    /// The Zoom user.
    pub zoom_user: ZoomUser,
    /// The Zoom user's display name; may be empty.
    pub display_name: String,
    /// The Zoom user's e-mail address at the last consent.
    pub email: Option<EmailAddress>,
    /// Status.
    pub status: LinkStatus,
    /// Time of the first consent.
    pub created_at: Timestamp,
    /// Time of the app user's latest consent. Zoom's news of a removal of the app that is older does not end the link.
    pub consented_at: Option<Timestamp>,
    /// Time of the app's confirmation.
    pub activated_at: Option<Timestamp>,
    /// Expiry of the latest claim of a link that is not active.
    pub pending_until: Option<Timestamp>,
    /// Time at which the grant became live again without this link. From then on the link receives nothing.
    pub cut_off_at: Option<Timestamp>,
    /// Time at which the link last stopped being active without being removed.
    pub inactive_since: Option<Timestamp>,
    /// Issue of the Zoom user; `None` if the last listing succeeded and events arrive.
    pub issue: Option<LinkIssue>,
    /// When an event of the Zoom user last arrived, to the hour.
    pub last_event_at: Option<Timestamp>,
    /// Which recordings are fetched, as far as Zoom lists them.
    pub coverage: Coverage,
    /// Keys of the same user in earlier Zoom accounts, whose recordings the link still covers.
    pub previous_zoom_users: Vec<ZoomUser>,
}

impl Link {
    /// Iterates over all keys of the Zoom user: the current one, then those of earlier accounts.
    pub fn zoom_users(&self) -> impl Iterator<Item = &ZoomUser> {
        std::iter::once(&self.zoom_user).chain(&self.previous_zoom_users)
    }

    /// Whether new recordings are routed to the link and notified.
    pub fn is_receiving(&self) -> bool {
        self.status.is_visible() && self.cut_off_at.is_none()
    }

    /// Upper bound of what the link may read: recordings that were stored before. `None`: no bound.
    pub fn reads_until(&self) -> Option<Timestamp> {
        self.cut_off_at
    }

    /// Whether the app user may be notified, by a notification that was written at `stamp`, of a recording that is
    /// stored under a Zoom user's key.
    pub fn covers_notification(&self, zoom_user: &ZoomUser, stamp: Timestamp) -> bool {
        self.status.is_visible()
            && self.zoom_users().any(|covered| covered == zoom_user)
            && self.cut_off_at.is_none_or(|at| stamp < at)
    }

    /// Whether the link needs a live grant: it is active, or its claim can still be confirmed.
    fn is_using_grant(&self, now: Timestamp) -> bool {
        self.status == LinkStatus::Active || self.pending_until.is_some_and(|until| until > now)
    }

    fn activate(&mut self) {
        self.status = LinkStatus::Active;
        self.pending_until = None;
        self.cut_off_at = None;
        self.inactive_since = None;
    }
}

/// Returns the union of the active links' coverage; `None` if no link is active.
pub fn active_coverage(links: &[Link]) -> Option<Coverage> {
    let mut active = links.iter().filter(|link| link.status == LinkStatus::Active);
    let mut coverage = active.next()?.coverage.clone();
    active.for_each(|link| coverage.extend(&link.coverage));
    Some(coverage)
}

#[cfg(test)]
mod tests;
