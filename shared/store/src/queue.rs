//! SQS queues, each for messages of one type.

use std::marker::PhantomData;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use serde::Serialize;

use reelay_runtime::AwsError;
use reelay_runtime::environment::{ConfigError, Environment};

/// SQS takes at most ten messages in a call.
const MOST_MESSAGES: usize = 10;

/// And at most 1 MiB in all; we stay far below, so that a batch of large messages is split.
const MOST_BYTES: usize = 200 * 1024;

/// A queue to which messages of type `M` are sent.
#[derive(Debug)]
pub struct Queue<M> {
    client: Client,
    url: String,
    messages: PhantomData<fn(M)>,
}

impl<M: Serialize> Queue<M> {
    /// The queue whose URL the variable holds.
    pub fn from_env(environment: &Environment, variable: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            client: environment.sqs(),
            url: environment.variables.required(variable)?.to_owned(),
            messages: PhantomData,
        })
    }

    /// Sends one message. `tenant` is the fair queue's group: one Zoom account's backlog does not
    /// starve the others (SQS, "Fair queues").
    pub async fn send(&self, message: &M, tenant: &str) -> Result<(), AwsError> {
        let body = json(message)?;
        let sent = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .message_group_id(tenant);
        sent.send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("SendMessage", &error))
    }

    /// Sends one message that is delivered only after a while: at most 15 minutes (SQS, "Delay queues").
    pub async fn send_delayed(
        &self,
        message: &M,
        tenant: &str,
        seconds: i32,
    ) -> Result<(), AwsError> {
        let body = json(message)?;
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .message_group_id(tenant)
            .delay_seconds(seconds)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("SendMessage", &error))
    }

    /// Sends any number of messages in batches. An error means that some were not sent: the caller
    /// repeats all, since receivers take repeats for what they are.
    pub async fn send_all(&self, messages: &[M], tenant: &str) -> Result<(), AwsError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for message in messages {
            let body = json(message)?;
            if batch.len() == MOST_MESSAGES
                || (bytes + body.len() > MOST_BYTES && !batch.is_empty())
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
                    AwsError::unexpected_response("SendMessageBatch", "entry could not be built")
                })?;
            batch.push(entry);
        }
        if batch.is_empty() {
            Ok(())
        } else {
            self.send_batch(batch).await
        }
    }

    async fn send_batch(&self, entries: Vec<SendMessageBatchRequestEntry>) -> Result<(), AwsError> {
        let answer = self
            .client
            .send_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("SendMessageBatch", &error))?;
        // The call succeeds even if single messages were refused.
        match answer.failed.first() {
            None => Ok(()),
            Some(failed) => Err(AwsError::unexpected_response(
                "SendMessageBatch",
                failed.code.clone(),
            )),
        }
    }
}

fn json<M: Serialize>(message: &M) -> Result<String, AwsError> {
    serde_json::to_string(message).map_err(|_| {
        AwsError::unexpected_response("SendMessage", "message can't be written as JSON")
    })
}
