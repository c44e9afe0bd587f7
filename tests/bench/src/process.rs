//! Child processes and their resource usage.

use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};

use crate::error::BenchError;

/// Resource usage of a process from start to end. CPU time is the sum of user and system time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ResourceUsage {
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    pub(crate) peak_rss_mib: f64,
}

/// Runs a command until it ends. Fails if the command reports failure.
pub(crate) fn run(command: &mut Command) -> Result<(), BenchError> {
    let program = command.get_program().display().to_string();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(BenchError::Exit { program, status }),
        Err(source) => Err(BenchError::Start { program, source }),
    }
}

/// Measures a command in an intermediate process, because `getrusage` adds up all children of a process.
pub(crate) fn measure_separately(
    command: &[String],
    environment: &[(&str, String)],
) -> Result<ResourceUsage, BenchError> {
    let output = Command::new(std::env::current_exe()?)
        .args(["measure", "--"])
        .args(command)
        .envs(environment.iter().cloned())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(BenchError::Exit { program: command.join(" "), status: output.status });
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Runs and measures a command. This process must have no other children.
pub(crate) fn measure(command: &[String]) -> Result<ResourceUsage, BenchError> {
    let started = Instant::now();
    run(Command::new(&command[0]).args(&command[1..]).stdout(Stdio::null()))?;
    let wall_s = started.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(std::io::Error::from)?;
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(ResourceUsage {
        wall_s,
        cpu_s: seconds(usage.user_time()) + seconds(usage.system_time()),
        // Linux reports KiB.
        peak_rss_mib: usage.max_rss() as f64 / 1024.0,
    })
}
