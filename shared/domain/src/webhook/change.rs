//! Events about changes of recordings: renamed, trashed, recovered, deleted, single or in batches.

use serde_json::Value;

use super::event::{EventError, integer};
use crate::ids::{AccountId, FileId, MeetingUuid, UserId};
use crate::recording::{FileMetadata, RecordingChange};

/// A parsed event about changed recordings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingsChanged {
    /// The Zoom account.
    pub account_id: AccountId,
    /// The host; absent in batch events.
    pub host: Option<UserId>,
    /// The change.
    pub change: RecordingChange,
    /// The changed meetings.
    pub meetings: Vec<ChangedMeeting>,
    /// `event_ts`, in epoch milliseconds; 0 if absent.
    pub event_ts: i64,
}

/// A meeting of such an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedMeeting {
    /// UUID of the meeting instance.
    pub uuid: MeetingUuid,
    /// The files that the event lists; empty if it lists none.
    pub files: Vec<FileId>,
}

impl ChangedMeeting {
    /// Returns whether the event lists files but omits this main file (video or audio), so that it does not
    /// concern the whole recording. Zoom omits small files and participants' tracks from some events.
    pub fn omits(&self, file: &FileMetadata) -> bool {
        !self.files.is_empty()
            && matches!(file.file_type.as_str(), "MP4" | "M4A")
            && file.recording_type.as_deref() != Some("audio_only_each_participant")
            && !self.files.contains(&file.id)
    }
}

impl RecordingsChanged {
    /// Parses a redacted event.
    ///
    /// # Errors
    /// [`EventError`], with the field that is missing or malformed.
    pub fn parse(event: &Value) -> Result<Self, EventError> {
        let text = |pointer| event.pointer(pointer).and_then(Value::as_str);
        let name = text("/event").ok_or(EventError::Field("event"))?;
        let change = match name.trim_start_matches("recording.").trim_start_matches("batch_") {
            "renamed" => RecordingChange::Renamed {
                topic: text("/payload/object/topic")
                    .ok_or(EventError::Field("payload.object.topic"))?
                    .to_owned(),
            },
            "trashed" => RecordingChange::Trashed,
            "recovered" => RecordingChange::Recovered,
            "deleted" => RecordingChange::Deleted,
            _ => return Err(EventError::Field("event")),
        };
        let account_id = text("/payload/account_id")
            .and_then(|id| id.parse().ok())
            .ok_or(EventError::Field("payload.account_id"))?;
        let object = event.pointer("/payload/object").ok_or(EventError::Field("payload.object"))?;
        let host = match object.get("host_id") {
            None | Some(Value::Null) => None,
            Some(id) => Some(
                id.as_str()
                    .and_then(|id| id.parse().ok())
                    .ok_or(EventError::Field("payload.object.host_id"))?,
            ),
        };
        Ok(Self {
            account_id,
            host,
            change,
            meetings: meetings(object)?,
            event_ts: event.get("event_ts").and_then(integer).unwrap_or(0),
        })
    }
}

