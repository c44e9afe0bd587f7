//! Deferral of attempts: the account is rate limited, or the last attempt failed.
//!
//! A short wait is a delayed message. During a long one the item alone knows when the next attempt is due, and the
//! maintenance run enqueues it: SQS delays a message by 15 minutes at most, and limits hidden messages.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reelay_domain::maintenance::source_expiry;
use reelay_domain::message::DownloadMessage;
use reelay_domain::recording::FileStatus;
use reelay_domain::retry::jitter;
use reelay_domain::time::whole_seconds_until;
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::{AwsError, random};
use reelay_store::recordings::{FileItem, FileKey};

use crate::context::Context;
use crate::publish;

/// Maximum wait in a delayed message. SQS's own maximum is 15 minutes.
const MAX_MESSAGE_DELAY: Duration = Duration::from_secs(600);

/// Time after which maintenance enqueues an attempt whose delayed message is lost.
const LOST_MESSAGE_TTL: SignedDuration = SignedDuration::from_mins(30);

/// How the next attempt of a file is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// Delay of the message that begins it; `None` if maintenance does.
    pub(crate) message_delay: Option<i32>,
    /// When maintenance enqueues it.
    check_at: Timestamp,
}

impl Schedule {
    /// Schedules an attempt at the given time.
    pub(crate) fn new(at: Timestamp, now: Timestamp) -> Self {
        let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
        if wait > MAX_MESSAGE_DELAY {
            return Self { message_delay: None, check_at: at };
        }
        // A message that arrives early must wait again.
        let seconds = whole_seconds_until(at, now);
        Self {
            message_delay: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
            check_at: at.checked_add(LOST_MESSAGE_TTL).unwrap_or(at),
        }
    }

    /// When maintenance checks a file: at the latest when its source must be deleted.
    pub(crate) fn check_at(&self, source_saved_at: Option<i64>) -> Timestamp {
        let saved_at = source_saved_at.and_then(|at| Timestamp::from_millisecond(at).ok());
        let source_expiry = saved_at.map(source_expiry);
        source_expiry.map_or(self.check_at, |expiry| expiry.min(self.check_at))
    }

    /// Enqueues the attempt, unless maintenance does.
    pub(crate) async fn enqueue(
        &self,
        context: &Context,
        message: &DownloadMessage,
    ) -> Result<(), AwsError> {
        let Some(seconds) = self.message_delay else {
            return Ok(());
        };
        let account = message.zoom_user.account_id.as_str();
        context.downloads.send_delayed(message, account, seconds).await
    }
}

/// A file that waits for its account's rate limit.
pub(crate) struct Limited {
    until: Timestamp,
    item: FileItem,
}

/// The rate limit of the account, if the file would be transferred now.
pub(crate) async fn limited(context: &Context, key: &FileKey) -> Result<Option<Limited>, AwsError> {
    let account = &key.zoom_user.account_id;
    let until = context.recordings.not_before(account).await?;
    let now = context.clock.now();
    let Some(until) = until.filter(|until| *until > now) else {
        return Ok(None);
    };
    let item = context.recordings.file(key).await?;
    let is_waiting = |item: &FileItem| match item.status {
        FileStatus::Queued => true,
        // The lease may belong to this message, which then must not be acknowledged.
        FileStatus::Transferring => {
            item.lease_until.is_none_or(|until| until < now.as_millisecond())
        }
        FileStatus::Stored | FileStatus::Failed | FileStatus::Skipped | FileStatus::Expired => {
            false
        }
    };
    Ok(item.filter(is_waiting).map(|item| Limited { until, item }))
}

/// Defers an attempt until the account's rate limit has passed. It does not count as failed.
pub(crate) async fn defer(
    context: &Context,
    message: &DownloadMessage,
    key: &FileKey,
    Limited { until, item }: Limited,
) -> Result<(), AwsError> {
    metrics::count(Metric::DownloadsDeferred, "rate_limited");
    let now = context.clock.now();
    let [byte] = random::bytes::<1>();
    let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
    let at = until.checked_add(jitter(wait, byte)).unwrap_or(until);
    let schedule = Schedule::new(at, now);
    let check_at = schedule.check_at(item.source_saved_at);
    context.recordings.defer_attempt(key, at, check_at, now).await?;
    schedule.enqueue(context, message).await?;
    publish::refresh_manifest(context, key).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_waits_are_messages() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        for (wait_ms, seconds, check) in [
            (-1, Some(0), 1_799),
            (0, Some(0), 1_800),
            (9_001, Some(10), 1_809),
            (600_000, Some(600), 2_400),
            (600_001, None, 600),
            (86_400_000, None, 86_400),
        ] {
            let at = now + SignedDuration::from_millis(wait_ms);
            let schedule = Schedule::new(at, now);
            let check_at = schedule.check_at.duration_since(now).as_secs();
            assert_eq!((schedule.message_delay, check_at), (seconds, check), "{wait_ms} ms");
        }
    }

    #[test]
    fn check_deletes_the_source_in_time() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let tomorrow = now + SignedDuration::from_hours(24);
        let schedule = Schedule::new(tomorrow, now);
        let hours = |saved: i64| now + SignedDuration::from_hours(saved);
        for (saved_at, expected) in
            [(None, tomorrow), (Some(hours(-22)), hours(1)), (Some(hours(2)), tomorrow)]
        {
            let check_at = schedule.check_at(saved_at.map(Timestamp::as_millisecond));
            assert_eq!(check_at, expected, "{saved_at:?}");
        }
    }
}
