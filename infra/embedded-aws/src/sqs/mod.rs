//! SQS: rustack's engine, extended.
//!
//! - `MessageGroupId` on a standard queue is [accepted and dropped](fair_queue): fairness is not emulated,
//!   and a received message does not carry the attribute.
//! - [Message move tasks](move_tasks).
//! - Messages with U+FFFE or U+FFFF are rejected.

mod engine;
mod fair_queue;
mod move_tasks;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use self::{
    engine::{Engine, SqsError},
    move_tasks::MoveTasks,
};
use crate::{
    faults::Service,
    json_response::{self, JsonResponse},
};

pub(crate) struct Sqs {
    engine: Arc<Engine>,
    move_tasks: MoveTasks,
}

impl fmt::Debug for Sqs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqs").finish_non_exhaustive()
    }
}

impl Sqs {
    pub(crate) fn new(region: &str, account_id: &str, port: u16) -> Self {
        let engine = Arc::new(Engine::new(region, account_id, port));
        Self { move_tasks: MoveTasks::new(Arc::clone(&engine)), engine }
    }

    pub(crate) async fn call(&self, operation: &str, body: Bytes) -> JsonResponse {
        let result = match operation {
            "StartMessageMoveTask" => self.move_tasks.start(&body).await,
            "ListMessageMoveTasks" => self.move_tasks.list(&body).await,
            "CancelMessageMoveTask" => self.move_tasks.cancel(&body).await,
            "SendMessage" | "SendMessageBatch" if has_noncharacters(&body) => Err(SqsError::new(
                StatusCode::BAD_REQUEST,
                "InvalidMessageContents",
                "the message contains characters outside the allowed set",
            )),
            _ => return self.engine.call(operation, body).await,
        };
        match result {
            Ok(value) => json_response::success(Service::Sqs, value.to_string()),
            Err(error) => {
                json_response::error(Service::Sqs, error.status, &error.code, &error.message)
            }
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

    pub(crate) async fn shutdown(&self) {
        self.engine.shutdown().await;
    }
}

/// Whether a request body contains U+FFFE or U+FFFF.
fn has_noncharacters(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).contains(['\u{fffe}', '\u{ffff}'])
}
