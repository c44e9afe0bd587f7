//! Notifications to the app: content, ids and signatures (Standard Webhooks).
//!
//! A notification is identified by (type, app user, subject, version). Its id is a hash of these, so a
//! notification that is created again after a crash or a redelivery has the same id.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hmac::Mac as _;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::erasure::Removal;
use crate::ids::{AppUserId, FileId};
use crate::keys::{self, SecretVersions};
use crate::link::LinkNotification;
use crate::message::Notification;
use crate::recording::{FileView, Recording, RecordingChange, RecordingView};

/// Maximum number of files inline in a notification.
pub const MAX_INLINE_FILES: usize = 100;

/// A notification about a recording, before [`RecordingNotification::render`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordingNotification {
    /// `recording.detected`: the recording was seen for the first time.
    Detected,
    /// `recording.file_stored`: this file was stored.
    FileStored(FileId),
    /// `recording.stored`: all wanted files are stored. Repeated, with a new id, when the set grows.
    Stored,
    /// `recording.failed`: Reelay gave up on a file.
    Failed {
        /// The file.
        file: FileId,
        /// The failure reason.
        reason: String,
        /// Number of the attempt, which distinguishes repeated failures of one file.
        attempt: u32,
    },
    /// `recording.changed`: the recording changed at Zoom.
    Changed {
        /// The change.
        change: RecordingChange,
        /// `event_ts` of Zoom's event in epoch milliseconds, which distinguishes repeated changes.
        event_ts: i64,
    },
}

impl RecordingNotification {
    /// Returns the notification's `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Detected => "recording.detected",
            Self::FileStored(_) => "recording.file_stored",
            Self::Stored => "recording.stored",
            Self::Failed { .. } => "recording.failed",
            Self::Changed { .. } => "recording.changed",
        }
    }

    /// Returns the file that the notification is about, if any.
    pub fn file(&self) -> Option<&FileId> {
        match self {
            Self::Detected | Self::Stored | Self::Changed { .. } => None,
            Self::FileStored(file) | Self::Failed { file, .. } => Some(file),
        }
    }

    /// Returns the notification id for one app user.
    pub fn id(&self, app_user: &AppUserId, recording: &Recording) -> String {
        let recording_id = recording.id();
        match self {
            Self::Detected => {
                notification_id(self.type_name(), app_user, recording_id.as_str(), "1")
            }
            Self::FileStored(file) => {
                notification_id(self.type_name(), app_user, &format!("{recording_id}/{file}"), "1")
            }
            Self::Stored => notification_id(
                self.type_name(),
                app_user,
                recording_id.as_str(),
                &recording.stored_file_ids(),
            ),
            Self::Changed { change, event_ts } => notification_id(
                self.type_name(),
                app_user,
                recording_id.as_str(),
                &format!("{} {event_ts}", change.name()),
            ),
            Self::Failed { file, reason, attempt } => {
                let version = format!("{attempt} {reason}");
                notification_id(
                    self.type_name(),
                    app_user,
                    &format!("{recording_id}/{file}"),
                    &version,
                )
            }
        }
    }

    /// Renders the notification for one app user.
    pub fn render(
        &self,
        app_user: &AppUserId,
        recording: &Recording,
        sequence: u64,
        bucket: &str,
        now: Timestamp,
    ) -> Notification {
        #[derive(Serialize)]
        struct Data<'a> {
            app_user_id: &'a AppUserId,
            sequence: u64,
            recording: RecordingView,
            #[serde(skip_serializing_if = "Option::is_none")]
            file: Option<FileView>,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            change: Option<&'static str>,
        }
        let mut view = recording.view(bucket);
        let (file, reason) = match self {
            Self::Detected | Self::Stored | Self::Changed { .. } => (None, None),
            Self::FileStored(file) => (Some(file), None),
            Self::Failed { file, reason, .. } => (Some(file), Some(reason.as_str())),
        };
        let file = file.and_then(|id| view.files.iter().find(|file| file.id == *id).cloned());
        if view.files.len() > MAX_INLINE_FILES {
            view.files_total = Some(view.files.len());
            view.files_truncated = Some(true);
            view.files.truncate(MAX_INLINE_FILES);
        }
        let data = Data {
            app_user_id: app_user,
            sequence,
            recording: view,
            file,
            reason,
            change: match self {
                Self::Changed { change, .. } => Some(change.name()),
                _ => None,
            },
        };
        with_body(self.id(app_user, recording), self.type_name(), now, json!(data))
    }
}

