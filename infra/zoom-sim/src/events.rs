//! Event bodies with the key order of live ones.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::iso;
use crate::json::{Object, object};
use crate::recordings::{Recording, RecordingFile};
use crate::users::User;

/// A change of a recording's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordingChange {
    /// Into the trash: `recording.trashed`.
    Trash,
    /// Permanently: `recording.deleted`.
    Delete,
    /// Out of the trash: `recording.recovered`.
    Recover,
}

impl RecordingChange {
    fn event_suffix(self) -> &'static str {
        match self {
            Self::Trash => "trashed",
            Self::Delete => "deleted",
            Self::Recover => "recovered",
        }
    }
}

/// A file and the download URL that this event has for it.
pub(crate) type FileUrl<'a> = (&'a RecordingFile, String);

fn total_size(files: &[FileUrl<'_>], audio: &[FileUrl<'_>]) -> u64 {
    let all = files.iter().chain(audio);
    all.map(|(file, _)| file.declared_size).sum()
}

/// `recording.completed`: `payload` comes first.
pub(crate) fn completed(
    recording: &Recording,
    files: &[FileUrl<'_>],
    audio: &[FileUrl<'_>],
    token: &str,
    at: Timestamp,
) -> String {
    let list: Vec<_> = files.iter().map(|(file, url)| recording.file_json(file, url)).collect();
    let participants: Vec<_> =
        audio.iter().map(|(file, url)| recording.participant_json(file, url)).collect();
    let recorded = object! {
        "uuid": recording.uuid, "id": recording.meeting_id, "account_id": recording.account_id,
        "host_id": recording.host_id, "topic": recording.topic, "type": 2,
        "start_time": iso(recording.start_time), "timezone": recording.timezone,
        "host_email": recording.host_email, "duration": recording.duration_minutes,
        "total_size": total_size(files, audio), "recording_count": files.len() + audio.len(),
        "share_url": recording.share_url(), "recording_files": list,
        "participant_audio_files": (!participants.is_empty()).then_some(participants),
        "password": recording.password(), "recording_play_passcode": recording.passcode(), "on_prem": false,
    };
    let body = object! {
        "payload": object! { "account_id": recording.account_id, "object": recorded },
        "event_ts": at.as_millisecond(), "event": "recording.completed", "download_token": token,
    };
    body.to_json()
}

/// `recording.transcript_completed`.
pub(crate) fn transcript_completed(
    recording: &Recording,
    files: &[FileUrl<'_>],
    token: &str,
    at: Timestamp,
) -> String {
    let recorded = summary(recording, Some(&recording.host_email), files);
    let body = object! {
        "event": "recording.transcript_completed", "event_ts": at.as_millisecond(), "download_token": token,
        "payload": object! { "account_id": recording.account_id, "object": recorded },
    };
    body.to_json()
}

fn summary(recording: &Recording, host_email: Option<&String>, files: &[FileUrl<'_>]) -> Object {
    let list: Vec<_> =
        files.iter().map(|(file, url)| recording.file_json_size_first(file, url)).collect();
    object! {
        "id": recording.meeting_id, "uuid": recording.uuid, "host_id": recording.host_id,
        "account_id": recording.account_id, "host_email": host_email, "topic": recording.topic,
        "type": 2, "start_time": iso(recording.start_time), "timezone": recording.timezone,
        "duration": recording.duration_minutes, "share_url": recording.share_url(),
        "total_size": total_size(files, &[]), "recording_count": files.len(), "recording_files": list,
    }
}

fn operated(account_id: &str, operator: &User) -> Object {
    object! { "account_id": account_id, "operator": operator.email, "operator_id": operator.id }
}

/// `recording.renamed`; `recording` has the new topic already.
pub(crate) fn renamed(
    recording: &Recording,
    old_topic: &str,
    operator: &User,
    at: Timestamp,
) -> String {
    let with_topic = |topic: &str| {
        object! {
            "uuid": recording.uuid, "id": recording.meeting_id, "topic": topic, "type": 2,
            "host_id": recording.host_id,
        }
    };
    let payload = operated(&recording.account_id, operator)
        .put("time_stamp", at.as_millisecond())
        .put("object", with_topic(&recording.topic))
        .put("old_object", with_topic(old_topic));
    let body = object! {
        "event": "recording.renamed", "event_ts": at.as_millisecond(), "payload": payload,
    };
    body.to_json()
}

/// `recording.trashed`, `.deleted`, `.recovered`; `deleted` has no token.
pub(crate) fn changed(
    recording: &Recording,
    change: RecordingChange,
    files: &[FileUrl<'_>],
    token: &str,
    operator: &User,
    at: Timestamp,
) -> String {
    let payload =
        operated(&recording.account_id, operator).put("object", summary(recording, None, files));
    let body = object! {
        "event": format!("recording.{}", change.event_suffix()), "event_ts": at.as_millisecond(),
        "download_token": (change != RecordingChange::Delete).then_some(token), "payload": payload,
    };
    body.to_json()
}

/// `recording.batch_*`, which names no host. Each meeting comes with the ids of its changed files.
pub(crate) fn batch_changed(
    change: RecordingChange,
    account_id: &str,
    meetings: &[(String, Vec<String>)],
    operator: &User,
    at: Timestamp,
) -> String {
    let payload = operated(account_id, operator);
    let payload = if change == RecordingChange::Trash {
        let uuids: Vec<_> = meetings.iter().map(|(uuid, _)| uuid).collect();
        payload
            .put("operation", "trash_user_recordings")
            .put("object", object! { "meeting_uuids": uuids })
    } else {
        let list: Vec<_> = meetings
            .iter()
            .map(|(uuid, files)| object! { "meeting_uuid": uuid, "recording_file_ids": files })
            .collect();
        payload.put("object", object! { "meetings": list })
    };
    let body = object! {
        "event": format!("recording.batch_{}", change.event_suffix()),
        "event_ts": at.as_millisecond(), "payload": payload,
    };
    body.to_json()
}

/// `app_deauthorized`. Receivers must ignore the legacy signature.
pub(crate) fn app_deauthorized(
    user: &User,
    client_id: &str,
    legacy_signature: &str,
    at: Timestamp,
) -> String {
    let time = at.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
    let payload = object! {
        "account_id": user.account_id, "user_id": user.id, "signature": legacy_signature,
        "deauthorization_time": time, "client_id": client_id,
    };
    let body = object! {
        "event": "app_deauthorized", "event_ts": at.as_millisecond(), "payload": payload,
    };
    body.to_json()
}

/// `endpoint.url_validation`.
pub(crate) fn url_validation(plain_token: &str, at: Timestamp) -> String {
    let body = object! {
        "payload": object! { "plainToken": plain_token }, "event_ts": at.as_millisecond(),
        "event": "endpoint.url_validation",
    };
    body.to_json()
}
