//! The poller's queues, and receiving from them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Builder;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use reelay_runtime::environment::no_time_limits;

use crate::functions::QueueHandler;

/// Maximum number of concurrent calls per queue on a developer's machine, whatever the template says.
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

/// All event source mappings of a stack.
pub(crate) struct Poller {
    pub(super) client: Client,
    pub(super) region: String,
    pub(super) sources: Vec<Arc<Source>>,
    /// Number of received batches that are not processed yet.
    pub(super) active: AtomicUsize,
}

/// Counts a batch as active until it is dropped, also when its task is aborted.
pub(super) struct ActiveBatch(Arc<Poller>);

impl Drop for ActiveBatch {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Poller {
    pub(crate) fn new(client: Client, region: &str, sources: Vec<Source>) -> Arc<Self> {
        let sources = sources.into_iter().map(Arc::new).collect();
        Arc::new(Self { client, region: region.to_owned(), sources, active: AtomicUsize::new(0) })
    }

    /// Receives a batch, which may be empty.
    pub(super) async fn receive(
        self: &Arc<Self>,
        source: &Source,
        wait_seconds: i32,
    ) -> Result<(ActiveBatch, Vec<Message>), String> {
        let batch_size = i32::try_from(source.batch_size.clamp(1, MAX_MESSAGES)).unwrap_or(1);
        let response = self
            .client
            .receive_message()
            .queue_url(&source.queue_url)
            .max_number_of_messages(batch_size)
            .wait_time_seconds(wait_seconds)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .customize()
            .config_override(Builder::new().timeout_config(no_time_limits()))
            .send()
            .await
            .map_err(|error| DisplayErrorContext(error).to_string())?;
        self.active.fetch_add(1, Ordering::SeqCst);
        let batch = ActiveBatch(Arc::clone(self));
        Ok((batch, response.messages.unwrap_or_default()))
    }
}