impl LinkNotification {
    /// Returns the notification's `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Activated(_) => "link.activated",
            Self::ReauthorizationRequired(_) => "link.reauthorization_required",
            Self::Removed(_) => "link.removed",
        }
    }

    /// Renders the notification with its final body. `revision` rises with every change of the grant, so
    /// that a repeated change of the same link gets its own notification id. `removal` says how removed links
    /// ended.
    pub fn render(&self, revision: u64, removal: &Removal, now: Timestamp) -> Notification {
        let (link, view) = match self {
            Self::Activated(link) | Self::ReauthorizationRequired(link) => (link, link.view()),
            Self::Removed(link) => (link, link.removed_view(removal)),
        };
        let version = format!("{} {revision}", link.created_at);
        let id = notification_id(self.type_name(), &link.app_user, link.id.as_str(), &version);
        with_body(
            id,
            self.type_name(),
            now,
            json!({"app_user_id": link.app_user, "sequence": revision, "link": view}),
        )
    }
}

fn with_body(id: String, name: &'static str, at: Timestamp, data: Value) -> Notification {
    let timestamp = rfc3339_seconds(at);
    let body = json!({"type": name, "timestamp": timestamp, "data": data}).to_string();
    Notification { id, event_type: name.to_owned(), timestamp: at, body }
}

/// Formats a time as RFC 3339 in whole seconds.
fn rfc3339_seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

fn notification_id(name: &str, app_user: &AppUserId, subject: &str, version: &str) -> String {
    let mut hash = Sha256::new();
    for part in [name, app_user.as_str(), subject, version] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    format!("msg_{}", URL_SAFE_NO_PAD.encode(hash.finalize()))
}

/// The notification secret is not base64, so no receiver could verify a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the notification secret is not base64")]
pub struct InvalidSecret;

