//! Notifications to the app: content, ids and signatures (Standard Webhooks).
//!
//! A notification is identified by (type, app user, subject, version). Its id is a hash of these, so a
//! notification that is created again after a crash or a redelivery has the same id.

mod signature;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use self::signature::{InvalidSecret, signature};
use crate::erasure::Removal;
use crate::ids::{AppUserId, FileId, ZoomUser};
use crate::link::{Link, LinkNotification};
use crate::listing::Found;
use crate::message::{LINK_REMOVED, Notification};
use crate::recording::{FileView, Recording, RecordingChange, RecordingView};
use crate::time::rfc3339;

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
    /// Another notification, for an app user whose link became active after its cause.
    AtActivation {
        /// The other notification.
        notification: Box<RecordingNotification>,
        /// When the link became active, which makes it a new notification.
        activated_at: Timestamp,
    },
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
        /// When it was observed, which distinguishes repeated changes.
        at: Timestamp,
    },
}

impl RecordingNotification {
    /// Returns the notification for an app user whose link became active after its cause.
    pub fn at_activation(self, activated_at: Timestamp) -> Self {
        Self::AtActivation { notification: Box::new(self), activated_at }
    }

    /// Returns the notification's `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Detected => "recording.detected",
            Self::FileStored(_) => "recording.file_stored",
            Self::Stored => "recording.stored",
            Self::Failed { .. } => "recording.failed",
            Self::Changed { .. } => "recording.changed",
            Self::AtActivation { notification, .. } => notification.type_name(),
        }
    }

    /// Returns the file that the notification is about, if any.
    pub fn file(&self) -> Option<&FileId> {
        match self {
            Self::Detected | Self::Stored | Self::Changed { .. } => None,
            Self::FileStored(file) | Self::Failed { file, .. } => Some(file),
            Self::AtActivation { notification, .. } => notification.file(),
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed { reason, .. } => Some(reason),
            Self::AtActivation { notification, .. } => notification.reason(),
            _ => None,
        }
    }

    /// Returns the notification id for one app user.
    pub fn id(&self, app_user: &AppUserId, recording: &Recording) -> String {
        let recording_id = recording.id();
        let subject = match self.file() {
            Some(file) => format!("{recording_id}/{file}"),
            None => recording_id.to_string(),
        };
        notification_id(self.type_name(), app_user, &subject, &self.version(recording))
    }

    /// Distinguishes notifications of one type about one subject.
    fn version(&self, recording: &Recording) -> String {
        match self {
            Self::Detected => "1".to_owned(),
            Self::FileStored(file) => {
                // A file that has expired may be stored again.
                let stored = recording.files.iter().find(|it| it.metadata.id == *file);
                stored.map_or(0, |file| file.expirations).saturating_add(1).to_string()
            }
            Self::Stored => recording.stored_file_ids(),
            // An event, a list and Reelay's own request say the same.
            Self::Changed { change: change @ RecordingChange::TrashedByReelay, .. } => {
                change.name().to_owned()
            }
            Self::Changed { change, at } => format!("{} {}", change.name(), at.as_millisecond()),
            Self::Failed { reason, attempt, .. } => format!("{attempt} {reason}"),
            Self::AtActivation { notification, activated_at } => {
                format!("{} activated {activated_at}", notification.version(recording))
            }
        }
    }

    /// Renders the notification for the app user of a link.
    pub fn render(
        &self,
        link: &Link,
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
        let app_user = &link.app_user;
        let mut view = recording.view(bucket);
        view.link_ids = Some(vec![link.id.clone()]);
        let reason = self.reason();
        let file =
            self.file().and_then(|id| view.files.iter().find(|file| file.id == *id).cloned());
        if view.files.len() > MAX_INLINE_FILES {
            view.files_total = Some(view.files.len());
            view.files_truncated = Some(true);
            // The others may have been read in part.
            let in_full = recording.files.iter().take(MAX_INLINE_FILES);
            let in_full: BTreeSet<&FileId> = in_full.map(|file| &file.metadata.id).collect();
            view.files.retain(|file| in_full.contains(&file.id));
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
        let (app_user_id, zoom_user) = (app_user.clone(), recording.zoom_user.clone());
        Notification {
            id: self.id(app_user, recording),
            event_type: self.type_name().to_owned(),
            timestamp: now,
            body: body(self.type_name(), now, &json!(data)),
            app_user_id,
            zoom_user,
            recording_id: Some(recording.id()),
        }
    }
}

