//! Facts about recordings, made once and told to every app user whom they concern.
//!
//! A fact's sequence number is drawn before the state for its body is read, so the fact with the
//! highest number always shows the latest state, however many are made at the same time. The body is
//! frozen in the table; whoever comes again, after a crash or a redelivery, sends what was frozen.

use jiff::SignedDuration;
use reelay_domain::ids::{AppUserId, RecordingId, ZoomUser};
use reelay_domain::message::NotificationMessage;
use reelay_domain::notification::RecordingNotification;

use crate::queue::Queue;
use crate::recordings::{RecordingTable, RecordingWithFiles};
use reelay_runtime::AwsError;
use reelay_runtime::environment::{Clock, ConfigError, Environment};

/// How long a frozen fact is kept: as long as SQS can redeliver what led to it.
const KEPT: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Makes facts and sends them to the notifications queue.
#[derive(Debug)]
pub struct NotificationOutbox {
    notifications: Queue<NotificationMessage>,
    bucket: String,
    clock: Clock,
}

impl NotificationOutbox {
    /// Uses `NOTIFICATIONS_QUEUE_URL` and `BUCKET`.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            notifications: Queue::from_env(environment, "NOTIFICATIONS_QUEUE_URL")?,
            bucket: environment.variables.required("BUCKET")?.to_owned(),
            clock: environment.clock.clone(),
        })
    }

    /// Tells a fact to these app users. Safe to repeat. Gives the overview that was read for the fact, or `None` if it is gone, erased together with its user.
    pub async fn publish(
        &self,
        table: &RecordingTable,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        fact: &RecordingNotification,
        app_users: &[AppUserId],
    ) -> Result<Option<RecordingWithFiles>, AwsError> {
        let Some(sequence) = table.next_sequence(zoom_user, id).await? else {
            return Ok(None);
        };
        let Some(loaded) = table.overview(zoom_user, id, fact.file()).await? else {
            return Ok(None);
        };
        let recording = loaded.recording();
        let now = self.clock.now();
        let mut frozen = Vec::with_capacity(app_users.len());
        for app_user in app_users {
            let notification = fact.render(app_user, &recording, sequence, &self.bucket, now);
            frozen.push(
                table
                    .freeze(zoom_user, notification, (now + KEPT).as_second())
                    .await?,
            );
        }
        let messages: Vec<_> = frozen.into_iter().map(NotificationMessage::new).collect();
        self.notifications
            .send_all(&messages, zoom_user.account_id.as_str())
            .await?;
        Ok(Some(loaded))
    }
}
