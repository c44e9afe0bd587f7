//! The table of simulated months.

use crate::number::{grouped, round};
use crate::simulation::{Month, QueueResult};

/// A Markdown table with one column per month.
pub(crate) fn table(months: &[(&str, Month)]) -> String {
    let mut text = String::from("|");
    for (name, _) in months {
        text += &format!(" | {name}");
    }
    text += " |\n|---|";
    text += &"---:|".repeat(months.len());
    text.push('\n');
    let mut row = |name: &str, cell: &dyn Fn(&Month) -> String| {
        text += &format!("| {name} |");
        for (_, month) in months {
            text += &format!(" {} |", cell(month));
        }
        text.push('\n');
    };
    row("recordings", &|month| grouped(month.recordings));
    row("files enqueued", &|month| grouped(month.downloads.enqueued));
    row("files waiting at the end", &|month| grouped(month.downloads.waiting));
    row("terabytes downloaded", &|month| grouped(month.bytes_downloaded / 1_000_000_000_000));
    type Queue = fn(&Month) -> &QueueResult;
    let queues: [(&str, Queue); 3] = [
        ("`event-processor`", |month| &month.events),
        ("`recording-downloader`", |month| &month.downloads),
        ("`notifier`", |month| &month.notifications),
    ];
    for (name, queue) in queues {
        row(&format!("wait for {name}, p50 / p95 / max"), &|month| {
            waits(queue(month).waits_of_others)
        });
    }
    row("wait for `recording-downloader`, largest account", &|month| {
        waits(month.downloads.waits_of_largest)
    });
    for (name, queue) in queues {
        row(&format!("max concurrency of {name}"), &|month| {
            grouped(round(queue(month).max_concurrency))
        });
    }
    row("max concurrency of all functions", &|month| grouped(round(month.max_concurrency)));
    row("files with an expired event token", &|month| grouped(month.files_with_expired_token));
    row("seconds with `by-next-check` at its limit", &|month| {
        grouped(month.seconds_at_index_limit)
    });
    row("max events per second", &|month| grouped(month.max_events_per_second));
    row("max write units of Recordings per second", &|month| {
        grouped(round(month.max_write_units_per_second))
    });
    row("max S3 puts per second", &|month| grouped(round(month.max_puts_per_second)));
    text
}

fn waits(summary: [usize; 3]) -> String {
    summary.map(duration).join(" / ")
}

#[allow(clippy::cast_precision_loss, reason = "seconds of a month")]
fn duration(seconds: usize) -> String {
    let number = seconds as f64;
    match seconds {
        0..100 => format!("{seconds} s"),
        100..6_000 => format!("{:.0} min", number / 60.0),
        6_000..172_800 => format!("{:.0} h", number / 3_600.0),
        _ => format!("{:.1} d", number / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_are_readable() {
        assert_eq!([7, 1_000, 12_345_678].map(grouped), ["7", "1,000", "12,345,678"]);
        assert_eq!(
            [0, 99, 600, 7_200, 864_000].map(duration),
            ["0 s", "99 s", "10 min", "2 h", "10.0 d"]
        );
    }
}
