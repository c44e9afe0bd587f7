//! What is printed: for people on the terminal, for programs as JSON.

use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a program reads.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// A result for people. Who does not read it does not hold us up.
    pub(crate) fn text(self, text: &str) {
        if !self.json {
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        }
    }

    /// A result for programs.
    pub(crate) fn object(self, value: &impl Serialize) {
        if self.json {
            // What is printed are structs of texts and numbers: they can be written.
            let line = serde_json::to_string(value).unwrap_or_default();
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
    }

    /// What is going on, for people.
    pub(crate) fn note(self, text: &str) {
        if !self.json {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// Why nothing came of it.
    pub(crate) fn failure(self, error: &anyhow::Error) {
        self.object(&json!({"error": format!("{error:#}")}));
        let _ = writeln!(std::io::stderr().lock(), "error: {error:#}");
    }

    /// A bar for long work; hidden from programs, and where there is no terminal.
    pub(crate) fn bar(self, length: u64, what: &'static str) -> ProgressBar {
        if self.json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg:<24} {bar:32} {pos:>7} of {len:<7} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(length)
            .with_style(style)
            .with_message(what)
    }
}

/// A table for people: columns as wide as they need to be, the last one not filled up.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(|text| text.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            text += &format!("{cell:<width$}  ");
        }
        text.trim_end().to_owned()
    };
    let mut lines = vec![line(head)];
    lines.extend(
        rows.iter()
            .map(|row| line(row.each_ref().map(String::as_str))),
    );
    lines.join("\n")
}

/// A text that somebody else wrote, cut to `most` characters: none of them moves the terminal's cursor.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let harmless = text.chars().filter(|c| !c.is_control());
    harmless.take(most).collect()
}

/// Bytes as people write them.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// `1 file`, `2 files`.
pub(crate) fn several(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let rows = [
            ["a".to_owned(), "long text".to_owned()],
            ["bärig".to_owned(), String::new()],
        ];
        assert_eq!(
            table(["x", "y"], &rows),
            "x      y\na      long text\nbärig"
        );
    }
}
