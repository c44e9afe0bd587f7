//! SQS queues, each for messages of one type.

use std::marker::PhantomData;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use reelay_domain::message::escape_noncharacters;
use reelay_domain::retry::jitter;
use serde::Serialize;

use reelay_runtime::environment::{ConfigError, Environment};
use reelay_runtime::{AwsError, random};

/// Maximum messages of a batch (SQS).
const MAX_BATCH_MESSAGES: usize = 10;

/// Maximum bytes of a batch, well below SQS's 1 MiB.
const MAX_BATCH_BYTES: usize = 200 * 1024;

/// Maximum delay of a message (SQS, "Delay queues").
const MAX_DELAY: Duration = Duration::from_secs(900);

/// A queue to which messages of type `M` are sent.
#[derive(Debug)]
pub struct Queue<M> {
    client: Client,
    url: String,
    messages: PhantomData<fn(M)>,
}

impl<M: Serialize> Queue<M> {
    /// The queue whose URL is in the given variable.
    ///
    /// # Errors
    /// If the variable is absent.
    pub fn from_env(environment: &Environment, variable: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            client: environment.sqs(),
            url: environment.variables.required(variable)?.to_owned(),
            messages: PhantomData,
        })
    }

    /// Sends one message. `tenant` is the message group of the fair queue: a backlog of one Zoom account does
    /// not delay the others (SQS, "Fair queues").
    ///
    /// # Errors
    /// If the SQS call fails.
    pub async fn send(&self, message: &M, tenant: &str) -> Result<(), AwsError> {
        self.send_delayed(message, tenant, 0).await
    }

    /// Sends one message with a delay of at most 900 seconds (SQS, "Delay queues").
    ///
    /// # Errors
    /// If the SQS call fails.
    pub async fn send_delayed(
        &self,
        message: &M,
        tenant: &str,
        seconds: i32,
    ) -> Result<(), AwsError> {
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(json(message)?)
            .message_group_id(tenant)
            .set_delay_seconds(Some(seconds).filter(|seconds| *seconds > 0))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("SendMessage", &error))
    }

    /// Approximate number of messages that wait to be received.
    ///
    /// # Errors
    /// If the SQS call fails.
    pub async fn backlog(&self) -> Result<u64, AwsError> {
        let name = QueueAttributeName::ApproximateNumberOfMessages;
        let response = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(name.clone())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("GetQueueAttributes", &error))?;
        let count = response.attributes.as_ref().and_then(|attributes| attributes.get(&name));
        count.and_then(|count| count.parse().ok()).ok_or_else(|| {
            AwsError::unexpected_response("GetQueueAttributes", "the response has no count")
        })
    }

    /// Sends one message that arrives after a wait, or, if the wait is longer, at SQS's maximum of 15 minutes.
    ///
    /// # Errors
    /// If the SQS call fails.
    pub async fn send_after(
        &self,
        message: &M,
        tenant: &str,
        wait: Duration,
    ) -> Result<(), AwsError> {
        let [byte] = random::bytes::<1>();
        let seconds = i32::try_from(delay(wait, byte).as_secs()).unwrap_or(i32::MAX);
        self.send_delayed(message, tenant, seconds).await
    }

    /// Sends messages in batches.
    ///
    /// # Errors
    /// If some messages were not sent. The caller may send all of them again, because consumers are idempotent.
    pub async fn send_all(&self, messages: &[M], tenant: &str) -> Result<(), AwsError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for message in messages {
            let body = json(message)?;
            if batch.len() == MAX_BATCH_MESSAGES
                || (bytes + body.len() > MAX_BATCH_BYTES && !batch.is_empty())
            {
                self.send_batch(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            bytes += body.len();
            let entry = SendMessageBatchRequestEntry::builder()
                .id(batch.len().to_string())
                .message_body(body)
                .message_group_id(tenant)
                .build()
                .map_err(|_| {
                    AwsError::unexpected_response("SendMessageBatch", "failed to build an entry")
                })?;
            batch.push(entry);
        }
        if batch.is_empty() { Ok(()) } else { self.send_batch(batch).await }
    }

    async fn send_batch(&self, entries: Vec<SendMessageBatchRequestEntry>) -> Result<(), AwsError> {
        let response = self
            .client
            .send_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("SendMessageBatch", &error))?;
        // The call succeeds even if single messages were rejected.
        match response.failed.first() {
            None => Ok(()),
            Some(failed) => {
                Err(AwsError::unexpected_response("SendMessageBatch", failed.code.clone()))
            }
        }
    }
}

fn json<M: Serialize>(message: &M) -> Result<String, AwsError> {
    match serde_json::to_string(message) {
        Ok(text) => Ok(escape_noncharacters(&text)),
        Err(_) => {
            Err(AwsError::unexpected_response("SendMessage", "failed to serialize the message"))
        }
    }
}

/// Delay for a wait, with jitter from one random byte.
fn delay(wait: Duration, random: u8) -> Duration {
    // SQS counts whole seconds, and a message that arrives early must wait again.
    let wait = Duration::from_secs(wait.as_secs().saturating_add(1)).min(MAX_DELAY);
    (wait + jitter(wait, random)).min(MAX_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_covers_wait_up_to_sqs_maximum() {
        for (wait_ms, random, seconds) in [
            (0, 0, 1),
            (9_999, 0, 10),
            (10_000, 0, 11),
            (79_000, 255, 90),
            (800_000, 255, 861),
            (86_400_000, 0, 900),
            (u64::MAX, 255, 900),
        ] {
            let delay = delay(Duration::from_millis(wait_ms), random);
            assert_eq!(delay.as_secs(), seconds, "{wait_ms} ms, {random}");
        }
    }
}
