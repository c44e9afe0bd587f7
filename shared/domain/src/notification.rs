//! What the app is told, and how it is signed (Standard Webhooks).
//!
//! One fact is (type, app user, subject, version); its id is a hash of these, so whoever makes the
//! same fact again, after a crash or a redelivery, makes it under the same id.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hmac::Mac as _;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::ids::{AppUserId, FileId};
use crate::keys::{self, SecretVersions};
use crate::link::LinkNotification;
use crate::message::Notification;
use crate::recording::{FileView, Recording, RecordingChange, RecordingView};

/// At most so many files stand in one notification.
pub const MAX_INLINE_FILES: usize = 100;

/// A fact about a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordingNotification {
    /// `recording.detected`: seen for the first time.
    Detected,
    /// `recording.file_stored`: one file is in the bucket.
    FileStored(FileId),
    /// `recording.stored`: all wanted files are in the bucket; anew when the set has grown.
    Stored,
    /// `recording.failed`: a file ended without being stored.
    Failed {
        /// Which one.
        file: FileId,
        /// Why.
        reason: String,
        /// Tells apart failures of the same file, tried again between.
        attempt: u32,
    },
    /// `recording.changed`: renamed, trashed, recovered or deleted at Zoom.
    Changed {
        /// What happened.
        change: RecordingChange,
        /// When, as the event says, epoch milliseconds: tells apart changes of the same kind.
        event_ts: i64,
    },
}

impl RecordingNotification {
    /// The notification's `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Detected => "recording.detected",
            Self::FileStored(_) => "recording.file_stored",
            Self::Stored => "recording.stored",
            Self::Failed { .. } => "recording.failed",
            Self::Changed { .. } => "recording.changed",
        }
    }

    /// The file that it is about, if it is about one.
    pub fn file(&self) -> Option<&FileId> {
        match self {
            Self::Detected | Self::Stored | Self::Changed { .. } => None,
            Self::FileStored(file) | Self::Failed { file, .. } => Some(file),
        }
    }

    /// The fact's id for one app user.
    pub fn id(&self, app_user: &AppUserId, recording: &Recording) -> String {
        let recording_id = recording.id();
        match self {
            Self::Detected => fact_id(self.type_name(), app_user, recording_id.as_str(), "1"),
            Self::FileStored(file) => fact_id(
                self.type_name(),
                app_user,
                &format!("{recording_id}/{file}"),
                "1",
            ),
            Self::Stored => fact_id(
                self.type_name(),
                app_user,
                recording_id.as_str(),
                &recording.stored_set(),
            ),
            Self::Changed { change, event_ts } => fact_id(
                self.type_name(),
                app_user,
                recording_id.as_str(),
                &format!("{} {event_ts}", change.name()),
            ),
            Self::Failed {
                file,
                reason,
                attempt,
            } => {
                let version = format!("{attempt} {reason}");
                fact_id(
                    self.type_name(),
                    app_user,
                    &format!("{recording_id}/{file}"),
                    &version,
                )
            }
        }
    }

    /// Freezes the notification for one app user.
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
        frozen(
            self.id(app_user, recording),
            self.type_name(),
            now,
            json!(data),
        )
    }
}

impl LinkNotification {
    /// The notification's `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Activated(_) => "link.activated",
            Self::ReauthorizationRequired(_) => "link.reauthorization_required",
            Self::Removed(_) => "link.removed",
        }
    }

    /// Renders the notification with its final body. `revision` rises with every change of the grant, so
    /// that a repeated change of the same link gets its own notification id.
    pub fn render(&self, revision: u64, now: Timestamp) -> Notification {
        let (Self::Activated(link) | Self::ReauthorizationRequired(link) | Self::Removed(link)) =
            self;
        let version = format!("{} {revision}", link.created_at);
        let id = fact_id(self.type_name(), &link.app_user, link.id.as_str(), &version);
        frozen(
            id,
            self.type_name(),
            now,
            json!({"app_user_id": link.app_user, "sequence": revision, "link": link.view()}),
        )
    }
}

fn frozen(id: String, name: &'static str, at: Timestamp, data: Value) -> Notification {
    let timestamp = seconds(at);
    let body = json!({"type": name, "timestamp": timestamp, "data": data}).to_string();
    Notification {
        id,
        event_type: name.to_owned(),
        timestamp: at,
        body,
    }
}

/// RFC 3339 in whole seconds.
fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second())
        .unwrap_or(at)
        .to_string()
}

