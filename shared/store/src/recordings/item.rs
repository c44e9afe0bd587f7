//! The items of the table, and the outcomes of writing them.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::{FileId, RecordingId, ZoomUser};
use reelay_domain::observation::{
    FileObservation, Observation, ObservationSource, ObservedAt, ObservedFile, ObservedRecording,
};
use reelay_domain::recording::{File, FileStatus, Recording, ZoomState};
use reelay_domain::retry::Failures;
use reelay_domain::upload::UploadState;
use reelay_runtime::AwsError;
use serde::{Deserialize, Serialize};

use super::NextCheck;

/// Delay until a file that Zoom still processes is tried, unless an event says before that it is ready.
const PROCESSING_DELAY: SignedDuration = SignedDuration::from_mins(15);

/// The item of a recording, without its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingItem {
    /// Start time and id: the sort key of the index `by-start`.
    pub start_order: String,
    /// `account#uuid`: the key of the index `by-meeting`, for events without a host.
    pub account_meeting: String,
    /// The merged observations.
    #[serde(flatten)]
    pub observed: ObservedRecording,
    /// Sequence number of the last notification. Starts at the epoch second of the first observation, so that
    /// a copy of the recording that is stored later, after its host changed accounts, continues above the first one.
    #[serde(default)]
    pub sequence: u64,
    /// Time of the last change that was notified, or of the first observation, epoch milliseconds.
    #[serde(default)]
    pub updated_at: i64,
    /// Whether an event was about it.
    #[serde(default)]
    pub announced: bool,
    /// Whether its files are downloaded: automatically, or on the app's request.
    #[serde(default)]
    pub requested: bool,
    /// The last correction of what was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<Correction>,
    /// Whether Reelay moved Zoom's copy to the trash.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trashed_by_reelay: bool,
    /// When Zoom's copy is moved to the trash, if it is, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trash_at: Option<i64>,
    /// Whether `recording.detected` was published to the links of the time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detected: bool,
    /// Files whose download is enqueued, so that a second event does not enqueue it again. A crash before this
    /// write causes a duplicate message, never a lost one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty", serialize_with = "string_set")]
    pub sent: BTreeSet<FileId>,
}

/// How an observation changed a known recording. Kept, so that a redelivery of the observation notices it, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// Time of the observation, epoch milliseconds.
    pub at: i64,
    /// Whether it has another topic.
    pub is_renamed: bool,
    /// Whether it is no longer in Zoom's trash, or deleted.
    pub is_recovered: bool,
}

impl Correction {
    /// The difference that an observation made, if it made one.
    pub(super) fn of(
        before: &ObservedRecording,
        after: &ObservedRecording,
        time: ObservedAt,
    ) -> Option<Self> {
        let is_present =
            |it: &ObservedRecording| it.zoom_state.unwrap_or_default() == ZoomState::Present;
        let is_changed = !before.is_only_changed()
            && (before.metadata != after.metadata || before.zoom_state != after.zoom_state);
        is_changed.then(|| Self {
            at: time.at.as_millisecond(),
            is_renamed: before.metadata.topic.is_some()
                && before.metadata.topic != after.metadata.topic,
            is_recovered: !is_present(before) && is_present(after),
        })
    }
}

impl RecordingItem {
    /// The correction that an observation of this time made, if it made one.
    pub fn correction_at(&self, time: ObservedAt) -> Option<Correction> {
        self.correction.filter(|correction| correction.at == time.at.as_millisecond())
    }

    /// The item after the first observation.
    pub(super) fn new(observation: &Observation, requested: bool, now: Timestamp) -> Self {
        let observed = ObservedRecording::new(observation);
        let account = &observation.host.account_id;
        Self {
            start_order: start_order(&observed),
            account_meeting: format!("{account}#{}", observation.meeting_uuid),
            observed,
            sequence: u64::try_from(now.as_second()).unwrap_or_default(),
            updated_at: now.as_millisecond(),
            announced: is_event(observation),
            requested,
            correction: None,
            trashed_by_reelay: false,
            trash_at: None,
            detected: false,
            sent: BTreeSet::new(),
        }
    }
}

