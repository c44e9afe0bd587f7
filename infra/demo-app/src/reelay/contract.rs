//! What Reelay answers with. Values that a later Reelay may add are read as `Unknown`, not refused.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

/// "This user may have that Zoom user's recordings."
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Link {
    /// Names the link in `DELETE /v1/links/{link_id}`.
    pub id: String,
    /// Whether recordings still arrive.
    pub status: LinkStatus,
    /// Whose recordings they are.
    pub zoom: ZoomAccount,
    /// When the user came back from Zoom.
    pub created_at: Timestamp,
    /// When the app confirmed it.
    pub activated_at: Option<Timestamp>,
}

/// Whether a link works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkStatus {
    /// Recordings arrive.
    Active,
    /// Zoom no longer accepts the consent: the user has to connect again.
    ReauthorizationRequired,
    /// A status this app does not know.
    #[serde(other)]
    Unknown,
}

/// A Zoom user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ZoomAccount {
    /// Zoom's account id.
    pub account_id: String,
    /// Zoom's user id.
    pub user_id: String,
    /// The name shown at Zoom; only links have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Links {
    pub(super) links: Vec<Link>,
}

/// A page of recordings.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordingPage {
    /// Newest first.
    pub recordings: Vec<Recording>,
    /// Asks for the next page; absent on the last.
    pub next_cursor: Option<String>,
}

/// A recorded meeting.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recording {
    /// Names the recording in `/v1/recordings/{recording_id}`.
    pub id: String,
    /// Who hosted the meeting.
    pub zoom: ZoomAccount,
    /// Zoom's id of this one occurrence.
    pub meeting_uuid: String,
    /// Zoom's meeting number.
    pub meeting_id: Option<MeetingId>,
    /// The meeting's title, as people typed it.
    pub topic: Option<String>,
    /// When it began.
    pub start_time: Option<Timestamp>,
    /// How long it was.
    pub duration_minutes: Option<u64>,
    /// How far Reelay is with it.
    pub status: RecordingStatus,
    /// What became of the original at Zoom.
    pub zoom_state: ZoomState,
    /// Of all files together.
    pub size: Option<u64>,
    /// Of all files together.
    #[serde(default)]
    pub bytes_stored: u64,
    /// Video, audio, transcripts.
    #[serde(default)]
    pub files: Vec<File>,
}

/// A meeting number, however it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MeetingId {
    /// As Zoom's API writes it.
    Number(u64),
    /// As people write it.
    Text(String),
}

/// How far Reelay is with a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordingStatus {
    /// Known, but nothing is being fetched.
    Detected,
    /// Being fetched.
    Transferring,
    /// All wanted files are stored.
    Stored,
    /// A file could not be fetched.
    Failed,
    /// A status this app does not know.
    #[serde(other)]
    Unknown,
}

/// What became of the original at Zoom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZoomState {
    /// It is there.
    Present,
    /// It is in the trash.
    Trashed,
    /// It is gone.
    Deleted,
    /// A state this app does not know.
    #[serde(other)]
    Unknown,
}

/// One file of a recording.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct File {
    /// Unique within the recording.
    pub id: String,
    /// `MP4`, `M4A`, `TRANSCRIPT`, `CHAT`, …
    pub file_type: Option<String>,
    /// `shared_screen_with_speaker_view`, `audio_only`, …
    pub recording_type: Option<String>,
    /// Of the stored object.
    pub extension: Option<String>,
    /// As Zoom declared it, if it did.
    pub size: Option<u64>,
    /// So far.
    #[serde(default)]
    pub bytes_stored: u64,
    /// How far Reelay is with it.
    pub status: FileStatus,
    /// Why it failed or was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where it lies, for an app that has access to the bucket itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Where it lies, for an app that has access to the bucket itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// S3's checksum of the whole object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc64nvme: Option<String>,
    /// Fetches the file without further credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Url>,
    /// Until when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_expires_at: Option<Timestamp>,
}

/// How far Reelay is with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileStatus {
    /// Waiting for its turn.
    Queued,
    /// Being fetched.
    Transferring,
    /// Whole, proven and in the bucket.
    Stored,
    /// Given up.
    Failed,
    /// Not wanted, by configuration.
    Skipped,
    /// A status this app does not know.
    #[serde(other)]
    Unknown,
}
