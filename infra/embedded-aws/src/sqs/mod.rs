//! SQS: standard queues by the clock, and [message move tasks](move_tasks).

mod attributes;
mod engine;
mod error;
mod message;
mod move_tasks;
mod queue;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use reelay_clock::Clock;
use serde_json::json;

use self::{engine::Engine, move_tasks::MoveTasks};
use crate::{
    faults::Service,
    json_response::{self, JsonResponse},
};

pub(crate) struct Sqs {
    engine: Arc<Engine>,
    move_tasks: MoveTasks,
}

/// Handle that shows the queues from inside the process, without calls that are counted or fail. Clones share one
/// state.
#[derive(Clone)]
pub struct Queues {
    sqs: Arc<Sqs>,
}

impl fmt::Debug for Sqs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqs").finish_non_exhaustive()
    }
}

impl fmt::Debug for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queues").finish_non_exhaustive()
    }
}

impl Queues {
    pub(crate) fn new(sqs: Arc<Sqs>) -> Self {
        Self { sqs }
    }

    /// Number of messages that `ReceiveMessage` returns now. 0 if the queue does not exist.
    #[must_use]
    pub fn visible(&self, queue_url: &str) -> usize {
        self.sqs.engine.visible(queue_url)
    }

    /// Waits until the queue has a visible message.
    pub async fn wait_for_visible(&self, queue_url: &str) {
        self.sqs.engine.wait_for_visible(queue_url).await;
    }

    /// The first time after now at which a delay or a visibility timeout ends, in any queue.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.sqs.engine.next_due()
    }

    /// Ends the delays of a queue's messages, for a test that does not wait for them. Returns the number of messages.
    pub fn end_delays(&self, queue_url: &str) -> usize {
        self.sqs.engine.end_delays(queue_url)
    }

    /// Defers all delays, visibility timeouts and expiries of messages, for a test that advances the clock without
    /// them.
    pub fn postpone(&self, by: SignedDuration) {
        self.sqs.engine.postpone(by);
    }
}

impl Sqs {
    pub(crate) fn new(region: &str, account_id: &str, port: u16, clock: Clock) -> Self {
        let engine = Arc::new(Engine::new(region, account_id, port, clock));
        Self { move_tasks: MoveTasks::new(Arc::clone(&engine)), engine }
    }

    pub(crate) async fn call(&self, operation: &str, body: &Bytes) -> JsonResponse {
        let result = match operation {
            "StartMessageMoveTask" => self.move_tasks.start(body).await,
            "ListMessageMoveTasks" => self.move_tasks.list(body).await,
            "CancelMessageMoveTask" => self.move_tasks.cancel(body).await,
            _ => self.engine.call(operation, body).await,
        };
        match result {
            Ok(value) => json_response::success(Service::Sqs, value.to_string()),
            Err(error) => error.response(),
        }
    }

    /// The URL of a queue of this account and region. The queue need not exist.
    pub(crate) fn url_of(&self, arn: &str) -> Result<String, String> {
        self.engine.url_of(arn)
    }

    /// Sends a message on behalf of EventBridge: without fault injection and call count.
    pub(crate) async fn send(
        &self,
        url: &str,
        message: &str,
        group: Option<&str>,
    ) -> Result<(), String> {
        let body = json!({ "QueueUrl": url, "MessageBody": message, "MessageGroupId": group });
        let sent = self.engine.request("SendMessage", body).await;
        sent.map(drop).map_err(|error| error.code)
    }
}
