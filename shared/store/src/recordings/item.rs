//! The items of the table, and the outcomes of writing them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use reelay_domain::ids::{AppUserId, FileId, RecordingId, ZoomUser};
use reelay_domain::message::Notification;
use reelay_domain::recording::{
    File, FileMetadata, FileStatus, Recording, RecordingMetadata, ZoomState,
};
use reelay_domain::source_cipher::EncryptedSource;
use reelay_domain::upload::UploadState;
use reelay_runtime::AwsError;
use serde::{Deserialize, Serialize};

use super::NextCheck;

/// The item of a recording, without its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingItem {
    /// Start time and id: the sort key of the index `by-start`.
    pub start_order: String,
    /// `account#uuid`: the key of the index `by-meeting`, for events without a host.
    pub account_meeting: String,
    /// Zoom's metadata. The start time is the first one seen and never changes, because object keys contain it.
    #[serde(flatten)]
    pub metadata: RecordingMetadata,
    /// State of Zoom's copy.
    #[serde(default)]
    pub zoom_state: ZoomState,
    /// Sequence number of the last notification.
    #[serde(default)]
    pub sequence: u64,
    /// `event_ts` of the latest event, epoch milliseconds.
    pub last_event_ts: i64,
    /// Whether its files are downloaded: automatically, or on the app's request.
    #[serde(default)]
    pub requested: bool,
    /// Files whose download is enqueued, so that a second event does not enqueue it again. A crash before this
    /// write causes a duplicate message, never a lost one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty", serialize_with = "string_set")]
    pub sent: BTreeSet<FileId>,
}

/// Serializes as a DynamoDB set, to which `ADD` appends without a read.
fn string_set<S: serde::Serializer>(
    ids: &BTreeSet<FileId>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serde_dynamo::string_set::serialize(ids, serializer)
}

/// The item of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileItem {
    /// Zoom's metadata.
    #[serde(flatten)]
    pub metadata: FileMetadata,
    /// Status.
    pub status: FileStatus,
    /// Reason of a failure or skip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Bytes received.
    #[serde(default)]
    pub bytes_stored: u64,
    /// Object key, once stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Base64 CRC-64/NVME, once stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc64nvme: Option<String>,
    /// Time of storing, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_at: Option<i64>,
    /// Encrypted download source; deleted once stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<EncryptedSource>,
    /// Time of the last write of the source, epoch milliseconds; present with the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_saved_at: Option<i64>,
    /// Next maintenance check, if any.
    #[serde(flatten)]
    pub next_check: Option<NextCheck>,
    /// `event_ts` of the event with the source, epoch milliseconds.
    pub last_event_ts: i64,
    /// Acceptance of the event, epoch milliseconds, if the time until the file is stored is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<i64>,
    /// Owner of the transfer lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_owner: Option<String>,
    /// Expiry of the lease, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<i64>,
    /// Number of transfers started.
    #[serde(default)]
    pub attempt: u32,
    /// The current multipart upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<UploadState>,
    /// Whether the file's first bytes match its type; absent for types without a known signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recognised: Option<bool>,
}

impl FileItem {
    /// Seconds since the acceptance of the event; `None` if not measured.
    pub fn seconds_since_received(&self, now: Timestamp) -> Option<f64> {
        let milliseconds = now.as_millisecond().checked_sub(self.received_at?)?;
        // Clocks of two machines differ slightly.
        u32::try_from(milliseconds.max(0)).ok().map(|milliseconds| f64::from(milliseconds) / 1000.0)
    }
}

impl From<FileItem> for File {
    fn from(item: FileItem) -> Self {
        Self {
            metadata: item.metadata,
            status: item.status,
            reason: item.reason,
            bytes_stored: item.bytes_stored,
            key: item.key,
            crc64nvme: item.crc64nvme,
        }
    }
}

/// The item of a saved notification.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NotificationItem {
    #[serde(flatten)]
    pub(super) notification: Notification,
    /// The app user who is notified.
    pub(super) app_user_id: AppUserId,
    /// The recording that it is about.
    pub(super) recording_id: RecordingId,
    pub(super) expires_at: i64,
}

/// A recording with its files, read consistently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingWithFiles {
    /// The host.
    pub zoom_user: ZoomUser,
    /// The recording.
    pub item: RecordingItem,
    /// Its files, by id.
    pub files: Vec<FileItem>,
}

impl RecordingWithFiles {
    /// The recording as a domain value.
    pub fn recording(&self) -> Recording {
        Recording {
            zoom_user: self.zoom_user.clone(),
            metadata: self.item.metadata.clone(),
            zoom_state: self.item.zoom_state,
            sequence: self.item.sequence,
            files: self.files.iter().cloned().map(File::from).collect(),
        }
    }
}

/// The key of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileKey {
    /// The host.
    pub zoom_user: ZoomUser,
    /// The recording.
    pub recording: RecordingId,
    /// The file.
    pub file: FileId,
}

impl FileKey {
    pub(super) fn entry(&self) -> String {
        format!("rec#{}#file#{}", self.recording, self.file)
    }
}

/// Outcome of a conditional insert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddOutcome<T> {
    /// The item is new.
    AddOutcome,
    /// The item existed before.
    AlreadyExists(T),
    /// The recording was erased.
    Erased,
}

/// Outcome of acquiring the lease on a file's transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// The caller holds the lease.
    Acquired(FileItem),
    /// Another owner holds the lease.
    HeldByOther {
        /// Expiry, epoch milliseconds.
        until: i64,
        /// The owner.
        owner: String,
    },
    /// The file is stored, failed or skipped.
    AlreadyFinished(FileItem),
    /// The file does not exist.
    FileNotFound,
}

/// Error of a write under a lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The DynamoDB call failed.
    #[error(transparent)]
    Table(#[from] AwsError),
    /// The lease expired and another owner acquired it.
    #[error("another transfer acquired the lease on the file")]
    Lost,
}
