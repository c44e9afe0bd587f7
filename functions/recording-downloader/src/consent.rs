//! Consent during a transfer. Once no link may have the file, nothing more is fetched, stored or published.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use reelay_domain::ids::ZoomUser;
use reelay_runtime::AwsError;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::context::Context;
use crate::transfer::TransferError;

/// Interval between two reads of the links. Together with [`READ_TIMEOUT`] and [`MAX_FAILED_READS`] it keeps the
/// promise that no byte is fetched later than 10 s after the last link ended.
const INTERVAL: Duration = Duration::from_secs(4);

/// Time limit of one read.
const READ_TIMEOUT: Duration = Duration::from_millis(1500);

/// Failed reads in a row after which the transfer pauses.
const MAX_FAILED_READS: u32 = 2;

/// Time without a successful read after which the transfer ends and is retried.
const MAX_UNKNOWN: Duration = Duration::from_secs(30);

/// Returns whether a link may have the recordings of a Zoom user, by a consistent read.
pub(crate) async fn is_covered(context: &Context, zoom_user: &ZoomUser) -> Result<bool, AwsError> {
    Ok(!context.grants.links().receivers(zoom_user).await?.is_empty())
}

/// Runs a transfer as long as a link may have the file.
///
/// # Errors
/// The transfer's error, or [`TransferError::LinkEnded`].
pub(crate) async fn guard<T>(
    context: &Context,
    zoom_user: &ZoomUser,
    transfer: impl Future<Output = Result<T, TransferError>>,
) -> Result<T, TransferError> {
    while_covered(|| is_covered(context, zoom_user), transfer).await
}

async fn while_covered<T, R: Future<Output = Result<bool, AwsError>>>(
    read: impl Fn() -> R,
    transfer: impl Future<Output = Result<T, TransferError>>,
) -> Result<T, TransferError> {
    let is_paused = AtomicBool::new(false);
    let mut transfer = pin!(transfer);
    // A transfer that is not polled reads no byte.
    let pausable = poll_fn(|cx| match is_paused.load(Ordering::Relaxed) {
        true => Poll::Pending,
        false => transfer.as_mut().poll(cx),
    });
    tokio::select! {
        biased;
        error = watch(read, &is_paused) => Err(error),
        result = pausable => result,
    }
}

/// Reads the links until the transfer must end.
async fn watch<R: Future<Output = Result<bool, AwsError>>>(
    read: impl Fn() -> R,
    is_paused: &AtomicBool,
) -> TransferError {
    let mut ticks = interval_at(Instant::now() + INTERVAL, INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch { last_read: Instant::now(), failed_reads: 0 };
    loop {
        ticks.tick().await;
        let result = timeout(READ_TIMEOUT, read()).await.unwrap_or_else(|_| {
            Err(AwsError::unexpected_response("Query Links", "no response in time"))
        });
        match watch.after(result, Instant::now()) {
            Step::Run => is_paused.store(false, Ordering::Relaxed),
            Step::Pause => is_paused.store(true, Ordering::Relaxed),
            Step::End(error) => return error,
        }
    }
}

/// What the reads of the links so far say about a transfer.
struct Watch {
    /// Time of the last successful read.
    last_read: Instant,
    /// Failed reads since.
    failed_reads: u32,
}

/// What follows from a read.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Run,
    Pause,
    End(TransferError),
}

impl Watch {
    fn after(&mut self, result: Result<bool, AwsError>, now: Instant) -> Step {
        let error = match result {
            Ok(true) => {
                *self = Self { last_read: now, failed_reads: 0 };
                return Step::Run;
            }
            Ok(false) => return Step::End(TransferError::LinkEnded),
            Err(error) => error,
        };
        self.failed_reads += 1;
        tracing::warn!(%error, failed_reads = self.failed_reads, "links not read during a transfer");
        if now.duration_since(self.last_read) >= MAX_UNKNOWN {
            Step::End(error.into())
        } else if self.failed_reads >= MAX_FAILED_READS {
            Step::Pause
        } else {
            Step::Run
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfer_pauses_within_10_s_of_the_last_successful_read() {
        assert!(INTERVAL * MAX_FAILED_READS + READ_TIMEOUT <= Duration::from_secs(10));
    }

    #[test]
    fn reads_decide_whether_a_transfer_runs_pauses_or_ends() {
        let failed = || -> Result<bool, AwsError> {
            Err(AwsError::unexpected_response("Query Links", "throttled"))
        };
        let started = Instant::now();
        let mut watch = Watch { last_read: started, failed_reads: 0 };
        let unknown = || Step::End(TransferError::Aws(failed().unwrap_err()));
        for (seconds, result, expected) in [
            (4, Ok(true), Step::Run),
            // One failed read changes nothing, two pause the transfer, and a successful one resumes it.
            (8, failed(), Step::Run),
            (12, failed(), Step::Pause),
            (16, failed(), Step::Pause),
            (20, Ok(true), Step::Run),
            (24, failed(), Step::Run),
            (28, failed(), Step::Pause),
            (49, failed(), Step::Pause),
            (50, failed(), unknown()),
            (54, Ok(false), Step::End(TransferError::LinkEnded)),
        ] {
            let step = watch.after(result, started + Duration::from_secs(seconds));
            assert_eq!(step, expected, "at {seconds} s");
        }
    }
}
