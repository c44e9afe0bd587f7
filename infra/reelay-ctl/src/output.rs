//! Prints results as text or as JSON.

use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

/// Result of a command that ran to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    /// The command reported problems: exit code 1.
    ProblemsFound,
}

impl Outcome {
    pub(crate) fn from_success(is_success: bool) -> Self {
        if is_success { Self::Success } else { Self::ProblemsFound }
    }
}

/// An invalid call that the argument parser cannot detect: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// Prints text or JSON. Failed writes are ignored: the reader has closed the pipe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    is_json: bool,
}

impl Output {
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json }
    }

    pub(crate) fn is_json(self) -> bool {
        self.is_json
    }

    /// Prints a result on stdout, unless the output is JSON.
    pub(crate) fn line(self, text: &str) {
        if !self.is_json {
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        }
    }

    /// Prints a result as one line of JSON on stdout, if the output is JSON.
    pub(crate) fn json(self, value: &impl Serialize) {
        if self.is_json {
            // Serialization cannot fail: all values are structs of strings and numbers.
            let line = serde_json::to_string(value).unwrap_or_default();
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
    }

    /// Prints a hint or progress on stderr, unless the output is JSON.
    pub(crate) fn note(self, text: &str) {
        if !self.is_json {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// Prints the error that ended the command.
    pub(crate) fn error(self, error: &anyhow::Error) {
        self.json(&json!({"error": format!("{error:#}")}));
        let _ = writeln!(std::io::stderr().lock(), "error: {error:#}");
    }

    /// Returns a progress bar, hidden if the output is JSON or stderr is not a terminal.
    pub(crate) fn progress_bar(self, length: u64, title: &'static str) -> ProgressBar {
        if self.is_json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg:<24} {bar:32} {pos:>7} of {len:<7} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(length).with_style(style).with_message(title)
    }
}

/// Formats a table with left-aligned columns.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = header.map(|text| text.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths);
        let text: String = padded.map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        text.trim_end().to_owned()
    };
    let rows = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    let lines: Vec<_> = std::iter::once(line(header)).chain(rows).collect();
    lines.join("\n")
}

/// Removes control characters from untrusted text and cuts it to `max_chars`.
pub(crate) fn sanitize(text: &str, max_chars: usize) -> String {
    let printable = text.chars().filter(|c| !c.is_control());
    printable.take(max_chars).collect()
}

/// Formats a time in seconds, so that columns align.
pub(crate) fn time(time: Timestamp) -> String {
    format!("{time:.0}")
}

/// Formats a number of bytes with a binary unit.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// Formats a count with its noun: `1 file`, `2 files`.
pub(crate) fn plural(count: u64, noun: &str) -> String {
    let suffix = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_columns_fit_the_widest_cell() {
        let rows = [["a".to_owned(), "long text".to_owned()], ["bärig".to_owned(), String::new()]];
        assert_eq!(table(["x", "y"], &rows), "x      y\na      long text\nbärig");
    }
}