/// Whether an observation comes from an event.
pub(super) fn is_event(observation: &Observation) -> bool {
    observation.time.source == ObservationSource::Event
}

/// Start time and id, so that texts compare as times.
pub(super) fn start_order(recording: &ObservedRecording) -> String {
    let start = recording.metadata.start_time;
    let start = Timestamp::from_second(start.as_second()).unwrap_or(start);
    format!("{start}#{}", RecordingId::from_uuid(&recording.metadata.meeting_uuid))
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
    /// The merged observations. The source is deleted once the file is stored.
    #[serde(flatten)]
    pub observed: ObservedFile,
    /// Status.
    pub status: FileStatus,
    /// Whether the app requested this file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requested: bool,
    /// Time of the latest event that trashed or deleted only some files, this one among them, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<i64>,
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
    /// The size that Zoom declared when the file was stored, if that is not the stored size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_when_stored: Option<u64>,
    /// When S3 deletes the object, epoch milliseconds, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_expires_at: Option<i64>,
    /// Time of the last write of the source, epoch milliseconds; present with the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_saved_at: Option<i64>,
    /// Next maintenance check, if any.
    #[serde(flatten)]
    pub next_check: Option<NextCheck>,
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
    /// How often the file was stored and has expired.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub expirations: u32,
    /// Time of the first transfer since one made progress, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_attempt_at: Option<i64>,
    /// Failures since a transfer made progress.
    #[serde(default)]
    pub failures: Failures,
    /// Time of the failure of a failed file, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<i64>,
    /// Number of attempts that reconciliations have granted since the file failed first.
    #[serde(default)]
    pub granted_attempts: u32,
    /// The reason of the failure before the granted attempt, of which the app was notified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_reason: Option<String>,
    /// Time of the next attempt, if the file waits for one, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<i64>,
    /// The size that Zoom served, if it declared another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_size: Option<ServedSize>,
    /// The current multipart upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<UploadState>,
    /// Whether the file's first bytes match its type; absent for types without a known signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recognised: Option<bool>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A size that Zoom served although it declared another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedSize {
    /// Size in bytes.
    pub bytes: u64,
    /// When it was first served, epoch milliseconds.
    pub since: i64,
}

impl FileItem {
    /// A file after its first observation. `skip_reason` is why the operator's filter excludes it.
    pub fn new(
        observation: &FileObservation,
        time: ObservedAt,
        skip_reason: Option<&str>,
        received_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let mut observed = ObservedFile::new(observation, time);
        let is_wanted = skip_reason.is_none();
        // A skipped file needs neither a source nor maintenance.
        observed.source = observed.source.filter(|_| is_wanted);
        let is_processing = observed.metadata.is_processing == Some(true);
        let waits_until = (is_wanted && is_processing).then_some(now + PROCESSING_DELAY);
        Self {
            status: if is_wanted { FileStatus::Queued } else { FileStatus::Skipped },
            requested: false,
            removed_at: None,
            reason: skip_reason.map(str::to_owned),
            bytes_stored: 0,
            key: None,
            crc64nvme: None,
            stored_at: None,
            declared_when_stored: None,
            object_expires_at: None,
            source_saved_at: observed.source.as_ref().map(|_| now.as_millisecond()),
            next_check: is_wanted.then(|| waits_until.map_or(NextCheck::first(now), NextCheck::at)),
            received_at: received_at.map(Timestamp::as_millisecond),
            lease_owner: None,
            lease_until: None,
            attempt: 0,
            expirations: 0,
            first_attempt_at: None,
            failures: Failures::default(),
            failed_at: None,
            granted_attempts: 0,
            reported_reason: None,
            next_attempt_at: waits_until.map(Timestamp::as_millisecond),
            served_size: None,
            upload: None,
            recognised: None,
            observed,
        }
    }

