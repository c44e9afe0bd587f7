//! Consent during a transfer. Once no link may have the file, or the app deleted its recording, nothing more is fetched,
//! stored or published.

use std::pin::pin;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt as _};
use reelay_domain::ids::ZoomUser;
use reelay_runtime::AwsError;
use reelay_store::recordings::FileKey;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::context::Context;
use crate::transfer::TransferError;

/// Interval between two reads. Together with [`READ_TIMEOUT`] and [`MAX_FAILED_READS`] it keeps the
/// promise that no byte is fetched later than 10 s after the last link ended.
const INTERVAL: Duration = Duration::from_secs(4);

/// Time limit of one read.
const READ_TIMEOUT: Duration = Duration::from_millis(1500);

/// Number of failed reads in a row after which the transfer is ended and retried. It cannot just be paused: an upload
/// in progress reads from Zoom in a task of its own.
const MAX_FAILED_READS: u32 = 2;

/// Returns whether a link may have the recordings of a Zoom user, by a consistent read.
pub(crate) async fn is_covered(context: &Context, zoom_user: &ZoomUser) -> Result<bool, AwsError> {
    Ok(!context.grants.links().receivers(zoom_user).await?.is_empty())
}

/// Returns whether a link may have a file, whose recording was not erased, by consistent reads.
pub(crate) async fn is_wanted(context: &Context, key: &FileKey) -> Result<bool, AwsError> {
    Ok(is_covered(context, &key.zoom_user).await?
        && context.recordings.item(&key.zoom_user, &key.recording).await?.is_some())
}

/// Queues a file again whose transfer ended with its last link: a new link may have been confirmed before the file was
/// marked, and its backfill may have run before.
pub(crate) async fn requeue_if_wanted(context: &Context, key: &FileKey) -> Result<(), AwsError> {
    if is_wanted(context, key).await? {
        context.recordings.requeue(key, &context.downloads, context.clock.now()).await?;
    }
    Ok(())
}

/// Runs a transfer as long as a link may have the file. Reads the links before it starts; then links and recording at
/// intervals.
///
/// # Errors
/// The transfer's error, [`TransferError::LinkEnded`], or the error of the reads.
pub(crate) async fn guard<T>(
    context: &Context,
    key: &FileKey,
    transfer: impl Future<Output = Result<T, TransferError>>,
) -> Result<T, TransferError> {
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is immediate.
    interval.tick().await;
    let ticks = stream::unfold(interval, |mut interval| async {
        interval.tick().await;
        Some(((), interval))
    });
    // The caller has just read the recording.
    let first = in_time(is_covered(context, &key.zoom_user));
    while_wanted(first, || in_time(is_wanted(context, key)), ticks, transfer).await
}

async fn in_time(read: impl Future<Output = Result<bool, AwsError>>) -> Result<bool, AwsError> {
    let read = timeout(READ_TIMEOUT, read).await;
    read.unwrap_or_else(|_| {
        Err(AwsError::unexpected_response("Query Links", "no response in time"))
    })
}

async fn while_wanted<T, R: Future<Output = Result<bool, AwsError>>>(
    first: impl Future<Output = Result<bool, AwsError>>,
    read: impl Fn() -> R,
    ticks: impl Stream<Item = ()>,
    transfer: impl Future<Output = Result<T, TransferError>>,
) -> Result<T, TransferError> {
    if !first.await? {
        return Err(TransferError::LinkEnded);
    }
    tokio::select! {
        biased;
        error = watch(read, ticks) => Err(error),
        result = transfer => result,
    }
}

/// Reads at each tick until the transfer must end.
async fn watch<R: Future<Output = Result<bool, AwsError>>>(
    read: impl Fn() -> R,
    ticks: impl Stream<Item = ()>,
) -> TransferError {
    let mut ticks = pin!(ticks);
    let mut failed_reads = 0;
    while ticks.next().await.is_some() {
        match read().await {
            Ok(true) => failed_reads = 0,
            Ok(false) => return TransferError::LinkEnded,
            Err(error) => {
                failed_reads += 1;
                tracing::warn!(%error, failed_reads, "consent not read during a transfer");
                if failed_reads == MAX_FAILED_READS {
                    return error.into();
                }
            }
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use super::*;

    #[test]
    fn reads_fail_for_at_most_10_s() {
        assert!(INTERVAL * MAX_FAILED_READS + READ_TIMEOUT <= Duration::from_secs(10));
    }

    #[tokio::test]
    async fn transfer_ends_with_the_last_link_or_after_failed_reads() {
        let failed = AwsError::unexpected_response("Query Links", "throttled");
        let unknown = || Some(TransferError::Aws(failed.clone()));
        for (reads, expected) in [
            // The link ended before the transfer, or during it.
            (&[Ok(false)][..], Some(TransferError::LinkEnded)),
            (&[Ok(true), Ok(true), Ok(false)], Some(TransferError::LinkEnded)),
            (&[Ok(true), Err(()), Ok(false)], Some(TransferError::LinkEnded)),
            // Failed reads in a row end the transfer; a single one does not.
            (&[Err(())], unknown()),
            (&[Ok(true), Err(()), Err(())], unknown()),
            (&[Ok(true), Err(()), Ok(true), Err(()), Ok(true)], None),
        ] {
            let count = Cell::new(0);
            let read = || {
                let read = reads[count.get()];
                count.set(count.get() + 1);
                std::future::ready(read.map_err(|()| failed.clone()))
            };
            let ticks = stream::iter(vec![(); reads.len() - 1]).chain(stream::pending());
            // The transfer is still running, unless all reads have been made without an end.
            let transfer = async {
                if expected.is_some() {
                    return pending().await;
                }
                Ok(())
            };
            let result = while_wanted(read(), read, ticks, transfer).await;
            assert_eq!(result.err(), expected, "{reads:?}");
            assert_eq!(count.get(), reads.len(), "{reads:?}");
        }
    }
}
