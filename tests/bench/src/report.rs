//! Progress, statistics and output.

use std::fmt;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::error::BenchError;

pub(crate) fn progress_bar(steps: usize) -> ProgressBar {
    ProgressBar::new(steps as u64).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    )
}

/// Prints a result as one line of JSON, or as `text`.
pub(crate) fn print(
    json: bool,
    result: &impl Serialize,
    text: fmt::Arguments<'_>,
) -> Result<(), BenchError> {
    if json {
        println!("{}", serde_json::to_string(result)?);
    } else {
        println!("{text}");
    }
    Ok(())
}

/// Median of one property of at least one run, rounded to three decimals. Of an even number it is the upper one.
pub(crate) fn median<T>(runs: &[T], property: impl Fn(&T) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(property).collect();
    values.sort_by(f64::total_cmp);
    round(values[values.len() / 2])
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Rounds to three decimals.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Percentiles of durations, in milliseconds.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Percentiles {
    /// All zero if there are no durations.
    pub(crate) fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort();
        let per_mille = |rank: usize| {
            let index = (durations.len() * rank / 1_000).min(durations.len().saturating_sub(1));
            durations.get(index).map_or(0.0, |duration| round(milliseconds(*duration)))
        };
        Self {
            p50: per_mille(500),
            p90: per_mille(900),
            p99: per_mille(990),
            p999: per_mille(999),
            max: per_mille(1_000),
        }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p90, p99, p999, max } = self;
        write!(
            f,
            "{p50:8.2} ms p50 {p90:8.2} ms p90 {p99:8.2} ms p99 {p999:8.2} ms p99.9 {max:8.2} ms max"
        )
    }
}