impl LinkNotification {
    /// Returns the notification's `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Activated(_) => "link.activated",
            Self::ReauthorizationRequired(_) => "link.reauthorization_required",
            Self::Removed(_) => LINK_REMOVED,
            Self::IssueChanged(_) => "link.issue",
        }
    }

    /// Renders the notification with its final body. `revision` rises with every change of the grant, so
    /// that a repeated change of the same link gets its own notification id. `removal` says how removed links
    /// ended.
    pub fn render(&self, revision: u64, removal: &Removal, now: Timestamp) -> Notification {
        let (link, view) = match self {
            Self::Activated(link)
            | Self::ReauthorizationRequired(link)
            | Self::IssueChanged(link) => (link, link.view()),
            Self::Removed(link) => (link, link.removed_view(removal)),
        };
        let version = format!("{} {revision}", link.created_at);
        let id = notification_id(self.type_name(), &link.app_user, link.id.as_str(), &version);
        let data = json!({"app_user_id": link.app_user, "sequence": revision, "link": view});
        Notification {
            id,
            event_type: self.type_name().to_owned(),
            timestamp: now,
            body: body(self.type_name(), now, &data),
            app_user_id: link.app_user.clone(),
            zoom_user: link.zoom_user.clone(),
            recording_id: None,
        }
    }
}

/// `backfill.completed`: every Zoom user of a backfill that the app requested has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillCompleted {
    /// Id of the request.
    pub backfill_id: String,
    /// The app user who requested it.
    pub app_user: AppUserId,
    /// First requested day (UTC).
    pub from: Date,
    /// Last requested day (UTC).
    pub to: Date,
    /// Number of listed recordings, including known ones.
    pub found: Found,
    /// Whether all of it was listed, as far as Zoom says.
    pub is_complete: bool,
    /// When the last Zoom user was read.
    pub completed_at: Timestamp,
}

impl BackfillCompleted {
    /// Renders the notification. The same backfill has the same notification. `zoom_user` is one of the app
    /// user's.
    pub fn render(&self, zoom_user: &ZoomUser) -> Notification {
        let name = "backfill.completed";
        let data = json!({
            "app_user_id": self.app_user, "backfill_id": self.backfill_id,
            "from": self.from, "to": self.to, "recordings": self.found.recordings,
            "files": self.found.files, "complete": self.is_complete,
        });
        Notification {
            id: notification_id(name, &self.app_user, &self.backfill_id, "1"),
            event_type: name.to_owned(),
            timestamp: self.completed_at,
            body: body(name, self.completed_at, &data),
            app_user_id: self.app_user.clone(),
            zoom_user: zoom_user.clone(),
            recording_id: None,
        }
    }
}

fn body(name: &str, at: Timestamp, data: &Value) -> String {
    json!({"type": name, "timestamp": rfc3339(at), "data": data}).to_string()
}

