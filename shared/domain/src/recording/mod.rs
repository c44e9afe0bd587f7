//! Recordings and their files: their transfer states, and the values derived from these.

mod file_name;
mod filter;
mod metadata;
mod trash;
mod view;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::filter::FileFilter;
pub use self::metadata::{FileMetadata, RecordingKind, RecordingMetadata, minutes_covered};
pub use self::view::{FileAccess, FileView, PresignedUrl, RecordingView};
use crate::ids::{RecordingId, ZoomUser};

/// Transfer status of a file. Transitions, each by a conditional write: `queued → transferring →
/// stored | failed`, `stored → expired`, and back to `queued` on a retry or request. `skipped` files stay so.
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
    /// Was stored, and deleted when `RetentionDays` had passed. Only the app's request fetches it again.
    Expired,
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
    /// All wanted files were stored, and at least one has expired.
    Expired,
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
    /// Moved to the trash by Reelay (`TrashAtZoomAfterDays`).
    TrashedByReelay,
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
            Self::TrashedByReelay => "trashed_by_reelay",
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
    /// When it was stored, if it is.
    pub stored_at: Option<Timestamp>,
    /// The size that Zoom declared when it was stored, if that is not the stored size.
    pub declared_when_stored: Option<u64>,
    /// Object key; present once stored.
    pub key: Option<String>,
    /// Base64 CRC-64/NVME of the full object, verified by S3; present once stored.
    pub crc64nvme: Option<String>,
    /// Number of transfers started.
    pub attempts: u32,
    /// How often it was stored and has expired.
    pub expirations: u32,
    /// When the next transfer starts at the latest, if the file waits for it.
    pub next_attempt_at: Option<Timestamp>,
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
    /// Time of the last change that was notified, or of the first observation.
    pub updated_at: Timestamp,
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
        let mut expired = false;
        for file in self.wanted_files() {
            any = true;
            match file.status {
                FileStatus::Stored => stored = true,
                FileStatus::Expired => expired = true,
                FileStatus::Failed => failed = true,
                FileStatus::Transferring => moving = true,
                FileStatus::Queued | FileStatus::Skipped => waiting = true,
            }
        }
        match (moving, waiting, failed, stored || expired) {
            _ if self.files.is_empty() => RecordingStatus::Empty,
            _ if !any => RecordingStatus::Detected,
            (true, _, _, _) => RecordingStatus::Transferring,
            (false, true, _, true) | (false, true, true, _) => RecordingStatus::Transferring,
            (false, true, false, false) => RecordingStatus::Detected,
            (false, false, true, _) => RecordingStatus::Failed,
            (false, false, false, _) if expired => RecordingStatus::Expired,
            (false, false, false, _) => RecordingStatus::Stored,
        }
    }

    /// Returns when the last wanted file was stored, if all are.
    pub fn stored_at(&self) -> Option<Timestamp> {
        let is_stored = self.status() == RecordingStatus::Stored;
        self.wanted_files().filter(|_| is_stored).filter_map(|file| file.stored_at).max()
    }

    /// Returns the ids of the stored files, sorted and joined: the version of `recording.stored`. An id is followed by
    /// the number of expirations, if the file has expired.
    pub fn stored_file_ids(&self) -> String {
        let stored = self.files.iter().filter(|file| file.status == FileStatus::Stored);
        let ids: BTreeSet<String> = stored
            .map(|file| match (file.metadata.id.as_str(), file.expirations) {
                (id, 0) => id.to_owned(),
                (id, expirations) => format!("{id} {expirations}"),
            })
            .collect();
        ids.into_iter().collect::<Vec<_>>().join(",")
    }

    /// Returns when the last file ended, or the meeting, if it is known.
    pub fn ended_at(&self) -> Option<Timestamp> {
        let ends = self.files.iter().filter_map(|file| file.metadata.recording_end);
        ends.max().or_else(|| {
            let minutes = self.metadata.duration_minutes.and_then(|it| i32::try_from(it).ok());
            let duration = SignedDuration::from_mins(minutes.unwrap_or(0).into());
            self.metadata.start_time.checked_add(duration).ok()
        })
    }

    /// Returns Zoom's duration in minutes, or the time that the files cover.
    pub fn duration_minutes(&self) -> Option<u64> {
        let covered = || minutes_covered(self.files.iter().map(|file| &file.metadata));
        self.metadata.duration_minutes.or_else(covered)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::recording) fn at(time: &str) -> Timestamp {
        format!("2026-01-01T{time}Z").parse().unwrap()
    }

    pub(in crate::recording) fn file(id: &str, status: FileStatus) -> File {
        File {
            metadata: FileMetadata {
                file_type: Some("MP4".into()),
                size: Some(10),
                ..FileMetadata::unknown(id.parse().unwrap())
            },
            status,
            reason: None,
            bytes_stored: if status == FileStatus::Stored { 12 } else { 0 },
            stored_at: None,
            declared_when_stored: None,
            key: None,
            crc64nvme: None,
            attempts: 0,
            expirations: 0,
            next_attempt_at: None,
        }
    }

    pub(in crate::recording) fn recording(files: Vec<File>) -> Recording {
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
            updated_at: at("09:00:00"),
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
            (vec![Stored, Expired], RecordingStatus::Expired),
            (vec![Expired, Queued], RecordingStatus::Transferring),
            (vec![Expired, Failed], RecordingStatus::Failed),
        ] {
            let label = format!("{files:?}");
            let files =
                files.into_iter().enumerate().map(|(i, s)| file(&format!("f{i}"), s)).collect();
            assert_eq!(recording(files).status(), expected, "{label}");
        }
    }

    #[test]
    fn unknown_duration_is_derived_from_files() {
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
}
