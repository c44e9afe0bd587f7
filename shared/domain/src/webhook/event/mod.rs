//! Parsing of Zoom's events from their redacted bodies.
//!
//! Zoom's JSON varies (numbers as strings, absent fields, unknown fields), so parsing is lenient and ignores
//! fields that Reelay does not use.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Number, Value};

use crate::ids::{AccountId, FileId, MeetingUuid, UserId, ZoomUser};
use crate::recording::{FileMetadata, RecordingMetadata};
use crate::source_cipher::EncryptedSource;

/// Name of the event that announces completed files.
pub const RECORDING_COMPLETED: &str = "recording.completed";

/// Recording events to subscribe the Zoom app to. `endpoint.url_validation` needs no subscription, and
/// `app_deauthorized` has its own endpoint.
pub const SUBSCRIBED_EVENTS: [&str; 9] = [
    RECORDING_COMPLETED,
    "recording.transcript_completed",
    "recording.renamed",
    "recording.trashed",
    "recording.recovered",
    "recording.deleted",
    "recording.batch_trashed",
    "recording.batch_recovered",
    "recording.batch_deleted",
];

/// Kind of an event, determined by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// `endpoint.url_validation`.
    EndpointValidation,
    /// `recording.completed` or `recording.transcript_completed`.
    FilesCompleted,
    /// `recording.renamed`, `.trashed`, `.recovered`, `.deleted`, and the batch events.
    RecordingsChanged,
    /// `app_deauthorized`: the Zoom user removed the app.
    Deauthorized,
    /// Any other event: acknowledged and counted; the body is dropped.
    Other,
}

impl EventKind {
    /// Returns the kind of the event with this name.
    pub fn from_name(name: &str) -> Self {
        match name {
            "endpoint.url_validation" => Self::EndpointValidation,
            RECORDING_COMPLETED | "recording.transcript_completed" => Self::FilesCompleted,
            "recording.renamed"
            | "recording.trashed"
            | "recording.recovered"
            | "recording.deleted"
            | "recording.batch_trashed"
            | "recording.batch_recovered"
            | "recording.batch_deleted" => Self::RecordingsChanged,
            "app_deauthorized" => Self::Deauthorized,
            _ => Self::Other,
        }
    }
}

/// A parsed `app_deauthorized` event. Its time is ignored, because its position varies: Reelay verifies at
/// Zoom whether the current grant is affected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deauthorized {
    /// The Zoom user who removed the app.
    pub zoom_user: ZoomUser,
    /// Client id of the removed Zoom app, if the event contains it.
    pub client_id: Option<String>,
}

impl Deauthorized {
    /// Parses a redacted event.
    ///
    /// # Errors
    /// [`EventError`], with the field that is missing or malformed.
    pub fn parse(event: &Value) -> Result<Self, EventError> {
        let text = |pointer| event.pointer(pointer).and_then(Value::as_str);
        let account = text("/payload/account_id").ok_or(EventError::Field("payload.account_id"))?;
        let user = text("/payload/user_id").ok_or(EventError::Field("payload.user_id"))?;
        Ok(Self {
            zoom_user: ZoomUser {
                account_id: account.parse().map_err(|_| EventError::Field("payload.account_id"))?,
                user_id: user.parse().map_err(|_| EventError::Field("payload.user_id"))?,
            },
            client_id: text("/payload/client_id").map(str::to_owned),
        })
    }
}

/// The body is not a JSON object with a string `event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not a JSON object with a string \"event\"")]
pub struct InvalidEnvelope;

/// Parses a body into the event's name and the whole event.
///
/// # Errors
/// [`InvalidEnvelope`] if the body is not a JSON object with a string `event`.
pub fn parse_envelope(body: &[u8]) -> Result<(String, Value), InvalidEnvelope> {
    let event: Value = serde_json::from_slice(body).map_err(|_| InvalidEnvelope)?;
    let name = event.as_object().and_then(|fields| fields.get("event")).and_then(Value::as_str);
    let name = name.ok_or(InvalidEnvelope)?.to_owned();
    Ok((name, event))
}