/// Returns the `webhook-signature` header: `v1,` and base64 HMAC-SHA256 of `{id}.{timestamp}.{body}`, one
/// signature per live secret, separated by spaces (Standard Webhooks, "Signature scheme").
///
/// # Errors
/// [`InvalidSecret`] if a secret is not base64.
pub fn signature(
    secrets: &SecretVersions,
    id: &str,
    timestamp: i64,
    body: &str,
) -> Result<String, InvalidSecret> {
    let signatures = secrets
        .iter()
        .map(|secret| {
            let tag = keys::hmac(&decode_secret(secret)?)
                .chain_update(format!("{id}.{timestamp}.{body}"))
                .finalize();
            Ok(format!("v1,{}", STANDARD.encode(tag.into_bytes())))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(signatures.join(" "))
}

/// Decodes a secret: base64 after the optional prefix `whsec_`.
fn decode_secret(secret: &SecretString) -> Result<Vec<u8>, InvalidSecret> {
    let text = secret.expose_secret();
    let text = text.strip_prefix("whsec_").unwrap_or(text).trim_end_matches('=');
    STANDARD_NO_PAD.decode(text).map_err(|_| InvalidSecret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::erasure::RemovalReason;
    use crate::ids::{LinkId, ZoomUser};
    use crate::link::{Link, LinkStatus};
    use crate::recording::{File, FileMetadata, FileStatus, RecordingMetadata, ZoomState};

    fn recording(files: usize) -> Recording {
        Recording {
            zoom_user: ZoomUser { account_id: "A".parse().unwrap(), user_id: "u".parse().unwrap() },
            metadata: RecordingMetadata {
                meeting_uuid: "m==".parse().unwrap(),
                meeting_id: Some("1".into()),
                topic: "t".into(),
                start_time: "2026-01-01T09:00:00Z".parse().unwrap(),
                duration_minutes: Some(1),
            },
            zoom_state: ZoomState::Present,
            sequence: 0,
            files: (0..files)
                .map(|n| File {
                    metadata: FileMetadata {
                        id: format!("f{n}").parse().unwrap(),
                        file_type: "MP4".into(),
                        recording_type: None,
                        extension: "mp4".into(),
                        size: Some(1),
                    },
                    status: FileStatus::Stored,
                    reason: None,
                    bytes_stored: 1,
                    key: Some("k".into()),
                    crc64nvme: Some("c".into()),
                })
                .collect(),
        }
    }

    fn now() -> Timestamp {
        "2026-01-01T10:02:03.5Z".parse().unwrap()
    }

    #[test]
    fn signature_matches_standard_webhooks_vector() {
        let secrets = SecretVersions::single("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signature = signature(
            &secrets,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        )
        .unwrap();
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_live_secret_signs() {
        let secrets = SecretVersions {
            current: "a".repeat(44).into(),
            previous: Some("b".repeat(44).into()),
        };
        let signature = signature(&secrets, "msg_1", 1, "{}").unwrap();
        assert_eq!(signature.split(' ').count(), 2);
        assert!(super::signature(&SecretVersions::single("not base64!"), "m", 1, "{}").is_err());
    }

    #[test]
    fn ids_are_deterministic_and_distinct() {
        let alice: AppUserId = "alice".parse().unwrap();
        let bob: AppUserId = "bob".parse().unwrap();
        let two = recording(2);
        let three = recording(3);
        assert_eq!(
            RecordingNotification::Stored.id(&alice, &two),
            RecordingNotification::Stored.id(&alice, &two)
        );
        assert_ne!(
            RecordingNotification::Stored.id(&alice, &two),
            RecordingNotification::Stored.id(&alice, &three)
        );
        assert_ne!(
            RecordingNotification::Stored.id(&alice, &two),
            RecordingNotification::Stored.id(&bob, &two)
        );
        assert_eq!(
            RecordingNotification::Detected.id(&alice, &two),
            RecordingNotification::Detected.id(&alice, &three)
        );
    }

    #[test]
    fn body_follows_the_contract() {
        let alice: AppUserId = "alice".parse().unwrap();
        let notification = RecordingNotification::FileStored("f1".parse().unwrap()).render(
            &alice,
            &recording(2),
            3,
            "bucket",
            now(),
        );
        let body: Value = serde_json::from_str(&notification.body).unwrap();
        assert_eq!(body["type"], "recording.file_stored");
        assert_eq!(body["timestamp"], "2026-01-01T10:02:03Z");
        assert_eq!(body["data"]["app_user_id"], "alice");
        assert_eq!(body["data"]["sequence"], 3);
        assert_eq!(body["data"]["recording"]["files"].as_array().unwrap().len(), 2);
        assert_eq!(body["data"]["file"]["id"], "f1");
        assert!(body["data"]["recording"]["files"][0].get("url").is_none());
        assert!(notification.id.starts_with("msg_"));
    }

    #[test]
    fn files_are_truncated_beyond_100() {
        let alice: AppUserId = "alice".parse().unwrap();
        let notification =
            RecordingNotification::Stored.render(&alice, &recording(101), 1, "bucket", now());
        let body: Value = serde_json::from_str(&notification.body).unwrap();
        let rendered = &body["data"]["recording"];
        assert_eq!(rendered["files"].as_array().unwrap().len(), 100);
        assert_eq!(
            (rendered["files_truncated"].as_bool(), rendered["files_total"].as_u64()),
            (Some(true), Some(101))
        );
        let complete =
            RecordingNotification::Stored.render(&alice, &recording(100), 1, "bucket", now());
        assert!(!complete.body.contains("files_truncated"));
    }

    #[test]
    fn link_notification_ids_depend_on_the_revision() {
        let app_user: AppUserId = "alice".parse().unwrap();
        let zoom_user = recording(0).zoom_user;
        let link = Link {
            id: LinkId::derive(&app_user, &zoom_user),
            app_user,
            zoom_user,
            display_name: "Sample Host".into(),
            previous_zoom_users: Vec::new(),
            status: LinkStatus::Active,
            created_at: now(),
            activated_at: Some(now()),
            pending_until: None,
            cut_off_at: None,
        };
        let activated = LinkNotification::Activated(link.clone());
        let removal = Removal { reason: Some(RemovalReason::Deauthorized), erase_at: Some(now()) };
        let render = |notification: &LinkNotification, revision| {
            notification.render(revision, &removal, now())
        };
        assert_eq!(render(&activated, 1), render(&activated, 1));
        assert_ne!(render(&activated, 1).id, render(&activated, 2).id);
        let removed = render(&LinkNotification::Removed(link), 1);
        assert_ne!(render(&activated, 1).id, removed.id);
        let body: Value = serde_json::from_str(&removed.body).unwrap();
        assert_eq!(body["data"]["link"]["status"], "removed");
        assert_eq!(body["data"]["link"]["removed_reason"], "deauthorized");
        assert_eq!(body["data"]["link"]["erase_at"], "2026-01-01T10:02:03.5Z");
        let body: Value = serde_json::from_str(&render(&activated, 1).body).unwrap();
        assert_eq!(body["data"]["link"]["status"], "active");
        assert_eq!(body["data"]["link"]["removed_reason"], Value::Null);
        assert_eq!(body["type"], "link.activated");
        assert_eq!(body["data"]["link"]["zoom"]["display_name"], "Sample Host");
        assert_eq!(body["data"]["link"]["zoom"]["account_id"], "A");
    }
}
