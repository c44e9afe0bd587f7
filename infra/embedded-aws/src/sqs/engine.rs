//! The queues of one account and region, called by operation name with JSON bodies.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use reelay_clock::Clock;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::{
    attributes::Attributes,
    error::SqsError,
    message::{Message, Receipt, Selection},
    queue::Queue,
};

/// SQS's maximum number of messages in a request or response.
const MAX_BATCH: usize = 10;
const MAX_WAIT_SECONDS: u32 = 20;
const MAX_DELAY_SECONDS: u32 = 900;
const MAX_VISIBILITY_TIMEOUT_SECONDS: u32 = 43_200;

pub(super) struct Engine {
    region: String,
    account_id: String,
    /// `http://127.0.0.1:<port>`, the start of queue URLs.
    origin: String,
    pub(super) clock: Clock,
    /// By name.
    queues: Mutex<BTreeMap<String, Queue>>,
    /// Wakes the calls that wait for messages.
    changed: watch::Sender<()>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateQueue {
    queue_name: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct QueueName {
    queue_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct QueueUrl {
    queue_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListQueues {
    #[serde(default)]
    queue_name_prefix: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetAttributes {
    queue_url: String,
    #[serde(default)]
    attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SetAttributes {
    queue_url: String,
    attributes: BTreeMap<String, String>,
}

/// The content of a new message, alone or as an entry of a batch.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NewMessage {
    message_body: String,
    #[serde(default)]
    delay_seconds: Option<u32>,
    #[serde(default)]
    message_attributes: Map<String, Value>,
    #[serde(default)]
    message_group_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Send {
    queue_url: String,
    #[serde(flatten)]
    message: NewMessage,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Receive {
    queue_url: String,
    max_number_of_messages: Option<usize>,
    visibility_timeout: Option<u32>,
    wait_time_seconds: Option<u32>,
    #[serde(flatten)]
    selection: Selection,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Handle {
    receipt_handle: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Visibility {
    receipt_handle: String,
    visibility_timeout: u32,
}

/// A call for one message of a queue.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Single<T> {
    queue_url: String,
    #[serde(flatten)]
    entry: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch<T> {
    queue_url: String,
    #[serde(default = "Vec::new")]
    entries: Vec<Entry<T>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<T> {
    id: String,
    #[serde(flatten)]
    entry: T,
}

impl Engine {
    /// `port` is the port of the HTTP server: queue URLs contain it.
    pub(super) fn new(region: &str, account_id: &str, port: u16, clock: Clock) -> Self {
        Self {
            region: region.to_owned(),
            account_id: account_id.to_owned(),
            origin: format!("http://127.0.0.1:{port}"),
            clock,
            queues: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    pub(super) async fn call(&self, operation: &str, body: &Bytes) -> Result<Value, SqsError> {
        let result = match operation {
            "CreateQueue" => self.create(parse(body)?),
            "GetQueueUrl" => {
                let QueueName { queue_name } = parse(body)?;
                self.queue(&self.url(&queue_name), |_| ())?;
                Ok(json!({ "QueueUrl": self.url(&queue_name) }))
            }
            "ListQueues" => Ok(self.list(&parse(body)?)),
            "DeleteQueue" => {
                let QueueUrl { queue_url } = parse(body)?;
                let name = self.name(&queue_url)?;
                self.queues.lock().remove(name).ok_or_else(SqsError::no_such_queue)?;
                Ok(json!({}))
            }
            "PurgeQueue" => {
                let QueueUrl { queue_url } = parse(body)?;
                self.queue(&queue_url, Queue::purge)?;
                Ok(json!({}))
            }
            "GetQueueAttributes" => {
                let GetAttributes { queue_url, attribute_names } = parse(body)?;
                let arn = self.arn(self.name(&queue_url)?);
                let now = self.clock.now();
                let attributes =
                    self.queue(&queue_url, |queue| queue.described(&arn, &attribute_names, now))??;
                Ok(json!({ "Attributes": attributes }))
            }
            "SetQueueAttributes" => {
                let SetAttributes { queue_url, attributes } = parse(body)?;
                let now = self.clock.now();
                self.queue(&queue_url, |queue| queue.set(&attributes, now))??;
                Ok(json!({}))
            }
            "ListDeadLetterSourceQueues" => self.dead_letter_sources(&parse(body)?),
            "SendMessage" => {
                let Send { queue_url, message } = parse(body)?;
                self.send(&queue_url, message)
            }
            "SendMessageBatch" => self.batch(body, |url, message| self.send(url, message)),
            "ReceiveMessage" => self.receive(&parse(body)?).await,
            "DeleteMessage" => {
                let Single { queue_url, entry } = parse(body)?;
                self.delete(&queue_url, &entry)
            }
            "DeleteMessageBatch" => self.batch(body, |url, handle| self.delete(url, &handle)),
            "ChangeMessageVisibility" => {
                let Single { queue_url, entry } = parse(body)?;
                self.change_visibility(&queue_url, &entry)
            }
            "ChangeMessageVisibilityBatch" => {
                self.batch(body, |url, change| self.change_visibility(url, &change))
            }
            _ => Err(SqsError::client(
                "UnknownOperationException",
                format!("{operation} is not emulated"),
            )),
        };
        if !matches!(operation, "GetQueueAttributes" | "ReceiveMessage") {
            self.changed.send_replace(());
        }
        result
    }

    /// Like [`call`](Self::call), with the request as a value.
    pub(super) async fn request(&self, operation: &str, body: Value) -> Result<Value, SqsError> {
        self.call(operation, &body.to_string().into()).await
    }

    /// The URL of a queue of this account and region. The queue need not exist.
    pub(super) fn url_of(&self, arn: &str) -> Result<String, String> {
        let prefix = self.arn("");
        let name = arn.strip_prefix(&prefix).filter(|name| is_queue_name(name));
        name.map(|name| self.url(name)).ok_or_else(|| format!("{arn} is not a queue's ARN here"))
    }

    /// Number of messages that a receive call returns now. 0 if the queue does not exist.
    pub(super) fn visible(&self, url: &str) -> usize {
        let now = self.clock.now();
        self.queue(url, |queue| queue.lengths(now).visible).unwrap_or(0)
    }

    /// Waits until the queue has a visible message.
    pub(super) async fn wait_for_visible(&self, url: &str) {
        let mut changes = self.changed.subscribe();
        while self.visible(url) == 0 {
            self.wait_for_change(url, &mut changes).await;
        }
    }

    /// The first time after now at which a delay or a visibility timeout ends.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let now = self.clock.now();
        self.queues.lock().values().filter_map(|queue| queue.next_visible_at(now)).min()
    }

    /// Ends the delays of a queue's messages. Returns the number of messages.
    pub(super) fn end_delays(&self, url: &str) -> usize {
        let now = self.clock.now();
        let ended = self.queue(url, |queue| queue.end_delays(now)).unwrap_or(0);
        self.changed.send_replace(());
        ended
    }

    /// Defers all delays, visibility timeouts and expiries.
    pub(super) fn postpone(&self, by: SignedDuration) {
        self.queues.lock().values_mut().for_each(|queue| queue.postpone(by));
    }

    async fn wait_for_change(&self, url: &str, changes: &mut watch::Receiver<()>) {
        let now = self.clock.now();
        let due = self.queue(url, |queue| queue.next_visible_at(now)).ok().flatten();
        let due = async {
            match due {
                Some(due) => self.clock.sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = changes.changed() => {}
            () = due => {}
        }
    }

    fn arn(&self, name: &str) -> String {
        format!("arn:aws:sqs:{}:{}:{name}", self.region, self.account_id)
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.origin, self.account_id)
    }

    /// The name at the end of a URL. SQS ignores the host.
    fn name<'a>(&self, url: &'a str) -> Result<&'a str, SqsError> {
        let (rest, name) = url.rsplit_once('/').ok_or_else(SqsError::no_such_queue)?;
        let is_ours = rest.rsplit('/').next() == Some(&self.account_id);
        if is_ours { Ok(name) } else { Err(SqsError::no_such_queue()) }
    }

    fn queue<T>(&self, url: &str, act: impl FnOnce(&mut Queue) -> T) -> Result<T, SqsError> {
        let name = self.name(url)?;
        let mut queues = self.queues.lock();
        queues.get_mut(name).map(act).ok_or_else(SqsError::no_such_queue)
    }

    fn create(&self, call: CreateQueue) -> Result<Value, SqsError> {
        if !is_queue_name(&call.queue_name) {
            return Err(SqsError::invalid(
                "the name has other characters than letters, digits, - and _, or more than 80; FIFO queues are not emulated",
            ));
        }
        let attributes = Attributes::parse(&call.attributes)?;
        let url = self.url(&call.queue_name);
        let mut queues = self.queues.lock();
        match queues.get(&call.queue_name) {
            Some(queue) if queue.attributes != attributes => {
                return Err(SqsError::client(
                    "QueueNameExists",
                    "a queue with this name and other attributes exists",
                ));
            }
            Some(_) => {}
            None => {
                let queue = Queue::new(attributes, self.clock.now());
                queues.insert(call.queue_name, queue);
            }
        }
        Ok(json!({ "QueueUrl": url }))
    }

    fn list(&self, call: &ListQueues) -> Value {
        let queues = self.queues.lock();
        let names = queues.keys().filter(|name| name.starts_with(&call.queue_name_prefix));
        json!({ "QueueUrls": names.map(|name| self.url(name)).collect::<Vec<_>>() })
    }

    fn dead_letter_sources(&self, call: &QueueUrl) -> Result<Value, SqsError> {
        let name = self.name(&call.queue_url)?;
        let arn = self.arn(name);
        let queues = self.queues.lock();
        if !queues.contains_key(name) {
            return Err(SqsError::no_such_queue());
        }
        let sources = queues.iter().filter(|(_, queue)| {
            queue.attributes.redrive.as_ref().is_some_and(|redrive| redrive.target_arn == arn)
        });
        let urls: Vec<_> = sources.map(|(name, _)| self.url(name)).collect();
        Ok(json!({ "queueUrls": urls }))
    }

    fn send(&self, url: &str, new: NewMessage) -> Result<Value, SqsError> {
        if let Some(delay) = new.delay_seconds.filter(|delay| *delay > MAX_DELAY_SECONDS) {
            return Err(SqsError::invalid(format!(
                "DelaySeconds is {delay}; the maximum is {MAX_DELAY_SECONDS}"
            )));
        }
        let message = Message::new(
            new.message_body,
            new.message_attributes,
            new.message_group_id,
            self.clock.now(),
        )?;
        let mut sent = json!({ "MessageId": message.id, "MD5OfMessageBody": message.body_md5 });
        if let Some(md5) = &message.attributes_md5 {
            sent["MD5OfMessageAttributes"] = json!(md5);
        }
        self.queue(url, |queue| queue.send(message, new.delay_seconds))??;
        Ok(sent)
    }

    async fn receive(&self, call: &Receive) -> Result<Value, SqsError> {
        let limit = call.max_number_of_messages.unwrap_or(1);
        if !(1..=MAX_BATCH).contains(&limit) {
            return Err(SqsError::invalid("MaxNumberOfMessages is not between 1 and 10"));
        }
        check_visibility_timeout(call.visibility_timeout)?;
        let wait = call.wait_time_seconds;
        if wait.is_some_and(|wait| wait > MAX_WAIT_SECONDS) {
            return Err(SqsError::invalid("WaitTimeSeconds is not between 0 and 20"));
        }
        let default = self.queue(&call.queue_url, |queue| queue.attributes.wait_seconds)?;
        let wait = Duration::from_secs(wait.unwrap_or(default).into());
        let deadline = tokio::time::Instant::now() + wait;
        let mut changes = self.changed.subscribe();
        loop {
            let messages = self.take(call, limit)?;
            if !messages.is_empty() {
                return Ok(json!({ "Messages": messages }));
            }
            if tokio::time::Instant::now() >= deadline {
                return Ok(json!({}));
            }
            let changed = self.wait_for_change(&call.queue_url, &mut changes);
            // The next round finds a message, or the end of the time.
            tokio::time::timeout_at(deadline, changed).await.ok();
        }
    }

    /// Receives visible messages, and moves messages that were received too often to the dead-letter queue.
    fn take(&self, call: &Receive, limit: usize) -> Result<Vec<Value>, SqsError> {
        let now = self.clock.now();
        let name = self.name(&call.queue_url)?;
        let arn = self.arn(name);
        let mut queues = self.queues.lock();
        let queue = queues.get(name).ok_or_else(SqsError::no_such_queue)?;
        let redrive = queue.attributes.redrive.clone().and_then(|redrive| {
            let target = redrive.target_arn.strip_prefix(&self.arn(""))?;
            queues.contains_key(target).then(|| (target.to_owned(), redrive.max_receive_count))
        });
        if let Some((target, max_receives)) = redrive {
            let queue = queues.get_mut(name).ok_or_else(SqsError::no_such_queue)?;
            for message in queue.take_dead(max_receives, now) {
                if let Some(target) = queues.get_mut(&target) {
                    target.add_dead(message, &arn, now);
                    self.changed.send_replace(());
                }
            }
        }
        let queue = queues.get_mut(name).ok_or_else(SqsError::no_such_queue)?;
        Ok(queue.receive(limit, call.visibility_timeout, &call.selection, now))
    }

    fn delete(&self, url: &str, call: &Handle) -> Result<Value, SqsError> {
        let receipt = Receipt::parse(&call.receipt_handle)?;
        self.queue(url, |queue| queue.delete(&receipt))?;
        Ok(json!({}))
    }

    fn change_visibility(&self, url: &str, call: &Visibility) -> Result<Value, SqsError> {
        check_visibility_timeout(Some(call.visibility_timeout))?;
        let receipt = Receipt::parse(&call.receipt_handle)?;
        let now = self.clock.now();
        self.queue(url, |queue| queue.change_visibility(&receipt, call.visibility_timeout, now))??;
        Ok(json!({}))
    }

    /// Applies `act` to each entry of a batch.
    fn batch<T: DeserializeOwned>(
        &self,
        body: &Bytes,
        act: impl Fn(&str, T) -> Result<Value, SqsError>,
    ) -> Result<Value, SqsError> {
        let Batch { queue_url, entries } = parse::<Batch<T>>(body)?;
        self.queue(&queue_url, |_| ())?;
        let mut ids: Vec<_> = entries.iter().map(|entry| entry.id.as_str()).collect();
        ids.sort_unstable();
        if ids.is_empty() {
            return Err(SqsError::client("EmptyBatchRequest", "the batch has no entry"));
        }
        if ids.len() > MAX_BATCH {
            return Err(SqsError::client(
                "TooManyEntriesInBatchRequest",
                "the batch has more than 10 entries",
            ));
        }
        if ids.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(SqsError::client("BatchEntryIdsNotDistinct", "two entries have one id"));
        }
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for Entry { id, entry } in entries {
            match act(&queue_url, entry) {
                Ok(mut result) => {
                    result["Id"] = json!(id);
                    successful.push(result);
                }
                Err(error) => failed.push(json!({
                    "Id": id, "Code": error.code, "Message": error.message,
                    "SenderFault": error.status != StatusCode::INTERNAL_SERVER_ERROR,
                })),
            }
        }
        Ok(json!({ "Successful": successful, "Failed": failed }))
    }
}

fn check_visibility_timeout(seconds: Option<u32>) -> Result<(), SqsError> {
    match seconds {
        Some(seconds) if seconds > MAX_VISIBILITY_TIMEOUT_SECONDS => Err(SqsError::invalid(
            format!("VisibilityTimeout is not between 0 and {MAX_VISIBILITY_TIMEOUT_SECONDS}"),
        )),
        _ => Ok(()),
    }
}

fn is_queue_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=80).contains(&name.len()) && name.bytes().all(is_allowed)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, SqsError> {
    serde_json::from_slice(body)
        .map_err(|error| SqsError::client("MissingParameter", error.to_string()))
}
