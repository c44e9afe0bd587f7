//! State that all request handlers share.

use standardwebhooks::Webhook;
use url::Url;

use crate::clock::Clock;
use crate::inbox::Inbox;
use crate::reelay::Reelay;

pub(crate) struct App {
    pub(crate) reelay: Reelay,
    pub(crate) webhook: Webhook,
    pub(crate) clock: Clock,
    pub(crate) inbox: Inbox,
    pub(crate) public_url: Url,
    /// Page to which Reelay sends users back from Zoom.
    pub(crate) return_url: Url,
    pub(crate) simulator_url: Option<Url>,
}
