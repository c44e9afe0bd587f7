//! Recordings and their files: what is known of them, the states they go through, and how they look
//! to the app.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::ids::{FileId, MeetingUuid, RecordingId, ZoomUser};

/// What Zoom says about a meeting instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingMetadata {
    /// The instance; never the meeting number, which later instances share.
    pub meeting_uuid: MeetingUuid,
    /// The meeting number, as text.
    pub meeting_id: Option<String>,
    /// The meeting's title, as people wrote it.
    pub topic: String,
    /// When the meeting began.
    pub start_time: Timestamp,
    /// Whole minutes; 0 is possible.
    pub duration_minutes: Option<u64>,
}

/// What Zoom says about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMetadata {
    /// Zoom's id, or one derived from the file's place.
    pub id: FileId,
    /// `MP4`, `M4A`, `TIMELINE`, …: in upper case, unknown values kept.
    pub file_type: String,
    /// `shared_screen_with_speaker_view`, `audio_only`, …: unknown values kept.
    pub recording_type: Option<String>,
    /// For the object key, in lower case.
    pub extension: String,
    /// Declared size in bytes.
    pub size: Option<u64>,
}

impl FileMetadata {
    /// Whether the declared size is exact. For text files it has not been seen to be.
    pub fn size_is_exact(&self) -> bool {
        matches!(self.file_type.as_str(), "MP4" | "M4A" | "TIMELINE")
    }
}

/// Where a file is on its way. Only these changes are made, each by a conditional write:
/// `queued → transferring → stored | failed`, back to `queued` when tried again; `skipped` is for
/// what the operator's filter leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileStatus {
    /// Known, and a message was or will be sent.
    Queued,
    /// Somebody works on it, under a lease.
    Transferring,
    /// Whole and proven in the bucket.
    Stored,
    /// Ended, with a reason.
    Failed,
    /// Not wanted by the operator's filter.
    Skipped,
}

/// A recording's state, derived from its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordingStatus {
    /// Known; nothing moved yet.
    Detected,
    /// Under way.
    Transferring,
    /// All wanted files are in the bucket.
    Stored,
    /// At least one wanted file ended without being stored, and nothing is under way.
    Failed,
}

/// Whether the recording still exists at Zoom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZoomState {
    /// There.
    #[default]
    Present,
    /// In Zoom's trash, for 30 days at most.
    Trashed,
    /// Gone for good.
    Deleted,
}

/// What can happen at Zoom to a recording that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordingChange {
    /// It has another topic.
    Renamed {
        /// The new one.
        topic: String,
    },
    /// Into the trash.
    Trashed,
    /// Out of it.
    Recovered,
    /// Gone for good.
    Deleted,
}

impl RecordingChange {
    /// `change` of `recording.changed`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Renamed { .. } => "renamed",
            Self::Trashed => "trashed",
            Self::Recovered => "recovered",
            Self::Deleted => "deleted",
        }
    }
}

/// A file as it is stored in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What Zoom says.
    pub metadata: FileMetadata,
    /// Where it is.
    pub status: FileStatus,
    /// Why it failed or was skipped.
    pub reason: Option<String>,
    /// Bytes received so far; all of them once stored.
    pub bytes_stored: u64,
    /// Object key, once stored.
    pub key: Option<String>,
    /// Base64 CRC-64/NVME of the whole object, as S3 verified it, once stored.
    pub crc64nvme: Option<String>,
}

impl File {
    /// The size to show: what was stored, else what Zoom declared.
    fn size(&self) -> Option<u64> {
        match self.status {
            FileStatus::Stored => Some(self.bytes_stored),
            _ => self.metadata.size,
        }
    }
}

/// A recording as it is stored in the table, with its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Whose.
    pub zoom_user: ZoomUser,
    /// What Zoom says.
    pub metadata: RecordingMetadata,
    /// Whether Zoom still has it.
    pub zoom_state: ZoomState,
    /// Facts made so far ([`crate::notification`]).
    pub sequence: u64,
    /// In the order of their ids.
    pub files: Vec<File>,
}

impl Recording {
    /// The id by which the app knows it.
    pub fn id(&self) -> RecordingId {
        RecordingId::from_uuid(&self.metadata.meeting_uuid)
    }

