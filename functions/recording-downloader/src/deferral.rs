//! Deferral of a download until the account's rate limit has passed, without consuming attempts.
//!
//! SQS counts every delivery, even one that finds that it is too early. A deferred download therefore continues
//! in a new, delayed message, which carries the number of attempts so far. If the invocation ends before it
//! acknowledges the old message, both exist, and the second to run finds nothing to do.

use std::time::Duration;

use jiff::Timestamp;
use reelay_domain::message::DownloadMessage;
use reelay_domain::recording::FileStatus;
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::sqs::{Delivery, Retry};
use reelay_runtime::{AwsError, random};
use reelay_store::recordings::FileKey;

use crate::context::Context;
use crate::disposition;

/// Maximum delay of an SQS message. A longer wait takes several messages.
const MAX_DELAY: Duration = Duration::from_secs(900);

/// Maximum random addition to a delay, which is also limited to an eighth of the wait. It spreads the downloads
/// that waited for the same moment.
const MAX_JITTER: Duration = Duration::from_secs(60);

/// Number of attempts for the file, including this one.
pub(crate) fn attempts(delivery: &Delivery<DownloadMessage>) -> u32 {
    delivery.message.prior_attempts.saturating_add(delivery.receive_count)
}

/// Whether the file is not retried after this attempt.
pub(crate) fn is_last_attempt(delivery: &Delivery<DownloadMessage>) -> bool {
    delivery.is_last_attempt || attempts(delivery) >= delivery.max_receives
}

/// Whether the file failed before SQS reached its own maximum of deliveries.
pub(crate) fn is_exhausted(delivery: &Delivery<DownloadMessage>) -> bool {
    attempts(delivery) > delivery.max_receives
}

/// Has SQS redeliver the message without delay until it moves it to the dead-letter queue.
pub(crate) fn until_dead_letter() -> Retry {
    Retry { reason: "file has no attempts left".to_owned(), after: Some(Duration::ZERO) }
}

/// Time until which the account is rate limited, if the file would be transferred now.
pub(crate) async fn not_before(
    context: &Context,
    key: &FileKey,
) -> Result<Option<Timestamp>, AwsError> {
    let account = &key.zoom_user.account_id;
    let until = context.recordings.not_before(account).await?;
    let now = context.clock.now();
    let Some(until) = until.filter(|until| *until > now) else {
        return Ok(None);
    };
    let item = context.recordings.file(key).await?;
    let is_waiting = item.is_some_and(|item| match item.status {
        FileStatus::Queued => true,
        // The lease may belong to this message, which then must not be acknowledged.
        FileStatus::Transferring => {
            item.lease_until.is_none_or(|until| until < now.as_millisecond())
        }
        FileStatus::Stored | FileStatus::Failed | FileStatus::Skipped => false,
    });
    Ok(is_waiting.then_some(until))
}

/// Continues in a new message that is delayed until the limit has passed, or as long as SQS allows.
pub(crate) async fn defer(
    context: &Context,
    delivery: &Delivery<DownloadMessage>,
    until: Timestamp,
) -> Result<(), AwsError> {
    metrics::count(Metric::DownloadsDeferred, "rate_limited");
    let message = DownloadMessage {
        // This delivery attempted nothing.
        prior_attempts: attempts(delivery).saturating_sub(1),
        ..delivery.message.clone()
    };
    let wait = disposition::wait_until(until, context.clock.now()).unwrap_or_default();
    let [byte] = random::bytes::<1>();
    let seconds = i32::try_from(delay(wait, byte).as_secs()).unwrap_or(i32::MAX);
    let account = message.zoom_user.account_id.as_str();
    context.downloads.send_delayed(&message, account, seconds).await
}

/// Delay for a wait, with jitter from one random byte.
fn delay(wait: Duration, random: u8) -> Duration {
    // SQS counts whole seconds, and a message that arrives early must wait again.
    let wait = Duration::from_secs(wait.as_secs() + 1);
    let jitter = (wait / 8).min(MAX_JITTER).mul_f64(f64::from(random) / 255.0);
    (wait + jitter).min(MAX_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_covers_wait_up_to_sqs_maximum() {
        for (wait_ms, random, seconds) in [
            (0, 0, 1),
            (9_999, 0, 10),
            (10_000, 0, 11),
            (79_000, 255, 90),
            (800_000, 0, 801),
            (800_000, 255, 861),
            (890_000, 255, 900),
            (86_400_000, 0, 900),
            (u64::MAX, 255, 900),
        ] {
            let delay = delay(Duration::from_millis(wait_ms), random);
            assert_eq!(delay.as_secs(), seconds, "{wait_ms} ms, {random}");
        }
    }
}
