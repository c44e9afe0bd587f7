//! The edge towards SQS: functions that work off a queue, message by message.
//!
//! Each message ends in one of three ways: done, to be tried again after a while, or given up. What is
//! given up goes to the dead-letter queue by SQS's own count; its reason is in the log, and with the
//! item that it is about. One bad message never fails its neighbours.

use std::time::{Duration, Instant, SystemTime};

use crate::environment::{ConfigError, Environment, preload_tls_roots};
use crate::random;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::future::join_all;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::de::DeserializeOwned;

/// SQS hides a message for 12 hours at most.
const LONGEST_WAIT: Duration = Duration::from_secs(12 * 3600);

/// How a message ended that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Why, in words that may be logged.
    pub reason: String,
    /// When to try again; absent: by the number of tries so far.
    pub after: Option<Duration>,
}

impl Retry {
    /// Tries again when it suits the number of tries so far.
    pub fn new(reason: impl ToString) -> Self {
        Self {
            reason: reason.to_string(),
            after: None,
        }
    }
}

/// One message, parsed.
#[derive(Debug, Clone)]
pub struct Delivery<M> {
    /// What it says.
    pub message: M,
    /// SQS's id of it: the same for every delivery of one message.
    pub message_id: String,
    /// How often SQS has delivered it, this time included. More than once means that an earlier
    /// delivery did not end, however far it came.
    pub receive_count: u32,
    /// How often SQS delivers it at most, before it moves it to the dead-letter queue.
    pub max_receives: u32,
    /// Whether SQS will move it to the dead-letter queue if it is not done now.
    pub is_last_attempt: bool,
}

/// The function's own queue.
#[derive(Debug, Clone)]
pub struct Consumer {
    client: aws_sdk_sqs::Client,
    url: String,
    max_receives: u32,
    first_wait: Duration,
}

impl Consumer {
    /// Uses `QUEUE_URL`, `QUEUE_MAX_RECEIVES` (as in the redrive policy), and `RETRY_FIRST_SECONDS`.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            client: environment.sqs(),
            url: environment.variables.required("QUEUE_URL")?.to_owned(),
            max_receives: environment.variables.parsed("QUEUE_MAX_RECEIVES")?,
            first_wait: Duration::from_secs(environment.variables.parsed("RETRY_FIRST_SECONDS")?),
        })
    }

    /// Works off a batch. Messages are handled side by side; the answer names those that were not
    /// done.
    pub async fn process<M, F, Fut>(&self, event: SqsEvent, handle: F) -> SqsBatchResponse
    where
        M: DeserializeOwned,
        F: Fn(Delivery<M>) -> Fut,
        Fut: Future<Output = Result<(), Retry>>,
    {
        let ends = join_all(
            event
                .records
                .into_iter()
                .map(|message| self.process_message(message, &handle)),
        )
        .await;
        let mut response = SqsBatchResponse::default();
        response.batch_item_failures = ends
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

    /// The id of the message if it was not done.
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
        let parsed = serde_json::from_str::<M>(message.body.as_deref().unwrap_or_default());
        let ended = match parsed {
            Ok(parsed) => {
                let is_last_attempt = receive_count >= self.max_receives;
                handle(Delivery {
                    message: parsed,
                    message_id: message_id.clone(),
                    receive_count,
                    max_receives: self.max_receives,
                    is_last_attempt,
                })
                .await
            }
            // The category alone: the text may repeat what the message holds.
            Err(error) => Err(Retry::new(format!(
                "the message does not read ({:?} error)",
                error.classify()
            ))),
        };
        match ended {
            Ok(()) => None,
            Err(retry) => {
                let wait = retry
                    .after
                    .unwrap_or_else(|| self.backoff(receive_count))
                    .min(LONGEST_WAIT);
                tracing::warn!(
                    message_id,
                    receive_count,
                    reason = retry.reason,
                    wait_seconds = wait.as_secs(),
                    "message not done"
                );
                self.hide(&message, wait).await;
                Some(message_id)
            }
        }
    }

    /// Doubles with every try, with jitter, so that what failed together does not come back together.
    fn backoff(&self, receive_count: u32) -> Duration {
        let doubled = self
            .first_wait
            .saturating_mul(1 << (receive_count.saturating_sub(1)).min(12));
        let [byte] = random::bytes::<1>();
        doubled.mul_f64(0.5 + f64::from(byte) / 510.0)
    }

    /// Hides the message until it is to be tried again. If that fails, the queue's own visibility
    /// timeout decides.
    async fn hide(&self, message: &SqsMessage, wait: Duration) {
        let Some(handle) = &message.receipt_handle else {
            return;
        };
        let hidden = self
            .client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(handle)
            .visibility_timeout(i32::try_from(wait.as_secs()).unwrap_or(i32::MAX))
            .send()
            .await;
        if hidden.is_err() {
            tracing::warn!(
                "message could not be hidden; it comes back after the queue's visibility timeout"
            );
        }
    }
}

/// Runs a function of SQS batches in Lambda until the instance is retired. `handle` is told when its time is
/// up: at that moment Lambda ends it, whatever it is at.
pub async fn run<H, F>(handle: H) -> Result<(), Error>
where
    H: Fn(SqsEvent, Instant) -> F,
    F: Future<Output = SqsBatchResponse>,
{
    tokio::task::spawn_blocking(preload_tls_roots);
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| {
        let batch = handle(event.payload, deadline(event.context.deadline));
        async move { Ok::<_, Error>(batch.await) }
    }))
    .await
}

/// Lambda names the deadline by the clock on the wall, in epoch milliseconds.
fn deadline(milliseconds: u64) -> Instant {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds);
    let left = at.duration_since(SystemTime::now()).unwrap_or_default();
    Instant::now() + left
}
