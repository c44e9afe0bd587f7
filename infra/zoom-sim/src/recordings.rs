//! Recordings, their files, and their JSON.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::{iso, later};
use crate::files::{ContentKind, FileSpec};
use crate::ids::Ids;
use crate::json::{Object, object};
use crate::users::User;

/// State of a file at Zoom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Available.
    Present,
    /// In the trash since then.
    Trashed(Timestamp),
    /// Permanently deleted.
    Deleted,
}

/// A file of a recording.
#[derive(Debug, Clone, Serialize)]
pub struct RecordingFile {
    /// The simulator's own key, because Zoom's id may be missing or repeated on purpose.
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
    /// Set for participants' audio.
    pub file_name: Option<String>,
    /// Bytes of a download.
    pub size: u64,
    /// Bytes according to `file_size`.
    pub declared_size: u64,
    /// `completed` or `processing`.
    pub status: String,
    /// Fields that are left out of its JSON.
    pub omit: Vec<String>,
    /// Grows when the bytes are replaced.
    pub version: u32,
    /// State at Zoom.
    pub presence: Presence,
    /// Number of its segment, from 0.
    pub segment: u32,
}

/// A recorded meeting.
#[derive(Debug, Clone, Serialize)]
pub struct Recording {
    /// A short handle for control paths, in which a UUID needs escaping.
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
    /// Start.
    pub start_time: Timestamp,
    /// Time zone.
    pub timezone: String,
    /// Duration in minutes.
    pub duration_minutes: u32,
    /// If true, REST does not list it yet.
    pub processing: bool,
    /// Whether it is a private recording of My Notes.
    pub is_note: bool,
    /// Its files.
    pub files: Vec<RecordingFile>,
    /// One audio file per participant.
    pub participant_audio: Vec<RecordingFile>,
    /// Makes its share and play URLs and its passcodes unique.
    #[serde(skip)]
    pub(crate) secret: String,
}

/// A file to create. Missing fields follow from `file_type`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewFile {
    /// File id in the first segment; the files of other segments get new ids.
    pub id: Option<String>,
    /// `MP4`, `M4A`, `CHAT`, `TRANSCRIPT`, `CC`, `CSV`, `TIMELINE`, `SUMMARY`, or any other.
    pub file_type: String,
    /// `MP4`, `M4A`, `TXT`, `VTT`, `CSV`, `JSON`, …; decides the bytes.
    pub file_extension: Option<String>,
    /// `shared_screen_with_speaker_view`, `audio_only`, …
    pub recording_type: Option<String>,
    /// Bytes of a download.
    pub size: Option<u64>,
    /// Bytes according to `file_size`, if not `size`.
    pub declared_size: Option<u64>,
    /// `completed` (default) or `processing`.
    pub status: Option<String>,
    /// File name.
    pub file_name: Option<String>,
    /// Fields that are left out of its JSON, such as `id` or `file_size`.
    pub omit: Vec<String>,
}

/// A recording to create. Only the host is required.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewRecording {
    /// The host's user id.
    pub host_id: String,
    /// Meeting UUID.
    pub uuid: Option<String>,
    /// Topic.
    pub topic: Option<String>,
    /// Start; by default such that the meeting ends now.
    pub start_time: Option<Timestamp>,
    /// Duration in minutes, 31 by default.
    pub duration_minutes: Option<u32>,
    /// Time zone; the host's by default, and `""` is possible.
    pub timezone: Option<String>,
    /// The files of each segment; by default video, audio, chat and timeline.
    pub files: Option<Vec<NewFile>>,
    /// Number of times that the recording was started, at least 1: each segment has all files.
    pub segments: u32,
    /// Number of participants with an audio file of their own.
    pub participant_audio: u32,
    /// Bytes of each of these files, 120,000 by default.
    pub participant_audio_size: Option<u64>,
    /// Keep it in processing until `Control::complete`.
    pub processing: bool,
    /// A private recording of My Notes. Assumed: Zoom sends no event for it.
    pub is_note: bool,
    /// Send no `recording.completed`.
    pub silent: bool,
    /// Send one event for each segment instead of one for all.
    pub event_per_segment: bool,
}

