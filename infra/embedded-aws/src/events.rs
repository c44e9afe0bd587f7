//! EventBridge: rustack, delivering to queues.
//!
//! Buses, rules and targets outlive a restart through a [journal](crate::journal). Events go to SQS queues
//! only. Any target can be put, but an event that matches a rule with another target fails in `PutEvents`
//! (`InvalidTarget`), so that a test cannot believe in a delivery that never comes.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use rustack_events_core::{
    config::EventsConfig,
    delivery::{DeliveryError, Target, TargetDelivery},
    handler::RustackEventsHandler,
    provider::RustackEvents,
};
use rustack_events_http::{dispatch::EventsHandler, response, router};
use tokio::sync::Mutex;

use crate::{
    StartError,
    faults::Service,
    journal::Journal,
    json_reply::{self, JsonResponse},
    sqs::Sqs,
};

pub(crate) struct Events {
    provider: Arc<RustackEvents>,
    handler: RustackEventsHandler,
    journal: Option<Journal>,
    /// Held through a change and its journal entry, so that both have one order.
    changing: Mutex<()>,
}

impl Events {
    pub(crate) async fn start(
        region: &str,
        account_id: &str,
        port: u16,
        journal: Option<&Path>,
        sqs: Arc<Sqs>,
    ) -> Result<Self, StartError> {
        let config = EventsConfig {
            skip_signature_validation: true,
            default_region: region.to_owned(),
            account_id: account_id.to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
        };
        let provider = Arc::new(RustackEvents::new(config, Arc::new(Queues { sqs })));
        let mut events = Self {
            handler: RustackEventsHandler::new(Arc::clone(&provider)),
            provider,
            journal: None,
            changing: Mutex::new(()),
        };
        if let Some(path) = journal {
            let (journal, entries) =
                Journal::open(path).map_err(|error| StartError::state(path, error))?;
            for entry in entries {
                let body = Bytes::copy_from_slice(entry.body.get().as_bytes());
                let response = events.call(&entry.operation, body).await;
                if !response.status().is_success() {
                    tracing::warn!(operation = entry.operation, "EventBridge call not repeated");
                }
            }
            events.journal = Some(journal);
        }
        Ok(events)
    }

    pub(crate) async fn call(&self, operation: &str, body: Bytes) -> JsonResponse {
        if !changes_rules(operation) {
            return self.execute(operation, body).await;
        }
        let _order = self.changing.lock().await;
        let response = self.execute(operation, body.clone()).await;
        if response.status().is_success()
            && let Some(journal) = &self.journal
            && let Err(error) = journal.append(operation, &body)
        {
            tracing::error!(%error, "EventBridge change could not be saved");
            return json_reply::error(
                Service::EventBridge,
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalException",
                "the change could not be saved",
            );
        }
        response
    }

    /// Stops taking events and delivers those taken.
    pub(crate) async fn shutdown(&self) {
        if let Err(error) = self.provider.shutdown().await {
            tracing::warn!(%error, "EventBridge deliveries did not end well");
        }
    }

    async fn execute(&self, operation: &str, body: Bytes) -> JsonResponse {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(&format!("AWSEvents.{operation}")) {
            headers.insert("x-amz-target", value);
        }
        let response = match router::resolve_operation(&headers) {
            Ok(known) => match self.handler.handle_operation(known, body).await {
                Ok(response) => response,
                Err(error) => response::error_to_response(&error, "failed"),
            },
            Err(error) => response::error_to_response(&error, "unknown"),
        };
        json_reply::buffered(Service::EventBridge, response).await
    }
}

fn changes_rules(operation: &str) -> bool {
    let reads = ["Describe", "List", "Test"];
    operation != "PutEvents" && !reads.iter().any(|prefix| operation.starts_with(prefix))
}

/// Delivers to queues of the same account and region.
#[derive(Debug)]
struct Queues {
    sqs: Arc<Sqs>,
}

#[async_trait]
impl TargetDelivery for Queues {
    fn validate(&self, target: &Target) -> Result<(), DeliveryError> {
        self.sqs
            .url_of(&target.arn)
            .map(drop)
            .map_err(DeliveryError::InvalidArn)
    }

    async fn deliver(&self, target: &Target, event_json: &str) -> Result<(), DeliveryError> {
        let url = self
            .sqs
            .url_of(&target.arn)
            .map_err(DeliveryError::InvalidArn)?;
        let group = target
            .sqs_parameters
            .as_ref()
            .map(|parameters| parameters.message_group_id.as_str());
        self.sqs
            .deliver(&url, event_json, group)
            .await
            .map_err(DeliveryError::TargetError)
    }
}
