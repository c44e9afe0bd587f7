//! Recordings and their files.

mod json;
mod new;

use jiff::Timestamp;
use serde::Serialize;

use crate::clock::later;
use crate::files::{ContentKind, FileSpec};
use crate::ids::Ids;
use crate::users::User;

pub(crate) use json::FileStyle;
pub use new::{NewFile, NewRecording};
use new::{usual, usual_files};

/// Where a file is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// There.
    Present,
    /// In the trash since.
    Trashed(Timestamp),
    /// Gone.
    Deleted,
}

/// A file of a recording.
#[derive(Debug, Clone, Serialize)]
pub struct RecordingFile {
    /// The simulator's own key; Zoom's id may be missing or repeated on purpose.
    pub key: u64,
    /// Zoom's file id.
    pub id: String,
    /// Start of the segment.
    pub recording_start: Timestamp,
    /// End of the segment.
    pub recording_end: Timestamp,
    /// `MP4`, `TRANSCRIPT`, …
    pub file_type: String,
    /// `MP4`, `VTT`, …
    pub file_extension: String,
    /// `None` for participants' audio.
    pub recording_type: Option<String>,
    /// Named for participants' audio.
    pub file_name: Option<String>,
    /// Bytes that a download delivers.
    pub size: u64,
    /// Bytes that Zoom claims.
    pub declared_size: u64,
    /// `completed` or `processing`.
    pub status: String,
    /// Fields that are left out of its JSON.
    pub omit: Vec<String>,
    /// Goes up when its bytes are replaced.
    pub version: u32,
    /// Whether it is still there.
    pub presence: Presence,
    /// Which segment it belongs to, from 0.
    pub segment: u32,
}

/// A recorded meeting.
#[derive(Debug, Clone, Serialize)]
pub struct Recording {
    /// A short handle for control paths, where a UUID would need escaping.
    pub key: String,
    /// Meeting UUID.
    pub uuid: String,
    /// Meeting number.
    pub meeting_id: u64,
    /// The host's user id.
    pub host_id: String,
    /// The host's account.
    pub account_id: String,
    /// The host's e-mail address.
    pub host_email: String,
    /// Topic.
    pub topic: String,
    /// Meeting type.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Start.
    pub start_time: Timestamp,
    /// Time zone.
    pub timezone: String,
    /// Minutes.
    pub duration_minutes: u32,
    /// Still being processed: REST does not know it yet.
    pub processing: bool,
    /// Its files.
    pub files: Vec<RecordingFile>,
    /// One audio file per participant.
    pub participant_audio: Vec<RecordingFile>,
    /// Distinguishes its share and play URLs and passcodes.
    #[serde(skip)]
    pub(crate) secret: String,
}

/// Start and end of a segment.
#[derive(Debug, Clone, Copy)]
struct Segment {
    number: u32,
    start: Timestamp,
    end: Timestamp,
}

impl RecordingFile {
    pub(crate) fn new(new: NewFile, key: u64, ids: &Ids, recording: &Recording) -> Self {
        Self::in_segment(new, key, ids, recording.segment(0))
    }

    fn in_segment(new: NewFile, key: u64, ids: &Ids, segment: Segment) -> Self {
        let (extension, recording_type, size) = usual(&new.file_type);
        let size = new.size.unwrap_or(size);
        Self {
            key,
            id: new.id.unwrap_or_else(|| ids.file()),
            recording_start: segment.start,
            recording_end: segment.end,
            file_extension: new.file_extension.unwrap_or_else(|| extension.into()),
            recording_type: new
                .recording_type
                .or_else(|| recording_type.map(Into::into)),
            file_name: new.file_name,
            size,
            declared_size: new.declared_size.unwrap_or(size),
            status: new.status.unwrap_or_else(|| "completed".into()),
            omit: new.omit,
            version: 0,
            presence: Presence::Present,
            segment: segment.number,
            file_type: new.file_type,
        }
    }

