//! SQS: rustack, with what it lacks.
//!
//! - A message group on a standard queue is [taken and dropped](fair_queue). Fairness itself is not
//!   emulated, and a received message does not carry the attribute.
//! - Queues, their attributes and tags outlive a restart: rustack exports and imports these. Messages do
//!   by a [log](messages) of ours.

mod fair_queue;
mod messages;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use rustack_sqs_core::{
    config::SqsConfig,
    handler::RustackSqsHandler,
    provider::{RustackSqs, SqsSnapshot},
};
use rustack_sqs_http::{dispatch::SqsHandler, response, router};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use self::messages::{Message, MessageLog};
use crate::{
    StartError,
    faults::Service,
    files,
    json_reply::{self, JsonResponse},
};

pub(crate) struct Sqs {
    provider: Arc<RustackSqs>,
    handler: RustackSqsHandler,
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
        let provider = Arc::new(RustackSqs::new(SqsConfig {
            skip_signature_validation: true,
            default_region: region.to_owned(),
            account_id: account_id.to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
        }));
        let mut sqs = Self {
            handler: RustackSqsHandler::new(Arc::clone(&provider)),
            provider,
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
        let response = match router::resolve_operation(&target(operation)) {
            Ok(known) => match self.handler.handle_operation(known, body).await {
                Ok(response) => response,
                Err(error) => response::error_to_response(&error, "failed"),
            },
            Err(error) => response::error_to_response(&error, "unknown"),
        };
        json_reply::buffered(Service::Sqs, response).await
    }

    /// The URL of the queue with this ARN, if it is of our account and region.
    pub(crate) fn url_of(&self, arn: &str) -> Result<String, String> {
        self.provider
            .queue_url_for_arn(arn)
            .map_err(|error| error.to_string())
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
        self.provider.shutdown_all().await;
    }

    async fn save_queues(&self, kept: &Kept) -> io::Result<()> {
        let path = kept.queues.lock().await;
        let snapshot = self.provider.export_snapshot().await;
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

fn target(operation: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&format!("AmazonSQS.{operation}")) {
        headers.insert("x-amz-target", value);
    }
    headers
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
