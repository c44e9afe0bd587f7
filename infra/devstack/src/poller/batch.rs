//! One batch: the call, and what follows from its answer.

use std::collections::BTreeSet;
use std::time::Instant;

use aws_lambda_events::sqs::SqsBatchResponse;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message};
use tokio::task::JoinSet;

use super::{Poller, Source, event};

impl Poller {
    /// Calls the function with the messages and deletes those that were done. Gives back the others.
    pub(super) async fn work(&self, source: &Source, messages: Vec<Message>) -> Vec<Message> {
        let Some(failed) = self.call(source, &messages).await else {
            return messages;
        };
        let (failed, done): (Vec<Message>, Vec<Message>) = messages
            .into_iter()
            .partition(|message| message.message_id().is_none_or(|id| failed.contains(id)));
        self.delete(source, &done).await;
        failed
    }

    /// The ids of the messages that were not done; `None` if none was.
    async fn call(&self, source: &Source, messages: &[Message]) -> Option<BTreeSet<String>> {
        let function = &source.function;
        let event = match event::build(messages, &source.queue_arn, &self.region) {
            Ok(event) => event,
            Err(error) => {
                tracing::error!(function, %error, "the event does not read");
                return None;
            }
        };
        // A task of its own, so that a crash of the function is nobody else's; dropped and thereby ended
        // when its time is up, or when the stack is stopped.
        let mut running = JoinSet::new();
        running.spawn((source.handler)(event, Instant::now() + source.timeout));
        match tokio::time::timeout(source.timeout, running.join_next()).await {
            Ok(Some(Ok(_))) if !source.reports_failures => Some(BTreeSet::new()),
            Ok(Some(Ok(answer))) => failures(&answer, messages),
            Ok(Some(Err(error))) => {
                tracing::error!(function, %error, "the function crashed");
                None
            }
            // A set of one is never empty before that one has ended.
            Ok(None) => None,
            Err(_) => {
                tracing::error!(
                    function,
                    seconds = source.timeout.as_secs(),
                    "the function took too long"
                );
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
                // They come back and are worked off again: delivery is at least once.
                if let Err(error) = deleted {
                    tracing::warn!(function = source.function, error = %DisplayErrorContext(error), "messages not deleted");
                }
            }
            Err(error) => tracing::error!(%error, "messages without a receipt"),
        }
    }

    /// Lets a message be received again at once.
    pub(super) async fn show_again(&self, source: &Source, message: &Message) {
        let shown = self
            .client
            .change_message_visibility()
            .queue_url(&source.queue_url)
            .receipt_handle(message.receipt_handle().unwrap_or_default())
            .visibility_timeout(0)
            .send()
            .await;
        if let Err(error) = shown {
            tracing::debug!(error = %DisplayErrorContext(error), "a message stays hidden");
        }
    }
}

/// An answer that names a message which was not in the batch, or none, fails all of it, as at AWS.
fn failures(answer: &SqsBatchResponse, messages: &[Message]) -> Option<BTreeSet<String>> {
    let known: BTreeSet<&str> = messages.iter().filter_map(Message::message_id).collect();
    let failed = answer
        .batch_item_failures
        .iter()
        .map(|failure| failure.item_identifier.clone());
    failed
        .map(|id| known.contains(id.as_str()).then_some(id))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_id_fails_the_whole_batch() {
        let messages = [
            Message::builder().message_id("a").build(),
            Message::builder().message_id("b").build(),
        ];
        let answer = |ids: &[&str]| {
            let failures: Vec<_> = ids
                .iter()
                .map(|id| serde_json::json!({ "itemIdentifier": id }))
                .collect();
            let answer =
                serde_json::from_value(serde_json::json!({ "batchItemFailures": failures }))
                    .unwrap();
            super::failures(&answer, &messages)
        };
        assert_eq!(answer(&[]), Some(BTreeSet::new()));
        assert_eq!(answer(&["b"]), Some(BTreeSet::from(["b".to_owned()])));
        assert_eq!(answer(&["b", ""]), None);
        assert_eq!(answer(&["c"]), None);
    }
}
