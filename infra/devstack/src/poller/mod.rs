//! Lambda's event source mapping for SQS: takes batches from the queues, calls the functions, deletes
//! what was done. What was not done comes back by the queue's own visibility timeout, and goes to the
//! dead-letter queue by its own count.

mod batch;
mod drain;
mod event;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub use self::drain::Drained;
pub(crate) use self::drain::Retries;
use crate::functions::QueueHandler;

/// As long as SQS allows: an idle queue costs three calls a minute.
const LONG_POLL_SECONDS: i32 = 20;
/// A laptop is no cloud: whatever the template says, no more calls at the same time for one queue.
const MOST_CONCURRENT: u32 = 10;
/// SQS gives no more in one answer.
const MOST_MESSAGES: u32 = 10;
/// After a call that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// One queue and the function that works it off.
pub(crate) struct Source {
    pub(crate) function: String,
    pub(crate) handler: QueueHandler,
    pub(crate) timeout: Duration,
    pub(crate) queue_url: String,
    pub(crate) queue_arn: String,
    pub(crate) batch_size: u32,
    pub(crate) maximum_concurrency: Option<u32>,
    pub(crate) reports_failures: bool,
}

impl Source {
    fn concurrency(&self) -> usize {
        self.maximum_concurrency
            .unwrap_or(MOST_CONCURRENT)
            .clamp(1, MOST_CONCURRENT) as usize
    }
}

/// All event source mappings of a stack.
pub(crate) struct Poller {
    client: Client,
    region: String,
    sources: Vec<Arc<Source>>,
    /// Batches that were received and are not done with yet, whoever received them.
    active: AtomicUsize,
}

/// Counts a batch for as long as it lives, also when its task is ended.
struct Active(Arc<Poller>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Poller {
    pub(crate) fn new(client: Client, region: &str, sources: Vec<Source>) -> Arc<Self> {
        let sources = sources.into_iter().map(Arc::new).collect();
        Arc::new(Self {
            client,
            region: region.to_owned(),
            sources,
            active: AtomicUsize::new(0),
        })
    }

    /// Polls all queues until `stop` becomes true; then calls under way come to their end.
    pub(crate) async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let mut loops = JoinSet::new();
        for source in &self.sources {
            loops.spawn(Arc::clone(&self).poll(Arc::clone(source), stop.clone()));
        }
        while loops.join_next().await.is_some() {}
    }

    async fn poll(self: Arc<Self>, source: Arc<Source>, mut stop: watch::Receiver<bool>) {
        let slots = Arc::new(Semaphore::new(source.concurrency()));
        let mut calls = JoinSet::new();
        loop {
            let received = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                received = async {
                    // Closed is what this semaphore never is.
                    let slot = Arc::clone(&slots).acquire_owned().await.ok();
                    (slot, self.receive(&source, LONG_POLL_SECONDS).await)
                } => received,
            };
            match received {
                (_, Ok((_, messages))) if messages.is_empty() => {}
                (slot, Ok((active, messages))) => {
                    let (this, source) = (Arc::clone(&self), Arc::clone(&source));
                    calls.spawn(async move {
                        let (_slot, _active) = (slot, active);
                        this.work(&source, messages).await;
                    });
                }
                (_, Err(reason)) => {
                    tracing::warn!(
                        function = source.function,
                        reason,
                        "the queue can't be read"
                    );
                    tokio::time::sleep(PAUSE).await;
                }
            }
            while calls.try_join_next().is_some() {}
        }
        while calls.join_next().await.is_some() {}
    }

    async fn receive(
        self: &Arc<Self>,
        source: &Source,
        wait_seconds: i32,
    ) -> Result<(Active, Vec<Message>), String> {
        let batch = i32::try_from(source.batch_size.clamp(1, MOST_MESSAGES)).unwrap_or(1);
        let answer = self
            .client
            .receive_message()
            .queue_url(&source.queue_url)
            .max_number_of_messages(batch)
            .wait_time_seconds(wait_seconds)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .send()
            .await
            .map_err(|error| DisplayErrorContext(error).to_string())?;
        self.active.fetch_add(1, Ordering::SeqCst);
        Ok((
            Active(Arc::clone(self)),
            answer.messages.unwrap_or_default(),
        ))
    }
}
