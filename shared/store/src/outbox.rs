//! Publishing of notifications: first a row per app user, then a message that delivers it.
//!
//! Publishing again after a crash or a redelivery finds the row with its final body, and enqueues a second message only if
//! no delivery was attempted (of a recording's notification: within a minute). If nothing publishes again, maintenance
//! enqueues a message after 15 minutes.
//!
//! The sequence number of a recording's notification is assigned before the recording is read, so the notification
//! with the highest number shows the latest state.

use aws_sdk_dynamodb::types::TransactWriteItem;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::{RecordingId, ZoomUser};
use reelay_domain::link::Link;
use reelay_domain::message::{Notification, NotificationMessage};
use reelay_domain::notification::RecordingNotification;

use crate::notifications::{Added, GuardKey, NotificationTable};
use crate::queue::Queue;
use crate::recordings::{RecordingTable, RecordingWithFiles};
use reelay_runtime::AwsError;
use reelay_runtime::environment::{Clock, ConfigError, Environment};

/// Age after which the first message of a recording's notification counts as lost when its cause is processed again.
/// Several invocations may publish the same notification at once, and only one message is needed.
const MESSAGE_LOST_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// Writes notifications and enqueues their messages.
#[derive(Debug)]
pub struct NotificationPublisher {
    table: NotificationTable,
    queue: Queue<NotificationMessage>,
    clock: Clock,
}

impl NotificationPublisher {
    /// Uses `NOTIFICATIONS_TABLE` and `NOTIFICATIONS_QUEUE_URL`.
    ///
    /// # Errors
    /// If one of them is absent.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            table: NotificationTable::new(environment)?,
            queue: Queue::from_env(environment, "NOTIFICATIONS_QUEUE_URL")?,
            clock: environment.clock.clone(),
        })
    }

    /// The table.
    pub fn table(&self) -> &NotificationTable {
        &self.table
    }

    /// Publishes notifications whose body is final. Safe to repeat. `tenant`: the Zoom account.
    ///
    /// # Errors
    /// If an AWS call fails.
    pub async fn publish(
        &self,
        notifications: &[Notification],
        tenant: &str,
    ) -> Result<(), AwsError> {
        let mut written = Vec::with_capacity(notifications.len());
        for notification in notifications {
            let create = |_| notification.clone();
            written.push(self.write(create, SignedDuration::ZERO, &[]).await);
        }
        self.send_written(written, tenant).await
    }

    /// Publishes a notification whose row is written in one transaction with other writes.
    ///
    /// # Errors
    /// If an AWS call or a condition of the other writes fails.
    pub async fn publish_with(
        &self,
        notification: &Notification,
        writes: &[TransactWriteItem],
        tenant: &str,
    ) -> Result<(), AwsError> {
        let create = |_| notification.clone();
        let message = self.write(create, SignedDuration::ZERO, writes).await?;
        self.send(message.as_slice(), tenant).await
    }

    /// Writes a notification. Returns its message, if one must be sent.
    async fn write(
        &self,
        create: impl Fn(Timestamp) -> Notification,
        lost_after: SignedDuration,
        writes: &[TransactWriteItem],
    ) -> Result<Option<NotificationMessage>, AwsError> {
        let guard = match self.table.add_with(&create, writes).await? {
            Added::New { notification, stamp } => {
                return Ok(Some(NotificationMessage::new(*notification, stamp)));
            }
            Added::Known(guard) => guard,
        };
        let now = self.clock.now();
        if !guard.is_message_lost(lost_after, now) {
            return Ok(None);
        }
        let key = GuardKey::of(&create(now));
        let known = self.table.notification(&key.id, &guard).await?;
        if known.is_none() || !self.table.take(&key, &guard, now).await? {
            return Ok(None);
        }
        Ok(known.map(|notification| NotificationMessage::new(notification, guard.stamp)))
    }

    /// Sends the messages of what was written, also if other writes failed.
    async fn send_written(
        &self,
        written: Vec<Result<Option<NotificationMessage>, AwsError>>,
        tenant: &str,
    ) -> Result<(), AwsError> {
        let mut failure = Ok(());
        let mut messages = Vec::with_capacity(written.len());
        for result in written {
            match result {
                Ok(message) => messages.extend(message),
                Err(error) => failure = Err(error),
            }
        }
        self.send(&messages, tenant).await?;
        failure
    }

    async fn send(&self, messages: &[NotificationMessage], tenant: &str) -> Result<(), AwsError> {
        let Err(error) = self.queue.send_all(messages, tenant).await else {
            return Ok(());
        };
        for message in messages {
            let key = GuardKey::of(&message.notification);
            if let Err(error) = self.table.make_due(&key, self.clock.now()).await {
                tracing::warn!(%error, "unsent notification not made due; maintenance finds it later");
            }
        }
        Err(error)
    }
}

/// Creates and publishes notifications about recordings.
#[derive(Debug)]
pub struct NotificationOutbox {
    publisher: NotificationPublisher,
    bucket: String,
}

impl NotificationOutbox {
    /// Uses `NOTIFICATIONS_TABLE`, `NOTIFICATIONS_QUEUE_URL` and `BUCKET`.
    ///
    /// # Errors
    /// If one of them is absent.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            publisher: NotificationPublisher::new(environment)?,
            bucket: environment.variables.required("BUCKET")?.to_owned(),
        })
    }

    /// Publishes a notification to the app users of the given links. Safe to repeat. Returns the recording's overview
    /// that the notification shows, or `None` if the recording has been erased.
    ///
    /// # Errors
    /// If an AWS call fails.
    pub async fn publish(
        &self,
        table: &RecordingTable,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        notification: &RecordingNotification,
        links: &[Link],
    ) -> Result<Option<RecordingWithFiles>, AwsError> {
        let Some(sequence) = table.next_sequence(zoom_user, id, self.publisher.clock.now()).await?
        else {
            return Ok(None);
        };
        let Some(loaded) = table.overview(zoom_user, id, notification.file()).await? else {
            return Ok(None);
        };
        let recording = loaded.recording();
        let mut written = Vec::with_capacity(links.len());
        for link in links {
            let create = |now| notification.render(link, &recording, sequence, &self.bucket, now);
            written.push(self.publisher.write(create, MESSAGE_LOST_AFTER, &[]).await);
        }
        self.publisher.send_written(written, zoom_user.account_id.as_str()).await?;
        Ok(Some(loaded))
    }
}
