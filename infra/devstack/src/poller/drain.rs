//! The queues worked off on demand, for tests: when the call returns, nothing is left to be done.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::future::join_all;

use super::{PAUSE, Poller, Source};
use crate::deploy;

/// How long to wait before looking again at what others are at.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// A queue that can't be read so often in a row is left alone.
const MOST_FAILURES: u32 = 3;

/// What a drain has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Deliveries that were done.
    pub done: usize,
    /// Deliveries that were not.
    pub failed: usize,
    /// Messages that are still in the functions' queues: hidden until they are tried again, or delayed.
    /// Dead-letter queues do not count.
    pub waiting: usize,
}

/// What becomes of messages that were not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retries {
    /// They come back when their time has come, and are not waited for.
    Later,
    /// They are delivered again at once, until they are done or in the dead-letter queue.
    AtOnce,
    /// They come back when their time has come, and are waited for so long.
    Within(Duration),
}

/// What working off one queue has done.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    done: usize,
    failed: usize,
    /// Whether the queue could be read to its end.
    readable: bool,
}

/// How many messages a queue holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    visible: usize,
    hidden: usize,
}

impl Poller {
    /// Works off all queues, whose messages lead to others, until no message can be received and none
    /// is being worked off.
    pub(crate) async fn drain(self: &Arc<Self>, retries: Retries) -> Drained {
        let begun = Instant::now();
        let mut total = Drained::default();
        // Looked at twice: a message that the poller has just been given is nowhere to be seen for a moment.
        let mut quiet = false;
        loop {
            let rounds = join_all(
                self.sources
                    .iter()
                    .map(|source| self.round(source, retries)),
            )
            .await;
            let (mut done, mut failed) = (0, 0);
            for round in &rounds {
                done += round.done;
                failed += round.failed;
            }
            total.done += done;
            total.failed += failed;
            if done + failed > 0 {
                quiet = false;
                continue;
            }
            if self.active.load(Ordering::SeqCst) > 0 || !quiet {
                quiet = self.active.load(Ordering::SeqCst) == 0;
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
            // Short polling may find nothing in a queue that holds something; its count knows.
            let readable = rounds.iter().map(|round| round.readable);
            let queues = self.queues().await;
            if readable
                .zip(&queues)
                .any(|(readable, queue)| readable && queue.visible > 0)
            {
                quiet = false;
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
            total.waiting = queues
                .iter()
                .map(|queue| queue.visible + queue.hidden)
                .sum();
            match retries {
                Retries::Within(limit) if total.waiting > 0 && begun.elapsed() < limit => {
                    quiet = false;
                    tokio::time::sleep(PAUSE).await;
                }
                _ => return total,
            }
        }
    }

    /// Works off what one queue holds now, as many batches at the same time as in operation.
    async fn round(self: &Arc<Self>, source: &Arc<Source>, retries: Retries) -> Round {
        let workers = (0..source.concurrency()).map(|_| async {
            let mut counts = Round {
                readable: true,
                ..Round::default()
            };
            let mut failures = 0;
            loop {
                match self.receive(source, 0).await {
                    Ok((_, messages)) if messages.is_empty() => return counts,
                    Ok((_active, messages)) => {
                        let number = messages.len();
                        let failed = self.work(source, messages).await;
                        counts.done += number - failed.len();
                        counts.failed += failed.len();
                        if retries == Retries::AtOnce {
                            join_all(
                                failed
                                    .iter()
                                    .map(|message| self.show_again(source, message)),
                            )
                            .await;
                        }
                    }
                    Err(reason) if failures == MOST_FAILURES => {
                        tracing::warn!(
                            function = source.function,
                            reason,
                            "the queue can't be read"
                        );
                        counts.readable = false;
                        return counts;
                    }
                    Err(_) => {
                        failures += 1;
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        });
        let mut total = Round {
            readable: true,
            ..Round::default()
        };
        for counts in join_all(workers).await {
            total.done += counts.done;
            total.failed += counts.failed;
            total.readable &= counts.readable;
        }
        total
    }

    /// What the functions' queues hold, in the order of the sources.
    async fn queues(&self) -> Vec<Held> {
        let counts = self.sources.iter().map(|source| async {
            let attributes = deploy::queue_attributes_of(&self.client, &source.queue_url)
                .await
                .unwrap_or_default();
            let count = |name: QueueAttributeName| -> usize {
                let value = attributes.get(&name);
                value.and_then(|value| value.parse().ok()).unwrap_or(0)
            };
            Held {
                visible: count(QueueAttributeName::ApproximateNumberOfMessages),
                hidden: count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
                    + count(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
            }
        });
        join_all(counts).await
    }
}
