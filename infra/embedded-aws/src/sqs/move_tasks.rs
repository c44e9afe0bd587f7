//! `StartMessageMoveTask`, `ListMessageMoveTasks` and `CancelMessageMoveTask`: dead-letter queue redrive.
//!
//! Each task runs in the background: it receives messages from the dead-letter queue, sends them to the
//! destination and deletes them. AWS does not document the error codes of invalid calls; these are the codes that AWS
//! returns in practice.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::StatusCode;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{engine::Engine, error::SqsError};

/// AWS lists at most the ten most recent tasks of a queue.
const MAX_LISTED: usize = 10;
/// Hides a message while it is moved. Moving takes milliseconds.
const VISIBILITY_TIMEOUT_SECONDS: u32 = 120;

#[derive(Clone)]
pub(super) struct MoveTasks {
    engine: Arc<Engine>,
    tasks: Arc<Mutex<Vec<Task>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Start {
    source_arn: String,
    destination_arn: Option<String>,
    max_number_of_messages_per_second: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct List {
    source_arn: String,
    max_results: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Cancel {
    task_handle: String,
}

/// The content of a task handle: base64 of this object as JSON, as in AWS.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Handle {
    task_id: String,
    source_arn: String,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Task {
    /// Shown while the task is running.
    #[serde(skip_serializing_if = "Option::is_none")]
    task_handle: Option<String>,
    #[serde(skip)]
    id: String,
    source_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_number_of_messages_per_second: Option<u32>,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<String>,
    approximate_number_of_messages_moved: u64,
    approximate_number_of_messages_to_move: u64,
    /// Milliseconds since the epoch.
    started_timestamp: i64,
}

#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Running,
    Cancelling,
    Cancelled,
    Completed,
    Failed,
}

impl MoveTasks {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, tasks: Arc::default() }
    }

    pub(super) async fn start(&self, body: &[u8]) -> Result<Value, SqsError> {
        let call: Start = parse(body)?;
        if let Some(rate) = call.max_number_of_messages_per_second
            && !(1..=500).contains(&rate)
        {
            return Err(invalid(format!(
                "Value {rate} for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: Must be between 1 and 500."
            )));
        }
        let source_url = self.existing_queue(&call.source_arn, "SourceArn").await?;
        if let Some(destination) = &call.destination_arn {
            if *destination == call.source_arn {
                return Err(invalid(
                    "Source queue arn and destination queue arn cannot be the same.",
                ));
            }
            self.existing_queue(destination, "DestinationArn").await?;
        }
        let sources = self
            .engine
            .request("ListDeadLetterSourceQueues", json!({ "QueueUrl": source_url }))
            .await?;
        if sources["queueUrls"].as_array().is_none_or(Vec::is_empty) {
            return Err(invalid("Source queue must be configured as a Dead Letter Queue."));
        }
        let to_move = self.visible_messages(&source_url).await?;
        let task_id = uuid::Uuid::new_v4().to_string();
        let handle = Handle { task_id: task_id.clone(), source_arn: call.source_arn.clone() };
        let handle = STANDARD.encode(json!(handle).to_string());
        let task = Task {
            task_handle: Some(handle.clone()),
            id: task_id,
            source_arn: call.source_arn,
            destination_arn: call.destination_arn,
            max_number_of_messages_per_second: call.max_number_of_messages_per_second,
            status: Status::Running,
            failure_reason: None,
            approximate_number_of_messages_moved: 0,
            approximate_number_of_messages_to_move: to_move,
            started_timestamp: self.engine.clock.now().as_millisecond(),
        };
        {
            let mut tasks = self.tasks.lock();
            let is_active = |other: &Task| {
                other.source_arn == task.source_arn
                    && matches!(other.status, Status::Running | Status::Cancelling)
            };
            if tasks.iter().any(is_active) {
                return Err(invalid(
                    "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
                ));
            }
            tasks.push(task.clone());
        }
        tokio::spawn(self.clone().run(task, source_url));
        Ok(json!({ "TaskHandle": handle }))
    }

    pub(super) async fn list(&self, body: &[u8]) -> Result<Value, SqsError> {
        let call: List = parse(body)?;
        let max_results = call.max_results.unwrap_or(1);
        if !(1..=MAX_LISTED).contains(&max_results) {
            return Err(invalid(format!(
                "Value {max_results} for parameter MaxResults is invalid. Reason: Must be between 1 and 10."
            )));
        }
        self.existing_queue(&call.source_arn, "SourceArn").await?;
        let tasks = self.tasks.lock();
        let newest_first = tasks.iter().rev().filter(|task| task.source_arn == call.source_arn);
        let results: Vec<_> = newest_first.take(max_results).collect();
        Ok(json!({ "Results": results }))
    }

