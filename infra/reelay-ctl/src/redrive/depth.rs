//! Number of messages in a queue.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use reelay_runtime::AwsError;

/// Approximate number of messages in a queue, as SQS reports it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct QueueDepth {
    pub(crate) visible: u64,
    pub(crate) in_flight: u64,
    pub(crate) delayed: u64,
}

impl QueueDepth {
    /// Loads the depth of a queue.
    ///
    /// # Errors
    /// When SQS rejects the request.
    pub(crate) async fn load(client: &Client, queue_url: &str) -> Result<Self, AwsError> {
        let response = client
            .get_queue_attributes()
            .queue_url(queue_url)
            .attribute_names(QueueAttributeName::All)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("GetQueueAttributes", &error))?;
        let attributes = response.attributes.unwrap_or_default();
        let count = |name: QueueAttributeName| {
            let text = attributes.get(&name);
            text.and_then(|text| text.parse().ok()).unwrap_or_default()
        };
        Ok(Self {
            visible: count(QueueAttributeName::ApproximateNumberOfMessages),
            in_flight: count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            delayed: count(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
        })
    }

    pub(crate) fn total(self) -> u64 {
        self.visible + self.in_flight + self.delayed
    }
}
