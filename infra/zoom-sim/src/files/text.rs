//! Text files of an exact size: transcripts, chats, poll reports, timelines.
//!
//! All lines of a format have the same length, so the line at any offset is found by division. Filler
//! that the format allows takes up the rest. A file smaller than its first line is cut.

use super::kind::ContentKind;

const SECONDS_PER_LINE: u64 = 4;

/// The lines of one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    kind: ContentKind,
    seed: u64,
}

impl Text {
    pub(super) fn new(kind: ContentKind, seed: u64) -> Self {
        Self { kind, seed }
    }

    /// The text before and after the lines in a file of `size` bytes.
    pub(super) fn head_and_tail(self, size: u64) -> (Vec<u8>, Vec<u8>) {
        let (head, foot) = match self.kind {
            ContentKind::Vtt => ("WEBVTT\n\n", ""),
            ContentKind::Csv => ("Number,User Name,Answer,Submitted\n", ""),
            ContentKind::Json => ("{\"timeline\":[\n", "{}]}"),
            _ => ("", ""),
        };
        let Some(rest) = size.checked_sub((head.len() + foot.len()) as u64) else {
            let size = usize::try_from(size).unwrap_or_default();
            let cut = match self.kind {
                ContentKind::Json if size < 2 => "0".repeat(size),
                ContentKind::Json => format!("{{{}}}", " ".repeat(size - 2)),
                _ => head[..size].to_owned(),
            };
            return (cut.into_bytes(), Vec::new());
        };
        let filler = usize::try_from(rest % self.line_length()).unwrap_or_default();
        let tail = format!("{}{foot}", self.filler(filler));
        (head.into(), tail.into_bytes())
    }

    fn filler(self, length: usize) -> String {
        match (self.kind, length) {
            (ContentKind::Json, _) => " ".repeat(length),
            (_, 0) => String::new(),
            (ContentKind::Vtt, 7..) => format!("NOTE {}\n", "x".repeat(length - 6)),
            (ContentKind::Csv, 5..) => format!("{},,,\n", "x".repeat(length - 4)),
            (ContentKind::Txt, _) => format!("{}\n", "x".repeat(length - 1)),
            _ => "\n".repeat(length),
        }
    }

    pub(super) fn line_length(self) -> u64 {
        self.line(0).len() as u64
    }

    pub(super) fn line(self, number: u64) -> String {
        const SPEAKERS: [&str; 4] = ["Ada Berg", "Ben Cole", "Cem Diaz", "Eva Falk"];
        let random = mix(self.seed.wrapping_add(number));
        let speaker = SPEAKERS[(random % 4) as usize];
        let seconds = number * SECONDS_PER_LINE;
        let (start, end) = (clock(seconds), clock(seconds + SECONDS_PER_LINE - 1));
        match self.kind {
            ContentKind::Vtt => format!(
                "{start}.000 --> {end}.500\n{speaker}: Point {random:016x} of the agenda.\n\n"
            ),
            ContentKind::Csv => format!("{number:012},{speaker},Option {random:016x},{start}\n"),
            ContentKind::Json => format!(
                "{{\"ts\":\"{start}.000\",\"users\":[{{\"username\":\"{speaker}\",\"zoom_userid\":\"{random:016x}\"}}]}},\n"
            ),
            _ => format!("{start}\t{speaker}:\tNote {random:016x}\n"),
        }
    }
}

/// `HH:MM:SS`; starts again after 100 hours, for all lines must have the same length.
fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600 % 100, seconds / 60 % 60, seconds % 60)
}

/// The finalizer of SplitMix64: cheap, and every input bit changes about half of the output bits.
pub(super) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_valid() {
        let is_json = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
        let is_vtt = |text: &str| text.starts_with("WEBVTT\n\n") && text.ends_with('\n');
        let is_row = |line: &str| line.is_empty() || line.matches(',').count() == 3;
        for (kind, min_size) in [
            (ContentKind::Json, 2),
            (ContentKind::Vtt, 8),
            (ContentKind::Csv, 34),
            (ContentKind::Txt, 1),
        ] {
            let text = Text::new(kind, 7);
            assert_eq!(text.line(10_000_000).len() as u64, text.line_length());
            for size in (min_size..400).chain([100_000]) {
                let (head, tail) = text.head_and_tail(size);
                let count = (size - (head.len() + tail.len()) as u64) / text.line_length();
                let lines: String = (0..count).map(|number| text.line(number)).collect();
                let file = [head, lines.into_bytes(), tail].concat();
                assert_eq!(file.len() as u64, size);
                let file = String::from_utf8(file).expect("UTF-8");
                let is_valid = match kind {
                    ContentKind::Json => is_json(&file),
                    ContentKind::Vtt => is_vtt(&file),
                    ContentKind::Csv => file.lines().all(is_row),
                    _ => file.ends_with('\n'),
                };
                assert!(is_valid, "{file}");
            }
        }
    }
}
