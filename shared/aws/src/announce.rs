//! Facts about recordings, made once and told to every app user whom they concern.
//!
//! A fact's body is frozen in the table, in one transaction with the recording's sequence number. The
//! transaction holds only if nobody made another fact in between, so the state in a body is never
//! older than the state in a body with a lower number. Whoever comes again, after a crash or a
//! redelivery, finds the frozen body and sends that.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use domain::ids::{AppUserId, RecordingId, ZoomUser};
use domain::message::{Destination, Notification, NotificationMessage, V1};
use domain::notification::RecordingFact;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::AwsFailure;
use crate::environment::{Clock, ConfigError, Environment};
use crate::queue::Queue;
use crate::random;
use crate::recordings::{Loaded, RecordingTable, keyed, read, recording_entry};

/// How long a frozen fact is kept: as long as SQS can redeliver what led to it.
const KEPT: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Many files of one recording may end at once, and each makes a fact; each lost race means that
/// another's went through.
const MOST_ATTEMPTS: u32 = 200;

/// Why a fact could not be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnnounceError {
    /// DynamoDB or SQS did not do it.
    #[error(transparent)]
    Aws(#[from] AwsFailure),
    /// Too many facts about one recording at the same time.
    #[error("too many facts about one recording at the same time")]
    Contended,
}

/// Makes facts and sends them to the notifications queue.
#[derive(Debug)]
pub struct Announcer {
    notifications: Queue<NotificationMessage>,
    bucket: String,
    clock: Clock,
}

#[derive(Serialize, Deserialize)]
struct FactItem {
    #[serde(flatten)]
    notification: Notification,
    expires_at: i64,
}

