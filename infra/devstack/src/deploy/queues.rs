//! Creates queues.

use std::collections::HashMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::json;

use super::error::DeployError;
use crate::template::{Physical, Queue};

pub(super) async fn create(
    client: &Client,
    name: &str,
    queue: &Queue,
) -> Result<Physical, DeployError> {
    let created = client
        .create_queue()
        .queue_name(name)
        .set_attributes(Some(attributes(queue)))
        .send()
        .await
        .map_err(|error| DeployError::engine(name, &error))?;
    let url =
        created.queue_url.ok_or_else(|| DeployError::response(name, "the queue has no URL"))?;
    let known = queue_attributes(client, &url)
        .await
        .map_err(|reason| DeployError::response(name, &reason))?;
    let arn = known
        .get(&QueueAttributeName::QueueArn)
        .ok_or_else(|| DeployError::response(name, "the queue has no ARN"))?;
    Ok(Physical::new(&url, arn).with("QueueUrl", &url).with("QueueName", name))
}

fn attributes(queue: &Queue) -> HashMap<QueueAttributeName, String> {
    let mut attributes = HashMap::new();
    let mut put = |name, value: Option<u32>| {
        if let Some(value) = value {
            attributes.insert(name, value.to_string());
        }
    };
    put(QueueAttributeName::VisibilityTimeout, queue.visibility_timeout);
    put(QueueAttributeName::MessageRetentionPeriod, queue.message_retention_period);
    if let Some(redrive) = &queue.redrive_policy {
        let policy = json!({
            "deadLetterTargetArn": redrive.dead_letter_target_arn,
            "maxReceiveCount": redrive.max_receive_count,
        });
        attributes.insert(QueueAttributeName::RedrivePolicy, policy.to_string());
    }
    attributes
}

/// The attributes of a queue.
pub(crate) async fn queue_attributes(
    client: &Client,
    url: &str,
) -> Result<HashMap<QueueAttributeName, String>, String> {
    let response = client
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(QueueAttributeName::All)
        .send()
        .await;
    match response {
        Ok(response) => Ok(response.attributes.unwrap_or_default()),
        Err(error) => Err(aws_sdk_sqs::error::DisplayErrorContext(error).to_string()),
    }
}
