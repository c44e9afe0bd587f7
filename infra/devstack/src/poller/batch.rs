//! Processes one batch: calls the function, and deletes the messages that it processed.

use std::collections::BTreeSet;
use std::task::Poll;
use std::time::Instant;

use aws_lambda_events::sqs::SqsBatchResponse;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message};
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;

use super::event;
use super::receive::{Poller, Source};

impl Poller {
    /// Calls the function and deletes the processed messages. Returns the failed ones.
    pub(super) async fn process(&self, source: &Source, messages: Vec<Message>) -> Vec<Message> {
        let Some(failed) = self.call(source, &messages).await else {
            return messages;
        };
        let (failed, processed): (Vec<Message>, Vec<Message>) = messages
            .into_iter()
            .partition(|message| message.message_id().is_none_or(|id| failed.contains(id)));
        self.delete(source, &processed).await;
        failed
    }

    /// Returns the ids of the failed messages, or `None` if the whole batch failed.
    async fn call(&self, source: &Source, messages: &[Message]) -> Option<BTreeSet<String>> {
        let function = &source.function;
        let event = match event::build(messages, &source.queue_arn, &self.region) {
            Ok(event) => event,
            Err(error) => {
                tracing::error!(function, %error, "event not deserialized");
                return None;
            }
        };
        // A separate task contains a panic. Dropping the set aborts the task at the timeout or when the stack stops.
        let mut running = JoinSet::new();
        let call = (source.handler)(event, Instant::now() + source.timeout);
        running.spawn(until_killed(call, self.kill_after(function)));
        match tokio::time::timeout(source.timeout, running.join_next()).await {
            Ok(Some(Ok(None))) => None,
            Ok(Some(Ok(Some(_)))) if !source.reports_failures => Some(BTreeSet::new()),
            Ok(Some(Ok(Some(response)))) => failures(&response, messages),
            Ok(Some(Err(error))) => {
                tracing::error!(function, %error, "function panicked");
                None
            }
            Ok(None) => None,
            Err(_) => {
                tracing::error!(function, seconds = source.timeout.as_secs(), "function timed out");
                None
            }
        }
    }

    async fn delete(&self, source: &Source, messages: &[Message]) {
        let entries: Result<Vec<_>, _> = messages
            .iter()
            .enumerate()
            .map(|(number, message)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(number.to_string())
                    .receipt_handle(message.receipt_handle().unwrap_or_default())
                    .build()
            })
            .collect();
        match entries {
            Ok(entries) if entries.is_empty() => {}
            Ok(entries) => {
                let deleted = self
                    .client
                    .delete_message_batch()
                    .queue_url(&source.queue_url)
                    .set_entries(Some(entries))
                    .send()
                    .await;
                // The messages return and are processed again: delivery is at least once.
                if let Err(error) = deleted {
                    tracing::warn!(function = source.function, error = %DisplayErrorContext(error), "messages not deleted");
                }
            }
            Err(error) => tracing::error!(%error, "messages have no receipt handle"),
        }
    }

    /// Makes a message visible at once.
    pub(super) async fn make_visible(&self, source: &Source, message: &Message) {
        let shown = self
            .client
            .change_message_visibility()
            .queue_url(&source.queue_url)
            .receipt_handle(message.receipt_handle().unwrap_or_default())
            .visibility_timeout(0)
            .send()
            .await;
        if let Err(error) = shown {
            tracing::debug!(error = %DisplayErrorContext(error), "message visibility not changed");
        }
    }
}

/// Runs a call, and drops it after a number of polls. `None` if it was dropped.
async fn until_killed<T>(mut call: BoxFuture<'static, T>, kill_after: Option<usize>) -> Option<T> {
    let mut polls = 0;
    std::future::poll_fn(|context| {
        if kill_after == Some(polls) {
            return Poll::Ready(None);
        }
        polls += 1;
        call.as_mut().poll(context).map(Some)
    })
    .await
}

/// Returns the failed ids, or `None` if a response names an unknown message, which fails the batch as on AWS.
fn failures(response: &SqsBatchResponse, messages: &[Message]) -> Option<BTreeSet<String>> {
    let known: BTreeSet<&str> = messages.iter().filter_map(Message::message_id).collect();
    let failed = response.batch_item_failures.iter().map(|failure| failure.item_identifier.clone());
    failed.map(|id| known.contains(id.as_str()).then_some(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_id_fails_the_batch() {
        let messages = [
            Message::builder().message_id("a").build(),
            Message::builder().message_id("b").build(),
        ];
        let response = |ids: &[&str]| {
            let failures: Vec<_> =
                ids.iter().map(|id| serde_json::json!({ "itemIdentifier": id })).collect();
            let response =
                serde_json::from_value(serde_json::json!({ "batchItemFailures": failures }))
                    .unwrap();
            super::failures(&response, &messages)
        };
        assert_eq!(response(&[]), Some(BTreeSet::new()));
        assert_eq!(response(&["b"]), Some(BTreeSet::from(["b".to_owned()])));
        assert_eq!(response(&["b", ""]), None);
        assert_eq!(response(&["c"]), None);
    }
}
