//! `kills`: how many bytes Reelay's downloader fetches again when its process is killed at random moments.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use reelay_runtime::random;
use serde::Serialize;

use super::servers::Addresses;
use super::{Case, GIB, Servers, environment};
use crate::error::BenchError;
use crate::report::{print, progress_bar, round};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Kills in all.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    kills: u16,
    /// Size of each file in GiB.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    gib: u64,
}

#[derive(Serialize)]
struct Row {
    bench: &'static str,
    kills: u16,
    files: u64,
    gib_per_file: u64,
    /// Bytes that the source sent beyond the files' sizes, in percent of these.
    again_percent: f64,
    again_mib_per_kill: f64,
}

/// Transfers file after file. Each run is killed after a random part of the time that a whole transfer takes, until
/// all kills are made.
pub(crate) fn run(options: &Options) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let servers = Servers::start(None)?;
    let case =
        Case { name: "kills", size: options.gib * GIB, is_tls: false, rate: 0, clients: &[] };
    let mut environment = environment(&case, &servers.addresses, folder.path());
    let journal = folder.path().join("upload.json");
    environment.push(("BENCH_JOURNAL", journal.display().to_string()));
    let downloader = || -> Result<Child, BenchError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["reelay", "--connections", "8"]);
        Ok(command.envs(environment.iter().cloned()).spawn()?)
    };
    let started = Instant::now();
    finish(downloader()?)?;
    let undisturbed = started.elapsed();
    std::fs::remove_file(&journal)?;
    let before = sent_bytes(&servers.addresses)?;
    let bar = progress_bar(usize::from(options.kills));
    let (mut kills, mut files) = (0, 0);
    while kills < options.kills {
        kills += transfer(&downloader, undisturbed, options.kills - kills, &bar)?;
        std::fs::remove_file(&journal)?;
        files += 1;
    }
    bar.finish_and_clear();
    let stored = files * case.size;
    let again = (sent_bytes(&servers.addresses)? - before).saturating_sub(stored) as f64;
    let row = Row {
        bench: "kills",
        kills,
        files,
        gib_per_file: options.gib,
        again_percent: round(again * 100.0 / stored as f64),
        again_mib_per_kill: round(again / f64::from(kills) / (1 << 20) as f64),
    };
    let Row { gib_per_file, again_percent, again_mib_per_kill, .. } = &row;
    print(
        options.json,
        &row,
        format_args!(
            "{kills} kills, {files} files of {gib_per_file} GiB: {again_percent} % fetched again, {again_mib_per_kill} MiB per kill"
        ),
    )
}

/// Transfers one file with up to `limit` kills. Returns their number.
#[expect(clippy::disallowed_methods, reason = "a kill comes at a moment of real time")]
fn transfer(
    downloader: &impl Fn() -> Result<Child, BenchError>,
    undisturbed: Duration,
    limit: u16,
    bar: &ProgressBar,
) -> Result<u16, BenchError> {
    for kills in 0..limit {
        let mut process = downloader()?;
        let [high, low] = random::bytes::<2>();
        let part = f64::from(u16::from_be_bytes([high, low])) / f64::from(u16::MAX);
        thread::sleep(undisturbed.mul_f64(part));
        if process.try_wait()?.is_some() {
            finish(process)?;
            return Ok(kills);
        }
        process.kill()?;
        process.wait()?;
        bar.inc(1);
    }
    finish(downloader()?)?;
    Ok(limit)
}

fn finish(mut process: Child) -> Result<(), BenchError> {
    match process.wait()? {
        status if status.success() => Ok(()),
        status => Err(BenchError::Exit { program: "reelay".to_owned(), status }),
    }
}

/// Number of bytes that the source has sent since its start.
fn sent_bytes(addresses: &Addresses) -> Result<u64, BenchError> {
    let host = addresses.source.trim_start_matches("http://");
    let mut connection = TcpStream::connect(host)?;
    write!(connection, "GET /sent HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    let mut response = String::new();
    connection.read_to_string(&mut response)?;
    let body = response.rsplit("\r\n\r\n").next().unwrap_or_default();
    Ok(serde_json::from_str(body)?)
}
