//! Payloads of the queues: small, versioned, without credentials in clear.
//!
//! `v` is the schema version. A function rejects unknown versions, so that during a deployment a newer
//! message stays in its queue, and finally the dead-letter queue, instead of being misinterpreted.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cursor::Position;
use crate::erasure::ErasureTotals;
use crate::ids::{AppUserId, FileId, MeetingUuid, RecordingId, ZoomUser};
use crate::listing::Backfill;
use crate::observation::ObservationSource;
use crate::reconciliation::Reconciliation;

/// Escapes the characters of a JSON text that SQS rejects: U+FFFE and U+FFFF (`SendMessage`). They can only
/// stand in strings, where an escape means the same. `serde_json` escapes control characters itself.
pub fn escape_noncharacters(json: &str) -> String {
    json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

/// Version 1 of the message schema; deserializing any other version fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct SchemaV1;

impl TryFrom<u8> for SchemaV1 {
    type Error = UnsupportedVersion;
    fn try_from(version: u8) -> Result<Self, UnsupportedVersion> {
        if version == 1 { Ok(Self) } else { Err(UnsupportedVersion(version)) }
    }
}

impl From<SchemaV1> for u8 {
    fn from(_: SchemaV1) -> u8 {
        1
    }
}

/// The message has a schema version that this code does not support.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message schema version {0} is not supported")]
pub struct UnsupportedVersion(u8);

/// Payload of the events queue: a redacted Zoom event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventMessage {
    /// Schema version.
    pub v: SchemaV1,
    /// When the webhook function accepted the event, or the list was requested.
    pub received_at: Timestamp,
    /// Where the event comes from.
    #[serde(default)]
    pub source: ObservationSource,
    /// The event, or a reference to it.
    #[serde(flatten)]
    pub body: EventBody,
}

/// An event, inline or, if it exceeds the message size limit, in the bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventBody {
    /// The redacted event, inline.
    Event(Value),
    /// Key of the object that holds the redacted event.
    ObjectKey(String),
    /// Key of the object that holds an encrypted body that is no JSON with an event's name.
    EncryptedObjectKey(String),
}

/// Payload of the downloads queue: one file to download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadMessage {
    /// Schema version.
    pub v: SchemaV1,
    /// Host of the recording.
    pub zoom_user: ZoomUser,
    /// The recording.
    pub recording_id: RecordingId,
    /// The file.
    pub file_id: FileId,
}

impl DownloadMessage {
    /// Creates a message.
    pub fn new(zoom_user: ZoomUser, recording_id: RecordingId, file_id: FileId) -> Self {
        Self { v: SchemaV1, zoom_user, recording_id, file_id }
    }
}

/// Payload of the jobs queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobMessage {
    /// Schema version.
    pub v: SchemaV1,
    /// Whether the maintenance run enqueued it. The next run enqueues it again if it fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_scheduled: bool,
    /// When the job was deferred for the first time since it made progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred_since: Option<Timestamp>,
    /// The job.
    #[serde(flatten)]
    pub job: Job,
}

impl JobMessage {
    /// Creates the message of a job.
    pub fn new(job: Job) -> Self {
        Self { v: SchemaV1, is_scheduled: false, deferred_since: None, job }
    }

    /// Creates the message of a job that the maintenance run enqueues again if it fails.
    pub fn scheduled(job: Job) -> Self {
        Self { is_scheduled: true, ..Self::new(job) }
    }

    /// Creates the messages after the end of a link, each with its delay in seconds. The first runs at once, the
    /// second after every running transfer has stopped by itself, the third after every invocation, and with it every
    /// request to S3, has ended (Lambda's maximum is 15 minutes).
    pub fn end_transfers(zoom_user: &ZoomUser) -> [(Self, i32); 3] {
        [0, 30, 900].map(|delay_seconds| {
            (Self::new(Job::EndTransfers { zoom_user: zoom_user.clone() }), delay_seconds)
        })
    }

