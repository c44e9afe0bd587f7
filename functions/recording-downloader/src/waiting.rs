//! Waiting for an account's limit to pass, which may take hours, without using up the retries.
//!
//! SQS counts every delivery, also those that come only to find that it is too early. So whoever must wait
//! sends a fresh message that is delayed, notes in it how many tries the file has had, and acknowledges the
//! old one. If we die in between there are two, of which one will find that it is not needed.

use std::time::Duration;

use jiff::Timestamp;
use reelay_domain::message::DownloadMessage;
use reelay_domain::recording::FileStatus;
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::sqs::{Delivery, Retry};
use reelay_runtime::{AwsError, random};
use reelay_store::recordings::FileKey;

use crate::{RecordingDownloader, verdict};

/// SQS delays a message by 15 minutes at most. Who has to wait longer comes to look in between.
const LONGEST_DELAY: Duration = Duration::from_secs(900);

/// What has waited for one moment does not come at one moment: the delays differ by an eighth, and by a
/// minute at most.
const SPREAD: Duration = Duration::from_secs(60);

/// How often the file was tried, this time included.
pub(crate) fn tries(delivery: &Delivery<DownloadMessage>) -> u32 {
    delivery
        .message
        .prior_attempts
        .saturating_add(delivery.receive_count)
}

/// Whether the file is not tried again after this.
pub(crate) fn is_last_try(delivery: &Delivery<DownloadMessage>) -> bool {
    delivery.is_last_attempt || tries(delivery) >= delivery.max_receives
}

/// Whether the file was given up before this message had reached the end of SQS's own count.
pub(crate) fn is_given_up(delivery: &Delivery<DownloadMessage>) -> bool {
    tries(delivery) > delivery.max_receives
}

/// Has SQS deliver the message at once, until it moves it to the dead-letter queue, where a person sees it.
pub(crate) fn until_sqs_gives_up() -> Retry {
    Retry {
        reason: "the file was given up".to_owned(),
        after: Some(Duration::ZERO),
    }
}

impl RecordingDownloader {
    /// Until when Zoom must not be asked for this file, if there is a reason to ask for it at all.
    pub(crate) async fn must_wait(&self, key: &FileKey) -> Result<Option<Timestamp>, AwsError> {
        let account = &key.zoom_user.account_id;
        let until = self.recordings.not_before(account).await?;
        let now = self.clock.now();
        let Some(until) = until.filter(|until| *until > now) else {
            return Ok(None);
        };
        let item = self.recordings.file(key).await?;
        let waits = item.is_some_and(|item| match item.status {
            FileStatus::Queued => true,
            // While somebody works on it, this may be their message: it must not be acknowledged.
            FileStatus::Transferring => item
                .lease_until
                .is_none_or(|until| until < now.as_millisecond()),
            FileStatus::Stored | FileStatus::Failed | FileStatus::Skipped => false,
        });
        Ok(waits.then_some(until))
    }

    /// Continues with a fresh message, as late as it makes sense and SQS allows.
    pub(crate) async fn postpone(
        &self,
        delivery: &Delivery<DownloadMessage>,
        until: Timestamp,
    ) -> Result<(), AwsError> {
        metrics::count(Metric::DownloadsDeferred, "rate_limited");
        let message = DownloadMessage {
            // This delivery has tried nothing.
            prior_attempts: tries(delivery).saturating_sub(1),
            ..delivery.message.clone()
        };
        let wait = verdict::wait(until, self.clock.now()).unwrap_or_default();
        let [byte] = random::bytes::<1>();
        let seconds = delay(wait, byte).as_secs();
        let tenant = message.zoom_user.account_id.as_str();
        self.downloads
            .send_delayed(&message, tenant, i32::try_from(seconds).unwrap_or(i32::MAX))
            .await
    }
}

/// How long to delay what must wait so long.
fn delay(wait: Duration, random: u8) -> Duration {
    // SQS knows whole seconds only, and to come too early is to come in vain.
    let wait = Duration::from_secs(wait.as_secs() + 1);
    let spread = (wait / 8).min(SPREAD).mul_f64(f64::from(random) / 255.0);
    (wait + spread).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_never_shorter_than_the_wait_unless_sqs_allows_no_more() {
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
