//! What the clock has to see to about a file for which nobody may come any more.
//!
//! Messages see to everything in time. The rules here are for a message that was lost, purged, or given up
//! without its file being told so, and for credentials that must not lie about. Whoever follows them needs to
//! know nothing of queues: to send once more for a file that somebody has a message for is harmless.

use jiff::{SignedDuration, Timestamp};

use crate::recording::FileStatus;

/// When a file is looked at for the first time. By then most are stored, and nobody looks.
pub const FIRST_CHECK_DELAY: SignedDuration = SignedDuration::from_hours(2);

/// When a file is looked at again for which was sent. A backlog of the queue's may take hours, and what is
/// sent while one lasts makes it longer.
const NEXT_LOOK: SignedDuration = SignedDuration::from_hours(6);

/// How long a sealed source rests at most: as long as Zoom honours its token. It is an hour less than the
/// 24 that are promised, for nobody looks more often than once an hour.
const SOURCE_LIFE: SignedDuration = SignedDuration::from_hours(23);

/// What an upload is old from which nobody goes on with.
pub const ORPHANED_UPLOAD_AGE: SignedDuration = SignedDuration::from_hours(24);

/// A file, as far as upkeep depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaintainedFile {
    /// Where it is on its way.
    pub status: FileStatus,
    /// Whether it is to be fetched: always, or since the app asked.
    pub requested: bool,
    /// Until when somebody works on it.
    pub lease_until: Option<Timestamp>,
    /// When its sealed source was written, if it has one.
    pub source_saved_at: Option<Timestamp>,
}

/// What is to be done about a file now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMaintenance {
    /// Somebody has to be sent for it.
    pub enqueue: bool,
    /// Its sealed source has to go.
    pub delete_source: bool,
    /// When to look again; `None` for never.
    pub next_check_at: Option<Timestamp>,
}

impl MaintainedFile {
    /// What is to be done about it at this time.
    pub fn check(&self, now: Timestamp) -> FileMaintenance {
        let unfinished = matches!(self.status, FileStatus::Queued | FileStatus::Transferring);
        let wanted = unfinished && self.requested;
        let worked_on = self.status == FileStatus::Transferring
            && self.lease_until.is_some_and(|until| until >= now);
        let source_ends = self.source_saved_at.map(|at| after(at, SOURCE_LIFE));
        let drop_source = source_ends.is_some_and(|ends| ends <= now);
        let next_send = wanted.then(|| after(now, NEXT_LOOK));
        let next_drop = source_ends.filter(|_| !drop_source);
        FileMaintenance {
            enqueue: wanted && !worked_on,
            delete_source: drop_source,
            next_check_at: [next_send, next_drop].into_iter().flatten().min(),
        }
    }
}

fn after(time: Timestamp, wait: SignedDuration) -> Timestamp {
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
    fn each_state_has_its_upkeep() {
        // Hours from now: lease's end, the source's writing, the next look.
        for (status, requested, lease, sealed, send, drop_source, next) in [
            (Queued, true, None, None, true, false, Some(6)),
            (Queued, true, None, Some(-2), true, false, Some(6)),
            (Queued, true, None, Some(-20), true, false, Some(3)),
            (Queued, true, None, Some(-23), true, true, Some(6)),
            // On demand, nobody has asked.
            (Queued, false, None, Some(-2), false, false, Some(21)),
            (Queued, false, None, Some(-30), false, true, None),
            (Queued, false, None, None, false, false, None),
            (Transferring, true, Some(1), Some(-2), false, false, Some(6)),
            (Transferring, true, Some(-1), Some(-2), true, false, Some(6)),
            // Handed over, or so it says.
            (Transferring, true, None, Some(-30), true, true, Some(6)),
            // A lease that is left over from before means nothing.
            (Queued, true, Some(1), None, true, false, Some(6)),
            // What has failed stays so, and can be asked for again.
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
                source_saved_at: sealed.map(at),
            };
            let expected = FileMaintenance {
                enqueue: send,
                delete_source: drop_source,
                next_check_at: next.map(at),
            };
            assert_eq!(watched.check(at(0)), expected, "{watched:?}");
        }
    }
}