    /// Whether the file waits for its next attempt.
    pub fn is_waiting(&self, now: Timestamp) -> bool {
        self.status == FileStatus::Queued
            && self.next_attempt_at.is_some_and(|at| at > now.as_millisecond())
    }

    /// Whether Zoom no longer has the file: it was removed after its last observation, or not found.
    pub fn is_gone(&self) -> bool {
        let removed_at = self.removed_at.and_then(|at| Timestamp::from_millisecond(at).ok());
        let is_removed = |at| {
            let source = ObservationSource::Event;
            self.observed.seen.is_before(ObservedAt { at, is_own: true, source })
        };
        let is_not_found =
            matches!(self.reason.as_deref(), Some("gone" | "no_source" | "not_found"));
        removed_at.is_some_and(is_removed) || (self.status == FileStatus::Failed && is_not_found)
    }

    /// Seconds since the acceptance of the event; `None` if not measured.
    pub fn seconds_since_received(&self, now: Timestamp) -> Option<f64> {
        let milliseconds = now.as_millisecond().checked_sub(self.received_at?)?;
        // Clocks of two machines differ slightly.
        u32::try_from(milliseconds.max(0)).ok().map(|milliseconds| f64::from(milliseconds) / 1000.0)
    }
}

impl From<FileItem> for File {
    fn from(item: FileItem) -> Self {
        let time = |milliseconds| Timestamp::from_millisecond(milliseconds).ok();
        Self {
            metadata: item.observed.metadata,
            status: item.status,
            reason: item.reason,
            bytes_stored: item.bytes_stored,
            stored_at: item.stored_at.and_then(time),
            declared_when_stored: item.declared_when_stored,
            key: item.key,
            crc64nvme: item.crc64nvme,
            attempts: item.attempt,
            expirations: item.expirations,
            next_attempt_at: item.next_attempt_at.and_then(time),
        }
    }
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
    /// Whether files are stored, and no other one is being transferred or about to be. Its manifest is then written.
    pub fn is_at_rest(&self) -> bool {
        let is_active = |file: &FileItem| match file.status {
            FileStatus::Queued => {
                file.next_attempt_at.is_none() && (self.item.requested || file.requested)
            }
            FileStatus::Transferring => true,
            FileStatus::Stored | FileStatus::Expired | FileStatus::Failed | FileStatus::Skipped => {
                false
            }
        };
        self.has_stored() && !self.files.iter().any(is_active)
    }

    /// Whether a file is stored.
    pub fn has_stored(&self) -> bool {
        self.files.iter().any(|file| file.status == FileStatus::Stored)
    }

    /// The recording as a domain value.
    pub fn recording(&self) -> Recording {
        Recording {
            zoom_user: self.zoom_user.clone(),
            metadata: self.item.observed.metadata.clone(),
            zoom_state: self.item.observed.zoom_state.unwrap_or_default(),
            sequence: self.item.sequence,
            updated_at: Timestamp::from_millisecond(self.item.updated_at).unwrap_or_default(),
            files: self.files.iter().cloned().map(File::from).collect(),
        }
    }
}

/// The stored state of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownRecording {
    /// The recording is not in the table.
    Unknown,
    /// It was erased and stays so.
    Erased,
    /// The recording is in the table, with its files.
    Known(Box<RecordingWithFiles>),
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
pub(super) enum AddOutcome<T> {
    /// The item is new.
    Added,
    /// The item existed before.
    AlreadyExists(T),
    /// The recording was erased.
    Erased,
}

/// Outcome of an observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObserveOutcome<T> {
    /// The item is new.
    New(T),
    /// The item was known.
    Known {
        /// As it was before.
        before: T,
        /// As it is now.
        after: T,
    },
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
    /// The file is stored, failed, skipped or expired.
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
