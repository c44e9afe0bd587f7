//! Recordings and their files: metadata, transfer states, and the public view.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::ids::{FileId, MeetingUuid, RecordingId, ZoomUser};

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
    /// What was recorded.
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

/// What was recorded, by Zoom's `type`.
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

/// Transfer status of a file. Transitions, each by a conditional write: `queued → transferring →
/// stored | failed`, and back to `queued` on a retry. `skipped` files stay so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileStatus {
    /// Known; a download message was or will be enqueued.
    Queued,
    /// An invocation transfers it under a lease.
    Transferring,
    /// Complete and verified in the bucket.
    Stored,
    /// Given up, with a reason.
    Failed,
    /// Excluded by the operator's filter.
    Skipped,
}

/// Status of a recording, derived from its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordingStatus {
    /// Known, with files; none is transferring, stored or failed.
    Detected,
    /// Some wanted files are unfinished.
    Transferring,
    /// All wanted files are stored.
    Stored,
    /// All wanted files are finished, and at least one failed.
    Failed,
    /// Zoom has listed no file so far.
    Empty,
}

/// Whether the recording exists at Zoom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZoomState {
    /// It exists.
    #[default]
    Present,
    /// It is in Zoom's trash, for up to 30 days.
    Trashed,
    /// It is permanently deleted.
    Deleted,
}

/// A change at Zoom to a known recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordingChange {
    /// The topic changed.
    Renamed {
        /// The new topic.
        topic: String,
    },
    /// Moved to the trash.
    Trashed,
    /// Restored from the trash.
    Recovered,
    /// Permanently deleted.
    Deleted,
}

impl RecordingChange {
    /// Returns the value of `change` in `recording.changed`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Renamed { .. } => "renamed",
            Self::Trashed => "trashed",
            Self::Recovered => "recovered",
            Self::Deleted => "deleted",
        }
    }
}

/// A file with its transfer state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Zoom's metadata.
    pub metadata: FileMetadata,
    /// Transfer status.
    pub status: FileStatus,
    /// Why the file failed or was skipped.
    pub reason: Option<String>,
    /// Bytes received so far; the full size once stored.
    pub bytes_stored: u64,
    /// Object key; present once stored.
    pub key: Option<String>,
    /// Base64 CRC-64/NVME of the full object, verified by S3; present once stored.
    pub crc64nvme: Option<String>,
    /// Number of transfers started.
    pub attempts: u32,
    /// When the next transfer starts at the latest, if the file waits for it.
    pub next_attempt_at: Option<Timestamp>,
    /// When the file was stored.
    pub stored_at: Option<Timestamp>,
}

impl File {
    /// Returns Zoom's declared size, or the stored size if Zoom declares none.
    fn size(&self) -> Option<u64> {
        let stored = (self.status == FileStatus::Stored).then_some(self.bytes_stored);
        self.metadata.size.or(stored)
    }

    /// The order of files in views: by segment, then by type.
    fn order(&self) -> impl Ord + use<'_> {
        let metadata = &self.metadata;
        (metadata.recording_start, &metadata.file_type, &metadata.recording_type, &metadata.id)
    }
}

/// A recording with its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Host of the meeting.
    pub zoom_user: ZoomUser,
    /// Zoom's metadata.
    pub metadata: RecordingMetadata,
    /// Whether the recording exists at Zoom.
    pub zoom_state: ZoomState,
    /// Number of notifications created so far ([`crate::notification`]).
    pub sequence: u64,
    /// Files, sorted by id.
    pub files: Vec<File>,
}

impl Recording {
    /// Returns the public id.
    pub fn id(&self) -> RecordingId {
        RecordingId::from_uuid(&self.metadata.meeting_uuid)
    }

