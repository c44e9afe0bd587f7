//! Delivery of notifications: the lease of an attempt, its result, and the due ones.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::delivery::{Delivery, MESSAGE_TTL};
use reelay_domain::ids::ZoomUser;
use reelay_domain::message::Notification;
use reelay_runtime::{AwsError, random};
use sha2::{Digest as _, Sha256};

use super::{Guard, NotificationTable, TABLE, guards_of};
use crate::item::{from_item, number, text, text_of, to_attribute};

/// The index over guards that are not delivered.
const BY_NEXT_ATTEMPT: &str = "by-next-attempt";

/// Number of the index's partitions of due notifications. Each takes 1,000 writes a second, and a notification needs
/// two.
const DUE_SHARDS: u8 = 16;

/// Number of the index's partitions of held notifications.
const HELD_SHARDS: u8 = 4;

/// Lifetime of a lease. Exceeds the timeout of the function.
const LEASE_TTL: SignedDuration = SignedDuration::from_secs(60);

/// The key of a guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardKey {
    /// The Zoom user of the link or the recording.
    pub zoom_user: ZoomUser,
    /// The notification's id.
    pub id: String,
}

impl GuardKey {
    /// The key of a notification's guard.
    pub fn of(notification: &Notification) -> Self {
        Self { zoom_user: notification.zoom_user.clone(), id: notification.id.clone() }
    }

    pub(super) fn owner(&self) -> String {
        guards_of(&self.zoom_user)
    }
}

/// The notification's partition of the index. Held notifications, which wait for the breaker of the app's webhook,
/// have partitions of their own.
pub(super) fn shard(id: &str, is_held: bool) -> String {
    let [first, ..]: [u8; 32] = Sha256::digest(id).into();
    shard_name(first % shards(is_held), is_held)
}

fn shards(is_held: bool) -> u8 {
    if is_held { HELD_SHARDS } else { DUE_SHARDS }
}

fn shard_name(shard: u8, is_held: bool) -> String {
    format!("{}#{shard}", if is_held { "held" } else { "due" })
}

/// Outcome of acquiring the lease of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// The caller may make the attempt.
    Acquired(Box<Guard>),
    /// Another invocation is making an attempt.
    Leased,
    /// Every destination is settled.
    Settled,
    /// The notification was erased.
    Erased,
}

