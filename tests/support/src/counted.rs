//! AWS calls and DynamoDB units, by the rows of the counted table in `docs/costs.md`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use reelay_embedded_aws::{CompletedCall, Service};
use serde_json::Value;

use crate::System;

/// Calls by row name of the table.
pub type Row = BTreeMap<String, f64>;

/// Calls since [`Counted::begin`].
#[derive(Debug)]
pub struct Counted<'a> {
    system: &'a System,
    calls: Arc<Mutex<Row>>,
}

impl<'a> Counted<'a> {
    /// Starts to count.
    pub fn begin(system: &'a System) -> Self {
        let calls: Arc<Mutex<Row>> = Arc::default();
        let engines = system.stack.engines();
        let noted = Arc::clone(&calls);
        engines.faults().decide_with(move |service, operation| {
            if is_counted(service, operation) {
                let row = format!("{} {operation}", name(service));
                *noted.lock().unwrap().entry(row).or_default() += 1.0;
            }
            None
        });
        let noted = Arc::clone(&calls);
        engines.faults().observe_with(move |call| {
            let messages = messages(call);
            if messages > 0.0 {
                let row = "messages queued".to_owned();
                *noted.lock().unwrap().entry(row).or_default() += messages;
            }
        });
        engines.capacity_meter().start();
        Self { system, calls }
    }

    /// Ends the count.
    pub fn end(self) -> Row {
        let engines = self.system.stack.engines();
        engines.faults().clear_all();
        engines.faults().observe_with(|_| {});
        let mut row = self.calls.lock().unwrap().clone();
        let units = engines.capacity_meter().consumed();
        row.insert("DynamoDB read units".to_owned(), units.read);
        row.insert("DynamoDB write units".to_owned(), units.written);
        let index = units.by_index.iter().filter(|(index, _)| {
            let recordings = &self.system.tables().recordings;
            **index == format!("{recordings}/by-next-check")
        });
        row.insert(
            "DynamoDB write units of `by-next-check`".to_owned(),
            index.map(|(_, units)| units).sum(),
        );
        row.retain(|_, count| *count != 0.0);
        row
    }
}

/// Excludes Lambda's polling, which depends on batch sizes, and Secrets Manager, which is read every five
/// minutes per instance.
fn is_counted(service: Service, operation: &str) -> bool {
    service != Service::SecretsManager
        && !matches!(operation, "ReceiveMessage" | "DeleteMessageBatch" | "GetQueueAttributes")
}

fn name(service: Service) -> &'static str {
    match service {
        Service::DynamoDb => "DynamoDB",
        Service::EventBridge => "EventBridge",
        Service::Kms => "KMS",
        Service::S3 => "S3",
        Service::SecretsManager => "Secrets Manager",
        Service::Sqs => "SQS",
    }
}

#[allow(clippy::cast_precision_loss, reason = "ten messages a batch at most")]
fn messages(call: CompletedCall<'_>) -> f64 {
    match (call.service, call.operation) {
        (Service::Sqs, "SendMessage") => 1.0,
        (Service::Sqs, "SendMessageBatch") => {
            let request: Value = serde_json::from_slice(call.request).unwrap();
            request["Entries"].as_array().unwrap().len() as f64
        }
        _ => 0.0,
    }
}