/// Parses the meetings, which Zoom lists in three different forms.
fn meetings(object: &Value) -> Result<Vec<ChangedMeeting>, EventError> {
    let malformed = EventError::Field("payload.object");
    let uuid = |value: &Value| value.as_str().and_then(|uuid| uuid.parse().ok());
    let ids = |list: Option<&Value>, id: fn(&Value) -> Option<&Value>| -> Vec<FileId> {
        let list = list.and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|value| id(value)?.as_str()?.parse().ok()).collect()
    };
    if let Some(one) = object.get("uuid") {
        let files = ids(object.get("recording_files"), |file| file.get("id"));
        let uuid = uuid(one).ok_or(EventError::Field("payload.object.uuid"))?;
        return Ok(vec![ChangedMeeting { uuid, files }]);
    }
    if let Some(list) = object.get("meeting_uuids").and_then(Value::as_array) {
        return list
            .iter()
            .map(|value| {
                Ok(ChangedMeeting {
                    uuid: uuid(value).ok_or(malformed.clone())?,
                    files: Vec::new(),
                })
            })
            .collect();
    }
    let list = object.get("meetings").and_then(Value::as_array);
    list.ok_or(malformed.clone())?
        .iter()
        .map(|meeting| {
            let named = meeting.get("meeting_uuid").and_then(uuid);
            Ok(ChangedMeeting {
                uuid: named.ok_or(malformed.clone())?,
                files: ids(meeting.get("recording_file_ids"), |id| Some(id)),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(name: &str, object: Value) -> Result<RecordingsChanged, EventError> {
        RecordingsChanged::parse(&json!({
            "event": name,
            "event_ts": 1_767_260_200_000_i64,
            "payload": {"account_id": "A", "operator_id": "o", "object": object},
        }))
    }

    #[test]
    fn all_forms_are_parsed() {
        let one = json!({"uuid": "u1==", "id": 8, "host_id": "h", "topic": "New"});
        let renamed = parse("recording.renamed", one.clone()).unwrap();
        assert_eq!(renamed.change, RecordingChange::Renamed { topic: "New".into() });
        assert_eq!(renamed.host.unwrap().as_str(), "h");
        assert_eq!(renamed.event_ts, 1_767_260_200_000);

        let mut with_files = one;
        with_files["recording_files"] =
            json!([{"id": "f1"}, {"id": "f2"}, {"status": "completed"}]);
        for (name, change) in [
            ("recording.trashed", RecordingChange::Trashed),
            ("recording.recovered", RecordingChange::Recovered),
            ("recording.deleted", RecordingChange::Deleted),
        ] {
            let changed = parse(name, with_files.clone()).unwrap();
            assert_eq!(changed.change, change);
            assert_eq!(changed.meetings[0].files.len(), 2);
        }

        let uuids = json!({"meeting_uuids": ["u1==", "/a+b=="]});
        let trashed = parse("recording.batch_trashed", uuids).unwrap();
        assert_eq!(trashed.host, None);
        assert_eq!(trashed.meetings[1].uuid.as_str(), "/a+b==");
        let meetings =
            json!({"meetings": [{"meeting_uuid": "u1==", "recording_file_ids": ["f1"]}]});
        let deleted = parse("recording.batch_deleted", meetings).unwrap();
        assert_eq!(deleted.change, RecordingChange::Deleted);
        assert_eq!(deleted.meetings[0].files[0].as_str(), "f1");
    }

    #[test]
    fn event_without_meeting_is_rejected() {
        for object in [
            json!({}),
            json!({"uuid": 7}),
            json!({"meeting_uuids": [""]}),
            json!({"meetings": [{}]}),
            json!({"meetings": "u1=="}),
            json!([]),
            json!({"uuid": "u1==", "host_id": "a/b"}),
        ] {
            assert!(parse("recording.trashed", object.clone()).is_err(), "{object}");
        }
        assert!(parse("recording.renamed", json!({"uuid": "u1=="})).is_err());
        assert!(parse("recording.vanished", json!({"uuid": "u1=="})).is_err());
    }

    #[test]
    fn omitted_video_is_detected() {
        let file = |id: &str, file_type: &str, recording_type: Option<&str>| FileMetadata {
            id: id.parse().unwrap(),
            file_type: file_type.into(),
            recording_type: recording_type.map(str::to_owned),
            extension: "x".into(),
            size: None,
        };
        let meeting =
            ChangedMeeting { uuid: "u1==".parse().unwrap(), files: vec!["chat".parse().unwrap()] };
        assert!(meeting.omits(&file("video", "MP4", None)));
        assert!(!meeting.omits(&file("chat", "CHAT", None)));
        assert!(!meeting.omits(&file("timeline", "TIMELINE", None)));
        assert!(!meeting.omits(&file("track", "M4A", Some("audio_only_each_participant"))));
        let all_files = ChangedMeeting { files: Vec::new(), ..meeting };
        assert!(!all_files.omits(&file("video", "MP4", None)));
    }
}
