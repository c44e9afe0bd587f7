//! Maintenance of notifications: enqueues those whose next attempt is due.

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use reelay_domain::message::{MessageAttempts, NotificationMessage};
use reelay_runtime::AwsError;
use reelay_runtime::metrics::{self, Metric};
use reelay_store::notifications::GuardKey;

use crate::Reconciler;

/// Maximum notifications that a run enqueues of each kind. The notifier delivers several times as many until the next
/// run.
const MAX_ENQUEUED: usize = 1_000;

/// Number of notifications by which a run finds out whether the app's webhook is up: one of each shard, so that a
/// notification that the app cannot process does not keep the breaker open.
const PROBES: usize = 4;

/// Number of notifications that are read concurrently.
const CONCURRENCY: usize = 16;

impl Reconciler {
    /// Enqueues notifications whose next attempt is due, and those that waited for the app's webhook. While it is down,
    /// only a few probe it.
    pub(crate) async fn enqueue_due_notifications(&self, now: Timestamp) -> Result<(), AwsError> {
        let table = self.notifications.table();
        let mut due = table.due(now, MAX_ENQUEUED).await?;
        let mut probes = table.held(now, PROBES).await?;
        if due.is_empty() && probes.is_empty() {
            return Ok(());
        }
        if table.breaker(None).await?.is_open() {
            // Without a held notification, due ones probe: a notification that the event bus has not accepted either
            // is due, not held.
            if probes.is_empty() {
                probes = due.split_off(due.len().saturating_sub(PROBES));
            }
            let probed = self.enqueue_notifications(probes, MessageAttempts::Probe, now).await;
            return probed.and(self.enqueue_notifications(due, MessageAttempts::One, now).await);
        }
        due.extend(table.held(now, MAX_ENQUEUED).await?);
        self.enqueue_notifications(due, MessageAttempts::One, now).await
    }

    async fn enqueue_notifications(
        &self,
        keys: Vec<GuardKey>,
        attempts: MessageAttempts,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let taken: Vec<_> = stream::iter(keys)
            .map(|key| self.take_notification(key, attempts, now))
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        // A failed call or an unreadable item must not keep back the others.
        let (mut messages, mut failure) = (Vec::new(), Ok(()));
        for result in taken {
            match result {
                Ok(message) => messages.extend(message),
                Err(error) => failure = Err(error),
            }
        }
        metrics::count_many(Metric::NotificationsRequeued, "due", messages.len() as u64);
        self.notification_queue.send_all(&messages, "maintenance").await?;
        failure
    }

    /// Takes a notification that an index showed as due; the guard decides. A crash before its message is sent delays
    /// it by a quarter of an hour.
    async fn take_notification(
        &self,
        key: GuardKey,
        attempts: MessageAttempts,
        now: Timestamp,
    ) -> Result<Option<NotificationMessage>, AwsError> {
        let table = self.notifications.table();
        let Some(guard) = table.guard(&key).await?.filter(|guard| guard.is_due(now)) else {
            return Ok(None);
        };
        if !table.take(&key, &guard, now).await? {
            return Ok(None);
        }
        let notification = table.notification(&key.id, &guard).await?;
        Ok(notification.map(|notification| NotificationMessage {
            attempts,
            ..NotificationMessage::new(notification, guard.stamp)
        }))
    }
}
