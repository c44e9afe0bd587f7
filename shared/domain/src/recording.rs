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
    pub meeting_id: Option<String>,
    /// Meeting title; free text.
    pub topic: String,
    /// Start of the meeting.
    pub start_time: Timestamp,
    /// Duration in whole minutes; may be 0.
    pub duration_minutes: Option<u64>,
}

/// Zoom's metadata of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMetadata {
    /// Zoom's file id, or a derived one ([`FileId::derive`]).
    pub id: FileId,
    /// `MP4`, `M4A`, `TIMELINE`, …, in upper case. Unknown values are kept.
    pub file_type: String,
    /// `shared_screen_with_speaker_view`, `audio_only`, …. Unknown values are kept.
    pub recording_type: Option<String>,
    /// Extension of the object key, in lower case.
    pub extension: String,
    /// Size in bytes that Zoom declares.
    pub size: Option<u64>,
}

impl FileMetadata {
    /// Returns whether Zoom's declared size is exact. For text files it was observed to differ.
    pub fn size_is_exact(&self) -> bool {
        matches!(self.file_type.as_str(), "MP4" | "M4A" | "TIMELINE")
    }
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
    /// Known; no file is transferring, stored or failed.
    Detected,
    /// Some wanted files are unfinished.
    Transferring,
    /// All wanted files are stored.
    Stored,
    /// All wanted files are finished, and at least one failed.
    Failed,
}

/// Whether the recording exists at Zoom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
}

impl File {
    /// Returns the stored size, or Zoom's declared size before.
    fn size(&self) -> Option<u64> {
        match self.status {
            FileStatus::Stored => Some(self.bytes_stored),
            _ => self.metadata.size,
        }
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

    /// Returns the public view; `bucket` is the name of the recordings bucket.
    pub fn view(&self, bucket: &str) -> RecordingView {
        RecordingView {
            id: self.id(),
            zoom: self.zoom_user.clone(),
            meeting_uuid: self.metadata.meeting_uuid.clone(),
            meeting_id: self.metadata.meeting_id.clone(),
            topic: self.metadata.topic.clone(),
            start_time: self.metadata.start_time,
            duration_minutes: self.metadata.duration_minutes,
            status: self.status(),
            zoom_state: self.zoom_state,
            size: self.wanted_files().filter_map(File::size).sum(),
            bytes_stored: self.wanted_files().map(|file| file.bytes_stored).sum(),
            files: self.files.iter().map(|file| FileView::new(file, bucket)).collect(),
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
    pub topic: String,
    pub start_time: Timestamp,
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
    pub size: Option<u64>,
    pub bytes_stored: u64,
    pub status: FileStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
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
            file_type: file.metadata.file_type.clone(),
            recording_type: file.metadata.recording_type.clone(),
            extension: file.metadata.extension.clone(),
            size: file.size(),
            bytes_stored: file.bytes_stored,
            status: file.status,
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

    /// Returns why the filter excludes a file, or `None` if it includes it.
    pub fn skip_reason(
        &self,
        recording: &RecordingMetadata,
        file: &FileMetadata,
    ) -> Option<&'static str> {
        if !self.types.is_empty() && !self.types.contains(&file.file_type) {
            return Some("file_type_not_wanted");
        }
        recording
            .duration_minutes
            .filter(|minutes| *minutes < self.minimum_minutes)
            .map(|_| "shorter_than_minimum")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(id: &str, status: FileStatus) -> File {
        File {
            metadata: FileMetadata {
                id: id.parse().unwrap(),
                file_type: "MP4".into(),
                recording_type: None,
                extension: "mp4".into(),
                size: Some(10),
            },
            status,
            reason: None,
            bytes_stored: if status == FileStatus::Stored { 12 } else { 0 },
            key: None,
            crc64nvme: None,
        }
    }

    fn recording(files: Vec<File>) -> Recording {
        Recording {
            zoom_user: ZoomUser { account_id: "A".parse().unwrap(), user_id: "u".parse().unwrap() },
            metadata: RecordingMetadata {
                meeting_uuid: "m==".parse().unwrap(),
                meeting_id: None,
                topic: "t".into(),
                start_time: "2026-01-01T09:00:00Z".parse().unwrap(),
                duration_minutes: Some(5),
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
            (vec![], RecordingStatus::Detected),
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
    fn size_is_stored_size_or_declared_size() {
        let recording =
            recording(vec![file("a", FileStatus::Stored), file("b", FileStatus::Queued)]);
        let view = recording.view("bucket");
        assert_eq!((view.size, view.bytes_stored), (22, 12));
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
        let facts = recording(vec![]).metadata;
        let mp4 = file("a", FileStatus::Queued).metadata;
        assert_eq!(FileFilter::new("", 0).skip_reason(&facts, &mp4), None);
        assert_eq!(FileFilter::new("all", 5).skip_reason(&facts, &mp4), None);
        assert_eq!(FileFilter::new(" mp4 , M4A", 0).skip_reason(&facts, &mp4), None);
        assert_eq!(
            FileFilter::new("M4A", 0).skip_reason(&facts, &mp4),
            Some("file_type_not_wanted")
        );
        assert_eq!(FileFilter::new("", 6).skip_reason(&facts, &mp4), Some("shorter_than_minimum"));
    }
}
