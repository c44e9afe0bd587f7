//! The poller's queues, and receiving from them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Builder;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use reelay_embedded_aws::Queues;
use reelay_runtime::environment::no_time_limits;
use tokio::sync::watch;

use crate::functions::QueueHandler;

/// Maximum number of concurrent calls per queue on a developer's machine, even if the template allows more.
const MAX_CONCURRENCY: u32 = 10;
/// SQS's maximum number of messages in a response.
const MAX_MESSAGES: u32 = 10;
/// Delay after a failed request.
pub(super) const RETRY_DELAY: Duration = Duration::from_millis(200);

/// A queue and the function that processes its messages.
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
    pub(super) fn concurrency(&self) -> usize {
        let concurrency = self.maximum_concurrency.unwrap_or(MAX_CONCURRENCY);
        concurrency.clamp(1, MAX_CONCURRENCY) as usize
    }
}

/// Says after how many polls a call of a function is killed; `None` lets it end.
pub(crate) type DecideKill = Box<dyn FnMut(&str) -> Option<usize> + Send>;

/// All event source mappings of a stack.
pub(crate) struct Poller {
    pub(super) client: Client,
    pub(super) region: String,
    pub(super) sources: Vec<Arc<Source>>,
    pub(super) queues: Queues,
    pub(super) activity: watch::Sender<Activity>,
    pub(crate) decide_kill: Mutex<Option<DecideKill>>,
}

/// Counts of batches, from before they are received until they are processed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Activity {
    /// All batches so far.
    started: u64,
    /// All messages so far.
    received: u64,
    /// Batches that are not processed yet.
    pub(super) active: usize,
}

/// Counts a batch as active until it is dropped, also when its task is aborted.
pub(super) struct ActiveBatch(Arc<Poller>);

impl ActiveBatch {
    fn new(poller: &Arc<Poller>) -> Self {
        poller.activity.send_modify(|activity| {
            activity.started += 1;
            activity.active += 1;
        });
        Self(Arc::clone(poller))
    }
}

impl Drop for ActiveBatch {
    fn drop(&mut self) {
        self.0.activity.send_modify(|activity| activity.active -= 1);
    }
}

impl Poller {
    pub(crate) fn new(
        client: Client,
        queues: Queues,
        region: &str,
        sources: Vec<Source>,
    ) -> Arc<Self> {
        let sources = sources.into_iter().map(Arc::new).collect();
        let activity = watch::Sender::default();
        Arc::new(Self {
            client,
            region: region.to_owned(),
            sources,
            queues,
            activity,
            decide_kill: Mutex::default(),
        })
    }

    /// Receives a batch, which may be empty.
    pub(super) async fn receive(
        self: &Arc<Self>,
        source: &Source,
    ) -> Result<(ActiveBatch, Vec<Message>), String> {
        let batch = ActiveBatch::new(self);
        let batch_size = i32::try_from(source.batch_size.clamp(1, MAX_MESSAGES)).unwrap_or(1);
        let response = self
            .client
            .receive_message()
            .queue_url(&source.queue_url)
            .max_number_of_messages(batch_size)
            .wait_time_seconds(0)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .customize()
            .config_override(Builder::new().timeout_config(no_time_limits()))
            .send()
            .await
            .map_err(|error| DisplayErrorContext(error).to_string())?;
        let messages = response.messages.unwrap_or_default();
        self.activity.send_modify(|activity| activity.received += messages.len() as u64);
        Ok((batch, messages))
    }

    /// Number of polls after which the next call of a function is killed.
    pub(super) fn kill_after(&self, function: &str) -> Option<usize> {
        let mut decide = self.decide_kill.lock().unwrap_or_else(PoisonError::into_inner);
        decide.as_mut()?(function)
    }

    /// Number of messages that a function's queue delivers now.
    pub(super) fn visible(&self, source: &Source) -> usize {
        self.queues.visible(&source.queue_url)
    }

    /// Number of messages received so far.
    pub(crate) fn received(&self) -> u64 {
        self.activity.borrow().received
    }

    /// Whether no function's queue has a visible message and no batch is active.
    pub(crate) fn is_idle(&self) -> bool {
        let before = *self.activity.borrow();
        let is_empty = self.sources.iter().all(|source| self.visible(source) == 0);
        // An unchanged count proves that no batch came and went while the queues were counted.
        before.active == 0 && is_empty && *self.activity.borrow() == before
    }

    /// Waits until no function's queue has a visible message and no batch is active. Functions only run if the queues
    /// are polled continuously.
    pub(crate) async fn wait_until_idle(&self) {
        let mut activity = self.activity.subscribe();
        loop {
            activity.borrow_and_update();
            if self.is_idle() {
                return;
            }
            // The sender lives in `self`.
            activity.changed().await.ok();
        }
    }
}
