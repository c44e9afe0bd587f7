//! Zoom's events as far as Reelay acts on them, read from the redacted body.
//!
//! Zoom's shapes vary (numbers or strings, fields absent, keys in any order), and unknown fields
//! occur; what is not needed is not looked at.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Number, Value};

use crate::ids::{AccountId, FileId, MeetingUuid, UserId, ZoomUser};
use crate::recording::{FileMetadata, RecordingMetadata};
use crate::source_cipher::EncryptedSource;

/// The event that says that files are there.
pub const RECORDING_COMPLETED: &str = "recording.completed";

/// The events about recordings to which the Zoom app subscribes. The endpoint's validation comes by itself,
/// and `app_deauthorized` goes to an address of its own.
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

/// What kind of event it is, by its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// `endpoint.url_validation`.
    EndpointValidation,
    /// `recording.completed` or `recording.transcript_completed`: files are there to fetch.
    FilesCompleted,
    /// `recording.renamed`, `.trashed`, `.recovered`, `.deleted`, and their batches.
    RecordingsChanged,
    /// `app_deauthorized`: a Zoom user removed the app.
    Deauthorized,
    /// Anything else: acknowledged and counted, its body not kept.
    Other,
}

impl EventKind {
    /// Tells the kind from the event's name.
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

/// `app_deauthorized`, parsed. Where the event's time stands differs between Zoom's own sources, and it
/// is not needed: whether the event concerns the grant of today, Zoom itself is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deauthorized {
    /// Who removed the app.
    pub zoom_user: ZoomUser,
    /// Which app, if the event says so.
    pub client_id: Option<String>,
}

impl Deauthorized {
    /// Reads a redacted event.
    ///
    /// # Errors
    /// Names the field that is missing or malformed.
    pub fn parse(event: &Value) -> Result<Self, EventError> {
        let text = |pointer| event.pointer(pointer).and_then(Value::as_str);
        let account = text("/payload/account_id").ok_or(EventError::Field("payload.account_id"))?;
        let user = text("/payload/user_id").ok_or(EventError::Field("payload.user_id"))?;
        Ok(Self {
            zoom_user: ZoomUser {
                account_id: account
                    .parse()
                    .map_err(|_| EventError::Field("payload.account_id"))?,
                user_id: user
                    .parse()
                    .map_err(|_| EventError::Field("payload.user_id"))?,
            },
            client_id: text("/payload/client_id").map(str::to_owned),
        })
    }
}

/// A body whose signature held but which is no event: no JSON object with a string `event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not a JSON object with a string \"event\"")]
pub struct InvalidEnvelope;

/// The event's name and the whole body.
pub fn parse_envelope(body: &[u8]) -> Result<(String, Value), InvalidEnvelope> {
    let event: Value = serde_json::from_slice(body).map_err(|_| InvalidEnvelope)?;
    let name = event
        .as_object()
        .and_then(|fields| fields.get("event"))
        .and_then(Value::as_str);
    let name = name.ok_or(InvalidEnvelope)?.to_owned();
    Ok((name, event))
}

/// Why an event that should carry files can't be acted on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A needed field is absent or not of its form.
    #[error("the event's {0} is missing or malformed")]
    Field(&'static str),
}

/// `recording.completed` and `recording.transcript_completed`, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesCompleted {
    /// Whose recording it is: (`payload.account_id`, `payload.object.host_id`).
    pub host: ZoomUser,
    /// The meeting instance.
    pub recording: RecordingMetadata,
    /// The completed files, each id once.
    pub files: Vec<(FileMetadata, Option<EncryptedSource>)>,
    /// `event_ts`: when it happened, epoch milliseconds.
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

/// A meeting with its files, as webhooks and the REST API write it.
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
    /// Whether Zoom's id can be part of a key; else one is derived.
    fn has_usable_id(&self) -> bool {
        self.id
            .as_deref()
            .is_some_and(|id| id.parse::<FileId>().is_ok())
    }
}

impl FilesCompleted {
    /// Reads a redacted event.
    pub fn parse(event: &Value) -> Result<Self, EventError> {
        let body = Body::deserialize(event).map_err(|_| EventError::Field("payload"))?;
        let account_id: AccountId = body
            .payload
            .account_id
            .parse()
            .map_err(|_| EventError::Field("payload.account_id"))?;
        let event_ts = body.event_ts.as_ref().and_then(integer).unwrap_or(0);
        Self::parse_meeting(account_id, &body.payload.object, event_ts)
    }

