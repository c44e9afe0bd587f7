//! What does not change during a message of a run.

use jiff::Timestamp;
use reelay_domain::coverage::Coverage;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{LinkStatus, active_coverage};
use reelay_store::links::GrantSnapshot;

/// The part of a run that does not change between its pages.
pub(super) struct Run<'a> {
    pub(super) zoom_user: &'a ZoomUser,
    /// Keys of the Zoom user in earlier accounts.
    pub(super) previous: Vec<ZoomUser>,
    pub(super) coverage: Coverage,
    /// Time from which Zoom is expected to send events about the user.
    pub(super) events_since: Timestamp,
    /// Time just before the list is requested: the time of its observations.
    pub(super) requested_at: Timestamp,
}

impl<'a> Run<'a> {
    /// `None` without an active link.
    pub(super) fn new(
        zoom_user: &'a ZoomUser,
        snapshot: &GrantSnapshot,
        now: Timestamp,
    ) -> Option<Self> {
        let coverage = active_coverage(&snapshot.links)?;
        let active = || snapshot.links.iter().filter(|link| link.status == LinkStatus::Active);
        let activated_at = active().filter_map(|link| link.activated_at).min();
        let obtained_at = snapshot.grant.as_ref().map(|grant| grant.obtained_at);
        // Events are expected only about meetings that end after the consent.
        let obtained_at = obtained_at.and_then(|at| Timestamp::from_millisecond(at).ok());
        let previous = active().flat_map(|link| link.previous_zoom_users.iter().cloned());
        Some(Self {
            zoom_user,
            previous: previous.collect(),
            coverage,
            events_since: activated_at.max(obtained_at).unwrap_or(Timestamp::MAX),
            requested_at: now,
        })
    }
}
