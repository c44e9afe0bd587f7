//! Zoom's metadata of recordings and files.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{FileId, MeetingUuid};

/// Zoom's metadata of a recorded meeting instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingMetadata {
    /// UUID of the meeting instance. The meeting number is shared by all instances.
    pub meeting_uuid: MeetingUuid,
    /// Meeting number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meeting_id: Option<String>,
    /// Meeting title; free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Kind of recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<RecordingKind>,
    /// Start of the meeting: the first one observed.
    pub start_time: Timestamp,
    /// Time zone of the meeting (IANA name).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Duration in whole minutes. Zoom's 0 means unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_minutes: Option<u64>,
}

/// Kind of recording, by Zoom's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordingKind {
    /// A meeting: 1 to 4, 7 and 8.
    Meeting,
    /// A webinar: 5, 6 and 9.
    Webinar,
    /// A file that the user uploaded at Zoom's web portal: 99.
    Upload,
}

impl RecordingKind {
    /// Returns the kind of Zoom's `type`; `None` for unknown numbers.
    pub fn from_zoom_type(number: i64) -> Option<Self> {
        match number {
            1..=4 | 7 | 8 => Some(Self::Meeting),
            5 | 6 | 9 => Some(Self::Webinar),
            99 => Some(Self::Upload),
            _ => None,
        }
    }
}

/// Zoom's metadata of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMetadata {
    /// Zoom's file id, or a derived one ([`FileId::derive`]).
    pub id: FileId,
    /// `MP4`, `M4A`, `TIMELINE`, …, in upper case. Unknown values are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_type: Option<String>,
    /// `shared_screen_with_speaker_view`, `audio_only`, …. Unknown values are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording_type: Option<String>,
    /// Zoom's `file_extension` in lower case, if it is valid in an object key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<String>,
    /// Name of a participant's audio track.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participant: Option<String>,
    /// Start of the segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording_start: Option<Timestamp>,
    /// End of the segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording_end: Option<Timestamp>,
    /// Size in bytes that Zoom declares. Zoom's 0 means unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Whether Zoom still processes the file, so that it cannot be downloaded yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_processing: Option<bool>,
}

impl FileMetadata {
    /// A file of which only the id is known.
    pub fn unknown(id: FileId) -> Self {
        Self {
            id,
            file_type: None,
            recording_type: None,
            extension: None,
            participant: None,
            recording_start: None,
            recording_end: None,
            size: None,
            is_processing: None,
        }
    }

    /// Returns the file type; empty if unknown.
    pub fn file_type(&self) -> &str {
        self.file_type.as_deref().unwrap_or_default()
    }

    /// Returns the extension of the object key: Zoom's, else one by file type.
    pub fn extension(&self) -> &str {
        self.extension.as_deref().unwrap_or(match self.file_type() {
            "MP4" => "mp4",
            "M4A" => "m4a",
            "CHAT" => "txt",
            "TRANSCRIPT" | "CC" => "vtt",
            "CSV" => "csv",
            "TIMELINE" | "SUMMARY" | "CHAT_MESSAGE" => "json",
            _ => "bin",
        })
    }

    /// Returns whether Zoom's declared size is exact. For text files it was observed to differ.
    pub fn size_is_exact(&self) -> bool {
        matches!(self.file_type(), "MP4" | "M4A" | "TIMELINE")
    }
}

/// Returns the duration in whole minutes from the start of the first file to the end of the last.
pub fn minutes_covered<'a>(files: impl IntoIterator<Item = &'a FileMetadata>) -> Option<u64> {
    let (mut start, mut end) = (None, None);
    for file in files {
        if let (Some(file_start), Some(file_end)) = (file.recording_start, file.recording_end) {
            start = Some(start.map_or(file_start, |start: Timestamp| start.min(file_start)));
            end = end.max(Some(file_end));
        }
    }
    let seconds = end?.as_second() - start?.as_second();
    u64::try_from(seconds).ok().map(|seconds| seconds / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_types_have_extensions() {
        for (file_type, expected) in [
            ("MP4", "mp4"),
            ("M4A", "m4a"),
            ("CHAT", "txt"),
            ("TRANSCRIPT", "vtt"),
            ("CC", "vtt"),
            ("CSV", "csv"),
            ("TIMELINE", "json"),
            ("SUMMARY", "json"),
            ("CHAT_MESSAGE", "json"),
            ("NEW", "bin"),
        ] {
            let file_type = Some(file_type.to_owned());
            let mut file =
                FileMetadata { file_type, ..FileMetadata::unknown("f".parse().unwrap()) };
            assert_eq!(file.extension(), expected);
            file.extension = Some("mov".to_owned());
            assert_eq!(file.extension(), "mov", "Zoom's extension precedes");
        }
    }
}