    pub(super) async fn cancel(&self, body: &[u8]) -> Result<Value, SqsError> {
        let call: Cancel = parse(body)?;
        let decoded = STANDARD.decode(call.task_handle).ok();
        let handle: Handle = decoded
            .and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or_else(|| invalid("Value for parameter TaskHandle is invalid."))?;
        self.existing_queue(&handle.source_arn, "SourceArn").await?;
        let mut tasks = self.tasks.lock();
        let task = tasks
            .iter_mut()
            .find(|task| task.id == handle.task_id && task.status == Status::Running)
            .ok_or_else(|| not_found("Task does not exist."))?;
        task.status = Status::Cancelling;
        task.task_handle = None;
        Ok(json!({
            "ApproximateNumberOfMessagesMoved": task.approximate_number_of_messages_moved
        }))
    }

    async fn run(self, task: Task, source_url: String) {
        let outcome = self.move_all(&task, &source_url).await;
        self.update(&task.id, |task| {
            task.task_handle = None;
            task.status = match (outcome, task.status) {
                (Err(reason), _) => {
                    task.failure_reason = Some(reason);
                    Status::Failed
                }
                (Ok(()), Status::Cancelling) => Status::Cancelled,
                (Ok(()), _) => Status::Completed,
            };
        });
    }

    /// Moves the messages that were visible at the start. A message that returns to the dead-letter queue during the
    /// task is not moved again, so the task ends.
    async fn move_all(&self, task: &Task, source_url: &str) -> Result<(), String> {
        let rate = task.max_number_of_messages_per_second;
        for _ in 0..task.approximate_number_of_messages_to_move {
            if !self.is_running(&task.id) {
                return Ok(());
            }
            let receive = json!({
                "QueueUrl": source_url,
                "VisibilityTimeout": VISIBILITY_TIMEOUT_SECONDS,
                "MessageAttributeNames": ["All"],
                "MessageSystemAttributeNames": ["All"],
            });
            let received = self.engine.request("ReceiveMessage", receive).await;
            let received = received.map_err(|error| error.code)?;
            let Some(message) = received["Messages"].get(0) else {
                return Ok(());
            };
            if let Err(reason) = self.move_one(task, source_url, message).await {
                let show = json!({
                    "QueueUrl": source_url,
                    "ReceiptHandle": message["ReceiptHandle"],
                    "VisibilityTimeout": 0,
                });
                // If this fails the message becomes visible after its timeout.
                let _ = self.engine.request("ChangeMessageVisibility", show).await;
                return Err(reason);
            }
            self.update(&task.id, |task| {
                task.approximate_number_of_messages_moved += 1;
            });
            if let Some(rate) = rate {
                tokio::time::sleep(Duration::from_secs(1) / rate).await;
            }
        }
        Ok(())
    }

    async fn move_one(&self, task: &Task, source_url: &str, message: &Value) -> Result<(), String> {
        let attributes = &message["Attributes"];
        let destination = task
            .destination_arn
            .as_deref()
            .or_else(|| attributes["DeadLetterQueueSourceArn"].as_str())
            .ok_or("CouldNotDetermineMessageSource")?;
        let destination_url = self.engine.url_of(destination)?;
        let mut send = json!({
            "QueueUrl": destination_url,
            "MessageBody": message["Body"],
            "MessageAttributes": message.get("MessageAttributes").unwrap_or(&json!({})),
        });
        if let Some(group) = attributes.get("MessageGroupId") {
            send["MessageGroupId"] = group.clone();
        }
        let delete = json!({ "QueueUrl": source_url, "ReceiptHandle": message["ReceiptHandle"] });
        for (operation, body) in [("SendMessage", send), ("DeleteMessage", delete)] {
            let sent = self.engine.request(operation, body).await;
            sent.map_err(|error| error.code)?;
        }
        Ok(())
    }

    fn is_running(&self, id: &str) -> bool {
        let tasks = self.tasks.lock();
        tasks.iter().any(|task| task.id == id && task.status == Status::Running)
    }

    fn update(&self, id: &str, change: impl FnOnce(&mut Task)) {
        if let Some(task) = self.tasks.lock().iter_mut().find(|task| task.id == id) {
            change(task);
        }
    }

    /// The URL of the queue with this ARN.
    async fn existing_queue(&self, arn: &str, parameter: &str) -> Result<String, SqsError> {
        let missing = || {
            not_found(format!(
                "The resource that you specified for the {parameter} parameter doesn't exist."
            ))
        };
        let url = self.engine.url_of(arn).map_err(|_| missing())?;
        match self.visible_messages(&url).await {
            Ok(_) => Ok(url),
            Err(_) => Err(missing()),
        }
    }

    async fn visible_messages(&self, url: &str) -> Result<u64, SqsError> {
        let names = ["ApproximateNumberOfMessages"];
        let body = json!({ "QueueUrl": url, "AttributeNames": names });
        let response = self.engine.request("GetQueueAttributes", body).await?;
        let count = response["Attributes"][names[0]].as_str();
        Ok(count.and_then(|count| count.parse().ok()).unwrap_or_default())
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, SqsError> {
    serde_json::from_slice(body).map_err(|error| {
        SqsError::new(StatusCode::BAD_REQUEST, "MissingParameter", error.to_string())
    })
}

fn invalid(message: impl Into<String>) -> SqsError {
    SqsError::new(StatusCode::BAD_REQUEST, "InvalidParameterValue", message)
}

fn not_found(message: impl Into<String>) -> SqsError {
    SqsError::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
}
