//! Messages that SQS delays. The queue goes by the machine's clock, the test by its own.

use std::sync::{Arc, Mutex};

use reelay_embedded_aws::Service;
use serde_json::Value;

use crate::{System, store};

/// A message that was sent to be delivered later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Later {
    /// The delay, in seconds.
    pub seconds: u64,
    /// The message.
    pub body: String,
}

/// The delayed messages of the downloads queue, from now on.
#[derive(Debug)]
pub struct Delayed {
    queue: String,
    sent: Arc<Mutex<Vec<Later>>>,
}

impl Delayed {
    /// Begins to watch.
    pub fn watch(system: &System) -> Self {
        let queue = system.stack.config().queues.downloads.clone();
        let sent: Arc<Mutex<Vec<Later>>> = Arc::default();
        let (noted, watched) = (Arc::clone(&sent), queue.clone());
        system.stack.engines().faults().observe_with(move |done| {
            if done.service != Service::Sqs || done.operation != "SendMessage" {
                return;
            }
            let call: Value = serde_json::from_slice(done.request).unwrap();
            let seconds = call["DelaySeconds"].as_u64().unwrap_or(0);
            if call["QueueUrl"] == watched.as_str() && seconds > 0 {
                let body = call["MessageBody"].as_str().unwrap().to_owned();
                noted.lock().unwrap().push(Later { seconds, body });
            }
        });
        Self { queue, sent }
    }

    /// Those that have not arrived.
    pub fn waiting(&self) -> Vec<Later> {
        self.sent.lock().unwrap().clone()
    }

    /// Delivers them now. The queue has them still, for as long as the machine's clock says: a test must not
    /// last as long as its delays.
    pub async fn arrive(&self, system: &System) -> Vec<Later> {
        let arriving = std::mem::take(&mut *self.sent.lock().unwrap());
        for later in &arriving {
            store::send(&system.stack, &self.queue, &later.body).await;
        }
        arriving
    }
}