    /// Iterates over the files that the operator's filter includes.
    pub fn wanted_files(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.status != FileStatus::Skipped)
    }

    /// Derives the status from the files.
    pub fn status(&self) -> RecordingStatus {
        let (mut any, mut stored, mut failed, mut waiting, mut moving) =
            (false, false, false, false, false);
        for file in self.wanted_files() {
            any = true;
            match file.status {
                FileStatus::Stored => stored = true,
                FileStatus::Failed => failed = true,
                FileStatus::Transferring => moving = true,
                FileStatus::Queued | FileStatus::Skipped => waiting = true,
            }
        }
        match (moving, waiting, failed, stored) {
            _ if self.files.is_empty() => RecordingStatus::Empty,
            _ if !any => RecordingStatus::Detected,
            (true, _, _, _) => RecordingStatus::Transferring,
            (false, true, _, true) | (false, true, true, _) => RecordingStatus::Transferring,
            (false, true, false, false) => RecordingStatus::Detected,
            (false, false, true, _) => RecordingStatus::Failed,
            (false, false, false, _) => RecordingStatus::Stored,
        }
    }

    /// Returns the ids of the stored files, sorted and joined: the version of `recording.stored`.
    pub fn stored_file_ids(&self) -> String {
        let ids: BTreeSet<&str> = self
            .files
            .iter()
            .filter(|f| f.status == FileStatus::Stored)
            .map(|f| f.metadata.id.as_str())
            .collect();
        ids.into_iter().collect::<Vec<_>>().join(",")
    }

    /// Returns Zoom's duration in minutes, or the time that the files cover.
    pub fn duration_minutes(&self) -> Option<u64> {
        let covered = || minutes_covered(self.files.iter().map(|file| &file.metadata));
        self.metadata.duration_minutes.or_else(covered)
    }

    /// Returns the public view; `bucket` is the name of the recordings bucket.
    pub fn view(&self, bucket: &str) -> RecordingView {
        let mut files: Vec<&File> = self.files.iter().collect();
        files.sort_by(|a, b| a.order().cmp(&b.order()));
        RecordingView {
            id: self.id(),
            zoom: self.zoom_user.clone(),
            meeting_uuid: self.metadata.meeting_uuid.clone(),
            meeting_id: self.metadata.meeting_id.clone(),
            kind: self.metadata.kind,
            topic: self.metadata.topic.clone(),
            start_time: self.metadata.start_time,
            timezone: self.metadata.timezone.clone(),
            duration_minutes: self.duration_minutes(),
            status: self.status(),
            zoom_state: self.zoom_state,
            size: self.wanted_files().filter_map(File::size).sum(),
            bytes_stored: self.wanted_files().map(|file| file.bytes_stored).sum(),
            files: files.into_iter().map(|file| FileView::new(file, bucket)).collect(),
            files_truncated: None,
            files_total: None,
        }
    }
}

/// `recording` in API responses and notifications.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the public API documents the fields")]
pub struct RecordingView {
    pub id: RecordingId,
    pub zoom: ZoomUser,
    pub meeting_uuid: MeetingUuid,
    pub meeting_id: Option<String>,
    pub kind: Option<RecordingKind>,
    pub topic: Option<String>,
    pub start_time: Timestamp,
    pub timezone: Option<String>,
    pub duration_minutes: Option<u64>,
    pub status: RecordingStatus,
    pub zoom_state: ZoomState,
    pub size: u64,
    pub bytes_stored: u64,
    pub files: Vec<FileView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_truncated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_total: Option<usize>,
}

/// `file` in API responses and notifications.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the public API documents the fields")]
pub struct FileView {
    pub id: FileId,
    pub file_type: String,
    pub recording_type: Option<String>,
    pub extension: String,
    pub participant: Option<String>,
    pub recording_start: Option<Timestamp>,
    pub recording_end: Option<Timestamp>,
    pub size: Option<u64>,
    pub bytes_stored: u64,
    pub status: FileStatus,
    pub attempts: u32,
    pub next_attempt_at: Option<Timestamp>,
    pub reason: Option<String>,
    pub bucket: Option<String>,
    pub key: Option<String>,
    pub crc64nvme: Option<String>,
    /// Present in `GET /v1/recordings/{recording_id}` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<PresignedUrl>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_expires_at: Option<Timestamp>,
}

/// A presigned URL, which grants access to a stored file. It serializes into the API response; `Debug`
/// redacts it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PresignedUrl(String);

impl From<&SecretString> for PresignedUrl {
    fn from(url: &SecretString) -> Self {
        Self(url.expose_secret().to_owned())
    }
}

impl fmt::Debug for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresignedUrl([redacted])")
    }
}

impl FileView {
    fn new(file: &File, bucket: &str) -> Self {
        Self {
            id: file.metadata.id.clone(),
            file_type: file.metadata.file_type().to_owned(),
            recording_type: file.metadata.recording_type.clone(),
            extension: file.metadata.extension().to_owned(),
            participant: file.metadata.participant.clone(),
            recording_start: file.metadata.recording_start,
            recording_end: file.metadata.recording_end,
            size: file.size(),
            bytes_stored: file.bytes_stored,
            status: file.status,
            attempts: file.attempts,
            next_attempt_at: file.next_attempt_at,
            reason: file.reason.clone(),
            bucket: file.key.as_ref().map(|_| bucket.to_owned()),
            key: file.key.clone(),
            crc64nvme: file.crc64nvme.clone(),
            url: None,
            url_expires_at: None,
        }
    }
}

/// The operator's file filter: `FileTypes` and `MinimumMinutes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFilter {
    /// File types in upper case; empty means all.
    types: BTreeSet<String>,
    minimum_minutes: u64,
}

impl FileFilter {
    /// Creates a filter. `file_types` is comma-separated; empty or `all` includes every type.
    pub fn new(file_types: &str, minimum_minutes: u64) -> Self {
        let types: BTreeSet<String> = file_types
            .split(',')
            .map(|name| name.trim().to_ascii_uppercase())
            .filter(|name| !name.is_empty())
            .collect();
        let all = types.contains("ALL");
        Self { types: if all { BTreeSet::new() } else { types }, minimum_minutes }
    }

