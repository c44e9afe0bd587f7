//! Links: "this app user may have that Zoom user's recordings".

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{AppUserId, LinkId, ZoomUser};

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