impl NewFile {
    /// Returns a file of a type and size.
    #[must_use]
    pub fn new(file_type: &str, size: u64) -> Self {
        Self { file_type: file_type.into(), size: Some(size), ..Self::default() }
    }
}

impl NewRecording {
    /// Returns a recording of `host_id` with the default files.
    #[must_use]
    pub fn of(host_id: &str) -> Self {
        Self { host_id: host_id.into(), ..Self::default() }
    }

    /// Replaces the files.
    #[must_use]
    pub fn with_files(mut self, files: Vec<NewFile>) -> Self {
        self.files = Some(files);
        self
    }
}

/// Extension, `recording_type` and size of a `file_type`.
fn defaults(file_type: &str) -> (&str, Option<&str>, u64) {
    match file_type {
        "MP4" => ("MP4", Some("shared_screen_with_speaker_view"), 2_175_742),
        "M4A" => ("M4A", Some("audio_only"), 434_147),
        "CHAT" => ("TXT", Some("chat_file"), 1_204),
        "TRANSCRIPT" => ("VTT", Some("audio_transcript"), 14_200),
        "CC" => ("VTT", Some("closed_caption"), 9_800),
        "CSV" => ("CSV", Some("poll"), 640),
        "TIMELINE" => ("JSON", Some("timeline"), 4_811),
        "SUMMARY" => ("JSON", Some("summary"), 2_048),
        "CHAT_MESSAGE" => ("JSON", Some("chat_message"), 2_048),
        other => (other, None, 1_000),
    }
}

fn default_files() -> Vec<NewFile> {
    let new = |file_type| NewFile::new(file_type, defaults(file_type).2);
    ["MP4", "M4A", "CHAT", "TIMELINE"].map(new).into()
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    number: u32,
    start: Timestamp,
    end: Timestamp,
}

impl RecordingFile {
    /// A file of the recording's first segment.
    pub(crate) fn new(new: NewFile, key: u64, ids: &Ids, recording: &Recording) -> Self {
        let first = recording.files.iter().find(|file| file.segment == 0);
        let segment = first.map_or_else(
            || recording.split(0, 1),
            |file| Segment { number: 0, start: file.recording_start, end: file.recording_end },
        );
        Self::in_segment(new, key, ids, segment)
    }

