//! Scheduled maintenance of files: re-enqueues downloads whose message was lost or purged, and deletes old
//! encrypted sources.
//!
//! The rules need no knowledge of the queues, because a second message for the same file is harmless.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::recording::FileStatus;
use crate::time::{saturating_add, utc_date};

/// Delay before a file's first check. Most files are stored by then and need none.
pub const FIRST_CHECK_DELAY: SignedDuration = SignedDuration::from_hours(2);

/// Interval between checks of an unfinished file. It is long because a queue's backlog may last hours, and
/// every message that maintenance adds extends it.
const CHECK_INTERVAL: SignedDuration = SignedDuration::from_hours(6);

/// Interval between checks whether S3 has deleted an expired object, which it does some hours after the expiry. Longer after
/// [`LATE_EXPIRY`].
const EXPIRY_CHECK_INTERVAL: SignedDuration = SignedDuration::from_hours(3);

/// Time after the expiry of an object that is still there from which on it is checked once a day: the operator may have raised
/// `RetentionDays`.
const LATE_EXPIRY: SignedDuration = SignedDuration::from_hours(24);

/// Time after the expiry over which the first checks are spread.
const EXPIRY_CHECK_SPREAD_MILLISECONDS: i64 = 5 * 3_600_000;

/// Age after which an encrypted source is deleted, an hour less than the 24 hours for which Zoom's download tokens
/// are valid.
const SOURCE_TTL: SignedDuration = SignedDuration::from_hours(23);

/// Age after which an unfinished multipart upload counts as orphaned and is aborted.
pub const ORPHANED_UPLOAD_AGE: SignedDuration = SignedDuration::from_hours(24);

/// The state of a file that maintenance depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaintainedFile {
    /// The file's transfer status.
    pub status: FileStatus,
    /// Whether the file is wanted: always in automatic mode, else once the app requested it.
    pub requested: bool,
    /// Expiry of the transfer's lease.
    pub lease_until: Option<Timestamp>,
    /// When the file is tried again, if it waits for that.
    pub next_attempt_at: Option<Timestamp>,
    /// When the file's encrypted source was saved, if it has one.
    pub source_saved_at: Option<Timestamp>,
    /// When the object of a stored file is deleted ([`object_expiry`]).
    pub expires_at: Option<Timestamp>,
}

/// The maintenance that a file needs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMaintenance {
    /// Whether to enqueue a download message.
    pub enqueue: bool,
    /// Whether to delete the encrypted source.
    pub delete_source: bool,
    /// Whether to check that S3 has deleted the object. If it has not, the next check does so again.
    pub check_object: bool,
    /// Time of the next check; `None` if the file needs no more checks.
    pub next_check_at: Option<Timestamp>,
}

/// Time at which an encrypted source is deleted that was saved at the given time.
pub fn source_expiry(saved_at: Timestamp) -> Timestamp {
    saturating_add(saved_at, SOURCE_TTL)
}

/// Time at which S3 deletes an object with an expiration in days: the next midnight UTC after that many days (S3 User
/// Guide, "Lifecycle configuration elements"). `None` if it never does.
pub fn object_expiry(created_at: Timestamp, retention_days: u16) -> Option<Timestamp> {
    let days = SignedDuration::from_hours(24 * i64::from(retention_days));
    let midnight = utc_date(saturating_add(created_at, days)).tomorrow().ok()?;
    let midnight = TimeZone::UTC.to_timestamp(midnight.at(0, 0, 0, 0)).ok()?;
    (retention_days > 0).then_some(midnight)
}

/// Time of the first check of an object that expires, one to six hours later. All objects expire at midnight; the time of
/// storing spreads their checks.
pub fn expiry_check(expires_at: Timestamp, stored_at: Timestamp) -> Timestamp {
    let spread = stored_at.as_millisecond().rem_euclid(EXPIRY_CHECK_SPREAD_MILLISECONDS);
    saturating_add(expires_at, SignedDuration::from_hours(1) + SignedDuration::from_millis(spread))
}