fn notification_id(name: &str, app_user: &AppUserId, subject: &str, version: &str) -> String {
    let mut hash = Sha256::new();
    for part in [name, app_user.as_str(), subject, version] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    format!("msg_{}", URL_SAFE_NO_PAD.encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::erasure::RemovalReason;
    use crate::ids::{LinkId, ZoomUser};
    use crate::link::{EmailAddress, Link, LinkStatus};
    use crate::recording::{File, FileMetadata, FileStatus, RecordingMetadata, ZoomState};

    fn recording(files: usize) -> Recording {
        Recording {
            zoom_user: ZoomUser { account_id: "A".parse().unwrap(), user_id: "u".parse().unwrap() },
            metadata: RecordingMetadata {
                meeting_uuid: "m==".parse().unwrap(),
                meeting_id: Some("1".into()),
                topic: Some("t".into()),
                kind: None,
                start_time: "2026-01-01T09:00:00Z".parse().unwrap(),
                timezone: None,
                duration_minutes: Some(1),
            },
            zoom_state: ZoomState::Present,
            sequence: 0,
            updated_at: now(),
            files: (0..files)
                .map(|n| File {
                    metadata: FileMetadata::unknown(format!("f{n}").parse().unwrap()),
                    status: FileStatus::Stored,
                    reason: None,
                    bytes_stored: 1,
                    stored_at: Some(now()),
                    declared_when_stored: None,
                    key: Some("k".into()),
                    crc64nvme: Some("c".into()),
                    attempts: 1,
                    expirations: 0,
                    next_attempt_at: None,
                })
                .collect(),
        }
    }

    fn link() -> Link {
        let app_user: AppUserId = "alice".parse().unwrap();
        let zoom_user = recording(0).zoom_user;
        Link {
            id: LinkId::derive(&app_user, &zoom_user),
            app_user,
            zoom_user,
            display_name: "Sample Host".into(),
            email: EmailAddress::new("alice@example.test"),
            previous_zoom_users: Vec::new(),
            status: LinkStatus::Active,
            created_at: now(),
            consented_at: None,
            activated_at: Some(now()),
            pending_until: None,
            cut_off_at: None,
            coverage: Default::default(),
            inactive_since: None,
            issue: None,
            last_event_at: None,
        }
    }

    fn now() -> Timestamp {
        "2026-01-01T10:02:03.5Z".parse().unwrap()
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
        let at = |activated_at| {
            [RecordingNotification::Detected, RecordingNotification::Stored]
                .map(|it| it.at_activation(activated_at).id(&alice, &two))
        };
        let later = now() + jiff::SignedDuration::from_secs(1);
        let ids: BTreeSet<String> = [at(now()), at(now()), at(later)]
            .into_iter()
            .flatten()
            .chain(
                [RecordingNotification::Detected, RecordingNotification::Stored]
                    .map(|it| it.id(&alice, &two)),
            )
            .collect();
        assert_eq!(ids.len(), 6);
    }

    #[test]
    fn body_follows_the_contract() {
        let notification = RecordingNotification::FileStored("f1".parse().unwrap()).render(
            &link(),
            &recording(2),
            3,
            "bucket",
            now(),
        );
        let body: Value = serde_json::from_str(&notification.body).unwrap();
        assert_eq!(body["type"], "recording.file_stored");
        assert_eq!(body["timestamp"], "2026-01-01T10:02:03.500Z");
        assert_eq!(body["data"]["app_user_id"], "alice");
        assert_eq!(body["data"]["sequence"], 3);
        assert_eq!(body["data"]["recording"]["link_ids"], json!([link().id]));
        assert_eq!(body["data"]["recording"]["files"].as_array().unwrap().len(), 2);
        assert_eq!(body["data"]["file"]["id"], "f1");
        assert!(body["data"]["recording"]["files"][0].get("url").is_none());
        assert!(notification.id.starts_with("msg_"));
    }

    #[test]
    fn files_are_truncated_beyond_100() {
        let notification =
            RecordingNotification::Stored.render(&link(), &recording(101), 1, "bucket", now());
        let body: Value = serde_json::from_str(&notification.body).unwrap();
        let rendered = &body["data"]["recording"];
        assert_eq!(rendered["files"].as_array().unwrap().len(), 100);
        assert_eq!(
            (rendered["files_truncated"].as_bool(), rendered["files_total"].as_u64()),
            (Some(true), Some(101))
        );
        let complete =
            RecordingNotification::Stored.render(&link(), &recording(100), 1, "bucket", now());
        assert!(!complete.body.contains("files_truncated"));
    }

    #[test]
    fn completed_backfill_has_one_notification() {
        let completed = BackfillCompleted {
            backfill_id: "bf_1".into(),
            app_user: "alice".parse().unwrap(),
            from: "2026-01-01".parse().unwrap(),
            to: "2026-01-31".parse().unwrap(),
            found: Found { recordings: 2, files: 5 },
            is_complete: true,
            completed_at: now(),
        };
        let zoom_user =
            ZoomUser { account_id: "A".parse().unwrap(), user_id: "u".parse().unwrap() };
        let notification = completed.render(&zoom_user);
        assert_eq!(notification, completed.render(&zoom_user));
        let body: Value = serde_json::from_str(&notification.body).unwrap();
        assert_eq!(
            body,
            json!({
                "type": "backfill.completed", "timestamp": "2026-01-01T10:02:03.500Z",
                "data": {
                    "app_user_id": "alice", "backfill_id": "bf_1", "from": "2026-01-01",
                    "to": "2026-01-31", "recordings": 2, "files": 5, "complete": true,
                },
            })
        );
    }

    #[test]
    fn link_notification_ids_depend_on_the_revision() {
        let link = link();
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
        assert_eq!(body["data"]["link"]["erase_at"], "2026-01-01T10:02:03.500Z");
        let body: Value = serde_json::from_str(&render(&activated, 1).body).unwrap();
        assert_eq!(body["data"]["link"]["status"], "active");
        assert_eq!(body["data"]["link"]["removed_reason"], Value::Null);
        assert!(!removed.body.contains("alice@example.test"));
        assert_eq!(body["type"], "link.activated");
        assert_eq!(body["data"]["link"]["zoom"]["display_name"], "Sample Host");
        assert_eq!(body["data"]["link"]["zoom"]["account_id"], "A");
    }
}