impl NotificationTable {
    fn update(&self, key: &GuardKey) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("owner", text(key.owner()))
            .key("entry", text(key.id.clone()))
    }

    /// Acquires the lease of an attempt, so that a message that SQS delivers twice is not sent twice.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn acquire_lease(
        &self,
        key: &GuardKey,
        now: Timestamp,
    ) -> Result<LeaseOutcome, AwsError> {
        let leased = self
            .update(key)
            .update_expression("SET lease_until = :until, lease_owner = :owner")
            // After a lost response the SDK repeats the call and meets its own lease.
            .condition_expression(
                "attribute_exists(due_shard) AND (attribute_not_exists(lease_until) OR lease_until < :now \
                 OR lease_owner = :owner)",
            )
            .expression_attribute_values(":owner", text(random::hex_id()))
            .expression_attribute_values(":until", number((now + LEASE_TTL).as_millisecond()))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match leased {
            Ok(updated) => {
                let guard = from_item(TABLE, updated.attributes.unwrap_or_default())?;
                Ok(LeaseOutcome::Acquired(Box::new(guard)))
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(match failed.item() {
                        Some(item) if item.contains_key("due_shard") => LeaseOutcome::Leased,
                        Some(item) if !item.is_empty() => LeaseOutcome::Settled,
                        _ => LeaseOutcome::Erased,
                    })
                }
                _ => Err(AwsError::from_sdk("UpdateItem Notifications", &error)),
            },
        }
    }

    /// Saves the result of an attempt under its lease, which ends. `due_at`: when maintenance enqueues the notification
    /// again; `None` if every destination is settled.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn save_attempt(
        &self,
        key: &GuardKey,
        guard: &Guard,
        due_at: Option<Timestamp>,
    ) -> Result<(), AwsError> {
        let is_held = guard.webhook.is_held && !guard.bus.is_pending();
        let update = self
            .update(key)
            .condition_expression("lease_until = :until")
            .expression_attribute_values(":until", number(guard.lease_until.unwrap_or_default()));
        let saved = with_deliveries(update, key, guard, due_at, is_held)?.send().await;
        conditional(saved).map(|_| ())
    }

    /// Makes a notification due at once: its message was not sent.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn make_due(&self, key: &GuardKey, now: Timestamp) -> Result<(), AwsError> {
        let update = self
            .update(key)
            .update_expression("SET next_attempt_at = :now")
            .condition_expression("attribute_exists(due_shard)")
            .expression_attribute_values(":now", number(now.as_millisecond()));
        conditional(update.send().await).map(|_| ())
    }

    /// Takes a due notification: it is due again once the caller's message should have been processed. `false` if
    /// another invocation took it, or it has changed.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn take(
        &self,
        key: &GuardKey,
        guard: &Guard,
        now: Timestamp,
    ) -> Result<bool, AwsError> {
        let update = self
            .update(key)
            .update_expression("SET next_attempt_at = :next, due_shard = :shard")
            .condition_expression("next_attempt_at = :known AND attribute_exists(due_shard)")
            .expression_attribute_values(
                ":known",
                number(guard.next_attempt_at.unwrap_or_default()),
            )
            .expression_attribute_values(":next", number((now + MESSAGE_TTL).as_millisecond()))
            .expression_attribute_values(":shard", text(shard(&key.id, false)));
        conditional(update.send().await)
    }

    /// Makes a notification pending, as if it were new: at both destinations, or at those that have not received it.
    /// `false` if it was erased.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn reset(
        &self,
        key: &GuardKey,
        guard: &Guard,
        only_undelivered: bool,
        now: Timestamp,
    ) -> Result<bool, AwsError> {
        let pending = |known: &Delivery| match known.delivered_at {
            Some(_) if only_undelivered => known.clone(),
            _ => Delivery::default(),
        };
        let (webhook, bus) = (pending(&guard.webhook), pending(&guard.bus));
        let reset = Guard { pending_since: now, webhook, bus, ..guard.clone() };
        let update = self.update(key).condition_expression("attribute_exists(entry)");
        conditional(with_deliveries(update, key, &reset, Some(now), false)?.send().await)
    }

    /// Up to `limit` due guards, oldest first within a shard. The index is eventually consistent, so the caller must
    /// read the guards.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<GuardKey>, AwsError> {
        self.indexed(false, now, limit).await
    }

    /// Up to `limit` guards that wait for the breaker of the app's webhook, from every shard.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn held(&self, now: Timestamp, limit: usize) -> Result<Vec<GuardKey>, AwsError> {
        self.indexed(true, now, limit).await
    }

    async fn indexed(
        &self,
        is_held: bool,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<GuardKey>, AwsError> {
        let shards = shards(is_held);
        let per_shard = limit.div_ceil(usize::from(shards));
        let pages = (0..shards).map(|shard| async move {
            let query = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(BY_NEXT_ATTEMPT)
                .key_condition_expression("due_shard = :shard AND next_attempt_at <= :now")
                .expression_attribute_values(":shard", text(shard_name(shard, is_held)))
                .expression_attribute_values(":now", number(now.as_millisecond()))
                .limit(i32::try_from(per_shard).unwrap_or(i32::MAX));
            let page = query.send().await;
            page.map_err(|error| AwsError::from_sdk("Query Notifications by-next-attempt", &error))
        });
        let pages = try_join_all(pages).await?;
        let items = pages.into_iter().flat_map(|page| page.items.unwrap_or_default());
        let keys = items.filter_map(|item| {
            let key = guard_key(text_of(&item, "owner"), text_of(&item, "entry"));
            // A malformed key must not stop the other notifications.
            key.inspect_err(|error| tracing::error!(%error, "due notification skipped")).ok()
        });
        Ok(keys.collect())
    }
}

pub(super) fn guard_key(owner: Option<&str>, id: Option<&str>) -> Result<GuardKey, AwsError> {
    let zoom_user = owner.and_then(|owner| owner.strip_prefix("zoom#"));
    let zoom_user = zoom_user.and_then(|key| ZoomUser::from_key(key).ok());
    match (zoom_user, id) {
        (Some(zoom_user), Some(id)) => Ok(GuardKey { zoom_user, id: id.to_owned() }),
        _ => Err(AwsError::unexpected_response(TABLE, "a guard has an invalid key")),
    }
}

fn with_deliveries(
    update: UpdateItemFluentBuilder,
    key: &GuardKey,
    guard: &Guard,
    due_at: Option<Timestamp>,
    is_held: bool,
) -> Result<UpdateItemFluentBuilder, AwsError> {
    let update = update
        .expression_attribute_values(":webhook", to_attribute(&guard.webhook)?)
        .expression_attribute_values(":bus", to_attribute(&guard.bus)?)
        .expression_attribute_values(":since", to_attribute(&guard.pending_since)?);
    Ok(match due_at {
        None => update.update_expression(
            "SET webhook = :webhook, bus = :bus, pending_since = :since REMOVE lease_until, due_shard, next_attempt_at",
        ),
        Some(due_at) => update
            .update_expression(
                "SET webhook = :webhook, bus = :bus, pending_since = :since, due_shard = :shard, next_attempt_at = :due REMOVE lease_until",
            )
            .expression_attribute_values(":shard", text(shard(&key.id, is_held)))
            .expression_attribute_values(":due", number(due_at.as_millisecond())),
    })
}

/// `false` if the update's condition failed.
fn conditional(
    response: Result<UpdateItemOutput, SdkError<UpdateItemError>>,
) -> Result<bool, AwsError> {
    match response {
        Ok(_) => Ok(true),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
            _ => Err(AwsError::from_sdk("UpdateItem Notifications", &error)),
        },
    }
}
