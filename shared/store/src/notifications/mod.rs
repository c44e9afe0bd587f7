//! The Notifications table: the feed of each app user, the delivery of each notification, and the breaker of the app's
//! webhook.
//!
//! Partition key `owner`, sort key `entry`:
//! - `user#<app user>`, `<stamp>#<id>`: a row of the feed, written once.
//! - `zoom#<Zoom user>`, `<id>`: the guard of a notification. It keeps a notification from being written twice, and
//!   carries its delivery: a guard is small, and each attempt writes it. An erasure of the Zoom user finds rows by it.
//! - `breaker#webhook`, `breaker`.
//!
//! Row and guard are written in one transaction. The stamp is taken right before, and the write has a deadline, so a
//! reader who stays [`FEED_DELAY`] behind misses no row. The sparse index `by-next-attempt` shows guards that are not
//! delivered yet.

mod breaker;
mod delivery;
mod erasure;
mod feed;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use jiff::{SignedDuration, Timestamp};
use reelay_domain::delivery::{Delivery, MESSAGE_TTL};
use reelay_domain::ids::{AppUserId, RecordingId, ZoomUser};
use reelay_domain::message::Notification;
use reelay_domain::time::rfc3339;
use reelay_runtime::AwsError;
use reelay_runtime::environment::{Clock, ConfigError, Environment};
use serde::{Deserialize, Serialize};

pub use self::delivery::{GuardKey, LeaseOutcome};
pub use self::erasure::WrittenNotification;
pub use self::feed::FeedRow;
use crate::conflicts;
use crate::item::{Item, from_item, text, to_item};

/// Name of the table in errors.
const TABLE: &str = "Notifications";

/// Time for which rows and guards are kept.
pub const FEED_TTL: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Time after which a row is in the feed: the deadline of its write, and the difference of two clocks.
pub const FEED_DELAY: SignedDuration = SignedDuration::from_secs(15);

/// Deadline of the write of a row.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);

/// Timeout of one attempt at the write.
const WRITE_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum attempts of a write that conflicts with other transactions.
const MAX_ATTEMPTS: usize = 8;

/// Pause after such an attempt.
const CONFLICT_DELAY: Duration = Duration::from_millis(10);

/// The guard of a notification, which carries its delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// The app user who is notified.
    pub app_user_id: AppUserId,
    /// The recording; absent if the notification is about a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording_id: Option<RecordingId>,
    /// Whether it says that a link ended. Erasures of the Zoom user keep it, so that the app is notified.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_link_removed: bool,
    /// When the row was written: the order of the feed.
    pub stamp: Timestamp,
    /// When deliveries began: its creation, or an operator's reset.
    pub pending_since: Timestamp,
    /// Delivery to the app's webhook.
    #[serde(default)]
    pub webhook: Delivery,
    /// Delivery to the event bus.
    #[serde(default)]
    pub bus: Delivery,
    /// Shard of the index, as long as the notification is not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_shard: Option<String>,
    /// When maintenance enqueues it, epoch milliseconds; present with the shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<i64>,
    /// Expiry of the lease of an attempt, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease_until: Option<i64>,
    /// Time to live, epoch seconds.
    expires_at: i64,
}

impl Guard {
    fn new(notification: &Notification, stamp: Timestamp) -> Self {
        Self {
            app_user_id: notification.app_user_id.clone(),
            recording_id: notification.recording_id.clone(),
            is_link_removed: notification.is_link_removed(),
            stamp,
            pending_since: stamp,
            webhook: Delivery::default(),
            bus: Delivery::default(),
            due_shard: Some(delivery::shard(&notification.id, false)),
            next_attempt_at: Some((stamp + MESSAGE_TTL).as_millisecond()),
            lease_until: None,
            expires_at: (stamp + FEED_TTL).as_second(),
        }
    }

    /// Whether a destination is not settled yet.
    pub fn is_pending(&self) -> bool {
        self.due_shard.is_some()
    }

    /// Whether maintenance enqueues it now.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.is_pending() && self.next_attempt_at.is_some_and(|at| at <= now.as_millisecond())
    }

    /// Whether no attempt was made for this time, so that the first message may be lost or was not sent.
    pub fn is_message_lost(&self, after: SignedDuration, now: Timestamp) -> bool {
        let is_unattempted = self.webhook.attempts == 0 && self.bus.attempts == 0;
        let is_leased = self.lease_until.is_some_and(|until| until > now.as_millisecond());
        self.is_pending()
            && !is_leased
            && (self.is_due(now) || (is_unattempted && self.stamp + after <= now))
    }
}

/// Outcome of writing a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// It is new.
    New {
        /// The notification.
        notification: Box<Notification>,
        /// When the row was written.
        stamp: Timestamp,
    },
    /// It was written before.
    Known(Box<Guard>),
}

