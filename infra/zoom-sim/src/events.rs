//! The bodies of events, key by key as in the live ones.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::iso;
use crate::ordered::Object;
use crate::recordings::{FileStyle, Recording, RecordingFile};
use crate::users::User;

/// What a recording that is still running does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// `recording.started`
    Started,
    /// `recording.paused`
    Paused,
    /// `recording.resumed`
    Resumed,
    /// `recording.stopped`
    Stopped,
}

/// What is done with a recording's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposal {
    /// Into the trash: `recording.trashed`.
    Trash,
    /// For good: `recording.deleted`.
    Delete,
    /// Out of the trash: `recording.recovered`.
    Recover,
}

impl Disposal {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Trash => "trashed",
            Self::Delete => "deleted",
            Self::Recover => "recovered",
        }
    }
}

/// What happened to a user of the account, apart from this app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserChange {
    /// `user.deactivated`
    Deactivated,
    /// `user.deleted`
    Deleted,
    /// `user.disassociated`
    Disassociated,
}

/// A file with the URL that this event gives it.
pub(crate) type WithUrl<'a> = (&'a RecordingFile, String);

fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

fn url_of((file, url): &WithUrl<'_>, recording: &Recording, style: FileStyle) -> Object {
    recording.file_json(file, style, url.clone())
}

fn total(files: &[WithUrl<'_>], audio: &[WithUrl<'_>]) -> u64 {
    files
        .iter()
        .chain(audio)
        .map(|(file, _)| file.declared_size)
        .sum()
}

