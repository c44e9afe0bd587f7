//! The state that all request handlers share.

use standardwebhooks::Webhook;
use url::Url;

use crate::clock::Clock;
use crate::inbox::Inbox;
use crate::reelay::Reelay;

/// Shared state of the app.
pub(crate) struct App {
    pub(crate) reelay: Reelay,
    /// Verifies the signatures of notifications.
    pub(crate) webhook: Webhook,
    pub(crate) clock: Clock,
    pub(crate) inbox: Inbox,
    /// Origin under which browsers reach the app.
    pub(crate) public_url: Url,
    /// Page to which Reelay sends users back from Zoom.
    pub(crate) return_url: Url,
    /// The Zoom simulator, if the app runs beside one.
    pub(crate) simulator_url: Option<Url>,
}
