//! The public view of recordings, in API responses and notifications.

use std::fmt;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use super::{File, FileStatus, Recording, RecordingKind, RecordingStatus, ZoomState};
use crate::ids::{FileId, LinkId, MeetingUuid, RecordingId, ZoomUser};
use crate::time::serialize_rfc3339;

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
    #[serde(serialize_with = "serialize_rfc3339")]
    pub start_time: Timestamp,
    pub timezone: Option<String>,
    pub duration_minutes: Option<u64>,
    pub status: RecordingStatus,
    pub zoom_state: ZoomState,
    pub size: u64,
    pub bytes_stored: u64,
    /// When the last wanted file was stored, if all are.
    #[serde(serialize_with = "serialize_rfc3339")]
    pub stored_at: Option<Timestamp>,
    #[serde(serialize_with = "serialize_rfc3339")]
    pub updated_at: Timestamp,
    /// The app user's links that cover the recording. Absent where no app user reads: in manifests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_ids: Option<Vec<LinkId>>,
    pub files: Vec<FileView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_truncated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_total: Option<usize>,
}

impl Recording {
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
            stored_at: self.stored_at(),
            updated_at: self.updated_at,
            link_ids: None,
            files: files.into_iter().map(|file| FileView::new(file, bucket)).collect(),
            files_truncated: None,
            files_total: None,
        }
    }
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

/// `file` in API responses and notifications.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the public API documents the fields")]
pub struct FileView {
    pub id: FileId,
    pub file_type: String,
    pub recording_type: Option<String>,
    pub extension: String,
    pub participant: Option<String>,
    #[serde(serialize_with = "serialize_rfc3339")]
    pub recording_start: Option<Timestamp>,
    #[serde(serialize_with = "serialize_rfc3339")]
    pub recording_end: Option<Timestamp>,
    pub size: Option<u64>,
    pub bytes_stored: u64,
    pub status: FileStatus,
    pub attempts: u32,
    #[serde(serialize_with = "serialize_rfc3339")]
    pub next_attempt_at: Option<Timestamp>,
    pub reason: Option<String>,
    pub bucket: Option<String>,
    pub key: Option<String>,
    pub crc64nvme: Option<String>,
    /// In API responses only.
    #[serde(flatten)]
    pub access: Option<FileAccess>,
}

/// How to read a stored file: null outside `GET /v1/recordings/{recording_id}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the public API documents the fields")]
pub struct FileAccess {
    pub url: Option<PresignedUrl>,
    #[serde(serialize_with = "serialize_rfc3339")]
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
            access: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, file, recording};
    use super::*;

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
}
