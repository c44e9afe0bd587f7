//! What recordings are created from, and what is assumed when little is said.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A file to create. Everything left out follows from `file_type`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewFile {
    /// File id, for the first segment; others get new ones.
    pub id: Option<String>,
    /// `MP4`, `M4A`, `CHAT`, `TRANSCRIPT`, `CC`, `CSV`, `TIMELINE`, `SUMMARY`, or anything else.
    pub file_type: String,
    /// `MP4`, `M4A`, `TXT`, `VTT`, `CSV`, `JSON`, …; decides the bytes.
    pub file_extension: Option<String>,
    /// `shared_screen_with_speaker_view`, `audio_only`, …
    pub recording_type: Option<String>,
    /// Bytes that a download delivers.
    pub size: Option<u64>,
    /// Bytes that Zoom claims, if it lies.
    pub declared_size: Option<u64>,
    /// `completed` (default) or `processing`.
    pub status: Option<String>,
    /// File name.
    pub file_name: Option<String>,
    /// Fields that are left out of its JSON, such as `id` or `file_size`.
    pub omit: Vec<String>,
}

impl NewFile {
    /// A file of a type and size.
    #[must_use]
    pub fn new(file_type: &str, size: u64) -> Self {
        Self {
            file_type: file_type.into(),
            size: Some(size),
            ..Self::default()
        }
    }
}

/// A recording to create. Only the host has to be named.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewRecording {
    /// The host's user id.
    pub host_id: String,
    /// Meeting UUID.
    pub uuid: Option<String>,
    /// Meeting number.
    pub meeting_id: Option<u64>,
    /// Topic.
    pub topic: Option<String>,
    /// Start; by default such that the meeting has just ended.
    pub start_time: Option<Timestamp>,
    /// Minutes, 31 by default.
    pub duration_minutes: Option<u32>,
    /// Time zone; the host's by default, and `""` is possible.
    pub timezone: Option<String>,
    /// Meeting type, 2 by default.
    #[serde(rename = "type")]
    pub kind: Option<u8>,
    /// The files of each segment; by default video, audio, chat and timeline.
    pub files: Option<Vec<NewFile>>,
    /// How often the recording was started: each segment has all files.
    pub segments: u32,
    /// How many participants have an audio file of their own.
    pub participant_audio: u32,
    /// The size of each of them.
    pub participant_audio_size: u64,
    /// Leave it in processing; `complete` ends that.
    pub processing: bool,
    /// Send `recording.completed`.
    pub send: bool,
    /// Send one event for each segment, not one for all.
    pub event_per_segment: bool,
}

impl Default for NewRecording {
    fn default() -> Self {
        Self {
            host_id: String::new(),
            uuid: None,
            meeting_id: None,
            topic: None,
            start_time: None,
            duration_minutes: None,
            timezone: None,
            kind: None,
            files: None,
            segments: 1,
            participant_audio: 0,
            participant_audio_size: 120_000,
            processing: false,
            send: true,
            event_per_segment: false,
        }
    }
}

impl NewRecording {
    /// A recording of `host_id` with the usual files.
    #[must_use]
    pub fn of(host_id: &str) -> Self {
        Self {
            host_id: host_id.into(),
            ..Self::default()
        }
    }

    /// With these files instead.
    #[must_use]
    pub fn with_files(mut self, files: Vec<NewFile>) -> Self {
        self.files = Some(files);
        self
    }
}

pub(super) fn usual_files() -> Vec<NewFile> {
    [
        ("MP4", 2_175_742),
        ("M4A", 434_147),
        ("CHAT", 1_204),
        ("TIMELINE", 4_811),
    ]
    .map(|(kind, size)| NewFile::new(kind, size))
    .into()
}

/// Extension and `recording_type` that go with a `file_type`, and a size.
pub(super) fn usual(file_type: &str) -> (&str, Option<&str>, u64) {
    match file_type {
        "MP4" => ("MP4", Some("shared_screen_with_speaker_view"), 2_175_742),
        "M4A" => ("M4A", Some("audio_only"), 434_147),
        "CHAT" => ("TXT", Some("chat_file"), 1_204),
        "TRANSCRIPT" => ("VTT", Some("audio_transcript"), 14_200),
        "CC" => ("VTT", Some("closed_caption"), 9_800),
        "CSV" => ("CSV", Some("poll"), 640),
        "TIMELINE" => ("JSON", Some("timeline"), 4_811),
        "SUMMARY" => ("JSON", Some("summary"), 2_048),
        "CHAT_MESSAGE" => ("JSON", Some("chat_message"), 2_048),
        other => (other, None, 1_000),
    }
}
