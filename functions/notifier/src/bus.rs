//! The event bus.

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use reelay_domain::message::Notification;
use reelay_runtime::AwsError;
use reelay_runtime::environment::Environment;

/// `source` of the events on the bus.
const SOURCE: &str = "reelay";

/// The event bus.
#[derive(Debug)]
pub(crate) struct EventBus {
    client: aws_sdk_eventbridge::Client,
    name: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum BusError {
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error("PutEvents rejected the event: {0}")]
    Rejected(String),
}

impl EventBus {
    pub(crate) fn new(environment: &Environment, name: &str) -> Self {
        Self { client: environment.eventbridge(), name: name.to_owned() }
    }

    /// Puts a notification on the bus.
    pub(crate) async fn put(&self, notification: &Notification) -> Result<(), BusError> {
        // `detail` is the webhook's body, plus the id that the webhook carries in a header.
        let detail = notification.body_with_id();
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(&self.name)
            .source(SOURCE)
            .detail_type(&notification.event_type)
            .detail(detail)
            .build();
        let response = self
            .client
            .put_events()
            .entries(entry)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("PutEvents", &error))?;
        // The call succeeds even if the event was rejected.
        match response.entries().iter().find_map(|entry| entry.error_code()) {
            None => Ok(()),
            Some(code) => Err(BusError::Rejected(code.to_owned())),
        }
    }
}