impl Announcer {
    /// Uses `NOTIFICATIONS_QUEUE_URL` and `BUCKET`.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            notifications: Queue::named_by(environment, "NOTIFICATIONS_QUEUE_URL")?,
            bucket: environment.variables.required("BUCKET")?.to_owned(),
            clock: environment.clock.clone(),
        })
    }

    /// Tells a fact to these app users. Safe to repeat.
    pub async fn tell(
        &self,
        table: &RecordingTable,
        zoom_user: &ZoomUser,
        recording: &RecordingId,
        fact: &RecordingFact,
        app_users: &[AppUserId],
    ) -> Result<(), AnnounceError> {
        // One transaction holds a hundred items; each app user is one, the recording another.
        for app_users in app_users.chunks(90) {
            if let Some(frozen) = self
                .freeze(table, zoom_user, recording, fact, app_users)
                .await?
            {
                self.send(frozen, zoom_user).await?;
            }
        }
        Ok(())
    }

    /// Sends notifications that are frozen already.
    pub async fn send(
        &self,
        frozen: Vec<Notification>,
        zoom_user: &ZoomUser,
    ) -> Result<(), AwsFailure> {
        let messages: Vec<_> = frozen
            .into_iter()
            .map(|notification| NotificationMessage {
                v: V1,
                notification,
                destination: Destination::All,
            })
            .collect();
        self.notifications
            .send_all(&messages, zoom_user.account_id.as_str())
            .await
    }

    async fn freeze(
        &self,
        table: &RecordingTable,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        fact: &RecordingFact,
        app_users: &[AppUserId],
    ) -> Result<Option<Vec<Notification>>, AnnounceError> {
        for attempt in 0..MOST_ATTEMPTS {
            // The recording may be gone: erased together with its user.
            let Some(loaded) = table.load(zoom_user, id).await? else {
                return Ok(None);
            };
            let recording = loaded.recording();
            let now = self.clock.now();
            let sequence = loaded.item.sequence + 1;
            let frozen: Vec<Notification> = app_users
                .iter()
                .map(|user| fact.freeze(user, &recording, sequence, &self.bucket, now))
                .collect();
            match self.write(table, &loaded, id, &frozen, now).await? {
                Written::Made => return Ok(Some(frozen)),
                Written::MadeBefore => {
                    return Ok(Some(self.made_before(table, zoom_user, &frozen).await?));
                }
                Written::Raced => pause(attempt).await,
            }
        }
        Err(AnnounceError::Contended)
    }

    async fn write(
        &self,
        table: &RecordingTable,
        loaded: &Loaded,
        id: &RecordingId,
        frozen: &[Notification],
        now: Timestamp,
    ) -> Result<Written, AwsFailure> {
        let call = "TransactWriteItems facts";
        let unbuilt = |_| AwsFailure::answer(call, "item could not be built");
        let raise = Update::builder()
            .table_name(table.name())
            .key("zoom_user", AttributeValue::S(loaded.zoom_user.key()))
            .key("entry", AttributeValue::S(recording_entry(id)))
            .update_expression("SET #sequence = :next")
            .condition_expression("#sequence = :now")
            .expression_attribute_names("#sequence", "sequence")
            .expression_attribute_values(
                ":now",
                AttributeValue::N(loaded.item.sequence.to_string()),
            )
            .expression_attribute_values(
                ":next",
                AttributeValue::N((loaded.item.sequence + 1).to_string()),
            )
            .build()
            .map_err(unbuilt)?;
        let mut items = vec![TransactWriteItem::builder().update(raise).build()];
        for notification in frozen {
            let item = FactItem {
                notification: notification.clone(),
                expires_at: (now + KEPT).as_second(),
            };
            let put = Put::builder()
                .table_name(table.name())
                .set_item(Some(keyed(
                    &loaded.zoom_user,
                    &fact_entry(notification),
                    &item,
                )?))
                .condition_expression("attribute_not_exists(entry)")
                .build()
                .map_err(unbuilt)?;
            items.push(TransactWriteItem::builder().put(put).build());
        }
        match table
            .client()
            .transact_write_items()
            .set_transact_items(Some(items))
            .send()
            .await
        {
            Ok(_) => Ok(Written::Made),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    let codes: Vec<&str> = cancelled
                        .cancellation_reasons()
                        .iter()
                        .map(|reason| reason.code().unwrap_or("None"))
                        .collect();
                    let race = |code: &&str| {
                        matches!(
                            *code,
                            "None" | "ConditionalCheckFailed" | "TransactionConflict"
                        )
                    };
                    if !codes.iter().all(race) {
                        return Err(AwsFailure::of(call, &error));
                    }
                    let known = codes
                        .iter()
                        .skip(1)
                        .any(|code| *code == "ConditionalCheckFailed");
                    Ok(if known {
                        Written::MadeBefore
                    } else {
                        Written::Raced
                    })
                }
                _ => Err(AwsFailure::of(call, &error)),
            },
        }
    }

    /// The facts as they were frozen the first time. Those that another app user's link brought in
    /// since are not made after the fact.
    async fn made_before(
        &self,
        table: &RecordingTable,
        zoom_user: &ZoomUser,
        frozen: &[Notification],
    ) -> Result<Vec<Notification>, AwsFailure> {
        let mut found = Vec::new();
        for notification in frozen {
            let answer = table
                .client()
                .get_item()
                .table_name(table.name())
                .key("zoom_user", AttributeValue::S(zoom_user.key()))
                .key("entry", AttributeValue::S(fact_entry(notification)))
                .consistent_read(true)
                .send()
                .await
                .map_err(|error| AwsFailure::of("GetItem Recordings", &error))?;
            if let Some(item) = answer.item {
                found.push(read::<FactItem>(item)?.notification);
            }
        }
        Ok(found)
    }
}

enum Written {
    Made,
    MadeBefore,
    Raced,
}

fn fact_entry(notification: &Notification) -> String {
    format!("fact#{}", notification.id)
}

/// A short random wait, so that those who raced do not meet again.
async fn pause(attempt: u32) {
    let [a, b] = random::bytes::<2>();
    let longest = 5u64 << attempt.min(6);
    let wait = u64::from(u16::from_be_bytes([a, b])) % longest;
    tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
}
