//! Record of the AWS calls that took effect: queued messages, published notifications and saved token pairs.
//!
//! The engines report each completed call, so the record includes calls whose caller was killed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use reelay_devstack::Queues;
use reelay_domain::ids::ZoomUser;
use reelay_domain::message::{Notification, NotificationMessage};
use reelay_embedded_aws::{CompletedCall, Service};
use reelay_runtime::environment::Clock;
use reelay_store::vault::{EncryptedTokens, TokenOwner};
use serde_json::{Value, json};

/// Queue of a message, which determines the function that consumes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Consumed by `event-processor`.
    Events,
    /// Consumed by `reconciler`.
    Jobs,
    /// Consumed by `recording-downloader`.
    Downloads,
}

/// A message in a queue.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// SQS message id.
    pub(crate) id: u64,
    pub(crate) queue: Queue,
    pub(crate) body: String,
    pub(crate) visible_at: Timestamp,
    /// Whether it was sent with a delay.
    pub(crate) is_delayed: bool,
    /// Failed deliveries so far.
    pub(crate) failures: u32,
}

/// A token pair that was written to a table.
#[derive(Debug, Clone)]
pub(crate) struct SavedPair {
    pub(crate) owner: TokenOwner,
    pub(crate) encrypted: EncryptedTokens,
    /// Time of the code exchange by which Reelay orders it, epoch milliseconds; only of an exchange.
    pub(crate) exchanged_at: Option<i64>,
}

/// The record of one stack.
#[derive(Debug)]
pub(crate) struct Journal {
    queues: Queues,
    clock: Clock,
    writes: AtomicU64,
    last_message_id: AtomicU64,
    records: Mutex<Records>,
}

#[derive(Debug, Default)]
struct Records {
    messages: VecDeque<Message>,
    notifications: Vec<Notification>,
    saved_pairs: Vec<SavedPair>,
    /// Claims that app users have sent, by app user.
    confirmed: BTreeMap<String, BTreeSet<String>>,
}

impl Journal {
    pub(crate) fn new(queues: Queues, clock: Clock) -> Self {
        Self {
            queues,
            clock,
            writes: AtomicU64::new(0),
            last_message_id: AtomicU64::new(0),
            records: Mutex::default(),
        }
    }

    /// Deletes all records before the next seed.
    pub(crate) fn clear(&self) {
        *self.records.lock() = Records::default();
    }

    /// Number of DynamoDB writes so far.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    /// Notifications in the order of publication, with repeats.
    pub(crate) fn notifications(&self) -> Vec<Notification> {
        self.records.lock().notifications.clone()
    }

    /// Token pairs written so far.
    pub(crate) fn saved_pairs(&self) -> Vec<SavedPair> {
        self.records.lock().saved_pairs.clone()
    }

    /// Records that an app user confirms a claim.
    pub(crate) fn record_confirm(&self, app_user: &str, claim: &str) {
        let confirmed = &mut self.records.lock().confirmed;
        confirmed.entry(app_user.to_owned()).or_default().insert(claim.to_owned());
    }

    /// Number of claims that an app user has confirmed or tried to confirm.
    pub(crate) fn confirmed_claims(&self, app_user: &str) -> usize {
        self.records.lock().confirmed.get(app_user).map_or(0, BTreeSet::len)
    }

    /// Number of messages that SQS can deliver now.
    pub(crate) fn visible_count(&self) -> usize {
        let now = self.clock.now();
        let records = self.records.lock();
        let visible = records.messages.iter().filter(|m| m.visible_at <= now);
        visible.count()
    }

    /// When the first message of a queue becomes visible; `None` if it is empty.
    pub(crate) fn next_visible_at(&self, queue: Queue) -> Option<Timestamp> {
        let records = self.records.lock();
        let queued = records.messages.iter().filter(|message| message.queue == queue);
        queued.map(|message| message.visible_at).min()
    }

    /// Removes and returns the oldest visible message.
    pub(crate) fn receive(&self) -> Option<Message> {
        self.receive_nth(0)
    }

    /// Removes and returns the `nth` visible message.
    pub(crate) fn receive_nth(&self, nth: usize) -> Option<Message> {
        let now = self.clock.now();
        let messages = &mut self.records.lock().messages;
        let index =
            (0..messages.len()).filter(|index| messages[*index].visible_at <= now).nth(nth)?;
        messages.remove(index)
    }

