//! Where there are no move tasks: receive, send, delete. A message is deleted only once its copy is in the
//! queue, so a death in between makes one message of it too many, never one too few.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use indicatif::ProgressBar;
use reelay_runtime::AwsError;

use super::Ended;
use crate::deployment::Pair;

/// So long nobody else sees a message that was received: far longer than sending takes.
const HIDDEN_SECONDS: i32 = 120;
/// SQS asks all of its servers only if it may wait.
const WAIT_SECONDS: i32 = 1;

pub(super) async fn run(
    client: &Client,
    pair: &Pair,
    bar: &ProgressBar,
) -> Result<Ended, AwsError> {
    let mut ended = Ended::default();
    loop {
        let messages = client
            .receive_message()
            .queue_url(&pair.dlq)
            .max_number_of_messages(10)
            .visibility_timeout(HIDDEN_SECONDS)
            .wait_time_seconds(WAIT_SECONDS)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ReceiveMessage", &error))?
            .messages
            .unwrap_or_default();
        if messages.is_empty() {
            return Ok(ended);
        }
        for (at, message) in messages.iter().enumerate() {
            if let Err(failure) = put_back(client, pair, message).await {
                show_again(client, pair, &messages[at..]).await;
                ended.problem = Some(failure.to_string());
                return Ok(ended);
            }
            ended.moved += 1;
            bar.inc(1);
        }
    }
}

async fn put_back(client: &Client, pair: &Pair, message: &Message) -> Result<(), AwsError> {
    let tenant = message
        .attributes
        .as_ref()
        .and_then(|known| known.get(&MessageSystemAttributeName::MessageGroupId));
    client
        .send_message()
        .queue_url(&pair.queue)
        .message_body(message.body().unwrap_or_default())
        .set_message_attributes(message.message_attributes.clone())
        .set_message_group_id(tenant.cloned())
        .send()
        .await
        .map_err(|error| AwsError::from_sdk("SendMessage", &error))?;
    client
        .delete_message()
        .queue_url(&pair.dlq)
        .receipt_handle(message.receipt_handle().unwrap_or_default())
        .send()
        .await
        .map(|_| ())
        .map_err(|error| AwsError::from_sdk("DeleteMessage", &error))
}

/// What stays need not be hidden any longer. If this fails it shows itself when its time is up.
async fn show_again(client: &Client, pair: &Pair, messages: &[Message]) {
    for message in messages {
        let shown = client
            .change_message_visibility()
            .queue_url(&pair.dlq)
            .receipt_handle(message.receipt_handle().unwrap_or_default())
            .visibility_timeout(0)
            .send();
        let _ = shown.await;
    }
}
