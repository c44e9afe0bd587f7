//! Processes the queues on demand, for tests: afterwards no work is left.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::future::join_all;

use super::receive::{Poller, RETRY_DELAY, Source};
use crate::deploy;

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

impl Poller {
    /// Processes all queues until no message is visible and no batch is active.
    pub(crate) async fn drain(self: &Arc<Self>, retries: Retries) -> Drained {
        let mut total = Drained::default();
        let mut unreadable = BTreeSet::new();
        let mut activity = self.activity.subscribe();
        loop {
            let before = *activity.borrow_and_update();
            let sources = self.sources.iter().enumerate();
            let ready: Vec<_> = sources
                .filter(|(index, source)| !unreadable.contains(index) && self.visible(source) > 0)
                .collect();
            let rounds = ready.iter().map(|(_, source)| self.round(source, retries));
            for ((index, _), round) in ready.iter().zip(join_all(rounds).await) {
                total.done += round.done;
                total.failed += round.failed;
                if !round.is_readable {
                    unreadable.insert(*index);
                }
            }
            if ready.is_empty() && before.active == 0 && *activity.borrow() == before {
                break;
            }
            if ready.is_empty() {
                // The sender lives in `self`.
                activity.changed().await.ok();
            }
        }
        let lengths = self.queue_lengths().await;
        total.waiting = lengths.iter().sum();
        total
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
            match self.receive(source).await {
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

    /// Number of messages in each of the functions' queues, hidden and delayed ones included.
    async fn queue_lengths(&self) -> Vec<usize> {
        let lengths = self.sources.iter().map(|source| async {
            let attributes =
                deploy::queue_attributes(&self.client, &source.queue_url).await.unwrap_or_default();
            let count = |name: QueueAttributeName| -> usize {
                let value = attributes.get(&name);
                value.and_then(|value| value.parse().ok()).unwrap_or(0)
            };
            count(QueueAttributeName::ApproximateNumberOfMessages)
                + count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
                + count(QueueAttributeName::ApproximateNumberOfMessagesDelayed)
        });
        join_all(lengths).await
    }
}
