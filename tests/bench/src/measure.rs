//! A process measured as a whole: wall, CPU, peak memory.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

/// What a process took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// From start to end, seconds.
    pub(crate) wall_s: f64,
    /// User and system, seconds.
    pub(crate) cpu_s: f64,
    /// The most memory that it held, MiB.
    pub(crate) peak_rss_mib: f64,
}

/// Why a process was not measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MeasureError {
    /// It did not start, or its figures did not come.
    #[error("{0}: {1}")]
    Process(String, String),
}

/// Runs a command in a process that has no other children, so that what the children of that process took
/// is what the command took.
///
/// # Errors
/// If it does not start, or fails.
pub(crate) fn run(
    command: &[String],
    environment: &BTreeMap<String, String>,
) -> Result<Measured, MeasureError> {
    let name = command.first().cloned().unwrap_or_default();
    let failed = |reason: String| MeasureError::Process(name.clone(), reason);
    let this = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let output = Command::new(this)
        .arg("measure")
        .arg("--")
        .args(command)
        .envs(environment)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(output.status.to_string()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}

/// The other side of [`run`]: runs the command and prints its figures.
///
/// # Errors
/// If it does not start, or fails.
pub(crate) fn alone(command: &[String]) -> Result<Measured, MeasureError> {
    let name = command.first().cloned().unwrap_or_default();
    let failed = |reason: String| MeasureError::Process(name.clone(), reason);
    let begun = Instant::now();
    let status = Command::new(&name)
        .args(command.get(1..).unwrap_or_default())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| failed(error.to_string()))?;
    let wall_s = begun.elapsed().as_secs_f64();
    if !status.success() {
        return Err(failed(status.to_string()));
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| failed(error.to_string()))?;
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1_000_000.0;
    Ok(Measured {
        wall_s,
        cpu_s: seconds(usage.user_time()) + seconds(usage.system_time()),
        // Linux tells kibibytes.
        peak_rss_mib: usage.max_rss() as f64 / 1024.0,
    })
}

/// The middle one of each figure.
pub(crate) fn median(runs: &[Measured]) -> Option<Measured> {
    let middle = |figure: fn(&Measured) -> f64| {
        let mut figures: Vec<f64> = runs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied()
    };
    Some(Measured {
        wall_s: middle(|run| run.wall_s)?,
        cpu_s: middle(|run| run.cpu_s)?,
        peak_rss_mib: middle(|run| run.peak_rss_mib)?,
    })
}