    /// Reads a meeting with its files: the `object` of an event.
    fn parse_meeting(
        account_id: AccountId,
        object: &Value,
        event_ts: i64,
    ) -> Result<Self, EventError> {
        let meeting =
            Meeting::deserialize(object).map_err(|_| EventError::Field("payload.object"))?;
        let user_id: UserId = meeting
            .host_id
            .parse()
            .map_err(|_| EventError::Field("payload.object.host_id"))?;
        let uuid: MeetingUuid = meeting
            .uuid
            .parse()
            .map_err(|_| EventError::Field("payload.object.uuid"))?;

        let shared = meeting.recording_files.unwrap_or_default();
        let single = meeting.participant_audio_files.unwrap_or_default();
        let mut files: Vec<(FileMetadata, Option<EncryptedSource>)> =
            Vec::with_capacity(shared.len() + single.len());
        let mut seen = std::collections::HashSet::new();
        let listed = shared.iter().map(|file| (file, None));
        let listed = listed.chain(
            single
                .iter()
                .map(|file| (file, Some("audio_only_each_participant"))),
        );
        let mut first_start: Option<Timestamp> = None;
        for (value, default_type) in listed {
            let file = File::deserialize(value)
                .map_err(|_| EventError::Field("payload.object.recording_files"))?;
            first_start =
                first_start.or_else(|| file.recording_start.as_deref().and_then(timestamp));
            // Only what Zoom has finished can be fetched; a file without a status is from before
            // there was one. What is still processing comes with an event of its own.
            if file
                .status
                .as_deref()
                .is_some_and(|status| !status.eq_ignore_ascii_case("completed"))
            {
                continue;
            }
            let mut metadata = file_facts(&uuid, &file, default_type);
            // Files without an id that are alike in all that the derived id is made of.
            let mut nth = 1;
            while !file.has_usable_id() && seen.contains(&metadata.id) {
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
            .or_else(|| {
                Timestamp::from_millisecond(event_ts)
                    .ok()
                    .filter(|_| event_ts > 0)
            })
            .ok_or(EventError::Field("payload.object.start_time"))?;
        Ok(Self {
            host: ZoomUser {
                account_id,
                user_id,
            },
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

/// What a meeting of the REST API says of one file.
#[derive(Debug)]
pub struct ListedFile {
    /// Where it can be fetched; a credential.
    pub url: SecretString,
    /// Declared size in bytes.
    pub size: Option<u64>,
}

/// Finds a file in a meeting of the REST API.
pub fn find_listed_file(meeting: &Value, uuid: &MeetingUuid, id: &FileId) -> Option<ListedFile> {
    let lists = [
        ("recording_files", None),
        (
            "participant_audio_files",
            Some("audio_only_each_participant"),
        ),
    ];
    lists.iter().find_map(|(list, default_type)| {
        meeting.get(list)?.as_array()?.iter().find_map(|value| {
            let file = File::deserialize(value).ok()?;
            let metadata = file_facts(uuid, &file, *default_type);
            let url = value.get("download_url")?.as_str()?;
            (metadata.id == *id).then(|| ListedFile {
                url: SecretString::from(url),
                size: metadata.size,
            })
        })
    })
}

fn file_facts(uuid: &MeetingUuid, file: &File, default_type: Option<&str>) -> FileMetadata {
    let file_type = file
        .file_type
        .as_deref()
        .unwrap_or_default()
        .to_ascii_uppercase();
    let recording_start = file.recording_start.as_deref().unwrap_or_default();
    let recording_type = file
        .recording_type
        .as_deref()
        .or(default_type)
        .map(str::to_owned);
    let id = file
        .id
        .as_deref()
        .and_then(|id| id.parse().ok())
        .unwrap_or_else(|| {
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
        size: file
            .file_size
            .as_ref()
            .and_then(integer)
            .and_then(|n| u64::try_from(n).ok()),
    }
}

/// The extension for the object key: Zoom's in lower case if it is one, else by the file's type.
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

/// A moment in the life of a recording. What lies before 1970 is none, and its year could not stand in an
/// object key.
fn timestamp(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|at| *at >= Timestamp::UNIX_EPOCH)
}

pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().filter(|n| n.abs() < 9e15).map(|n| n as i64)),
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
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// Every example body, by name.
    pub(crate) fn fixtures() -> Vec<(String, Vec<u8>)> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/zoom");
        let mut found: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter_map(|path| {
                Some((
                    path.file_stem()?.to_str()?.to_owned(),
                    std::fs::read(&path).unwrap(),
                ))
            })
            .filter(|(_, body)| parse_envelope(body).is_ok())
            .collect();
        found.sort();
        assert!(found.len() >= 10, "the fixtures are missing");
        found
    }

    fn completed() -> Value {
        serde_json::from_slice(include_bytes!(
            "../../../../tests/fixtures/zoom/recording_completed.json"
        ))
        .unwrap()
    }

    #[test]
    fn whatever_is_subscribed_to_is_acted_upon() {
        for name in SUBSCRIBED_EVENTS {
            let kind = EventKind::from_name(name);
            let acted_upon = matches!(
                kind,
                EventKind::FilesCompleted | EventKind::RecordingsChanged
            );
            assert!(acted_upon, "{name} is {kind:?}");
        }
    }

    #[test]
    fn recording_completed_is_read_in_full() {
        let event = FilesCompleted::parse(&completed()).unwrap();
        assert_eq!(
            event.host.key(),
            "AcctAAAAAAAAAAAAAAAAAA#UserBBBBBBBBBBBBBBBBBB"
        );
        assert_eq!(event.event_ts, 1_767_260_000_123);
        assert_eq!(event.recording.meeting_id.as_deref(), Some("81234567890"));
        assert_eq!(event.recording.duration_minutes, Some(31));
        let files: Vec<_> = event
            .files
            .iter()
            .map(|(f, _)| {
                (
                    f.file_type.as_str(),
                    f.extension.as_str(),
                    f.size,
                    f.recording_type.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            files,
            [
                (
                    "MP4",
                    "mp4",
                    Some(2_175_742),
                    Some("shared_screen_with_speaker_view")
                ),
                ("M4A", "m4a", Some(434_147), Some("audio_only")),
                ("TIMELINE", "json", Some(93), Some("timeline")),
                ("M4A", "m4a", Some(23), Some("audio_only_each_participant")),
            ]
        );
    }

    #[test]
    fn transcript_completed_has_the_same_shape() {
        let body =
            include_bytes!("../../../../tests/fixtures/zoom/recording_transcript_completed.json");
        let event = FilesCompleted::parse(&serde_json::from_slice(body).unwrap()).unwrap();
        assert_eq!(event.files.len(), 1);
        assert_eq!(event.files[0].0.extension, "vtt");
        assert_eq!(
            event.recording.meeting_uuid,
            FilesCompleted::parse(&completed())
                .unwrap()
                .recording
                .meeting_uuid
        );
    }

    #[test]
    fn timeline_of_2019_without_id_size_type_and_status_is_kept() {
        let mut event = completed();
        event["payload"]["object"]["recording_files"] = json!([{"meeting_id": "x", "recording_start": "2026-01-01T09:00:10Z", "file_type": "TIMELINE"}]);
        event["payload"]["object"]["participant_audio_files"] = Value::Null;
        let event = FilesCompleted::parse(&event).unwrap();
        assert_eq!(event.files.len(), 1);
        assert!(event.files[0].0.id.as_str().starts_with("x-"));
        assert_eq!(event.files[0].0.size, None);
    }

    #[test]
    fn files_still_processing_are_left_for_their_own_event_and_ids_count_once() {
        let mut event = completed();
        event["payload"]["object"]["recording_files"][0]["status"] = json!("processing");
        let again = event["payload"]["object"]["recording_files"][1].clone();
        event["payload"]["object"]["recording_files"]
            .as_array_mut()
            .unwrap()
            .push(again);
        assert_eq!(FilesCompleted::parse(&event).unwrap().files.len(), 3);
    }

    #[test]
    fn files_alike_and_without_id_are_all_kept_under_ids_of_their_own() {
        let mut event = completed();
        let file = json!({"recording_start": "2026-01-01T09:00:10Z", "file_type": "M4A", "file_extension": "M4A"});
        event["payload"]["object"]["recording_files"] = json!([]);
        event["payload"]["object"]["participant_audio_files"] = json!([file, file, file]);
        let once = FilesCompleted::parse(&event).unwrap();
        assert_eq!(once.files.len(), 3);
        assert_eq!(
            once,
            FilesCompleted::parse(&event).unwrap(),
            "the ids are deterministic"
        );
    }

    #[test]
    fn numbers_may_be_strings() {
        let mut event = completed();
        event["payload"]["object"]["id"] = json!("81234567890");
        event["payload"]["object"]["duration"] = json!("31");
        event["payload"]["object"]["recording_files"][0]["file_size"] = json!("2175742");
        event["event_ts"] = json!("1767260000123");
        assert_eq!(
            FilesCompleted::parse(&event).unwrap(),
            FilesCompleted::parse(&completed()).unwrap()
        );
    }

    #[test]
    fn what_cannot_be_routed_is_an_error_that_names_the_field() {
        for (pointer, field) in [
            ("/payload/account_id", "payload.account_id"),
            ("/payload/object/host_id", "payload.object.host_id"),
            ("/payload/object/uuid", "payload.object.uuid"),
        ] {
            let mut event = completed();
            *event.pointer_mut(pointer).unwrap() = json!("../../etc");
            let result = FilesCompleted::parse(&event);
            if field.ends_with("uuid") {
                // A UUID is opaque; it never becomes part of a path unencoded.
                assert!(result.is_ok());
                *event.pointer_mut(pointer).unwrap() = json!("with space");
            }
            assert_eq!(
                FilesCompleted::parse(&event).unwrap_err(),
                EventError::Field(field)
            );
        }
    }

    #[test]
    fn deauthorizations_are_read_in_every_known_form() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/zoom/");
        for name in [
            "app_deauthorized",
            "app_deauthorized_legacy",
            "app_deauthorized_event_ts_inside",
            "app_deauthorized_event_ts_text",
        ] {
            let body = std::fs::read(format!("{folder}{name}.json")).unwrap();
            let (event_name, event) = parse_envelope(&body).unwrap();
            assert_eq!(EventKind::from_name(&event_name), EventKind::Deauthorized);
            let parsed = Deauthorized::parse(&event).unwrap();
            assert_eq!(
                parsed.zoom_user.key(),
                "AcctAAAAAAAAAAAAAAAAAA#UserBBBBBBBBBBBBBBBBBB",
                "{name}"
            );
            assert_eq!(parsed.client_id.as_deref(), Some("SYNTHclientID000000000"));
        }
        assert!(Deauthorized::parse(&json!({"payload": {"account_id": "A"}})).is_err());
    }

    #[test]
    fn the_rest_api_names_where_a_file_is() {
        use secrecy::ExposeSecret as _;
        let list: Value = serde_json::from_slice(include_bytes!(
            "../../../../tests/fixtures/zoom/user_recordings.json"
        ))
        .unwrap();
        let uuid = "Zm9v+bar/bazQUJDREVGRw==".parse().unwrap();
        let id = "11111111-1111-4111-8111-111111111111".parse().unwrap();
        let file = find_listed_file(&list["meetings"][0], &uuid, &id).unwrap();
        let url = file.url;
        assert!(
            url.expose_secret()
                .ends_with("/rec/download/SYNTHETIC.AAAA")
        );
        assert!(find_listed_file(&list["meetings"][0], &uuid, &"other".parse().unwrap()).is_none());
    }

    #[test]
    fn a_start_before_1970_counts_as_none() {
        let mut event = completed();
        event["payload"]["object"]["start_time"] = json!("-000001-01-01T00:00:00Z");
        let read = FilesCompleted::parse(&event).unwrap();
        assert_eq!(
            read.recording.start_time,
            "2026-01-01T09:00:10Z".parse().unwrap(),
            "the first file's"
        );
    }

    #[test]
    fn a_hostile_extension_never_reaches_a_key() {
        for bad in ["../../x", "m p4", "", "verylongextension", "é"] {
            assert_eq!(extension(Some(bad), "MP4"), "mp4");
        }
    }

    #[test]
    fn bodies_that_are_no_events_are_told_apart() {
        for bad in [
            &b""[..],
            b"[]",
            b"{}",
            b"null",
            b"\"event\"",
            br#"{"event":1}"#,
            br#"{"event":"#,
            b"\xff",
        ] {
            assert_eq!(parse_envelope(bad).unwrap_err(), InvalidEnvelope);
        }
        assert_eq!(parse_envelope(br#"{"event":"x.y"}"#).unwrap().0, "x.y");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((_, event)) = parse_envelope(&body) {
                let _ = FilesCompleted::parse(&event);
            }
        }
    }
}
