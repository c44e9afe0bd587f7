//! What came of simulated months, as a table.

use crate::dice::whole;
use crate::simulation::{Line, Month};

/// The table, a column for each month.
#[must_use]
pub fn table(months: &[(&str, Month)]) -> String {
    let mut text = String::from("|");
    for (name, _) in months {
        text += &format!(" | {name}");
    }
    text += " |\n|---|";
    text += &"---:|".repeat(months.len());
    text.push('\n');
    let mut row = |name: &str, of: &dyn Fn(&Month) -> String| {
        text += &format!("| {name} |");
        for (_, month) in months {
            text += &format!(" {} |", of(month));
        }
        text.push('\n');
    };
    row("recordings", &|month| grouped(month.recordings));
    row("files that came in", &|month| grouped(month.files));
    row("files still waiting at the end", &|month| {
        grouped(month.files_waiting)
    });
    row("terabytes fetched", &|month| {
        grouped(month.bytes_fetched / 1_000_000_000_000)
    });
    for (name, line) in lines() {
        row(&format!("wait for {name}, p50 / p95 / longest"), &|month| {
            waits(line(month).others)
        });
    }
    row(
        "the same for `recording-downloader`, largest account",
        &|month| waits(month.downloads.largest),
    );
    for (name, line) in lines() {
        row(&format!("calls of {name} at the same time"), &|month| {
            grouped(whole(
                line(month)
                    .hours
                    .iter()
                    .map(|hour| hour.concurrency)
                    .fold(0.0, f64::max),
            ))
        });
    }
    row("all functions at the same time", &|month| {
        grouped(whole(month.concurrency))
    });
    row(
        "files for which Zoom was asked for another token",
        &|month| grouped(month.by_rest),
    );
    row("seconds in which `by-next-check` took no more", &|month| {
        grouped(month.seconds_index_full)
    });
    row("events in the busiest second", &|month| {
        grouped(month.most_events_a_second)
    });
    row(
        "write units of Recordings in the busiest second",
        &|month| grouped(whole(month.most_write_units)),
    );
    row("puts to S3 in the busiest second", &|month| {
        grouped(whole(month.most_puts))
    });
    text
}

type OfMonth = fn(&Month) -> &Line;

fn lines() -> [(&'static str, OfMonth); 3] {
    [
        ("`event-processor`", |month| &month.events),
        ("`recording-downloader`", |month| &month.downloads),
        ("`notifier`", |month| &month.notifications),
    ]
}

fn waits([p50, p95, most]: [f64; 3]) -> String {
    format!("{} / {} / {}", duration(p50), duration(p95), duration(most))
}

fn duration(seconds: f64) -> String {
    match seconds {
        short if short < 100.0 => format!("{short:.0} s"),
        minutes if minutes < 6_000.0 => format!("{:.0} min", minutes / 60.0),
        hours if hours < 172_800.0 => format!("{:.0} h", hours / 3_600.0),
        days => format!("{:.1} d", days / 86_400.0),
    }
}

pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_read_well() {
        assert_eq!(
            [7, 1_000, 12_345_678].map(grouped),
            ["7", "1,000", "12,345,678"]
        );
        assert_eq!(
            [0.0, 99.0, 600.0, 7_200.0, 864_000.0].map(duration),
            ["0 s", "99 s", "10 min", "2 h", "10.0 d"]
        );
    }
}
