//! What the engines have carried out for the functions, whoever lived to see the answer: messages that
//! SQS took, and token pairs that were saved.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use reelay_devstack::Queues;
use reelay_domain::ids::ZoomUser;
use reelay_domain::message::{Notification, NotificationMessage};
use reelay_embedded_aws::{CompletedCall, Service};
use reelay_runtime::environment::Clock;
use reelay_store::vault::{EncryptedTokens, TokenOwner};
use serde_json::{Value, json};

/// Which function works a message off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// `event-processor`.
    Events,
    /// `reconciler`.
    Jobs,
    /// `recording-downloader`.
    Downloads,
}

/// A message that SQS has taken and that is not done with.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// SQS's id of it.
    pub(crate) id: u64,
    /// Whose queue.
    pub(crate) to: To,
    /// What was sent.
    pub(crate) body: String,
    /// When SQS delivers it.
    pub(crate) due: Timestamp,
    /// Whether it was sent ahead, to come only after a while.
    pub(crate) sent_ahead: bool,
    /// How often it was delivered in vain.
    pub(crate) failures: u32,
}

/// A pair that was saved somewhere.
#[derive(Debug, Clone)]
pub(crate) struct SavedPair {
    /// Whose, as the vault must be told.
    pub(crate) owner: TokenOwner,
    /// As it was saved.
    pub(crate) sealed: EncryptedTokens,
}

/// The journal of one stack.
#[derive(Debug)]
pub(crate) struct Journal {
    queues: Queues,
    clock: Clock,
    written: AtomicU64,
    messages: AtomicU64,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    messages: VecDeque<Message>,
    told: Vec<Notification>,
    saved: Vec<SavedPair>,
}

impl Journal {
    pub(crate) fn new(queues: Queues, clock: Clock) -> Self {
        Self {
            queues,
            clock,
            written: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            noted: Mutex::default(),
        }
    }

    /// Forgets all, for the next seed.
    pub(crate) fn clear(&self) {
        *self.lock() = Noted::default();
    }

    /// How many writes there were so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }

    /// What the app was told, each time.
    pub(crate) fn told(&self) -> Vec<Notification> {
        self.lock().told.clone()
    }

    /// The pairs that were saved.
    pub(crate) fn saved(&self) -> Vec<SavedPair> {
        self.lock().saved.clone()
    }

    /// Messages that SQS would deliver by now.
    pub(crate) fn due(&self) -> usize {
        let now = self.clock.now();
        let noted = self.lock();
        noted.messages.iter().filter(|one| one.due <= now).count()
    }

    /// Takes the `nth` of them.
    pub(crate) fn take_due(&self, nth: usize) -> Option<Message> {
        let now = self.clock.now();
        let mut noted = self.lock();
        let place = (0..noted.messages.len())
            .filter(|place| noted.messages[*place].due <= now)
            .nth(nth)?;
        noted.messages.remove(place)
    }

    /// Adds an order that is due now.
    pub(crate) fn order(&self, body: String) {
        self.put_back(Message {
            id: self.another_id(),
            to: To::Jobs,
            body,
            due: self.clock.now(),
            sent_ahead: false,
            failures: 0,
        });
    }

    fn another_id(&self) -> u64 {
        self.messages.fetch_add(1, Ordering::SeqCst)
    }

    /// Puts a message back that was not done.
    pub(crate) fn put_back(&self, message: Message) {
        self.lock().messages.push_back(message);
    }

    /// Loses the messages that were sent ahead, as an operator's mistake would.
    pub(crate) fn lose_what_was_sent_ahead(&self) {
        self.lock().messages.retain(|message| !message.sent_ahead);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(|held| held.into_inner())
    }

    /// Takes note of a call that was carried out.
    pub(crate) fn note(&self, done: CompletedCall<'_>) {
        match (done.service, done.operation) {
            (Service::Sqs, "SendMessage" | "SendMessageBatch") => {
                let call = read(done.request);
                let to = text(&call, "/QueueUrl");
                match call.get("Entries").and_then(Value::as_array) {
                    Some(entries) => entries.iter().for_each(|entry| self.sent(to, entry)),
                    None => self.sent(to, &call),
                }
            }
            (Service::DynamoDb, "PutItem" | "UpdateItem" | "TransactWriteItems" | "DeleteItem") => {
                self.written.fetch_add(1, Ordering::SeqCst);
                let call = read(done.request);
                match call.get("TransactItems").and_then(Value::as_array) {
                    Some(items) => items
                        .iter()
                        .filter_map(Value::as_object)
                        .flat_map(|item| item.values())
                        .for_each(|item| self.stored(item)),
                    None => self.stored(&call),
                }
            }
            _ => {}
        }
    }

    fn sent(&self, queue_url: &str, message: &Value) {
        let body = text(message, "/MessageBody").to_owned();
        if queue_url == self.queues.notifications {
            if let Ok(message) = serde_json::from_str::<NotificationMessage>(&body) {
                self.lock().told.push(message.notification);
            }
            return;
        }
        let to = if queue_url == self.queues.jobs {
            To::Jobs
        } else if queue_url == self.queues.events {
            To::Events
        } else if queue_url == self.queues.downloads {
            To::Downloads
        } else {
            return;
        };
        let delay = message.get("DelaySeconds").and_then(Value::as_i64);
        let delay = delay.unwrap_or_default();
        self.lock().messages.push_back(Message {
            id: self.another_id(),
            to,
            body,
            due: self.clock.now() + SignedDuration::from_secs(delay),
            sent_ahead: delay > 0,
            failures: 0,
        });
    }

    /// Looks for tokens in a write.
    fn stored(&self, write: &Value) {
        let grant = |key: &str| ZoomUser::from_key(key).ok().map(TokenOwner::Grant);
        let found = [(
            "/Item/tokens/M/sealed/M",
            TokenOwner::Exchange(text(write, "/Item/id/S").to_owned()),
        )]
        .into_iter()
        .chain(grant(text(write, "/Item/zoom_user/S")).map(|owner| ("/Item/tokens/M", owner)))
        .chain(
            grant(text(write, "/Key/zoom_user/S"))
                .map(|owner| ("/ExpressionAttributeValues/:tokens/M", owner)),
        );
        for (path, owner) in found {
            let sealed = json!({
                "key": text(write, &format!("{path}/key/S")),
                "text": text(write, &format!("{path}/text/S")),
            });
            let is_there = write.pointer(&format!("{path}/text/S")).is_some();
            if let Some(sealed) = is_there
                .then(|| serde_json::from_value(sealed).ok())
                .flatten()
            {
                self.lock().saved.push(SavedPair { owner, sealed });
            }
        }
    }
}

fn read(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