impl MaintainedFile {
    /// Decides what maintenance the file needs at `now`.
    pub fn check(&self, now: Timestamp) -> FileMaintenance {
        let unfinished = matches!(self.status, FileStatus::Queued | FileStatus::Transferring);
        let is_pending = unfinished && self.requested;
        let has_live_lease = self.status == FileStatus::Transferring
            && self.lease_until.is_some_and(|until| until >= now);
        let waits_until = self.next_attempt_at.filter(|at| *at > now);
        let source_expires_at = self.source_saved_at.map(source_expiry);
        let delete_source = source_expires_at.is_some_and(|at| at <= now);
        let next_requeue =
            is_pending.then(|| waits_until.unwrap_or(saturating_add(now, CHECK_INTERVAL)));
        let next_deletion = source_expires_at.filter(|_| !delete_source);
        let expires_at = self.expires_at.filter(|_| self.status == FileStatus::Stored);
        let check_object = expires_at.is_some_and(|at| at <= now);
        let next_object_check = expires_at.map(|at| match check_object {
            true if now.duration_since(at) < LATE_EXPIRY => {
                saturating_add(now, EXPIRY_CHECK_INTERVAL)
            }
            true => saturating_add(now, LATE_EXPIRY),
            false => at,
        });
        FileMaintenance {
            enqueue: is_pending && !has_live_lease && waits_until.is_none(),
            delete_source,
            check_object,
            next_check_at: [next_requeue, next_deletion, next_object_check]
                .into_iter()
                .flatten()
                .min(),
        }
    }
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
        // Hours from now: lease expiry, next attempt, time of saving the source, next check.
        for (status, requested, lease, attempt, saved, enqueue, delete_source, next) in [
            (Queued, true, None, None, None, true, false, Some(6)),
            (Queued, true, None, None, Some(-2), true, false, Some(6)),
            (Queued, true, None, None, Some(-20), true, false, Some(3)),
            (Queued, true, None, None, Some(-23), true, true, Some(6)),
            // Waits for its next attempt, or the attempt is due.
            (Queued, true, None, Some(3), Some(-2), false, false, Some(3)),
            (Queued, true, None, Some(0), None, true, false, Some(6)),
            // On-demand mode, not requested.
            (Queued, false, None, None, Some(-2), false, false, Some(21)),
            (Queued, false, None, None, Some(-30), false, true, None),
            (Queued, false, None, None, None, false, false, None),
            (Transferring, true, Some(1), None, Some(-2), false, false, Some(6)),
            (Transferring, true, Some(-1), None, Some(-2), true, false, Some(6)),
            // Released for continuation, but no invocation holds the lease.
            (Transferring, true, None, None, Some(-30), true, true, Some(6)),
            // A lease is ignored unless the file is transferring.
            (Queued, true, Some(1), None, None, true, false, Some(6)),
            // A failed file is not enqueued; the app can request it again.
            (Failed, true, None, None, Some(-2), false, false, Some(21)),
            (Failed, true, None, None, Some(-24), false, true, None),
            (Failed, true, None, None, None, false, false, None),
            (Stored, true, None, None, None, false, false, None),
            (Skipped, true, None, None, None, false, false, None),
        ] {
            let watched = MaintainedFile {
                status,
                requested,
                lease_until: lease.map(at),
                next_attempt_at: attempt.map(at),
                source_saved_at: saved.map(at),
                expires_at: None,
            };
            let expected = FileMaintenance {
                enqueue,
                delete_source,
                check_object: false,
                next_check_at: next.map(at),
            };
            assert_eq!(watched.check(at(0)), expected, "{watched:?}");
        }
    }

    #[test]
    fn stored_file_is_checked_when_its_object_expires() {
        let file = |status, expires| MaintainedFile {
            status,
            requested: true,
            lease_until: None,
            next_attempt_at: None,
            source_saved_at: None,
            expires_at: Some(at(expires)),
        };
        let check = |status, expires| {
            let maintenance = file(status, expires).check(at(0));
            (maintenance.check_object, maintenance.next_check_at)
        };
        assert_eq!(check(Stored, 5), (false, Some(at(5))));
        assert_eq!(check(Stored, 0), (true, Some(at(3))));
        assert_eq!(check(Stored, -24), (true, Some(at(24))));
        // The app requested it again.
        assert_eq!(check(Queued, 0), (false, Some(at(6))));
        assert_eq!(check(FileStatus::Expired, 0), (false, None));
    }

    #[test]
    fn first_checks_of_expired_objects_are_spread() {
        for (stored_hours, expected) in [(0, 4), (1, 5), (4, 3)] {
            let check = expiry_check(at(12), at(stored_hours));
            assert_eq!(check, at(12 + expected), "{stored_hours}");
        }
    }

    #[test]
    fn objects_expire_at_the_midnight_after_their_days() {
        let day = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        assert_eq!(object_expiry(at(0), 0), None);
        assert_eq!(object_expiry(at(0), 1), day("2026-01-03T00:00:00Z"));
        assert_eq!(object_expiry(at(11), 30), day("2026-02-01T00:00:00Z"));
    }
}