/// Why an event could not be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A required field is missing or malformed.
    #[error("the event's {0} is missing or malformed")]
    Field(&'static str),
}

/// A parsed `recording.completed` or `recording.transcript_completed` event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesCompleted {
    /// Host of the meeting: (`payload.account_id`, `payload.object.host_id`).
    pub host: ZoomUser,
    /// Metadata of the recording.
    pub recording: RecordingMetadata,
    /// The completed files with their download sources; ids are unique.
    pub files: Vec<(FileMetadata, Option<EncryptedSource>)>,
    /// `event_ts`, in epoch milliseconds; 0 if absent.
    pub event_ts: i64,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    event_ts: Option<Value>,
    payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    account_id: String,
    object: Value,
}

/// A meeting with its files, in the form that webhooks and the REST API share.
#[derive(Deserialize)]
struct Meeting {
    uuid: String,
    #[serde(default)]
    id: Option<Value>,
    host_id: String,
    #[serde(default)]
    topic: Option<String>,
    #[serde(default)]
    start_time: Option<String>,
    #[serde(default)]
    duration: Option<Value>,
    #[serde(default)]
    recording_files: Option<Vec<Value>>,
    #[serde(default)]
    participant_audio_files: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    recording_start: Option<String>,
    #[serde(default)]
    file_type: Option<String>,
    #[serde(default)]
    file_extension: Option<String>,
    #[serde(default)]
    file_size: Option<Value>,
    #[serde(default)]
    recording_type: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    encrypted_source: Option<EncryptedSource>,
}

impl File {
    /// Returns whether Zoom's id is valid; otherwise an id is derived.
    fn has_valid_id(&self) -> bool {
        self.id.as_deref().is_some_and(|id| id.parse::<FileId>().is_ok())
    }
}

impl FilesCompleted {
    /// Parses a redacted event.
    ///
    /// # Errors
    /// [`EventError`], with the field that is missing or malformed.
    pub fn parse(event: &Value) -> Result<Self, EventError> {
        let body = Body::deserialize(event).map_err(|_| EventError::Field("payload"))?;
        let account_id: AccountId =
            body.payload.account_id.parse().map_err(|_| EventError::Field("payload.account_id"))?;
        let event_ts = body.event_ts.as_ref().and_then(integer).unwrap_or(0);
        Self::parse_meeting(account_id, &body.payload.object, event_ts)
    }

    /// Parses a meeting with its files, the `object` of an event.
    fn parse_meeting(
        account_id: AccountId,
        object: &Value,
        event_ts: i64,
    ) -> Result<Self, EventError> {
        let meeting =
            Meeting::deserialize(object).map_err(|_| EventError::Field("payload.object"))?;
        let user_id: UserId =
            meeting.host_id.parse().map_err(|_| EventError::Field("payload.object.host_id"))?;
        let uuid: MeetingUuid =
            meeting.uuid.parse().map_err(|_| EventError::Field("payload.object.uuid"))?;

        let meeting_files = meeting.recording_files.unwrap_or_default();
        let participant_files = meeting.participant_audio_files.unwrap_or_default();
        let mut files: Vec<(FileMetadata, Option<EncryptedSource>)> =
            Vec::with_capacity(meeting_files.len() + participant_files.len());
        let mut seen = std::collections::HashSet::new();
        let listed = meeting_files.iter().map(|file| (file, None));
        let listed = listed.chain(
            participant_files.iter().map(|file| (file, Some("audio_only_each_participant"))),
        );
        let mut first_start: Option<Timestamp> = None;
        for (value, default_type) in listed {
            let file = File::deserialize(value)
                .map_err(|_| EventError::Field("payload.object.recording_files"))?;
            first_start =
                first_start.or_else(|| file.recording_start.as_deref().and_then(timestamp));
            // Files that Zoom still processes get an event of their own later. Old events have no status.
            if file
                .status
                .as_deref()
                .is_some_and(|status| !status.eq_ignore_ascii_case("completed"))
            {
                continue;
            }
            let mut metadata = file_facts(&uuid, &file, default_type);
            // Files without a valid id may be equal in all fields that the derived id depends on.
            let mut nth = 1;
            while !file.has_valid_id() && seen.contains(&metadata.id) {
                nth += 1;
                let start = file.recording_start.as_deref().unwrap_or_default();
                metadata.id = FileId::derive(
                    &uuid,
                    start,
                    &metadata.file_type,
                    &format!("{:?} {nth}", metadata.recording_type),
                );
            }
            if seen.insert(metadata.id.clone()) {
                files.push((metadata, file.encrypted_source));
            }
        }

        let start_time = meeting
            .start_time
            .as_deref()
            .and_then(timestamp)
            .or(first_start)
            .or_else(|| Timestamp::from_millisecond(event_ts).ok().filter(|_| event_ts > 0))
            .ok_or(EventError::Field("payload.object.start_time"))?;
        Ok(Self {
            host: ZoomUser { account_id, user_id },
            recording: RecordingMetadata {
                meeting_id: meeting.id.as_ref().and_then(text),
                meeting_uuid: uuid,
                topic: meeting.topic.unwrap_or_default(),
                start_time,
                duration_minutes: meeting
                    .duration
                    .as_ref()
                    .and_then(integer)
                    .and_then(|n| u64::try_from(n).ok()),
            },
            files,
            event_ts,
        })
    }
}

