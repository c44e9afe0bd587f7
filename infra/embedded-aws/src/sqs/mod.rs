//! SQS: rustack, with what it lacks.
//!
//! - A message group on a standard queue is [taken and dropped](fair_queue). Fairness itself is not
//!   emulated, and a received message does not carry the attribute.
//! - Queues, their attributes and tags outlive a restart: rustack exports and imports these. Messages do
//!   by a [log](messages) of ours.

mod engine;
mod fair_queue;
mod messages;
mod move_tasks;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use rustack_sqs_core::provider::SqsSnapshot;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use self::{
    engine::Engine,
    messages::{Message, MessageLog},
    move_tasks::MoveTasks,
};
use crate::{
    StartError,
    faults::Service,
    files,
    json_reply::{self, JsonResponse},
};

pub(crate) struct Sqs {
    engine: Arc<Engine>,
    move_tasks: MoveTasks,
    kept: Option<Kept>,
}

struct Kept {
    /// Locked while the file is written, so that an older state never overwrites a newer one.
    queues: Mutex<PathBuf>,
    /// Locked through a send, and after any other call: whoever receives a message finds it in the log.
    messages: Mutex<MessageLog>,
}

impl std::fmt::Debug for Sqs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqs").finish_non_exhaustive()
    }
}

impl Sqs {
    /// `port` is the one that clients use: queue URLs carry it. State is kept in `directory`, if given.
    pub(crate) async fn start(
        region: &str,
        account_id: &str,
        port: u16,
        directory: Option<&Path>,
    ) -> Result<Self, StartError> {
        let engine = Arc::new(Engine::new(region, account_id, port));
        let mut sqs = Self {
            move_tasks: MoveTasks::new(Arc::clone(&engine)),
            engine,
            kept: None,
        };
        if let Some(directory) = directory {
            let queues = directory.join("queues.json");
            sqs.restore_queues(&queues).await?;
            let path = directory.join("messages.jsonl");
            let state = |error| StartError::state(&path, error);
            let (mut log, unsent) = MessageLog::open(path.clone()).map_err(state)?;
            let prefix = format!("arn:aws:sqs:{region}:{account_id}:");
            let mut ids = Vec::with_capacity(unsent.len());
            for message in unsent {
                ids.push(sqs.send_again(&prefix, message).await);
            }
            log.resent(ids).map_err(state)?;
            sqs.kept = Some(Kept {
                queues: Mutex::new(queues),
                messages: Mutex::new(log),
            });
        }
        Ok(sqs)
    }

    async fn restore_queues(&self, path: &Path) -> Result<(), StartError> {
        let snapshot: Option<SqsSnapshot> =
            files::read_json(path).map_err(|error| StartError::state(path, error))?;
        match snapshot {
            Some(snapshot) => self
                .engine
                .provider
                .import_snapshot(snapshot)
                .await
                .map_err(|error| StartError::Sqs(error.to_string())),
            None => Ok(()),
        }
    }

    /// The id that the message has now; none if its queue is gone.
    async fn send_again(&self, arn_prefix: &str, message: Message) -> Option<String> {
        let arn = format!("{arn_prefix}{}", message.queue);
        let mut call = message.call;
        call.insert("QueueUrl".to_owned(), self.url_of(&arn).ok()?.into());
        let body = Value::Object(call).to_string().into();
        let (parts, body) = whole(self.execute("SendMessage", body).await).await;
        if !parts.status.is_success() {
            tracing::warn!(queue = message.queue, "message of an earlier run is lost");
            return None;
        }
        let answer: Value = serde_json::from_slice(&body).ok()?;
        Some(answer.get("MessageId")?.as_str()?.to_owned())
    }

