//! Readable names for downloaded files.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{File, Recording};
use crate::ids::FileId;

/// Maximum bytes of topic and participant in a name, so that names fit every file system (255 bytes).
const MAX_TEXT_BYTES: usize = 80;

/// All characters but `attr-char` (RFC 8187, section 3.2.1).
const EXTENDED_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

impl Recording {
    /// Returns the `Content-Disposition` of a file (RFC 6266): an attachment named after topic, start of the segment in
    /// UTC, and type. `filename` is ASCII, `filename*` keeps every letter of the topic.
    pub fn content_disposition(&self, file: &FileId) -> String {
        let file = self.files.iter().find(|known| known.metadata.id == *file);
        let name = file.map_or_else(|| "recording".to_owned(), |file| self.file_name(file));
        let ascii: String = name.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect();
        let extended = utf8_percent_encode(&name, EXTENDED_VALUE);
        format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{extended}")
    }

    fn file_name(&self, file: &File) -> String {
        let metadata = &file.metadata;
        let topic = short(&plain(self.metadata.topic.as_deref().unwrap_or_default()));
        let start = metadata.recording_start.unwrap_or(self.metadata.start_time);
        let kind = metadata.recording_type.as_deref().unwrap_or(metadata.file_type());
        let parts = [
            topic.trim_matches([' ', '.']).to_owned(),
            start.strftime("%Y-%m-%d %H.%M UTC").to_string(),
            plain(&kind.replace('_', " ").to_lowercase()),
            short(&plain(metadata.participant.as_deref().unwrap_or_default())),
        ];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!("{}.{}", parts.join(" - "), plain(metadata.extension()))
    }
}

/// The text up to a whole character within [`MAX_TEXT_BYTES`].
fn short(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT_BYTES)].trim_end().to_owned()
}

/// The text without characters that file systems or headers give a meaning.
fn plain(text: &str) -> String {
    // Bidirectional controls can make one name look like another.
    let is_special = |c: char| {
        c.is_control()
            || "/\\:*?\"<>|%".contains(c)
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let text: String = text.chars().map(|c| if is_special(c) { ' ' } else { c }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::FileStatus;
    use super::super::tests::{file, recording};

    #[test]
    fn files_are_named_after_topic_start_and_type() {
        for (topic, expected) in [
            (
                Some("Weekly sync"),
                "attachment; filename=\"Weekly sync - 2026-01-01 09.00 UTC - audio only.mp4\"; \
                 filename*=UTF-8''Weekly%20sync%20-%202026-01-01%2009.00%20UTC%20-%20audio%20only.mp4",
            ),
            (
                Some("..\\../a\"\r\nb: Ω"),
                "attachment; filename=\"a b _ - 2026-01-01 09.00 UTC - audio only.mp4\"; \
                 filename*=UTF-8''a%20b%20%CE%A9%20-%202026-01-01%2009.00%20UTC%20-%20audio%20only.mp4",
            ),
            (
                None,
                "attachment; filename=\"2026-01-01 09.00 UTC - audio only.mp4\"; \
                 filename*=UTF-8''2026-01-01%2009.00%20UTC%20-%20audio%20only.mp4",
            ),
        ] {
            let mut file = file("a", FileStatus::Stored);
            file.metadata.recording_type = Some("audio_only".into());
            let id = file.metadata.id.clone();
            let mut recording = recording(vec![file]);
            recording.metadata.topic = topic.map(str::to_owned);
            assert_eq!(recording.content_disposition(&id), expected);
        }
    }
}
