//! The public view of links, in API responses and notifications.

use jiff::Timestamp;
use serde::Serialize;

use super::EmailAddress;
use super::{Link, LinkIssue, LinkStatus};
use crate::erasure::{Removal, RemovalReason};
use crate::ids::{LinkId, ZoomUser};
use crate::time::serialize_rfc3339;

/// `link` in API responses and notifications.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the public API documents the fields")]
pub struct LinkView {
    pub id: LinkId,
    pub status: LinkViewStatus,
    pub zoom: LinkedZoomUser,
    #[serde(serialize_with = "serialize_rfc3339")]
    pub created_at: Timestamp,
    #[serde(serialize_with = "serialize_rfc3339")]
    pub activated_at: Option<Timestamp>,
    pub removed_reason: Option<RemovalReason>,
    #[serde(serialize_with = "serialize_rfc3339")]
    pub erase_at: Option<Timestamp>,
    pub issue: Option<LinkIssue>,
    /// When an event of the Zoom user last arrived, to the hour.
    #[serde(serialize_with = "serialize_rfc3339")]
    pub last_event_at: Option<Timestamp>,
    /// Null in notifications: only the API reads it.
    #[serde(serialize_with = "serialize_rfc3339")]
    pub last_reconciled_at: Option<Timestamp>,
}

/// `link.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the public API documents the values")]
pub enum LinkViewStatus {
    Pending,
    Active,
    ReauthorizationRequired,
    /// In `link.removed` alone.
    Removed,
}

impl From<LinkStatus> for LinkViewStatus {
    fn from(status: LinkStatus) -> Self {
        match status {
            LinkStatus::Pending => Self::Pending,
            LinkStatus::Active => Self::Active,
            LinkStatus::ReauthorizationRequired => Self::ReauthorizationRequired,
        }
    }
}

/// `link.zoom`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the public API documents the fields")]
pub struct LinkedZoomUser {
    #[serde(flatten)]
    pub user: ZoomUser,
    /// Null in `link.removed`, which may outlive the erasure of the user's data.
    pub display_name: Option<String>,
    /// Null outside `GET /v1/links`.
    pub email: Option<EmailAddress>,
}

impl Link {
    /// Returns the public view.
    pub fn view(&self) -> LinkView {
        LinkView {
            id: self.id.clone(),
            status: self.status.into(),
            zoom: LinkedZoomUser {
                user: self.zoom_user.clone(),
                display_name: Some(self.display_name.clone()),
                email: None,
            },
            created_at: self.created_at,
            activated_at: self.activated_at,
            removed_reason: None,
            erase_at: None,
            issue: self.issue,
            last_event_at: self.last_event_at,
            last_reconciled_at: None,
        }
    }

    /// Returns the public view of the link after its removal: ids, and how it ended.
    pub fn removed_view(&self, removal: &Removal) -> LinkView {
        LinkView {
            status: LinkViewStatus::Removed,
            zoom: LinkedZoomUser { user: self.zoom_user.clone(), display_name: None, email: None },
            removed_reason: removal.reason,
            erase_at: removal.erase_at,
            ..self.view()
        }
    }
}