    pub(crate) async fn call(&self, operation: &str, body: Bytes) -> JsonResponse {
        let body = fair_queue::without_group_of_standard_queue(operation, body);
        let Some(kept) = &self.kept else {
            return self.execute(operation, body).await;
        };
        let response = if changes_messages(operation) {
            self.call_and_log(kept, operation, body).await
        } else {
            Ok(self.execute(operation, body).await)
        };
        let saved = match response {
            Ok(response) if response.status().is_success() && changes_queues(operation) => {
                self.save_queues(kept).await.map(|()| response)
            }
            other => other,
        };
        saved.unwrap_or_else(|error| {
            tracing::error!(%error, operation, "SQS change could not be saved");
            json_reply::error(
                Service::Sqs,
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                "the change could not be saved",
            )
        })
    }

    async fn call_and_log(
        &self,
        kept: &Kept,
        operation: &str,
        body: Bytes,
    ) -> io::Result<JsonResponse> {
        let (response, mut log) = if operation.starts_with("SendMessage") {
            let log = kept.messages.lock().await;
            (self.execute(operation, body.clone()).await, log)
        } else {
            // A long poll must not keep others from sending.
            let response = self.execute(operation, body.clone()).await;
            (response, kept.messages.lock().await)
        };
        let (parts, answer) = whole(response).await;
        if parts.status.is_success() {
            let call: Value = serde_json::from_slice(&body)?;
            // DeleteMessage answers nothing.
            let said = serde_json::from_slice(&answer).unwrap_or(Value::Null);
            let url = call
                .get("QueueUrl")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let queue = url.rsplit('/').next().unwrap_or(url);
            log.observe(operation, queue, &call, &said)?;
        }
        Ok(Response::from_parts(parts, Full::new(answer)))
    }

    async fn execute(&self, operation: &str, body: Bytes) -> JsonResponse {
        let result = match operation {
            "StartMessageMoveTask" => self.move_tasks.start(&body).await,
            "ListMessageMoveTasks" => self.move_tasks.list(&body).await,
            "CancelMessageMoveTask" => self.move_tasks.cancel(&body).await,
            _ => return self.engine.execute(operation, body).await,
        };
        match result {
            Ok(value) => json_reply::reply(Service::Sqs, StatusCode::OK, value.to_string().into()),
            Err(error) => {
                json_reply::error(Service::Sqs, error.status, &error.code, &error.message)
            }
        }
    }

    /// The URL of the queue with this ARN, if it is of our account and region.
    pub(crate) fn url_of(&self, arn: &str) -> Result<String, String> {
        self.engine.url_of(arn)
    }

    /// Sends without passing through the front: for EventBridge, whose calls are no client's.
    pub(crate) async fn deliver(
        &self,
        url: &str,
        message: &str,
        group: Option<&str>,
    ) -> Result<(), String> {
        let mut body = json!({ "QueueUrl": url, "MessageBody": message });
        if let Some(group) = group {
            body["MessageGroupId"] = json!(group);
        }
        let response = self.call("SendMessage", body.to_string().into()).await;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(format!("SQS answered {}", response.status()))
        }
    }

    pub(crate) async fn shutdown(&self) {
        self.engine.provider.shutdown_all().await;
    }

    async fn save_queues(&self, kept: &Kept) -> io::Result<()> {
        let path = kept.queues.lock().await;
        let snapshot = self.engine.provider.export_snapshot().await;
        files::write_json(
            &path,
            &snapshot.map_err(|error| io::Error::other(error.to_string()))?,
        )
    }
}

/// The answer with its body, which is in memory already.
async fn whole(response: JsonResponse) -> (http::response::Parts, Bytes) {
    let (parts, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(never) => match never {},
    };
    (parts, body)
}

fn changes_queues(operation: &str) -> bool {
    matches!(
        operation,
        "CreateQueue"
            | "DeleteQueue"
            | "SetQueueAttributes"
            | "TagQueue"
            | "UntagQueue"
            | "AddPermission"
            | "RemovePermission"
    )
}

fn changes_messages(operation: &str) -> bool {
    matches!(
        operation,
        "SendMessage"
            | "SendMessageBatch"
            | "ReceiveMessage"
            | "DeleteMessage"
            | "DeleteMessageBatch"
            | "PurgeQueue"
            | "DeleteQueue"
    )
}
