//! What travels through the queues: facts and orders, small and versioned, without credentials.
//!
//! `v` names the form. A function refuses a form that it does not know, so that a newer message waits
//! in its queue (and in the end in the dead-letter queue) instead of being misread during a roll-out.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{FileId, RecordingId, ZoomUser};

/// Form 1 of every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct SchemaV1;

impl TryFrom<u8> for SchemaV1 {
    type Error = UnknownVersion;
    fn try_from(version: u8) -> Result<Self, UnknownVersion> {
        if version == 1 {
            Ok(Self)
        } else {
            Err(UnknownVersion(version))
        }
    }
}

impl From<SchemaV1> for u8 {
    fn from(_: SchemaV1) -> u8 {
        1
    }
}

/// A message from a newer version than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("messages of form {0} are not known to this version")]
pub struct UnknownVersion(u8);

/// Events queue: an event of Zoom's, redacted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventMessage {
    /// Form.
    pub v: SchemaV1,
    /// When it was accepted.
    pub received_at: Timestamp,
    /// The event itself, or where it lies.
    #[serde(flatten)]
    pub body: EventBody,
}

/// An event in the message, or beside it when it is larger than a message may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventBody {
    /// The redacted event.
    Event(Value),
    /// The object in the bucket that holds the redacted event.
    ObjectKey(String),
}

/// Downloads queue: fetch this file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadMessage {
    /// Form.
    pub v: SchemaV1,
    /// Whose.
    pub zoom_user: ZoomUser,
    /// Of which recording.
    pub recording_id: RecordingId,
    /// Which file.
    pub file_id: FileId,
    /// How much of the retry allowance the messages have used up that this one continues. What waits for an
    /// account's limit to pass goes on with a fresh message, which SQS counts from nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub prior_attempts: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl DownloadMessage {
    /// With all of the allowance ahead of it.
    pub fn new(zoom_user: ZoomUser, recording_id: RecordingId, file_id: FileId) -> Self {
        Self {
            v: SchemaV1,
            zoom_user,
            recording_id,
            file_id,
            prior_attempts: 0,
        }
    }
}

/// Orders queue: something to be done about a Zoom user, apart from what an event brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobMessage {
    /// Form.
    pub v: SchemaV1,
    /// What.
    #[serde(flatten)]
    pub job: Job,
}

/// What is to be done. Each can be repeated, and finds nothing to do when it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum Job {
    /// Revoke a grant that no link needs any more.
    RevokeGrant {
        /// Whose.
        zoom_user: ZoomUser,
    },
    /// Zoom says that the user removed the app: see whether it is so, and end the grant.
    VerifyDeauthorization {
        /// Whose.
        zoom_user: ZoomUser,
        /// Of which Zoom app, as the event said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
    },
    /// See what became of an authorization: finish an exchange that was interrupted, drop a link that
    /// was never confirmed.
    FinishConnect {
        /// The exchange's key.
        exchange: String,
    },
    /// See what there is to do about a Zoom user: tell, drop, revoke, refresh, follow.
    MaintainGrant {
        /// Whom.
        zoom_user: ZoomUser,
    },
    /// Look for what no order came for, and order it. Sent by the clock.
    RunMaintenance,
    /// Read from Zoom which recordings there are, and treat each like an event.
    Backfill {
        /// Whose.
        zoom_user: ZoomUser,
        /// First day, UTC.
        from: Date,
        /// Last day, UTC.
        to: Date,
    },
}

/// Notifications queue: a frozen notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationMessage {
    /// Form.
    pub v: SchemaV1,
    /// What is told.
    #[serde(flatten)]
    pub notification: Notification,
    /// To whom it is still to be told.
    #[serde(default)]
    pub destination: Destination,
}

impl NotificationMessage {
    /// A notification on its way to every destination.
    pub fn new(notification: Notification) -> Self {
        Self {
            v: SchemaV1,
            notification,
            destination: Destination::All,
        }
    }
}

/// A notification, frozen when its fact was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// `webhook-id`, the same on every delivery.
    pub id: String,
    /// `type`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// When the fact was made.
    pub timestamp: Timestamp,
    /// The exact bytes of the webhook's body.
    pub body: String,
}

impl Notification {
    /// The body with the notification's id as its first field, for destinations without headers.
    pub fn body_with_id(&self) -> String {
        // The body is an object that we wrote; its first field is always there.
        let rest = self.body.strip_prefix('{').unwrap_or("}");
        format!("{{\"id\":\"{}\",{rest}", self.id)
    }
}

/// Whom a notification goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// Every destination that is configured.
    #[default]
    All,
    /// The app's webhook alone: the event bus has it already.
    Webhook,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_joins_the_body() {
        let notification = Notification {
            id: "msg_1".into(),
            event_type: "link.activated".into(),
            timestamp: "2026-01-01T00:00:00Z".parse().unwrap(),
            body: r#"{"data":{},"type":"link.activated"}"#.into(),
        };
        assert_eq!(
            notification.body_with_id(),
            r#"{"id":"msg_1","data":{},"type":"link.activated"}"#
        );
    }

    #[test]
    fn messages_read_back() {
        let message = EventMessage {
            v: SchemaV1,
            received_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            body: EventBody::ObjectKey("events/x.json".into()),
        };
        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(
            text,
            r#"{"v":1,"received_at":"2026-01-01T00:00:00Z","object_key":"events/x.json"}"#
        );
        assert_eq!(
            serde_json::from_str::<EventMessage>(&text).unwrap(),
            message
        );
        assert!(serde_json::from_str::<EventMessage>(&text.replace("\"v\":1", "\"v\":2")).is_err());
    }
}