    /// The files that the operator wants.
    pub fn wanted_files(&self) -> impl Iterator<Item = &File> {
        self.files
            .iter()
            .filter(|file| file.status != FileStatus::Skipped)
    }

    /// The state that follows from the files.
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

    /// Names the set of stored files, so that "stored" is a new fact when the set has grown.
    pub fn stored_set(&self) -> String {
        let ids: BTreeSet<&str> = self
            .files
            .iter()
            .filter(|f| f.status == FileStatus::Stored)
            .map(|f| f.metadata.id.as_str())
            .collect();
        ids.into_iter().collect::<Vec<_>>().join(",")
    }

    /// As the app sees it; `bucket` is where stored files are.
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
            files: self
                .files
                .iter()
                .map(|file| FileView::of(file, bucket))
                .collect(),
            files_truncated: None,
            files_total: None,
        }
    }
}

/// `recording` of the API and of notifications.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(
    missing_docs,
    reason = "the fields are those of the public API, documented there"
)]
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

/// `file` of the API and of notifications.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(
    missing_docs,
    reason = "the fields are those of the public API, documented there"
)]
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
    /// Presigned; only where the API says so, never in a notification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<PresignedUrl>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_expires_at: Option<Timestamp>,
}

/// An address that opens a stored file to whoever has it. It is written into the answer to the app's
/// server, and `Debug` does not show it.
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
    fn of(file: &File, bucket: &str) -> Self {
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

/// The operator's filter: `FileTypes` and `MinimumMinutes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFilter {
    /// Upper-case file types; empty means all.
    types: BTreeSet<String>,
    minimum_minutes: u64,
}

impl FileFilter {
    /// `file_types` is the comma-separated parameter; empty or `all` means every type.
    pub fn new(file_types: &str, minimum_minutes: u64) -> Self {
        let types: BTreeSet<String> = file_types
            .split(',')
            .map(|name| name.trim().to_ascii_uppercase())
            .filter(|name| !name.is_empty())
            .collect();
        let all = types.contains("ALL");
        Self {
            types: if all { BTreeSet::new() } else { types },
            minimum_minutes,
        }
    }

    /// Why a file is not wanted, if it is not.
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
            zoom_user: ZoomUser {
                account_id: "A".parse().unwrap(),
                user_id: "u".parse().unwrap(),
            },
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
    fn the_recordings_status_follows_from_its_files() {
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
            let files = files
                .into_iter()
                .enumerate()
                .map(|(i, s)| file(&format!("f{i}"), s))
                .collect();
            assert_eq!(recording(files).status(), expected, "{label}");
        }
    }

    #[test]
    fn sizes_are_what_was_stored_else_what_was_declared() {
        let recording = recording(vec![
            file("a", FileStatus::Stored),
            file("b", FileStatus::Queued),
        ]);
        let view = recording.view("bucket");
        assert_eq!((view.size, view.bytes_stored), (22, 12));
    }

    #[test]
    fn the_stored_set_does_not_depend_on_order() {
        let ab = recording(vec![
            file("a", FileStatus::Stored),
            file("b", FileStatus::Stored),
        ]);
        let ba = recording(vec![
            file("b", FileStatus::Stored),
            file("a", FileStatus::Stored),
        ]);
        assert_eq!(ab.stored_set(), ba.stored_set());
        assert_ne!(
            ab.stored_set(),
            recording(vec![file("a", FileStatus::Stored)]).stored_set()
        );
    }

    #[test]
    fn the_filter_says_why() {
        let facts = recording(vec![]).metadata;
        let mp4 = file("a", FileStatus::Queued).metadata;
        assert_eq!(FileFilter::new("", 0).skip_reason(&facts, &mp4), None);
        assert_eq!(FileFilter::new("all", 5).skip_reason(&facts, &mp4), None);
        assert_eq!(
            FileFilter::new(" mp4 , M4A", 0).skip_reason(&facts, &mp4),
            None
        );
        assert_eq!(
            FileFilter::new("M4A", 0).skip_reason(&facts, &mp4),
            Some("file_type_not_wanted")
        );
        assert_eq!(
            FileFilter::new("", 6).skip_reason(&facts, &mp4),
            Some("shorter_than_minimum")
        );
    }
}