    /// Adds a message to a queue, as SQS does for `SendMessage`.
    pub(crate) fn enqueue(&self, queue: Queue, body: String, delay: SignedDuration) {
        self.put_back(Message {
            id: self.last_message_id.fetch_add(1, Ordering::SeqCst),
            queue,
            body,
            visible_at: self.clock.now() + delay,
            is_delayed: delay.is_positive(),
            failures: 0,
        });
    }

    /// Returns an unfinished message to its queue.
    pub(crate) fn put_back(&self, message: Message) {
        self.records.lock().messages.push_back(message);
    }

    /// Deletes all delayed messages, as an operator's purge does.
    pub(crate) fn drop_delayed(&self) {
        let messages = &mut self.records.lock().messages;
        messages.retain(|message| !message.is_delayed);
    }

    /// Records a call that took effect.
    pub(crate) fn record(&self, call: CompletedCall<'_>) {
        match (call.service, call.operation) {
            (Service::Sqs, "SendMessage" | "SendMessageBatch") => {
                let request = parse(call.request);
                let queue_url = text(&request, "/QueueUrl");
                match request.get("Entries").and_then(Value::as_array) {
                    Some(entries) => {
                        entries.iter().for_each(|entry| self.record_message(queue_url, entry))
                    }
                    None => self.record_message(queue_url, &request),
                }
            }
            (Service::DynamoDb, "PutItem" | "UpdateItem" | "TransactWriteItems" | "DeleteItem") => {
                self.writes.fetch_add(1, Ordering::SeqCst);
                let request = parse(call.request);
                match request.get("TransactItems").and_then(Value::as_array) {
                    Some(items) => items
                        .iter()
                        .filter_map(Value::as_object)
                        .flat_map(|item| item.values())
                        .for_each(|write| self.record_saved_pair(write)),
                    None => self.record_saved_pair(&request),
                }
            }
            _ => {}
        }
    }

    fn record_message(&self, queue_url: &str, message: &Value) {
        let body = text(message, "/MessageBody").to_owned();
        if queue_url == self.queues.notifications {
            if let Ok(message) = serde_json::from_str::<NotificationMessage>(&body) {
                let mut records = self.records.lock();
                records.notifications.push(message.notification);
            }
            return;
        }
        let consumed = [
            (&self.queues.jobs, Queue::Jobs),
            (&self.queues.events, Queue::Events),
            (&self.queues.downloads, Queue::Downloads),
        ];
        if let Some((_, queue)) = consumed.into_iter().find(|(url, _)| *url == queue_url) {
            let delay = message.get("DelaySeconds").and_then(Value::as_i64);
            let delay = SignedDuration::from_secs(delay.unwrap_or_default());
            self.enqueue(queue, body, delay);
        }
    }

    /// Records the token pairs of a grant or an exchange in a write.
    fn record_saved_pair(&self, write: &Value) {
        let grant = |pointer| {
            let zoom_user = ZoomUser::from_key(text(write, pointer)).ok();
            zoom_user.map(TokenOwner::Grant)
        };
        let spare = text(write, "/Item/zoom_user/S").strip_prefix("spare##");
        let exchange = spare.unwrap_or_else(|| text(write, "/Item/id/S"));
        let exchange = TokenOwner::Exchange(exchange.to_owned());
        let locations = [
            ("/Item/tokens/M/encrypted/M", Some(exchange)),
            ("/Item/tokens/M", grant("/Item/zoom_user/S")),
            ("/ExpressionAttributeValues/:tokens/M", grant("/Key/zoom_user/S")),
        ];
        for (path, owner) in locations {
            let tokens = write.pointer(path).filter(|it| it.get("text").is_some());
            let (Some(tokens), Some(owner)) = (tokens, owner) else {
                continue;
            };
            let tokens = json!({"key": text(tokens, "/key/S"), "text": text(tokens, "/text/S")});
            if let Ok(encrypted) = serde_json::from_value(tokens) {
                let exchanged_at = text(write, "/Item/tokens/M/obtained_at/N").parse().ok();
                let mut records = self.records.lock();
                records.saved_pairs.push(SavedPair { owner, encrypted, exchanged_at });
            }
        }
    }
}

fn parse(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