    fn in_segment(new: NewFile, key: u64, ids: &Ids, segment: Segment) -> Self {
        let (extension, recording_type, size) = defaults(&new.file_type);
        let size = new.size.unwrap_or(size);
        Self {
            key,
            id: new.id.unwrap_or_else(|| ids.file()),
            recording_start: segment.start,
            recording_end: segment.end,
            file_extension: new.file_extension.unwrap_or_else(|| extension.into()),
            recording_type: new.recording_type.or_else(|| recording_type.map(Into::into)),
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

    /// Returns the rule for its bytes.
    #[must_use]
    pub fn spec(&self) -> FileSpec {
        let kind = ContentKind::from_extension(&self.file_extension);
        FileSpec::with_version(&self.id, kind, self.size, self.version)
    }

    /// Returns whether the file is neither trashed nor deleted.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.presence == Presence::Present
    }

    pub(crate) fn is_trashed(&self) -> bool {
        matches!(self.presence, Presence::Trashed(_))
    }

    /// The file name in `Content-Disposition`.
    pub(crate) fn download_name(&self) -> String {
        let at = self.recording_start.strftime("%Y%m%d-%H%M%S");
        let size = if self.file_type == "MP4" { "_1920x1080" } else { "" };
        let extension = self.file_extension.to_ascii_lowercase();
        format!("GMT{at}_Recording{size}.{extension}")
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
        let start_time =
            new.start_time.unwrap_or_else(|| later(now, -60 * i64::from(duration_minutes)));
        let mut recording = Self {
            key: format!("r{number}"),
            uuid: new.uuid.unwrap_or_else(|| ids.meeting_uuid()),
            meeting_id: ids.meeting_number(),
            host_id: host.id.clone(),
            account_id: host.account_id.clone(),
            host_email: host.email.clone(),
            topic: new.topic.unwrap_or_else(|| "Weekly sync".into()),
            start_time,
            timezone: new.timezone.unwrap_or_else(|| host.timezone.clone()),
            duration_minutes,
            processing: new.processing,
            is_note: new.is_note,
            files: Vec::new(),
            participant_audio: Vec::new(),
            secret: ids.opaque::<24>(),
        };
        let templates = new.files.unwrap_or_else(default_files);
        let segments = new.segments.max(1);
        for number in 0..segments {
            let segment = recording.split(number, segments);
            for mut template in templates.clone() {
                if number > 0 {
                    template.id = None;
                }
                let file = RecordingFile::in_segment(template, next_key(), ids, segment);
                recording.files.push(file);
            }
        }
        let whole = recording.split(0, 1);
        let audio_size = new.participant_audio_size.unwrap_or(120_000);
        for number in 1..=new.participant_audio {
            let file = NewFile {
                file_name: Some(format!("Audio only - Participant {number}")),
                ..NewFile::new("M4A", audio_size)
            };
            let mut file = RecordingFile::in_segment(file, next_key(), ids, whole);
            file.recording_type = None;
            recording.participant_audio.push(file);
        }
        recording
    }

    /// Segment `number` of `of` equal ones.
    fn split(&self, number: u32, of: u32) -> Segment {
        let length = (i64::from(self.duration_minutes) * 60 - 10).max(1) / i64::from(of.max(1));
        let start = later(self.start_time, 10 + length * i64::from(number));
        Segment { number, start, end: later(start, length) }
    }

    /// Iterates over all files, participants' audio included.
    pub fn all_files(&self) -> impl Iterator<Item = &RecordingFile> {
        self.files.iter().chain(&self.participant_audio)
    }

    pub(crate) fn all_files_mut(&mut self) -> impl Iterator<Item = &mut RecordingFile> {
        self.files.iter_mut().chain(&mut self.participant_audio)
    }

    pub(crate) fn share_url(&self) -> String {
        format!("https://us06web.zoom.us/rec/share/{}.AAAA", self.secret)
    }

    pub(crate) fn password(&self) -> String {
        self.secret.chars().take(8).collect()
    }

    pub(crate) fn passcode(&self) -> String {
        self.secret.chars().rev().collect()
    }

    /// An element of `recording_files` as in `recording.completed` and in REST.
    pub(crate) fn file_json(&self, file: &RecordingFile, url: &str) -> Object {
        let size =
            object! { "file_extension": file.file_extension, "file_size": file.declared_size };
        self.file_with_size(file, size, url)
    }

    /// An element of `recording_files` as in the other events, where the size comes first.
    pub(crate) fn file_json_size_first(&self, file: &RecordingFile, url: &str) -> Object {
        let size =
            object! { "file_size": file.declared_size, "file_extension": file.file_extension };
        self.file_with_size(file, size, url)
    }

    fn file_with_size(&self, file: &RecordingFile, size: Object, url: &str) -> Object {
        // A timeline cannot be played; live bodies have no URL for it.
        let play_url = (file.file_type != "TIMELINE").then(|| self.play_url(file));
        let start = object! {
            "id": file.id, "meeting_id": self.uuid,
            "recording_start": iso(file.recording_start), "recording_end": iso(file.recording_end),
            "file_type": file.file_type,
        };
        let end = object! {
            "file_name": file.file_name, "play_url": play_url, "download_url": url,
            "status": file.status, "recording_type": file.recording_type,
        };
        start.followed_by(size).followed_by(end).without(&file.omit)
    }

    /// An element of `participant_audio_files`.
    pub(crate) fn participant_json(&self, file: &RecordingFile, url: &str) -> Object {
        let object = object! {
            "id": file.id,
            "recording_start": iso(file.recording_start), "recording_end": iso(file.recording_end),
            "file_type": file.file_type, "file_name": file.file_name,
            "file_size": file.declared_size, "file_extension": file.file_extension,
            "play_url": self.play_url(file), "download_url": url, "status": file.status,
        };
        object.without(&file.omit)
    }

    fn play_url(&self, file: &RecordingFile) -> String {
        let (secret, key) = (&self.secret, file.key);
        format!("https://us06web.zoom.us/rec/play/{secret}.{key}")
    }
}
