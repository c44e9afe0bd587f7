//! SQS functions, which process a queue message by message.
//!
//! A processed message succeeds or is retried after a delay. After the maximum number of receives SQS
//! moves it to the dead-letter queue; the reason is in the log, and in the table item that the message names. A
//! failed message does not affect the others of its batch.

use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::de::DeserializeOwned;

use crate::environment::{Clock, ConfigError, Environment, deadline, preload_tls_roots};
use crate::metrics::{self, Metric};
use crate::random;

/// Maximum delay of a retry: SQS's maximum visibility timeout of 12 hours, which counts from the receipt (SQS Developer
/// Guide, "Amazon SQS visibility timeout"), minus the longest invocation and a margin.
const MAX_RETRY_DELAY: Duration = Duration::from_mins(12 * 60 - 10);

/// Age above which a received message is counted as late. SQS's own metric, `ApproximateAgeOfOldestMessage`, omits
/// messages that were received three times (SQS Developer Guide, "Available CloudWatch metrics for Amazon SQS").
pub const LATE_AGE: SignedDuration = SignedDuration::from_mins(30);

/// Maximum delay of the backoff. `template.yaml` derives the maximum number of receives from it.
const MAX_BACKOFF: Duration = Duration::from_secs(3600);

/// A message that was not processed, to be retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Reason, safe to log.
    pub reason: String,
    /// Delay until the retry; absent: backoff by the number of receives.
    pub after: Option<Duration>,
}

impl Retry {
    /// A retry with backoff.
    pub fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), after: None }
    }
}

/// One delivery of a message, deserialized.
#[derive(Debug, Clone)]
pub struct Delivery<M> {
    /// The message.
    pub message: M,
    /// SQS's message id, the same for every delivery of a message.
    pub message_id: String,
    /// Number of deliveries so far, this one included. Above 1, an earlier delivery failed or was
    /// interrupted at any point.
    pub receive_count: u32,
}

/// Consumer of a function's own queue.
#[derive(Debug, Clone)]
pub struct Consumer {
    /// Name of the queue in metrics.
    queue: &'static str,
    clock: Clock,
    client: aws_sdk_sqs::Client,
    url: String,
    first_retry_delay: Duration,
}

impl Consumer {
    /// Uses `QUEUE_URL` and `RETRY_FIRST_SECONDS`. Metrics name the queue.
    ///
    /// # Errors
    /// If one of them is absent or invalid.
    pub fn new(queue: &'static str, environment: &Environment) -> Result<Self, ConfigError> {
        let variables = &environment.variables;
        Ok(Self {
            queue,
            clock: environment.clock.clone(),
            client: environment.sqs(),
            url: variables.required("QUEUE_URL")?.to_owned(),
            first_retry_delay: Duration::from_secs(variables.parsed("RETRY_FIRST_SECONDS")?),
        })
    }

    /// Processes the messages of a batch concurrently. The response lists those that failed.
    pub async fn process<M, F, Fut>(&self, event: SqsEvent, handle: F) -> SqsBatchResponse
    where
        M: DeserializeOwned,
        F: Fn(Delivery<M>) -> Fut,
        Fut: Future<Output = Result<(), Retry>>,
    {
        let messages = event.records.into_iter();
        let failed = join_all(messages.map(|message| self.process_message(message, &handle))).await;
        let mut response = SqsBatchResponse::default();
        response.batch_item_failures = failed
            .into_iter()
            .flatten()
            .map(|message_id| {
                let mut failure = BatchItemFailure::default();
                failure.item_identifier = message_id;
                failure
            })
            .collect();
        response
    }

    /// Returns the id of the message if it failed.
    async fn process_message<M, F, Fut>(&self, message: SqsMessage, handle: &F) -> Option<String>
    where
        M: DeserializeOwned,
        F: Fn(Delivery<M>) -> Fut,
        Fut: Future<Output = Result<(), Retry>>,
    {
        let message_id = message.message_id.clone().unwrap_or_default();
        let receive_count = message
            .attributes
            .get("ApproximateReceiveCount")
            .and_then(|count| count.parse().ok())
            .unwrap_or(1);
        self.count_late(&message);
        let body = message.body.as_deref().unwrap_or_default();
        let result = match serde_json::from_str::<M>(body) {
            Ok(parsed) => {
                handle(Delivery { message: parsed, message_id: message_id.clone(), receive_count })
                    .await
            }
            // Only the category: the error's text may repeat content of the message.
            Err(error) => Err(Retry::new(format!(
                "failed to deserialize the message ({:?} error)",
                error.classify()
            ))),
        };
        let retry = result.err()?;
        let delay = retry.after.unwrap_or_else(|| self.backoff(receive_count)).min(MAX_RETRY_DELAY);
        tracing::warn!(
            message_id,
            receive_count,
            reason = retry.reason,
            wait_seconds = delay.as_secs(),
            "message processing failed"
        );
        self.hide(&message, delay).await;
        Some(message_id)
    }

    /// Counted on receipt, so that messages whose invocation crashes or times out are counted too.
    fn count_late(&self, message: &SqsMessage) {
        let sent_at = message.attributes.get("SentTimestamp").and_then(|sent| sent.parse().ok());
        let Some(sent_at) = sent_at.and_then(|sent| Timestamp::from_millisecond(sent).ok()) else {
            return;
        };
        if self.clock.now().duration_since(sent_at) > LATE_AGE {
            metrics::count(Metric::MessagesLate, self.queue);
        }
    }

    /// Doubles with every receive. Jitter spreads messages that failed at the same time.
    fn backoff(&self, receive_count: u32) -> Duration {
        let doublings = receive_count.saturating_sub(1).min(30);
        let doubled = self.first_retry_delay.saturating_mul(1 << doublings).min(MAX_BACKOFF);
        let [byte] = random::bytes::<1>();
        doubled.mul_f64(0.5 + f64::from(byte) / 510.0)
    }

    /// Hides the message until its retry. If the call fails, the queue's visibility timeout applies.
    async fn hide(&self, message: &SqsMessage, delay: Duration) {
        let Some(handle) = &message.receipt_handle else {
            return;
        };
        let hidden = self
            .client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(handle)
            .visibility_timeout(i32::try_from(delay.as_secs()).unwrap_or(i32::MAX))
            .send()
            .await;
        if hidden.is_err() {
            tracing::warn!("visibility change failed; the queue's visibility timeout applies");
        }
    }
}

/// Runs an SQS function in Lambda until the instance is retired. `handle` receives the deadline at which
/// Lambda kills the invocation.
///
/// # Errors
/// If the Lambda runtime API fails.
pub async fn run<H, F>(handle: H) -> Result<(), Error>
where
    H: Fn(SqsEvent, Instant) -> F,
    F: Future<Output = SqsBatchResponse>,
{
    tokio::task::spawn_blocking(preload_tls_roots);
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| {
        let batch = handle(event.payload, deadline(&event.context));
        async move { Ok::<_, Error>(batch.await) }
    }))
    .await
}