/// A file in a meeting of the REST API.
#[derive(Debug)]
pub struct ListedFile {
    /// Download URL, which is a credential.
    pub url: SecretString,
    /// Size in bytes that Zoom declares.
    pub size: Option<u64>,
}

/// Finds a file by id in a meeting of the REST API.
pub fn find_listed_file(meeting: &Value, uuid: &MeetingUuid, id: &FileId) -> Option<ListedFile> {
    let lists = [
        ("recording_files", None),
        ("participant_audio_files", Some("audio_only_each_participant")),
    ];
    lists.iter().find_map(|(list, default_type)| {
        meeting.get(list)?.as_array()?.iter().find_map(|value| {
            let file = File::deserialize(value).ok()?;
            let metadata = file_facts(uuid, &file, *default_type);
            let url = value.get("download_url")?.as_str()?;
            (metadata.id == *id)
                .then(|| ListedFile { url: SecretString::from(url), size: metadata.size })
        })
    })
}

fn file_facts(uuid: &MeetingUuid, file: &File, default_type: Option<&str>) -> FileMetadata {
    let file_type = file.file_type.as_deref().unwrap_or_default().to_ascii_uppercase();
    let recording_start = file.recording_start.as_deref().unwrap_or_default();
    let recording_type = file.recording_type.as_deref().or(default_type).map(str::to_owned);
    let id = file.id.as_deref().and_then(|id| id.parse().ok()).unwrap_or_else(|| {
        let recording_type = file.recording_type.as_deref().unwrap_or_default();
        FileId::derive(
            uuid,
            recording_start,
            file.file_type.as_deref().unwrap_or_default(),
            recording_type,
        )
    });
    FileMetadata {
        id,
        extension: extension(file.file_extension.as_deref(), &file_type),
        file_type,
        recording_type,
        size: file.file_size.as_ref().and_then(integer).and_then(|n| u64::try_from(n).ok()),
    }
}

/// Returns the extension of the object key: Zoom's in lower case if it is valid, else one by file type.
fn extension(given: Option<&str>, file_type: &str) -> String {
    let given = given.unwrap_or_default().to_ascii_lowercase();
    if (1..=8).contains(&given.len()) && given.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return given;
    }
    match file_type {
        "MP4" => "mp4",
        "M4A" => "m4a",
        "CHAT" => "txt",
        "TRANSCRIPT" | "CC" => "vtt",
        "CSV" => "csv",
        "TIMELINE" | "SUMMARY" | "CHAT_MESSAGE" => "json",
        _ => "bin",
    }
    .to_owned()
}

/// Parses a time. Times before 1970 are ignored, because a negative year would break the object key.
fn timestamp(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|at| *at >= Timestamp::UNIX_EPOCH)
}

/// Converts a JSON number or a numeric string.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => {
            number.as_i64().or_else(|| number.as_f64().filter(|n| n.abs() < 9e15).map(|n| n as i64))
        }
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(Number::to_string(number)),
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
