//! Response bodies. Status values that a later Reelay adds deserialize as `Unknown`.
#![allow(missing_docs, reason = "the contract documents the fields and values")]

use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

/// The right of one app user to one Zoom user's recordings.
#[derive(Clone, Debug, Deserialize)]
pub struct Link {
    pub id: String,
    pub status: LinkStatus,
    pub zoom: ZoomAccount,
    pub created_at: Timestamp,
    pub activated_at: Option<Timestamp>,
    /// Why recordings may not arrive although the link is active.
    pub issue: Option<String>,
    pub last_event_at: Option<Timestamp>,
}

/// `ReauthorizationRequired`: Zoom revoked the grant, and the user must connect again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkStatus {
    Active,
    ReauthorizationRequired,
    #[serde(other)]
    Unknown,
}

/// A Zoom user. Only links contain the display name, and only the list of links contains the e-mail address.
#[derive(Clone, Debug, Deserialize)]
pub struct ZoomAccount {
    pub account_id: String,
    pub user_id: String,
    pub display_name: Option<String>,
    pub email: Option<String>,
}

/// A page of recordings, newest first. The last page has no cursor.
#[derive(Clone, Debug, Deserialize)]
pub struct RecordingPage {
    pub recordings: Vec<Recording>,
    pub next_cursor: Option<String>,
}

/// A recorded meeting. Sizes are in bytes.
#[derive(Clone, Debug, Deserialize)]
pub struct Recording {
    pub id: String,
    pub zoom: ZoomAccount,
    pub meeting_uuid: String,
    pub topic: Option<String>,
    pub start_time: Option<Timestamp>,
    pub duration_minutes: Option<u64>,
    pub status: Status,
    pub size: Option<u64>,
    pub bytes_stored: u64,
    pub files: Vec<File>,
}

/// Progress of a recording or of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Detected,
    Queued,
    Transferring,
    Stored,
    Failed,
    Skipped,
    Empty,
    Expired,
    #[serde(other)]
    Unknown,
}

/// A file of a recording. `url` is a presigned S3 URL; only the response for one recording contains it.
#[derive(Clone, Debug, Deserialize)]
pub struct File {
    pub id: String,
    pub file_type: Option<String>,
    pub recording_type: Option<String>,
    pub participant: Option<String>,
    pub recording_start: Option<Timestamp>,
    pub recording_end: Option<Timestamp>,
    pub size: Option<u64>,
    pub bytes_stored: u64,
    pub status: Status,
    pub reason: Option<String>,
    pub next_attempt_at: Option<Timestamp>,
    pub key: Option<String>,
    pub crc64nvme: Option<String>,
    pub url: Option<Url>,
    pub url_expires_at: Option<Timestamp>,
}
