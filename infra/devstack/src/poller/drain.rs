//! Processes the queues on demand, for tests: afterwards no work is left.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::future::join_all;

use super::receive::{Poller, RETRY_DELAY, Source};
use crate::deploy;

const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Failed reads in a row after which a queue is skipped.
const MAX_READ_FAILURES: u32 = 3;

/// Result of a drain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Number of successful deliveries.
    pub done: usize,
    /// Number of failed deliveries.
    pub failed: usize,
    /// Number of messages left in the functions' queues, hidden or delayed. Dead-letter queues are not counted.
    pub waiting: usize,
}

/// How a drain treats failed messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retries {
    /// The drain leaves them until their visibility timeout ends.
    Later,
    /// The drain delivers them again at once, until they succeed or reach the dead-letter queue.
    AtOnce,
}

/// Result of reading one queue until it is empty.
#[derive(Debug, Clone, Copy)]
struct Round {
    done: usize,
    failed: usize,
    is_readable: bool,
}

impl Default for Round {
    fn default() -> Self {
        Self { done: 0, failed: 0, is_readable: true }
    }
}

/// Number of messages in a queue.
#[derive(Debug, Clone, Copy)]
struct QueueLength {
    visible: usize,
    hidden: usize,
}

impl Poller {
    /// Processes all queues until no message is visible and no batch is active.
    pub(crate) async fn drain(self: &Arc<Self>, retries: Retries) -> Drained {
        let mut total = Drained::default();
        // Two quiet rounds are necessary: between receiving and counting, a batch is briefly invisible.
        let mut is_quiet = false;
        loop {
            let rounds = self.sources.iter();
            let rounds = join_all(rounds.map(|source| self.round(source, retries))).await;
            let done: usize = rounds.iter().map(|round| round.done).sum();
            let failed: usize = rounds.iter().map(|round| round.failed).sum();
            total.done += done;
            total.failed += failed;
            if done + failed > 0 {
                is_quiet = false;
                continue;
            }
            let is_idle = self.active.load(Ordering::SeqCst) == 0;
            if !is_idle || !is_quiet {
                is_quiet = is_idle;
                tokio::time::sleep(POLL_INTERVAL).await;
                continue;
            }
            // Short polling can miss messages, so the queue's own count decides.
            let lengths = self.queue_lengths().await;
            let has_work =
                |(round, length): (&Round, &QueueLength)| round.is_readable && length.visible > 0;
            if rounds.iter().zip(&lengths).any(has_work) {
                is_quiet = false;
                tokio::time::sleep(POLL_INTERVAL).await;
                continue;
            }
            total.waiting = lengths.iter().map(|length| length.visible + length.hidden).sum();
            return total;
        }
    }

    /// Reads one queue until it is empty, with the concurrency of continuous polling.
    async fn round(self: &Arc<Self>, source: &Arc<Source>, retries: Retries) -> Round {
        let workers = (0..source.concurrency()).map(|_| self.worker(source, retries));
        let mut total = Round::default();
        for round in join_all(workers).await {
            total.done += round.done;
            total.failed += round.failed;
            total.is_readable &= round.is_readable;
        }
        total
    }

    async fn worker(self: &Arc<Self>, source: &Arc<Source>, retries: Retries) -> Round {
        let mut round = Round::default();
        let mut read_failures = 0;
        loop {
            match self.receive(source, 0).await {
                Ok((_, messages)) if messages.is_empty() => return round,
                Ok((_active, messages)) => {
                    let count = messages.len();
                    let failed = self.process(source, messages).await;
                    round.done += count - failed.len();
                    round.failed += failed.len();
                    if retries == Retries::AtOnce {
                        let failed = failed.iter();
                        join_all(failed.map(|message| self.make_visible(source, message))).await;
                    }
                }
                Err(reason) if read_failures == MAX_READ_FAILURES => {
                    tracing::warn!(function = source.function, reason, "queue not read");
                    round.is_readable = false;
                    return round;
                }
                Err(_) => {
                    read_failures += 1;
                    tokio::time::sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    /// The lengths of the functions' queues, in the order of the sources.
    async fn queue_lengths(&self) -> Vec<QueueLength> {
        let lengths = self.sources.iter().map(|source| async {
            let attributes =
                deploy::queue_attributes(&self.client, &source.queue_url).await.unwrap_or_default();
            let count = |name: QueueAttributeName| -> usize {
                let value = attributes.get(&name);
                value.and_then(|value| value.parse().ok()).unwrap_or(0)
            };
            QueueLength {
                visible: count(QueueAttributeName::ApproximateNumberOfMessages),
                hidden: count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
                    + count(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
            }
        });
        join_all(lengths).await
    }
}
