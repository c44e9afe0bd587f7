//! Delayed SQS messages, delivered when a test says so: SQS uses the machine's clock, the test its own.

use std::sync::{Arc, Mutex};

use reelay_embedded_aws::Service;
use serde_json::Value;

use crate::System;

/// A message that was sent with a delay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayedMessage {
    /// The delay in seconds.
    pub seconds: u64,
    /// The body.
    pub body: String,
}

/// The delayed messages of one queue.
#[derive(Debug)]
pub struct DelayedMessages {
    queue: String,
    sent: Arc<Mutex<Vec<DelayedMessage>>>,
}

impl DelayedMessages {
    /// Records delayed messages of the downloads queue from now on.
    pub fn watch(system: &System) -> Self {
        Self::of(system, &system.queues().downloads)
    }

    /// Records delayed messages of a queue from now on.
    pub fn of(system: &System, queue: &str) -> Self {
        let queue = queue.to_owned();
        let sent: Arc<Mutex<Vec<DelayedMessage>>> = Arc::default();
        let (log, watched) = (Arc::clone(&sent), queue.clone());
        system.faults().observe_with(move |done| {
            if done.service != Service::Sqs || done.operation != "SendMessage" {
                return;
            }
            let call: Value = serde_json::from_slice(done.request).unwrap();
            let seconds = call["DelaySeconds"].as_u64().unwrap_or(0);
            if call["QueueUrl"] == watched.as_str() && seconds > 0 {
                let body = call["MessageBody"].as_str().unwrap().to_owned();
                log.lock().unwrap().push(DelayedMessage { seconds, body });
            }
        });
        Self { queue, sent }
    }

    /// Messages that are not delivered yet.
    pub fn waiting(&self) -> Vec<DelayedMessage> {
        self.sent.lock().unwrap().clone()
    }

    /// Delivers copies of them now and returns them; the originals stay hidden in the queue.
    pub async fn deliver(&self, system: &System) -> Vec<DelayedMessage> {
        let delivered = std::mem::take(&mut *self.sent.lock().unwrap());
        for message in &delivered {
            system.send_message(&self.queue, &message.body).await;
        }
        delivered
    }
}
