//! Sizes, dates and states as people read them.

use std::borrow::Cow;

use jiff::Timestamp;
use maud::{Markup, html};

/// `12.3 MB`; the page's script writes sizes in the same way.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    // From here on it would be rounded up to 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// In UTC, for readers without the script; the script makes it local.
pub(super) fn moment(at: Timestamp) -> Markup {
    let text = at.strftime("%-d %b %Y, %H:%M UTC").to_string();
    html! { time datetime=(at) { (text) } }
}

/// `shared_screen_with_speaker_view` → `Shared screen with speaker view`.
pub(super) fn phrase(word: &str) -> String {
    let text = word.replace('_', " ").to_lowercase();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => text,
    }
}

/// A topic that is there to be clicked on.
pub(super) fn topic(topic: Option<&str>) -> Cow<'_, str> {
    match topic.map(str::trim) {
        Some(text) if !text.is_empty() => Cow::Borrowed(text),
        _ => Cow::Borrowed("Untitled meeting"),
    }
}

/// How much is stored, as a bar and in words. The script finds both by `of`.
pub(super) fn progress(of: &str, label: &str, stored: u64, total: Option<u64>) -> Markup {
    let total = total.filter(|total| *total > 0);
    html! {
        .progress {
            @match total {
                Some(total) => progress data-bar=(of) aria-label=(label) max=(total) value=(stored.min(total)) {},
                // How much there is to come is not known: a bar without a value says so.
                None => progress data-bar=(of) aria-label=(label) {},
            }
            span.muted data-bytes=(of) {
                (size(stored))
                @if let Some(total) = total { " of " (size(total)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_at_a_glance() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (1_234_567_890, "1.2 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn machine_words_become_phrases() {
        assert_eq!(phrase("AUDIO_only"), "Audio only");
        assert_eq!(phrase(""), "");
    }
}
