//! Erasure of a Zoom user's recordings after the last link is gone: when it is due, and how much was deleted.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Why a link was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovalReason {
    /// The app deleted it.
    Disconnected,
    /// The Zoom user removed the app at Zoom.
    Deauthorized,
    /// The operator erased the app user or the Zoom user.
    Erased,
}

/// How a link ended, as `link.removed` reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removal {
    /// Why; `None` if another link of the same app user took its place.
    pub reason: Option<RemovalReason>,
    /// When the recordings are erased; `None` if they are not scheduled to be.
    pub erase_at: Option<Timestamp>,
}

/// How long recordings are kept after the last link is gone: `EraseAfterDeauthorizationDays` and
/// `EraseAfterUnlinkDays`. `None` = for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeepAfterRemoval {
    /// After the Zoom user removed the app at Zoom.
    pub deauthorization: Option<SignedDuration>,
    /// After the app deleted the link.
    pub unlink: Option<SignedDuration>,
}

impl KeepAfterRemoval {
    /// Returns when the erasure of the recordings is due after a removal at `now`.
    pub fn erase_at(&self, reason: RemovalReason, now: Timestamp) -> Option<Timestamp> {
        let kept = match reason {
            RemovalReason::Deauthorized => self.deauthorization?,
            RemovalReason::Disconnected => self.unlink?,
            RemovalReason::Erased => SignedDuration::ZERO,
        };
        Some(now.checked_add(kept).unwrap_or(Timestamp::MAX))
    }
}

/// Counts of the deletions of an erasure, without ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureTotals {
    /// Recordings, each replaced by a marker.
    pub recordings: u64,
    /// File items.
    pub files: u64,
    /// Objects: files, manifests, large events.
    pub objects: u64,
    /// Total size of these objects.
    pub bytes: u64,
    /// Incomplete multipart uploads.
    pub uploads: u64,
    /// Saved notifications.
    pub notifications: u64,
}

impl std::ops::AddAssign for ErasureTotals {
    fn add_assign(&mut self, more: Self) {
        self.recordings += more.recordings;
        self.files += more.files;
        self.objects += more.objects;
        self.bytes += more.bytes;
        self.uploads += more.uploads;
        self.notifications += more.notifications;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erasure_follows_the_reason() {
        let now: Timestamp = "2026-01-01T10:00:00Z".parse().unwrap();
        let days = |days: i64| SignedDuration::from_hours(24 * days);
        let keep = KeepAfterRemoval { deauthorization: Some(days(10)), unlink: None };
        assert_eq!(keep.erase_at(RemovalReason::Deauthorized, now), Some(now + days(10)));
        assert_eq!(keep.erase_at(RemovalReason::Disconnected, now), None);
        assert_eq!(keep.erase_at(RemovalReason::Erased, now), Some(now));
        let keep = KeepAfterRemoval { deauthorization: None, unlink: Some(days(0)) };
        assert_eq!(keep.erase_at(RemovalReason::Deauthorized, now), None);
        assert_eq!(keep.erase_at(RemovalReason::Disconnected, now), Some(now));
        assert_eq!(KeepAfterRemoval::default().erase_at(RemovalReason::Disconnected, now), None);
    }

    #[test]
    fn totals_are_sums() {
        let totals = |n: u64| ErasureTotals {
            recordings: n,
            files: 2 * n,
            objects: 3 * n,
            bytes: 4 * n,
            uploads: 5 * n,
            notifications: 6 * n,
        };
        let mut sum = totals(1);
        sum += totals(10);
        assert_eq!(sum, totals(11));
    }
}