    /// The jobs that remove the files of a recording that the app deleted, each with its delay in seconds: at once,
    /// after a running transfer has stopped, and after the last requests of a killed invocation.
    pub fn sweep_recording(zoom_user: &ZoomUser, recording: &DeletedRecording) -> [(Self, i32); 3] {
        [0, 30, 900].map(|delay_seconds| {
            let (zoom_user, recording) = (zoom_user.clone(), Some(recording.clone()));
            (Self::new(Job::SweepErased { zoom_user, recording }), delay_seconds)
        })
    }
}

/// A recording that the app deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedRecording {
    /// Its id.
    pub id: RecordingId,
    /// UTC date that its folder is named after.
    pub date: Date,
}

/// A background job. All jobs are idempotent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum Job {
    /// Revokes a grant that has no links left.
    RevokeGrant {
        /// Owner of the grant.
        zoom_user: ZoomUser,
    },
    /// Removes the leftovers of transfers when the last link of a Zoom user ended. Does nothing while a link
    /// receives.
    EndTransfers {
        /// The Zoom user, under a current or former key.
        zoom_user: ZoomUser,
    },
    /// Verifies with Zoom that the user removed the app, and if so removes the grant and its links.
    VerifyDeauthorization {
        /// Owner of the grant.
        zoom_user: ZoomUser,
        /// Client id of the Zoom app, if the event named it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
        /// When the user removed the app, if the event says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
        /// Whether Zoom still accepted the tokens right after the event.
        #[serde(default)]
        is_repeated: bool,
    },
    /// Completes an authorization: resumes an interrupted token exchange, removes a link that was never
    /// confirmed.
    FinishConnect {
        /// Key of the exchange's item.
        exchange: String,
    },
    /// Runs due maintenance for a grant: pending notifications, expired links, revocation, token refresh,
    /// account moves.
    MaintainGrant {
        /// Owner of the grant.
        zoom_user: ZoomUser,
    },
    /// Runs one pass of a due erasure of everything that is stored under a Zoom user's key.
    EraseRecordings {
        /// The key.
        zoom_user: ZoomUser,
        /// Counts of the earlier passes.
        #[serde(default)]
        erased: ErasureTotals,
    },
    /// Removes the leftovers of erased recordings: of all of a Zoom user, or of one that the app deleted.
    SweepErased {
        /// The key.
        zoom_user: ZoomUser,
        /// The deleted recording.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recording: Option<DeletedRecording>,
    },
    /// Notifies an app user whose link became active of the recordings in the activation window.
    NotifyActivation {
        /// The Zoom user.
        zoom_user: ZoomUser,
        /// The app user.
        app_user: AppUserId,
        /// When the link became active. Part of the notifications' version.
        activated_at: Timestamp,
        /// The app user is notified of recordings that may have completed since.
        completed_since: Timestamp,
        /// Whether this is the second run, 15 minutes after the activation: by then every notification that was in
        /// progress has been published.
        is_repeated: bool,
        /// Whether the link came from the user's earlier account. Then only recordings of this account count that the
        /// app user was never notified of.
        #[serde(default)]
        is_moved: bool,
        /// Position of the last recording that an earlier invocation processed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Position>,
    },
    /// Finds and enqueues all due maintenance. A schedule sends this job every hour.
    RunMaintenance,
    /// Enqueues downloads and notifications whose next attempt is due. A schedule sends this job every five minutes.
    RunRetries,
    /// Reads a window of the user's recordings at Zoom, processes each like an event, and continues in a new
    /// message.
    Backfill(Backfill),
    /// Reads the details of a meeting's recording at Zoom and queues them as an observation.
    ReadDetails {
        /// The host.
        zoom_user: ZoomUser,
        /// UUID of the meeting instance.
        meeting_uuid: MeetingUuid,
        /// Files that are not observed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        omitted: Vec<FileId>,
    },
    /// Moves Zoom's copy of a stored recording to the trash.
    TrashAtZoom {
        /// The host.
        zoom_user: ZoomUser,
        /// UUID of the meeting instance.
        meeting_uuid: MeetingUuid,
    },
    /// Compares one of Zoom's lists with the stored recordings, and continues in a new message.
    Reconcile(Reconciliation),
    /// Clears the issue `events_not_arriving`, because an event has arrived.
    EventArrived {
        /// The host that the event named.
        zoom_user: ZoomUser,
    },
}

