//! The JSON that events and REST show of recordings.

use super::{Recording, RecordingFile};
use crate::clock::iso;
use crate::ordered::Object;

/// Which of the two orders of keys the live bodies have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileStyle {
    /// `recording.completed` and REST.
    Full,
    /// The other events.
    Brief,
}

impl Recording {
    pub(crate) fn share_url(&self) -> String {
        format!("https://us06web.zoom.us/rec/share/{}.AAAA", self.secret)
    }

    pub(crate) fn password(&self) -> String {
        self.secret.chars().take(8).collect()
    }

    pub(crate) fn passcode(&self) -> String {
        self.secret.chars().rev().collect()
    }

    /// One element of `recording_files`.
    pub(crate) fn file_json(&self, file: &RecordingFile, style: FileStyle, url: String) -> Object {
        let object = Object::new()
            .put("id", &file.id)
            .put("meeting_id", &self.uuid)
            .put("recording_start", iso(file.recording_start))
            .put("recording_end", iso(file.recording_end))
            .put("file_type", &file.file_type);
        let object = match style {
            FileStyle::Full => object
                .put("file_extension", &file.file_extension)
                .put("file_size", file.declared_size),
            FileStyle::Brief => object
                .put("file_size", file.declared_size)
                .put("file_extension", &file.file_extension),
        };
        // A timeline cannot be played, and live bodies have no URL for it.
        let play = (file.file_type != "TIMELINE").then(|| self.play_url(file));
        object
            .put_some("file_name", file.file_name.as_ref())
            .put_some("play_url", play)
            .put("download_url", url)
            .put("status", &file.status)
            .put_some("recording_type", file.recording_type.as_ref())
            .without(&file.omit)
    }

    /// One element of `participant_audio_files`.
    pub(crate) fn participant_json(&self, file: &RecordingFile, url: String) -> Object {
        Object::new()
            .put("id", &file.id)
            .put("recording_start", iso(file.recording_start))
            .put("recording_end", iso(file.recording_end))
            .put("file_type", &file.file_type)
            .put_some("file_name", file.file_name.as_ref())
            .put("file_size", file.declared_size)
            .put("file_extension", &file.file_extension)
            .put("play_url", self.play_url(file))
            .put("download_url", url)
            .put("status", &file.status)
            .without(&file.omit)
    }

    fn play_url(&self, file: &RecordingFile) -> String {
        format!(
            "https://us06web.zoom.us/rec/play/{}.{}",
            self.secret, file.key
        )
    }
}
