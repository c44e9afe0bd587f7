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
    let (mut last_read, mut failed_reads) = (Instant::now(), 0);
    loop {
        ticks.tick().await;
        let error = match timeout(READ_TIMEOUT, read()).await {
            Ok(Ok(true)) => {
                (last_read, failed_reads) = (Instant::now(), 0);
                is_paused.store(false, Ordering::Relaxed);
                continue;
            }
            Ok(Ok(false)) => return TransferError::LinkEnded,
            Ok(Err(error)) => error,
            Err(_) => AwsError::unexpected_response("Query Links", "timed out"),
        };
        failed_reads += 1;
        tracing::warn!(%error, failed_reads, "links not read during a transfer");
        is_paused.store(failed_reads >= MAX_FAILED_READS, Ordering::Relaxed);
        if last_read.elapsed() >= MAX_UNKNOWN {
            return error.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use super::*;

    /// Result of the n-th read.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Read {
        Covered,
        Ended,
        Fails,
        Hangs,
    }

    /// Runs a transfer that fetches a byte every 100 ms, for at most 60 s. Returns its result and when it fetched
    /// the last byte.
    async fn run(reads: &[Read]) -> (Result<(), TransferError>, Duration) {
        let (started, last_byte) = (Instant::now(), Cell::new(Duration::ZERO));
        let count = Cell::new(0);
        let read = || {
            let read = reads.get(count.get()).or(reads.last()).copied();
            count.set(count.get() + 1);
            async move {
                match read {
                    Some(Read::Covered) => Ok(true),
                    Some(Read::Ended) => Ok(false),
                    Some(Read::Hangs) => pending().await,
                    _ => Err(AwsError::unexpected_response("Query Links", "throttled")),
                }
            }
        };
        let transfer = async {
            for _ in 0..600 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                last_byte.set(started.elapsed());
            }
            Ok(())
        };
        (while_covered(read, transfer).await, last_byte.get())
    }

    #[tokio::test(start_paused = true)]
    async fn covered_transfer_runs_to_its_end() {
        let (result, _) = run(&[Read::Covered]).await;
        assert_eq!(result, Ok(()));
        // One failed read changes nothing.
        let (result, last) = run(&[Read::Fails, Read::Covered]).await;
        assert_eq!((result, last), (Ok(()), Duration::from_secs(60)));
    }

    #[tokio::test(start_paused = true)]
    async fn no_byte_is_fetched_10_s_after_the_last_link_ended() {
        // The link ends right after the first read, at 4 s; the reads after it see that or fail.
        for reads in [
            &[Read::Covered, Read::Ended][..],
            &[Read::Covered, Read::Hangs, Read::Ended],
            &[Read::Covered, Read::Fails, Read::Hangs, Read::Fails],
            &[Read::Covered, Read::Hangs],
        ] {
            let (result, last) = run(reads).await;
            assert!(last <= Duration::from_secs(14), "{reads:?}: {last:?}");
            let ends = reads.last() == Some(&Read::Ended);
            assert_eq!(result == Err(TransferError::LinkEnded), ends, "{reads:?}: {result:?}");
            assert!(result.is_err(), "{reads:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn paused_transfer_continues_after_a_read() {
        let reads = [Read::Fails, Read::Fails, Read::Fails, Read::Covered];
        let (result, last) = run(&reads).await;
        // It pauses from 8 s to 16 s. Its timer fires late once and then every 100 ms.
        assert_eq!(result, Ok(()));
        assert!(last > Duration::from_secs(67), "{last:?}");
    }
}
