//! Text files of an exact size that stay valid: transcripts, chats, poll reports, timelines.
//!
//! Lines are of one length within a file, so that the line at any offset is found by division. What is
//! left over at the end is filled with whatever the format allows there. Below the size of the smallest
//! valid file the text is simply cut.

use super::layout::{Layout, Text, mix};

const SECONDS_PER_LINE: u64 = 4;

struct Format {
    head: &'static str,
    render: fn(Text) -> String,
    /// The shortest ending; the rest of the padding goes in front of it.
    foot: &'static str,
    pad: fn(usize) -> String,
}

pub(super) fn vtt(seed: u64, size: u64) -> Layout {
    let pad = |len: usize| match len {
        0..7 => "\n".repeat(len),
        _ => format!("NOTE {}\n", "x".repeat(len - 6)),
    };
    exact(
        seed,
        size,
        &Format {
            head: "WEBVTT\n\n",
            render: cue,
            foot: "",
            pad,
        },
    )
}

pub(super) fn chat(seed: u64, size: u64) -> Layout {
    exact(
        seed,
        size,
        &Format {
            head: "",
            render: message,
            foot: "",
            pad: filler_line,
        },
    )
}

pub(super) fn poll(seed: u64, size: u64) -> Layout {
    let pad = |len: usize| match len {
        0..5 => "\n".repeat(len),
        _ => format!("{},,,\n", "x".repeat(len - 4)),
    };
    exact(
        seed,
        size,
        &Format {
            head: "Number,User Name,Answer,Submitted\n",
            render: answer,
            foot: "",
            pad,
        },
    )
}

pub(super) fn timeline(seed: u64, size: u64) -> Layout {
    const FOOT: &str = "{}]}";
    let head = "{\"timeline\":[\n";
    if size < (head.len() + FOOT.len()) as u64 {
        let text = match size {
            0 | 1 => "0".repeat(usize::try_from(size).unwrap_or_default()),
            _ => format!(
                "{{{}}}",
                " ".repeat(usize::try_from(size - 2).unwrap_or_default())
            ),
        };
        let no_line = Text {
            seed,
            number: 0,
            hour_digits: 2,
        };
        return Layout::text(text.into_bytes(), moment, no_line, 1, 0, Vec::new());
    }
    exact(
        seed,
        size,
        &Format {
            head,
            render: moment,
            foot: FOOT,
            pad: |len| " ".repeat(len),
        },
    )
}

fn exact(seed: u64, size: u64, format: &Format) -> Layout {
    let mut text = Text {
        seed,
        number: 0,
        hour_digits: 2,
    };
    let fixed = (format.head.len() + format.foot.len()) as u64;
    let Some(room) = size.checked_sub(fixed) else {
        let cut = usize::try_from(size).unwrap_or_default();
        return Layout::text(
            format.head.as_bytes()[..cut].to_vec(),
            format.render,
            text,
            1,
            0,
            Vec::new(),
        );
    };
    // Hours get as many digits as the last line needs; more digits make fewer lines, never more.
    let lines = loop {
        let lines = room / (format.render)(text).len() as u64;
        if lines * SECONDS_PER_LINE / 3600
            < 10_u64.saturating_pow(u32::try_from(text.hour_digits).unwrap_or(u32::MAX))
        {
            break lines;
        }
        text.hour_digits += 1;
    };
    let line_len = (format.render)(text).len() as u64;
    let rest = usize::try_from(room - lines * line_len).unwrap_or_default();
    let tail = format!("{}{}", (format.pad)(rest), format.foot);
    Layout::text(
        format.head.as_bytes().to_vec(),
        format.render,
        text,
        line_len,
        lines,
        tail.into_bytes(),
    )
}

fn filler_line(len: usize) -> String {
    match len {
        0 => String::new(),
        _ => format!("{}\n", "x".repeat(len - 1)),
    }
}

fn clock(text: Text, seconds: u64) -> String {
    let width = text.hour_digits;
    format!(
        "{:0width$}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn speaker(text: Text) -> &'static str {
    const NAMES: [&str; 4] = ["Ada Berg", "Ben Cole", "Cem Diaz", "Eva Falk"];
    NAMES[(mix(text.seed ^ text.number) % 4) as usize]
}

fn words(text: Text) -> String {
    format!("{:016x}", mix(text.seed.wrapping_add(text.number)))
}

fn cue(text: Text) -> String {
    let start = text.number * SECONDS_PER_LINE;
    let (from, to) = (
        clock(text, start),
        clock(text, start + SECONDS_PER_LINE - 1),
    );
    format!(
        "{from}.000 --> {to}.500\n{}: Point {} of the agenda.\n\n",
        speaker(text),
        words(text)
    )
}

fn message(text: Text) -> String {
    format!(
        "{}\t{}:\tNote {}\n",
        clock(text, text.number * SECONDS_PER_LINE),
        speaker(text),
        words(text)
    )
}

fn answer(text: Text) -> String {
    format!(
        "{:012},{},Option {},{}\n",
        text.number,
        speaker(text),
        words(text),
        clock(text, text.number * SECONDS_PER_LINE)
    )
}

fn moment(text: Text) -> String {
    let at = clock(text, text.number * SECONDS_PER_LINE);
    format!(
        "{{\"ts\":\"{at}.000\",\"users\":[{{\"username\":\"{}\",\"zoom_userid\":\"{}\"}}]}},\n",
        speaker(text),
        words(text)
    )
}

#[cfg(test)]
mod tests {
    use crate::files::{ContentKind, FileSpec};

    fn text(kind: ContentKind, size: u64) -> String {
        String::from_utf8(FileSpec::new("t", kind, size).bytes(0..size).to_vec()).expect("UTF-8")
    }

    #[test]
    fn timelines_are_json_at_any_size() {
        for size in (2..400).chain([93, 100_000]) {
            let text = text(ContentKind::Json, size);
            assert!(
                serde_json::from_str::<serde_json::Value>(&text).is_ok(),
                "{size}: {text}"
            );
        }
    }

    #[test]
    fn transcripts_and_reports_keep_their_form() {
        for size in 8..400 {
            let vtt = text(ContentKind::Vtt, size);
            assert!(
                vtt.starts_with("WEBVTT\n\n") && vtt.ends_with('\n'),
                "{vtt:?}"
            );
        }
        for size in 40..400 {
            let csv = text(ContentKind::Csv, size);
            assert!(
                csv.lines()
                    .all(|line| line.is_empty() || line.matches(',').count() == 3),
                "{csv:?}"
            );
        }
    }

    #[test]
    fn long_transcripts_widen_their_hours() {
        let size = 40_000_000;
        let file = FileSpec::new("t", ContentKind::Vtt, size);
        let end = String::from_utf8(file.bytes(size - 400..size).to_vec()).expect("UTF-8");
        assert!(end.contains(" --> "), "{end}");
        assert!(String::from_utf8_lossy(&file.bytes(8..20)).starts_with("000:00:00"));
    }
}
