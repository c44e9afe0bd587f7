//! Parsing of a meeting with its files: the `object` of an event, an entry of a user's list, or a meeting's
//! details. A value of an unexpected kind costs that value, a file that is no object costs that file, and only a
//! missing UUID costs the meeting.

use std::collections::HashSet;
use std::str::FromStr;

use secrecy::SecretString;
use serde::Deserialize as _;
use serde_json::Value;

use super::event::EventError;
use super::redact::ENCRYPTED_SOURCE;
use super::value::{integer, positive, text, timestamp, topic};
use crate::ids::{AccountId, FileId, MeetingUuid, UserId, ZoomUser};
use crate::observation::{FileObservation, Observation, ObservedAt, RecordingDetails};
use crate::recording::{FileMetadata, RecordingKind};
use crate::source_cipher::EncryptedSource;

/// A meeting's lists of files, each with the type of files that name none.
const FILE_LISTS: [(&str, Option<&str>); 2] =
    [("recording_files", None), ("participant_audio_files", Some("audio_only_each_participant"))];

/// A parsed meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedMeeting {
    /// The observation of the recording.
    pub observation: Observation,
    /// Number of list entries that are no files, to be counted.
    pub ignored_files: usize,
}

/// Parses a redacted event about one meeting.
///
/// # Errors
/// [`EventError`], with the field that is missing or malformed.
pub fn parse_event(event: &Value, time: ObservedAt) -> Result<ParsedMeeting, EventError> {
    let account_id = account_id(event).ok_or(EventError::Field("payload.account_id"))?;
    let user_id: UserId =
        id(event, "/payload/object/host_id").ok_or(EventError::Field("payload.object.host_id"))?;
    let object = event.pointer("/payload/object").unwrap_or(&Value::Null);
    parse_meeting(ZoomUser { account_id, user_id }, object, time)
        .ok_or(EventError::Field("payload.object.uuid"))
}

/// The account that an event names.
pub(super) fn account_id(event: &Value) -> Option<AccountId> {
    id(event, "/payload/account_id").or_else(|| id(event, "/payload/object/account_id"))
}

/// The id at a JSON pointer, if it is valid.
pub(super) fn id<T: FromStr>(event: &Value, pointer: &str) -> Option<T> {
    event.pointer(pointer).and_then(text)?.parse().ok()
}

/// Parses a meeting. `None` if it has no valid UUID.
pub fn parse_meeting(host: ZoomUser, meeting: &Value, time: ObservedAt) -> Option<ParsedMeeting> {
    let value = |name| meeting.get(name);
    let meeting_uuid: MeetingUuid = value("uuid").and_then(text)?.parse().ok()?;
    let (listed, ignored_files) = listed_files(&meeting_uuid, meeting);
    let files = listed.into_iter().map(|(metadata, file)| {
        let source = file.get(ENCRYPTED_SOURCE);
        let source = source.and_then(|source| EncryptedSource::deserialize(source).ok());
        FileObservation { metadata, source }
    });
    let files = files.collect();
    let details = RecordingDetails {
        meeting_id: value("id").and_then(text),
        topic: value("topic").and_then(topic),
        kind: value("type").and_then(integer).and_then(RecordingKind::from_zoom_type),
        start_time: value("start_time").and_then(timestamp),
        timezone: value("timezone").and_then(text),
        duration_minutes: value("duration").and_then(positive),
    };
    let observation = Observation { host, meeting_uuid, details, zoom_state: None, files, time };
    Some(ParsedMeeting { observation, ignored_files })
}

/// A file in a meeting of the REST API.
#[derive(Debug)]
pub struct ListedFile {
    /// Download URL, which is a credential; absent while Zoom offers none.
    pub url: Option<SecretString>,
    /// Zoom's metadata.
    pub metadata: FileMetadata,
}

/// Finds a file by id in a meeting of the REST API.
pub fn find_listed_file(meeting: &Value, uuid: &MeetingUuid, id: &FileId) -> Option<ListedFile> {
    let (files, _) = listed_files(uuid, meeting);
    files.into_iter().find(|(metadata, _)| metadata.id == *id).map(|(metadata, file)| {
        let url = file.get("download_url").and_then(Value::as_str).map(SecretString::from);
        ListedFile { url, metadata }
    })
}

/// Parses the files of a meeting, without repeated ids. Also returns the number of entries that are no files.
fn listed_files<'a>(
    uuid: &MeetingUuid,
    meeting: &'a Value,
) -> (Vec<(FileMetadata, &'a Value)>, usize) {
    let mut files = Vec::new();
    let (mut seen, mut ignored) = (HashSet::new(), 0);
    for (list, default_type) in FILE_LISTS {
        for file in meeting.get(list).and_then(Value::as_array).into_iter().flatten() {
            if !file.is_object() {
                ignored += 1;
                continue;
            }
            let mut metadata = parse_file(uuid, file, default_type);
            // Files without a valid id may be equal in all fields that the derived id depends on.
            let mut nth = 1;
            while zoom_id(file).is_none() && seen.contains(&metadata.id) {
                nth += 1;
                metadata.id = derived_id(uuid, file, nth);
            }
            if seen.insert(metadata.id.clone()) {
                files.push((metadata, file));
            }
        }
    }
    (files, ignored)
}

/// Removes the files of a meeting of the REST API for which `is_kept` is false. Files without a valid id stay,
/// because the derived ids depend on the others.
pub fn retain_files(meeting: &mut Value, is_kept: impl Fn(&FileId) -> bool) {
    for (list, _) in FILE_LISTS {
        if let Some(files) = meeting.get_mut(list).and_then(Value::as_array_mut) {
            files.retain(|file| zoom_id(file).is_none_or(|id| is_kept(&id)));
        }
    }
}

fn parse_file(uuid: &MeetingUuid, file: &Value, default_type: Option<&str>) -> FileMetadata {
    let value = |name| file.get(name);
    let status = value("status").and_then(text);
    FileMetadata {
        id: zoom_id(file).unwrap_or_else(|| derived_id(uuid, file, 1)),
        file_type: value("file_type").and_then(text).map(|name| name.to_ascii_uppercase()),
        recording_type: value("recording_type")
            .and_then(text)
            .or_else(|| default_type.map(str::to_owned)),
        extension: value("file_extension").and_then(text).and_then(|name| extension(&name)),
        participant: value("file_name").and_then(text),
        recording_start: value("recording_start").and_then(timestamp),
        recording_end: value("recording_end").and_then(timestamp),
        size: value("file_size").and_then(positive),
        // Old events have no status. Only `processing` means that a download would come too early.
        is_processing: Some(status.is_some_and(|it| it.eq_ignore_ascii_case("processing"))),
    }
}

/// Zoom's id of a file, if it is valid in an object key.
fn zoom_id(file: &Value) -> Option<FileId> {
    file.get("id").and_then(text)?.parse().ok()
}

/// The id of a file without a valid one. `nth` counts files that are equal in all that it depends on.
fn derived_id(uuid: &MeetingUuid, file: &Value, nth: usize) -> FileId {
    let field = |name| file.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut recording_type = field("recording_type").to_owned();
    if nth > 1 {
        recording_type.push_str(&format!(" {nth}"));
    }
    FileId::derive(uuid, field("recording_start"), field("file_type"), &recording_type)
}

/// Returns the extension in lower case, if it is valid in an object key.
fn extension(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let is_valid =
        (1..=8).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_valid.then_some(name)
}

#[cfg(test)]
mod tests;