    /// The rule for its bytes; unless they were replaced, `FileSpec::new` with id, kind and size is the same.
    #[must_use]
    pub fn spec(&self) -> FileSpec {
        let kind = ContentKind::from_extension(&self.file_extension);
        FileSpec::with_version(&self.id, kind, self.size, self.version)
    }

    /// Whether it is neither in the trash nor gone.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.presence == Presence::Present
    }

    pub(crate) fn is_trashed(&self) -> bool {
        matches!(self.presence, Presence::Trashed(_))
    }

    /// The name under which Zoom lets a browser save it.
    pub(crate) fn download_name(&self) -> String {
        let at = self.recording_start.strftime("%Y%m%d-%H%M%S");
        let what = if self.file_type == "MP4" {
            "_1920x1080"
        } else {
            ""
        };
        format!(
            "GMT{at}_Recording{what}.{}",
            self.file_extension.to_ascii_lowercase()
        )
    }
}

impl Recording {
    pub(crate) fn new(
        new: NewRecording,
        number: u64,
        host: &User,
        ids: &Ids,
        now: Timestamp,
        mut next_key: impl FnMut() -> u64,
    ) -> Self {
        let duration_minutes = new.duration_minutes.unwrap_or(31);
        let start_time = new
            .start_time
            .unwrap_or_else(|| later(now, -60 * i64::from(duration_minutes)));
        let mut recording = Self {
            key: format!("r{number}"),
            uuid: new.uuid.unwrap_or_else(|| ids.meeting_uuid()),
            meeting_id: new.meeting_id.unwrap_or_else(|| ids.meeting_number()),
            host_id: host.id.clone(),
            account_id: host.account_id.clone(),
            host_email: host.email.clone(),
            topic: new.topic.unwrap_or_else(|| "Weekly sync".into()),
            kind: new.kind.unwrap_or(2),
            start_time,
            timezone: new.timezone.unwrap_or_else(|| host.timezone.clone()),
            duration_minutes,
            processing: new.processing,
            files: Vec::new(),
            participant_audio: Vec::new(),
            secret: ids.opaque::<24>(),
        };
        let templates = new.files.unwrap_or_else(usual_files);
        let segments = new.segments.max(1);
        for number in 0..segments {
            let segment = recording.split(number, segments);
            for mut template in templates.clone() {
                if number > 0 {
                    template.id = None;
                }
                recording.files.push(RecordingFile::in_segment(
                    template,
                    next_key(),
                    ids,
                    segment,
                ));
            }
        }
        let whole = recording.split(0, 1);
        for number in 1..=new.participant_audio {
            let file = NewFile {
                file_type: "M4A".into(),
                file_name: Some(format!("Audio only - Participant {number}")),
                size: Some(new.participant_audio_size),
                ..NewFile::default()
            };
            let mut file = RecordingFile::in_segment(file, next_key(), ids, whole);
            file.recording_type = None;
            recording.participant_audio.push(file);
        }
        recording
    }

    fn split(&self, number: u32, of: u32) -> Segment {
        let length = (i64::from(self.duration_minutes) * 60 - 10).max(1) / i64::from(of.max(1));
        let start = later(self.start_time, 10 + length * i64::from(number));
        Segment {
            number,
            start,
            end: later(start, length),
        }
    }

    fn segment(&self, number: u32) -> Segment {
        let known = self.files.iter().find(|file| file.segment == number);
        known.map_or_else(
            || self.split(0, 1),
            |file| Segment {
                number,
                start: file.recording_start,
                end: file.recording_end,
            },
        )
    }

    /// Start and end of the last segment, for the events about the running recording.
    pub(crate) fn span(&self) -> (Timestamp, Timestamp) {
        let last = self.files.last().map_or(0, |file| file.segment);
        let segment = self.segment(last);
        (segment.start, segment.end)
    }

    /// All its files, participants' audio included.
    pub fn all_files(&self) -> impl Iterator<Item = &RecordingFile> {
        self.files.iter().chain(&self.participant_audio)
    }

    pub(crate) fn all_files_mut(&mut self) -> impl Iterator<Item = &mut RecordingFile> {
        self.files.iter_mut().chain(&mut self.participant_audio)
    }
}