fn fact_id(name: &str, app_user: &AppUserId, subject: &str, version: &str) -> String {
    let mut hash = Sha256::new();
    for part in [name, app_user.as_str(), subject, version] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    format!("msg_{}", URL_SAFE_NO_PAD.encode(hash.finalize()))
}

/// A notification secret that is no base64, so that no receiver could verify with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the notification secret is not base64")]
pub struct InvalidSecret;

/// The `webhook-signature` header: `v1,` and base64 HMAC-SHA256 of `{id}.{timestamp}.{body}`, one per
/// live secret, separated by spaces (Standard Webhooks, "Signature scheme").
pub fn signature(
    secrets: &SecretVersions,
    id: &str,
    timestamp: i64,
    body: &str,
) -> Result<String, InvalidSecret> {
    let signatures = secrets
        .iter()
        .map(|secret| {
            let tag = keys::hmac(&key(secret)?)
                .chain_update(format!("{id}.{timestamp}.{body}"))
                .finalize();
            Ok(format!("v1,{}", STANDARD.encode(tag.into_bytes())))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(signatures.join(" "))
}

/// The key's bytes: base64 of what stands behind `whsec_`.
fn key(secret: &SecretString) -> Result<Vec<u8>, InvalidSecret> {
    let text = secret.expose_secret();
    let text = text
        .strip_prefix("whsec_")
        .unwrap_or(text)
        .trim_end_matches('=');
    STANDARD_NO_PAD.decode(text).map_err(|_| InvalidSecret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{LinkId, ZoomUser};
    use crate::link::{Link, LinkStatus};
    use crate::recording::{File, FileMetadata, FileStatus, RecordingMetadata, ZoomState};

    fn recording(files: usize) -> Recording {
        Recording {
            zoom_user: ZoomUser {
                account_id: "A".parse().unwrap(),
                user_id: "u".parse().unwrap(),
            },
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
    fn signatures_match_the_vector_of_the_standard_webhooks_libraries() {
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
    fn the_same_fact_has_the_same_id_and_another_fact_another() {
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
    fn bodies_have_the_contracts_shape() {
        let alice: AppUserId = "alice".parse().unwrap();
        let sent = RecordingNotification::FileStored("f1".parse().unwrap()).render(
            &alice,
            &recording(2),
            3,
            "bucket",
            now(),
        );
        let body: Value = serde_json::from_str(&sent.body).unwrap();
        assert_eq!(body["type"], "recording.file_stored");
        assert_eq!(body["timestamp"], "2026-01-01T10:02:03Z");
        assert_eq!(body["data"]["app_user_id"], "alice");
        assert_eq!(body["data"]["sequence"], 3);
        assert_eq!(
            body["data"]["recording"]["files"].as_array().unwrap().len(),
            2
        );
        assert_eq!(body["data"]["file"]["id"], "f1");
        assert!(body["data"]["recording"]["files"][0].get("url").is_none());
        assert!(sent.id.starts_with("msg_"));
    }

    #[test]
    fn beyond_a_hundred_files_the_list_is_cut_and_says_so() {
        let alice: AppUserId = "alice".parse().unwrap();
        let sent =
            RecordingNotification::Stored.render(&alice, &recording(101), 1, "bucket", now());
        let body: Value = serde_json::from_str(&sent.body).unwrap();
        let recording = &body["data"]["recording"];
        assert_eq!(recording["files"].as_array().unwrap().len(), 100);
        assert_eq!(
            (
                recording["files_truncated"].as_bool(),
                recording["files_total"].as_u64()
            ),
            (Some(true), Some(101))
        );
        let whole = RecordingNotification::Stored.render(
            &alice,
            &super::tests::recording(100),
            1,
            "bucket",
            now(),
        );
        assert!(!whole.body.contains("files_truncated"));
    }

    #[test]
    fn link_facts_have_ids_of_their_own_for_each_revision() {
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
        };
        let fact = LinkNotification::Activated(link.clone());
        assert_eq!(fact.render(1, now()), fact.render(1, now()));
        assert_ne!(fact.render(1, now()).id, fact.render(2, now()).id);
        assert_ne!(
            fact.render(1, now()).id,
            LinkNotification::Removed(link).render(1, now()).id
        );
        let body: Value = serde_json::from_str(&fact.render(1, now()).body).unwrap();
        assert_eq!(body["type"], "link.activated");
        assert_eq!(body["data"]["link"]["zoom"]["display_name"], "Sample Host");
        assert_eq!(body["data"]["link"]["zoom"]["account_id"], "A");
    }
}