    /// Returns why the filter excludes a file, or `None` if it includes it. An unknown duration excludes nothing.
    pub fn skip_reason(
        &self,
        duration_minutes: Option<u64>,
        file: &FileMetadata,
    ) -> Option<&'static str> {
        if !self.types.is_empty() && !self.types.contains(file.file_type()) {
            return Some("file_type_not_wanted");
        }
        duration_minutes
            .filter(|minutes| *minutes < self.minimum_minutes)
            .map(|_| "shorter_than_minimum")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        format!("2026-01-01T{time}Z").parse().unwrap()
    }

    fn file(id: &str, status: FileStatus) -> File {
        File {
            metadata: FileMetadata {
                file_type: Some("MP4".into()),
                size: Some(10),
                ..FileMetadata::unknown(id.parse().unwrap())
            },
            status,
            reason: None,
            bytes_stored: if status == FileStatus::Stored { 12 } else { 0 },
            key: None,
            crc64nvme: None,
            attempts: 0,
            next_attempt_at: None,
            stored_at: None,
        }
    }

    fn recording(files: Vec<File>) -> Recording {
        Recording {
            zoom_user: ZoomUser { account_id: "A".parse().unwrap(), user_id: "u".parse().unwrap() },
            metadata: RecordingMetadata {
                meeting_uuid: "m==".parse().unwrap(),
                meeting_id: None,
                topic: None,
                kind: None,
                start_time: at("09:00:00"),
                timezone: None,
                duration_minutes: None,
            },
            zoom_state: ZoomState::Present,
            sequence: 0,
            files,
        }
    }

    #[test]
    fn status_is_derived_from_files() {
        use FileStatus::*;
        for (files, expected) in [
            (vec![], RecordingStatus::Empty),
            (vec![Skipped], RecordingStatus::Detected),
            (vec![Queued, Queued], RecordingStatus::Detected),
            (vec![Queued, Transferring], RecordingStatus::Transferring),
            (vec![Queued, Stored], RecordingStatus::Transferring),
            (vec![Queued, Failed], RecordingStatus::Transferring),
            (vec![Stored, Skipped], RecordingStatus::Stored),
            (vec![Stored, Failed], RecordingStatus::Failed),
            (vec![Failed, Transferring], RecordingStatus::Transferring),
            (vec![Stored, Stored], RecordingStatus::Stored),
        ] {
            let label = format!("{files:?}");
            let files =
                files.into_iter().enumerate().map(|(i, s)| file(&format!("f{i}"), s)).collect();
            assert_eq!(recording(files).status(), expected, "{label}");
        }
    }

    #[test]
    fn size_is_declared_size_or_stored_size() {
        let mut undeclared = file("a", FileStatus::Stored);
        undeclared.metadata.size = None;
        let files = vec![undeclared, file("b", FileStatus::Stored), file("c", FileStatus::Queued)];
        let view = recording(files).view("bucket");
        assert_eq!((view.size, view.bytes_stored), (32, 24));
    }

    #[test]
    fn files_are_ordered_by_segment_then_type() {
        let segment = |id: &str, start: &str, file_type: &str| {
            let mut file = file(id, FileStatus::Queued);
            file.metadata.recording_start = Some(at(start));
            file.metadata.file_type = Some(file_type.to_owned());
            file
        };
        let view = recording(vec![
            segment("a", "10:00:00", "MP4"),
            segment("b", "09:00:00", "MP4"),
            segment("c", "10:00:00", "M4A"),
        ]);
        let ids: Vec<_> =
            view.view("bucket").files.into_iter().map(|file| file.id.to_string()).collect();
        assert_eq!(ids, ["b", "c", "a"]);
    }

    #[test]
    fn unknown_duration_is_what_the_files_cover() {
        let file = |start: &str, end: &str| {
            let mut file = file("a", FileStatus::Queued);
            file.metadata.recording_start = Some(at(start));
            file.metadata.recording_end = Some(at(end));
            file
        };
        let mut recording =
            recording(vec![file("09:10:00", "09:31:59"), file("09:00:30", "09:05:00")]);
        assert_eq!(recording.duration_minutes(), Some(31));
        recording.metadata.duration_minutes = Some(7);
        assert_eq!(recording.duration_minutes(), Some(7));
        assert_eq!(minutes_covered([]), None);
    }

    #[test]
    fn stored_file_ids_are_sorted() {
        let ab = recording(vec![file("a", FileStatus::Stored), file("b", FileStatus::Stored)]);
        let ba = recording(vec![file("b", FileStatus::Stored), file("a", FileStatus::Stored)]);
        assert_eq!(ab.stored_file_ids(), ba.stored_file_ids());
        assert_ne!(
            ab.stored_file_ids(),
            recording(vec![file("a", FileStatus::Stored)]).stored_file_ids()
        );
    }

    #[test]
    fn filter_gives_the_skip_reason() {
        let mp4 = file("a", FileStatus::Queued).metadata;
        for (types, minimum, minutes, expected) in [
            ("", 0, Some(5), None),
            ("all", 5, Some(5), None),
            (" mp4 , M4A", 0, Some(5), None),
            ("M4A", 0, Some(5), Some("file_type_not_wanted")),
            ("", 6, Some(5), Some("shorter_than_minimum")),
            ("", 6, None, None),
        ] {
            let filter = FileFilter::new(types, minimum);
            assert_eq!(filter.skip_reason(minutes, &mp4), expected, "{types} {minimum}");
        }
    }
}
