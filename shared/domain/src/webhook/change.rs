//! Events about changes of recordings: renamed, trashed, recovered, deleted, single or in batches.

use serde_json::Value;

use super::event::EventError;
use super::meeting::{account_id, id};
use super::value::{text, topic};
use crate::ids::{AccountId, FileId, MeetingUuid, UserId};
use crate::observation::ObservedAt;
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
    /// When the change was observed.
    pub time: ObservedAt,
    /// Number of list entries that are no meetings, to be counted.
    pub ignored_meetings: usize,
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
            && matches!(file.file_type(), "MP4" | "M4A")
            && file.recording_type.as_deref() != Some("audio_only_each_participant")
            && !self.files.contains(&file.id)
    }
}

impl RecordingsChanged {
    /// Parses a redacted event.
    ///
    /// # Errors
    /// [`EventError`], with the field that is missing or malformed.
    pub fn parse(event: &Value, time: ObservedAt) -> Result<Self, EventError> {
        let field = |pointer| event.pointer(pointer).and_then(text);
        let name = field("/event").ok_or(EventError::Field("event"))?;
        let change = match name.trim_start_matches("recording.").trim_start_matches("batch_") {
            "renamed" => RecordingChange::Renamed {
                topic: event
                    .pointer("/payload/object/topic")
                    .and_then(topic)
                    .ok_or(EventError::Field("payload.object.topic"))?,
            },
            "trashed" => RecordingChange::Trashed,
            "recovered" => RecordingChange::Recovered,
            "deleted" => RecordingChange::Deleted,
            _ => return Err(EventError::Field("event")),
        };
        let account_id = account_id(event).ok_or(EventError::Field("payload.account_id"))?;
        let object = event.pointer("/payload/object").ok_or(EventError::Field("payload.object"))?;
        let host = id(event, "/payload/object/host_id");
        let entries = meetings(object);
        let count = entries.len();
        let meetings: Vec<ChangedMeeting> = entries.into_iter().flatten().collect();
        if meetings.is_empty() {
            return Err(EventError::Field("payload.object"));
        }
        let ignored_meetings = count - meetings.len();
        Ok(Self { account_id, host, change, meetings, time, ignored_meetings })
    }
}

/// Parses the meetings, which Zoom lists in three different forms. An entry without a valid UUID is `None`.
fn meetings(object: &Value) -> Vec<Option<ChangedMeeting>> {
    let meeting =
        |uuid: Option<&Value>, files: Option<&Value>, id: fn(&Value) -> Option<&Value>| {
            let files = files.and_then(Value::as_array).into_iter().flatten();
            Some(ChangedMeeting {
                uuid: uuid.and_then(text)?.parse().ok()?,
                files: files.filter_map(|file| text(id(file)?)?.parse().ok()).collect(),
            })
        };
    if let Some(uuid) = object.get("uuid") {
        return vec![meeting(Some(uuid), object.get("recording_files"), |file| file.get("id"))];
    }
    let list = |name| object.get(name).and_then(Value::as_array).into_iter().flatten();
    let uuids = list("meeting_uuids").map(|uuid| meeting(Some(uuid), None, |id| Some(id)));
    let named = list("meetings").map(|entry| {
        meeting(entry.get("meeting_uuid"), entry.get("recording_file_ids"), |id| Some(id))
    });
    uuids.chain(named).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::observation::ObservationSource;

    fn parse(name: &str, object: Value) -> Result<RecordingsChanged, EventError> {
        let event = json!({
            "event": name,
            "payload": {"account_id": "A", "operator_id": "o", "object": object},
        });
        let source = ObservationSource::Event;
        RecordingsChanged::parse(
            &event,
            ObservedAt { at: Timestamp::UNIX_EPOCH, is_own: true, source },
        )
    }

    #[test]
    fn all_forms_are_parsed() {
        let one = json!({"uuid": "u1==", "id": 8, "host_id": "h", "topic": "New"});
        let renamed = parse("recording.renamed", one.clone()).unwrap();
        assert_eq!(renamed.change, RecordingChange::Renamed { topic: "New".into() });
        assert_eq!(renamed.host.unwrap().as_str(), "h");

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
            json!({"uuid": [7]}),
            json!({"meeting_uuids": [""]}),
            json!({"meetings": [{}]}),
            json!({"meetings": "u1=="}),
            json!([]),
        ] {
            assert!(parse("recording.trashed", object.clone()).is_err(), "{object}");
        }
        let mixed = json!({"meetings": [null, {"meeting_uuid": "u1=="}, {"meeting_uuid": {}}]});
        let changed = parse("recording.batch_deleted", mixed).unwrap();
        assert_eq!((changed.meetings.len(), changed.ignored_meetings), (1, 2));
        assert!(parse("recording.renamed", json!({"uuid": "u1=="})).is_err());
        assert!(parse("recording.vanished", json!({"uuid": "u1=="})).is_err());
    }

    #[test]
    fn omitted_video_is_detected() {
        let file = |id: &str, file_type: &str, recording_type: Option<&str>| FileMetadata {
            file_type: Some(file_type.into()),
            recording_type: recording_type.map(str::to_owned),
            ..FileMetadata::unknown(id.parse().unwrap())
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
