//! Notifications about recordings, published to every app user concerned.
//!
//! The sequence number is drawn before the recording is read, so the notification with the highest number
//! shows the latest state. The rendered body is saved in the table; a repetition after a crash or a
//! redelivery sends the saved body.

use jiff::SignedDuration;
use reelay_domain::ids::{AppUserId, RecordingId, ZoomUser};
use reelay_domain::message::NotificationMessage;
use reelay_domain::notification::RecordingNotification;

use crate::queue::Queue;
use crate::recordings::{RecordingTable, RecordingWithFiles};
use reelay_runtime::AwsError;
use reelay_runtime::environment::{Clock, ConfigError, Environment};

/// Retention of a saved notification: as long as SQS can redeliver the message that caused it.
const RETENTION: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Creates notifications about recordings and sends them to the notifications queue.
#[derive(Debug)]
pub struct NotificationOutbox {
    notifications: Queue<NotificationMessage>,
    bucket: String,
    clock: Clock,
}

impl NotificationOutbox {
    /// Uses `NOTIFICATIONS_QUEUE_URL` and `BUCKET`.
    ///
    /// # Errors
    /// If one of them is absent.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            notifications: Queue::from_env(environment, "NOTIFICATIONS_QUEUE_URL")?,
            bucket: environment.variables.required("BUCKET")?.to_owned(),
            clock: environment.clock.clone(),
        })
    }

    /// Publishes a notification to the given app users. Safe to repeat. Returns the overview that was read for
    /// it, or `None` if the recording has been erased.
    ///
    /// # Errors
    /// If an AWS call fails.
    pub async fn publish(
        &self,
        table: &RecordingTable,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        notification: &RecordingNotification,
        app_users: &[AppUserId],
    ) -> Result<Option<RecordingWithFiles>, AwsError> {
        let Some(sequence) = table.next_sequence(zoom_user, id).await? else {
            return Ok(None);
        };
        let Some(loaded) = table.overview(zoom_user, id, notification.file()).await? else {
            return Ok(None);
        };
        let recording = loaded.recording();
        let now = self.clock.now();
        let mut saved = Vec::with_capacity(app_users.len());
        for app_user in app_users {
            let rendered = notification.render(app_user, &recording, sequence, &self.bucket, now);
            let expires_at = (now + RETENTION).as_second();
            let frozen = table.save_notification(zoom_user, id, app_user, rendered, expires_at);
            saved.push(frozen.await?);
        }
        let messages: Vec<_> = saved.into_iter().map(NotificationMessage::new).collect();
        self.notifications.send_all(&messages, zoom_user.account_id.as_str()).await?;
        Ok(Some(loaded))
    }
}