/// The Notifications table.
#[derive(Debug)]
pub struct NotificationTable {
    client: Client,
    table: String,
    clock: Clock,
}

impl NotificationTable {
    /// The table that `NOTIFICATIONS_TABLE` names.
    ///
    /// # Errors
    /// If the variable is absent.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            client: conflicts::client(environment),
            table: environment.variables.required("NOTIFICATIONS_TABLE")?.to_owned(),
            clock: environment.clock.clone(),
        })
    }

    /// Writes row and guard of a notification, unless the guard exists. `create` renders the notification for the
    /// time of the write.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn add(&self, create: impl Fn(Timestamp) -> Notification) -> Result<Added, AwsError> {
        self.add_with(create, &[]).await
    }

    /// As [`Self::add`], in one transaction with other writes.
    ///
    /// # Errors
    /// If a DynamoDB call or a condition of the other writes fails.
    pub async fn add_with(
        &self,
        create: impl Fn(Timestamp) -> Notification,
        writes: &[TransactWriteItem],
    ) -> Result<Added, AwsError> {
        for _ in 0..MAX_ATTEMPTS {
            let now = self.clock.now();
            let notification = create(now);
            let stamp = whole_milliseconds(now);
            match self.write(&notification, stamp, writes).await? {
                Written::Yes => {
                    return Ok(Added::New { notification: Box::new(notification), stamp });
                }
                Written::Conflict => tokio::time::sleep(CONFLICT_DELAY).await,
                Written::Exists => {
                    let key = GuardKey::of(&notification);
                    // If the guard is gone, the notification was erased or has expired.
                    if let Some(guard) = self.guard(&key).await? {
                        return Ok(Added::Known(Box::new(guard)));
                    }
                }
            }
        }
        Err(AwsError::unexpected_response("TransactWriteItems Notifications", "too many conflicts"))
    }

    async fn write(
        &self,
        notification: &Notification,
        at: Timestamp,
        writes: &[TransactWriteItem],
    ) -> Result<Written, AwsError> {
        let key = GuardKey::of(notification);
        let guard = Guard::new(notification, at);
        let row = feed::Row { notification: notification.clone(), expires_at: guard.expires_at };
        let (owner, entry) = feed::row_key(&notification.app_user_id, at, &notification.id);
        let row = to_item(TABLE, [("owner", owner), ("entry", entry)], &row)?;
        let guard = to_item(TABLE, [("owner", key.owner()), ("entry", key.id.clone())], &guard)?;
        let guard = Put::builder()
            .table_name(&self.table)
            .set_item(Some(guard))
            .condition_expression("attribute_not_exists(entry)");
        let row = Put::builder().table_name(&self.table).set_item(Some(row));
        let items = [guard, row].map(|put| {
            let put = put.build().map_err(|_| {
                AwsError::unexpected_response(TABLE, "failed to build an item of a transaction")
            })?;
            Ok(TransactWriteItem::builder().put(put).build())
        });
        let mut items = items.into_iter().collect::<Result<Vec<_>, AwsError>>()?;
        items.extend_from_slice(writes);
        let deadline = TimeoutConfig::builder()
            .operation_attempt_timeout(WRITE_ATTEMPT_TIMEOUT)
            .operation_timeout(WRITE_DEADLINE)
            .build();
        let write = self.client.transact_write_items().set_transact_items(Some(items));
        let config = aws_sdk_dynamodb::Config::builder().timeout_config(deadline);
        let Err(error) = write.customize().config_override(config).send().await else {
            return Ok(Written::Yes);
        };
        if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
            error.as_service_error()
        {
            let codes = || cancelled.cancellation_reasons().iter().filter_map(|it| it.code());
            if codes().next() == Some("ConditionalCheckFailed") {
                return Ok(Written::Exists);
            }
            if codes().any(|code| code == "TransactionConflict") {
                return Ok(Written::Conflict);
            }
        }
        Err(AwsError::from_sdk("TransactWriteItems Notifications", &error))
    }

    /// Reads the guard of a notification consistently.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn guard(&self, key: &GuardKey) -> Result<Option<Guard>, AwsError> {
        let item = self.item(key.owner(), key.id.clone()).await?;
        item.map(|item| from_item(TABLE, item)).transpose()
    }

    async fn item(&self, owner: String, entry: String) -> Result<Option<Item>, AwsError> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let response = get.key("owner", text(owner)).key("entry", text(entry)).send().await;
        Ok(response.map_err(|error| AwsError::from_sdk("GetItem Notifications", &error))?.item)
    }
}

enum Written {
    Yes,
    Exists,
    Conflict,
}

/// The owner of a Zoom user's guards.
fn guards_of(zoom_user: &ZoomUser) -> String {
    format!("zoom#{}", zoom_user.key())
}

/// A time with the precision of the rows' keys.
fn whole_milliseconds(time: Timestamp) -> Timestamp {
    rfc3339(time).parse().unwrap_or(time)
}
