//! Scheduled maintenance of files: re-enqueues downloads whose message was lost or purged, and deletes old
//! encrypted sources.
//!
//! The rules need no knowledge of the queues, because a second message for the same file is harmless.

use jiff::{SignedDuration, Timestamp};

use crate::recording::FileStatus;

/// Delay before a file's first check. Most files are stored by then and need none.
pub const FIRST_CHECK_DELAY: SignedDuration = SignedDuration::from_hours(2);

/// Interval between checks of an unfinished file. It is long because a queue's backlog may last hours, and
/// every message that maintenance adds extends it.
const CHECK_INTERVAL: SignedDuration = SignedDuration::from_hours(6);

/// Age after which an encrypted source is deleted. Zoom's download tokens are valid for 24 hours; maintenance
/// runs hourly, so the limit is an hour less.
const SOURCE_TTL: SignedDuration = SignedDuration::from_hours(23);

/// Age after which an unfinished multipart upload counts as orphaned and is aborted.
pub const ORPHANED_UPLOAD_AGE: SignedDuration = SignedDuration::from_hours(24);

/// The state of a file that maintenance depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaintainedFile {
    /// The file's transfer status.
    pub status: FileStatus,
    /// Whether the file is to be downloaded: always in automatic mode, else once the app requested it.
    pub requested: bool,
    /// Expiry of the transfer's lease.
    pub lease_until: Option<Timestamp>,
    /// When the file's encrypted source was saved, if it has one.
    pub source_saved_at: Option<Timestamp>,
}

/// The maintenance that a file needs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMaintenance {
    /// Whether to enqueue a download message.
    pub enqueue: bool,
    /// Whether to delete the encrypted source.
    pub delete_source: bool,
    /// Time of the next check; `None` if the file needs no more checks.
    pub next_check_at: Option<Timestamp>,
}

impl MaintainedFile {
    /// Decides what maintenance the file needs at `now`.
    pub fn check(&self, now: Timestamp) -> FileMaintenance {
        let unfinished = matches!(self.status, FileStatus::Queued | FileStatus::Transferring);
        let is_pending = unfinished && self.requested;
        let has_live_lease = self.status == FileStatus::Transferring
            && self.lease_until.is_some_and(|until| until >= now);
        let source_expires_at = self.source_saved_at.map(|at| saturating_add(at, SOURCE_TTL));
        let delete_source = source_expires_at.is_some_and(|at| at <= now);
        let next_requeue = is_pending.then(|| saturating_add(now, CHECK_INTERVAL));
        let next_deletion = source_expires_at.filter(|_| !delete_source);
        FileMaintenance {
            enqueue: is_pending && !has_live_lease,
            delete_source,
            next_check_at: [next_requeue, next_deletion].into_iter().flatten().min(),
        }
    }
}

fn saturating_add(time: Timestamp, wait: SignedDuration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use FileStatus::{Failed, Queued, Skipped, Stored, Transferring};

    fn at(hours: i64) -> Timestamp {
        let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        noon + SignedDuration::from_hours(hours)
    }

    #[test]
    fn check_follows_the_table() {
        // Hours from now: lease expiry, time of saving the source, next check.
        for (status, requested, lease, saved, enqueue, delete_source, next) in [
            (Queued, true, None, None, true, false, Some(6)),
            (Queued, true, None, Some(-2), true, false, Some(6)),
            (Queued, true, None, Some(-20), true, false, Some(3)),
            (Queued, true, None, Some(-23), true, true, Some(6)),
            // On-demand mode, not requested.
            (Queued, false, None, Some(-2), false, false, Some(21)),
            (Queued, false, None, Some(-30), false, true, None),
            (Queued, false, None, None, false, false, None),
            (Transferring, true, Some(1), Some(-2), false, false, Some(6)),
            (Transferring, true, Some(-1), Some(-2), true, false, Some(6)),
            // Released for continuation, but no invocation holds the lease.
            (Transferring, true, None, Some(-30), true, true, Some(6)),
            // A lease is ignored unless the file is transferring.
            (Queued, true, Some(1), None, true, false, Some(6)),
            // A failed file is not enqueued; the app can request it again.
            (Failed, true, None, Some(-2), false, false, Some(21)),
            (Failed, true, None, Some(-24), false, true, None),
            (Failed, true, None, None, false, false, None),
            (Stored, true, None, None, false, false, None),
            (Skipped, true, None, None, false, false, None),
        ] {
            let watched = MaintainedFile {
                status,
                requested,
                lease_until: lease.map(at),
                source_saved_at: saved.map(at),
            };
            let expected = FileMaintenance { enqueue, delete_source, next_check_at: next.map(at) };
            assert_eq!(watched.check(at(0)), expected, "{watched:?}");
        }
    }
}