/// `recording.completed` (4.1): begins with `payload`.
pub(crate) fn completed(
    recording: &Recording,
    files: &[WithUrl<'_>],
    audio: &[WithUrl<'_>],
    token: &str,
    at: Timestamp,
) -> String {
    let list = files
        .iter()
        .map(|file| url_of(file, recording, FileStyle::Full))
        .collect();
    let mut object = Object::new()
        .put("uuid", &recording.uuid)
        .put("id", recording.meeting_id)
        .put("account_id", &recording.account_id)
        .put("host_id", &recording.host_id)
        .put("topic", &recording.topic)
        .put("type", recording.kind)
        .put("start_time", iso(recording.start_time))
        .put("timezone", &recording.timezone)
        .put("host_email", &recording.host_email)
        .put("duration", recording.duration_minutes)
        .put("total_size", total(files, audio))
        .put("recording_count", files.len() + audio.len())
        .put("share_url", recording.share_url())
        .list("recording_files", list);
    if !audio.is_empty() {
        let list = audio
            .iter()
            .map(|(file, url)| recording.participant_json(file, url.clone()))
            .collect();
        object = object.list("participant_audio_files", list);
    }
    let object = object
        .put("password", recording.password())
        .put("recording_play_passcode", recording.passcode())
        .put("on_prem", false);
    Object::new()
        .object(
            "payload",
            Object::new()
                .put("account_id", &recording.account_id)
                .object("object", object),
        )
        .put("event_ts", millis(at))
        .put("event", "recording.completed")
        .put("download_token", token)
        .to_json()
}

/// `recording.transcript_completed` (4.5).
pub(crate) fn transcript_completed(
    recording: &Recording,
    files: &[WithUrl<'_>],
    token: &str,
    at: Timestamp,
) -> String {
    let object = brief(recording, true, files);
    Object::new()
        .put("event", "recording.transcript_completed")
        .put("event_ts", millis(at))
        .put("download_token", token)
        .object(
            "payload",
            Object::new()
                .put("account_id", &recording.account_id)
                .object("object", object),
        )
        .to_json()
}

fn brief(recording: &Recording, host_email: bool, files: &[WithUrl<'_>]) -> Object {
    Object::new()
        .put("id", recording.meeting_id)
        .put("uuid", &recording.uuid)
        .put("host_id", &recording.host_id)
        .put("account_id", &recording.account_id)
        .put_some("host_email", host_email.then_some(&recording.host_email))
        .put("topic", &recording.topic)
        .put("type", recording.kind)
        .put("start_time", iso(recording.start_time))
        .put("timezone", &recording.timezone)
        .put("duration", recording.duration_minutes)
        .put("share_url", recording.share_url())
        .put("total_size", total(files, &[]))
        .put("recording_count", files.len())
        .list(
            "recording_files",
            files
                .iter()
                .map(|file| url_of(file, recording, FileStyle::Brief))
                .collect(),
        )
}

/// `recording.started`, `.paused`, `.resumed`, `.stopped` (4.2).
pub(crate) fn progress(recording: &Recording, progress: Progress, at: Timestamp) -> String {
    let (start, end) = recording.span();
    let (event, end) = match progress {
        Progress::Started => ("recording.started", None),
        Progress::Paused => ("recording.paused", Some(end)),
        Progress::Resumed => ("recording.resumed", None),
        Progress::Stopped => ("recording.stopped", Some(end)),
    };
    let file = Object::new()
        .put("recording_start", iso(start))
        .put("recording_end", end.map(iso));
    let object = Object::new()
        .put("uuid", &recording.uuid)
        .put("id", recording.meeting_id)
        .put("host_id", &recording.host_id)
        .put("topic", &recording.topic)
        .put("type", recording.kind)
        .put("start_time", iso(recording.start_time))
        .put("timezone", &recording.timezone)
        .put("duration", recording.duration_minutes)
        .object("recording_file", file);
    Object::new()
        .put("event", event)
        .object(
            "payload",
            Object::new()
                .put("account_id", &recording.account_id)
                .object("object", object),
        )
        .put("event_ts", millis(at))
        .to_json()
}

fn operated(account_id: &str, operator: &User) -> Object {
    Object::new()
        .put("account_id", account_id)
        .put("operator", &operator.email)
        .put("operator_id", &operator.id)
}

/// `recording.renamed` (4.3); `recording` has the new topic already.
pub(crate) fn renamed(
    recording: &Recording,
    old_topic: &str,
    operator: &User,
    at: Timestamp,
) -> String {
    let named = |topic: &str| {
        Object::new()
            .put("uuid", &recording.uuid)
            .put("id", recording.meeting_id)
            .put("topic", topic)
            .put("type", recording.kind)
            .put("host_id", &recording.host_id)
    };
    let payload = operated(&recording.account_id, operator)
        .put("time_stamp", millis(at))
        .object("object", named(&recording.topic))
        .object("old_object", named(old_topic));
    Object::new()
        .put("event", "recording.renamed")
        .put("event_ts", millis(at))
        .object("payload", payload)
        .to_json()
}

/// `recording.trashed`, `.deleted`, `.recovered` (4.4); no token once a recording is deleted.
pub(crate) fn disposed(
    recording: &Recording,
    disposal: Disposal,
    files: &[WithUrl<'_>],
    token: &str,
    operator: &User,
    at: Timestamp,
) -> String {
    let payload =
        operated(&recording.account_id, operator).object("object", brief(recording, false, files));
    Object::new()
        .put("event", format!("recording.{}", disposal.word()))
        .put("event_ts", millis(at))
        .put_some(
            "download_token",
            (disposal != Disposal::Delete).then_some(token),
        )
        .object("payload", payload)
        .to_json()
}

/// `recording.batch_*` (4.7): no host anywhere. Each meeting comes with the ids of the files concerned.
pub(crate) fn batch(
    disposal: Disposal,
    account_id: &str,
    meetings: &[(String, Vec<String>)],
    operator: &User,
    at: Timestamp,
) -> String {
    let payload = operated(account_id, operator);
    let payload = match disposal {
        Disposal::Trash => {
            let uuids: Vec<&String> = meetings.iter().map(|(uuid, _)| uuid).collect();
            payload
                .put("operation", "trash_user_recordings")
                .object("object", Object::new().put("meeting_uuids", uuids))
        }
        Disposal::Delete | Disposal::Recover => {
            let list = meetings
                .iter()
                .map(|(uuid, files)| {
                    Object::new()
                        .put("meeting_uuid", uuid)
                        .put("recording_file_ids", files)
                })
                .collect();
            payload.object("object", Object::new().list("meetings", list))
        }
    };
    Object::new()
        .put("event", format!("recording.batch_{}", disposal.word()))
        .put("event_ts", millis(at))
        .object("payload", payload)
        .to_json()
}

/// `app_deauthorized` (4.8). The legacy signature is there to be ignored.
pub(crate) fn app_deauthorized(
    user: &User,
    client_id: &str,
    legacy_signature: &str,
    at: Timestamp,
) -> String {
    let payload = Object::new()
        .put("account_id", &user.account_id)
        .put("user_id", &user.id)
        .put("signature", legacy_signature)
        .put(
            "deauthorization_time",
            at.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string(),
        )
        .put("client_id", client_id);
    Object::new()
        .put("event", "app_deauthorized")
        .put("event_ts", millis(at))
        .object("payload", payload)
        .to_json()
}

/// `user.deactivated`, `.deleted`, `.disassociated` (4.9).
pub(crate) fn user_changed(
    user: &User,
    change: UserChange,
    operator: &User,
    at: Timestamp,
) -> String {
    let event = match change {
        UserChange::Deactivated => "user.deactivated",
        UserChange::Deleted => "user.deleted",
        UserChange::Disassociated => "user.disassociated",
    };
    let object = Object::new()
        .put("id", &user.id)
        .put("first_name", &user.first_name)
        .put("last_name", &user.last_name)
        .put("email", &user.email)
        .put("type", user.kind);
    let payload = operated(&user.account_id, operator).object("object", object);
    Object::new()
        .put("event", event)
        .put("event_ts", millis(at))
        .object("payload", payload)
        .to_json()
}

/// `endpoint.url_validation` (3.4).
pub(crate) fn url_validation(plain_token: &str, at: Timestamp) -> String {
    Object::new()
        .object("payload", Object::new().put("plainToken", plain_token))
        .put("event_ts", millis(at))
        .put("event", "endpoint.url_validation")
        .to_json()
}