/// Type of the notification that a link ended.
pub const LINK_REMOVED: &str = "link.removed";

/// Payload of the notifications queue: one notification, for the destinations that have not received it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationMessage {
    /// Schema version.
    pub v: SchemaV1,
    /// The notification to deliver.
    #[serde(flatten)]
    pub notification: Notification,
    /// When its row was written.
    pub stamp: Timestamp,
    /// Which attempts the message makes.
    #[serde(default)]
    pub attempts: MessageAttempts,
}

impl NotificationMessage {
    /// Creates the first message of a notification.
    pub fn new(notification: Notification, stamp: Timestamp) -> Self {
        Self { v: SchemaV1, notification, stamp, attempts: MessageAttempts::Several }
    }
}

/// Which attempts a message makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageAttempts {
    /// Several attempts within ten minutes, for a new notification.
    #[default]
    Several,
    /// One attempt at each due destination, enqueued by maintenance.
    One,
    /// One attempt at a destination that counts as down, to find out whether it is up.
    Probe,
}

/// A notification. Its body is final, so every delivery sends the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// `webhook-id`, identical on every delivery.
    pub id: String,
    /// `type` in the body; `detail-type` on the event bus.
    #[serde(rename = "type")]
    pub event_type: String,
    /// When the notification was created.
    pub timestamp: Timestamp,
    /// The exact body of the webhook request.
    pub body: String,
    /// The app user who is notified.
    pub app_user_id: AppUserId,
    /// The Zoom user of the link or the recording.
    pub zoom_user: ZoomUser,
    /// The recording; absent if the notification is about a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording_id: Option<RecordingId>,
}

impl Notification {
    /// Whether it says that a link ended.
    pub fn is_link_removed(&self) -> bool {
        self.event_type == LINK_REMOVED
    }

    /// Returns the body with `id` as its first field, for destinations without headers.
    pub fn body_with_id(&self) -> String {
        // `render` writes the body: a JSON object with at least one field.
        let rest = self.body.strip_prefix('{').unwrap_or("}");
        format!("{{\"id\":\"{}\",{rest}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The characters that SQS accepts: those of XML 1.0.
    fn is_accepted(c: char) -> bool {
        matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
    }

    #[test]
    fn escaped_json_has_only_characters_that_sqs_accepts() {
        let every_character: String = ('\0'..=char::MAX).collect();
        let text = escape_noncharacters(&serde_json::to_string(&every_character).unwrap());
        assert_eq!(text.chars().find(|c| !is_accepted(*c)), None);
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), every_character);
    }

    #[test]
    fn body_with_id_starts_with_the_id() {
        let notification = Notification {
            id: "msg_1".into(),
            event_type: "link.activated".into(),
            timestamp: "2026-01-01T00:00:00Z".parse().unwrap(),
            body: r#"{"data":{},"type":"link.activated"}"#.into(),
            app_user_id: "alice".parse().unwrap(),
            zoom_user: ZoomUser::from_key("A#u").unwrap(),
            recording_id: None,
        };
        assert_eq!(
            notification.body_with_id(),
            r#"{"id":"msg_1","data":{},"type":"link.activated"}"#
        );
    }

    #[test]
    fn messages_round_trip_and_unknown_version_is_rejected() {
        let message = EventMessage {
            v: SchemaV1,
            received_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            source: ObservationSource::List,
            body: EventBody::ObjectKey("events/x.json".into()),
        };
        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(
            text,
            r#"{"v":1,"received_at":"2026-01-01T00:00:00Z","source":"list","object_key":"events/x.json"}"#
        );
        assert_eq!(serde_json::from_str::<EventMessage>(&text).unwrap(), message);
        assert!(serde_json::from_str::<EventMessage>(&text.replace("\"v\":1", "\"v\":2")).is_err());
    }
}
