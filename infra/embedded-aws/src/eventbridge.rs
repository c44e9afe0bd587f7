//! EventBridge: rustack's engine with delivery to SQS queues.
//!
//! Any target can be put, but an event that matches a rule with another kind of target fails in
//! `PutEvents` (`InvalidTarget`): a test never waits for a delivery that is not emulated.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use reelay_clock::Clock;
use rustack_events_core::{
    config::EventsConfig,
    delivery::{DeliveryError, Target, TargetDelivery},
    handler::RustackEventsHandler,
    provider::RustackEvents,
};
use rustack_events_http::dispatch::EventsHandler;
use serde_json::{Value, json};

use crate::{faults::Service, json_response::JsonResponse, rustack, sqs::Sqs};

pub(crate) struct EventBridge {
    provider: Arc<RustackEvents>,
    handler: RustackEventsHandler,
    clock: Clock,
}

impl EventBridge {
    pub(crate) fn new(
        region: &str,
        account_id: &str,
        port: u16,
        sqs: Arc<Sqs>,
        clock: Clock,
    ) -> Self {
        let config = EventsConfig {
            skip_signature_validation: true,
            default_region: region.to_owned(),
            account_id: account_id.to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
        };
        let provider = Arc::new(RustackEvents::new(config, Arc::new(SqsDelivery { sqs })));
        Self { handler: RustackEventsHandler::new(Arc::clone(&provider)), provider, clock }
    }

    pub(crate) async fn call(&self, operation: &str, mut body: Bytes) -> JsonResponse {
        if operation == "PutEvents" {
            body = self.with_times(body);
        }
        rustack::call!(rustack_events_http, self.handler, Service::EventBridge, operation, body)
    }

    /// The request with the clock's time in events that have none.
    fn with_times(&self, body: Bytes) -> Bytes {
        let Ok(mut call) = serde_json::from_slice::<Value>(&body) else {
            return body;
        };
        let entries = call.get_mut("Entries").and_then(Value::as_array_mut);
        for entry in entries.into_iter().flatten().filter_map(Value::as_object_mut) {
            entry.entry("Time").or_insert_with(|| json!(self.clock.now()));
        }
        call.to_string().into()
    }

    /// Rejects new events and delivers the accepted ones.
    pub(crate) async fn shutdown(&self) {
        if let Err(error) = self.provider.shutdown().await {
            tracing::warn!(%error, "EventBridge deliveries not completed");
        }
    }
}

/// Delivers events to queues of the same account and region.
#[derive(Debug)]
struct SqsDelivery {
    sqs: Arc<Sqs>,
}

#[async_trait]
impl TargetDelivery for SqsDelivery {
    fn validate(&self, target: &Target) -> Result<(), DeliveryError> {
        let url = self.sqs.url_of(&target.arn);
        url.map(drop).map_err(DeliveryError::InvalidArn)
    }

    async fn deliver(&self, target: &Target, event_json: &str) -> Result<(), DeliveryError> {
        let url = self.sqs.url_of(&target.arn);
        let url = url.map_err(DeliveryError::InvalidArn)?;
        let parameters = target.sqs_parameters.as_ref();
        let group = parameters.map(|parameters| parameters.message_group_id.as_str());
        let sent = self.sqs.send(&url, event_json, group).await;
        sent.map_err(DeliveryError::TargetError)
    }
}
