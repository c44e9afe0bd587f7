//! `cargo run --release -p bench -- <name> --json`: benchmarks of Reelay beside Python and Node, all in the same
//! run on one machine. `latency` has no peer: it measures a whole devstack. `--json` prints one JSON object per line
//! instead of a table.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command: results go to stdout, errors to stderr"
)]

mod cold_start;
mod download;
mod error;
mod lambda;
mod latency;
mod peers;
mod process;
mod report;
mod scale;
mod webhook;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use reelay_runtime::Chain;

use self::error::BenchError;

#[derive(Parser)]
#[command(
    about = "Measures speed, memory and size of Reelay beside Python and Node in the same run"
)]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Cold start, first response, memory and package size of each function, and of the webhook in Node and Python.
    ColdStart(cold_start::Options),
    /// Downloads from an HTTP source to S3 by Reelay, Python, Node and two baselines.
    Download(download::Options),
    /// Bytes that Reelay fetches again when its downloader is killed at random moments.
    Kills(download::kills::Options),
    /// Time from a completed recording at Zoom to the app's notifications, on a devstack.
    Latency(latency::Options),
    /// AWS calls and DynamoDB units per recording while the tables grow to a million items, and a maintenance run at a
    /// backlog of a million files.
    Scale(scale::Options),
    /// Memory and open files of a devstack under steady load, which must stay flat while links, recordings and their
    /// notifications come and go.
    Soak(latency::soak::Options),
    /// Zoom events sent to one warm instance of the webhook function in Rust, Node and Python.
    Webhook(webhook::Options),
    /// Internal to `latency` and `soak`: runs a devstack with these template parameters.
    #[command(hide = true)]
    Devstack { parameters: Vec<String> },
    /// Internal to `download` and `kills`: serves the source and S3.
    #[command(hide = true)]
    Serve {
        /// Folder of the certificate; without it the servers speak plain HTTP.
        #[arg(long)]
        certificate: Option<PathBuf>,
    },
    /// Internal to `download` and `kills`: runs Reelay's downloader once.
    #[command(hide = true)]
    Reelay {
        #[arg(long)]
        connections: usize,
        #[arg(long)]
        no_part_checksums: bool,
    },
    /// Internal to `download`: reads the source, and copies it to S3 with `--copy`.
    #[command(hide = true)]
    Baseline {
        #[arg(long)]
        copy: bool,
    },
    /// Internal: runs one command and prints its resource usage.
    #[command(hide = true)]
    Measure {
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().benchmark) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {}", Chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(benchmark: Benchmark) -> Result<(), BenchError> {
    match benchmark {
        Benchmark::ColdStart(options) => cold_start::run(&options),
        Benchmark::Download(options) => download::run(&options),
        Benchmark::Kills(options) => download::kills::run(&options),
        Benchmark::Latency(options) => latency::run(&options),
        Benchmark::Scale(options) => scale::run(&options),
        Benchmark::Soak(options) => latency::soak::run(&options),
        Benchmark::Devstack { parameters } => latency::serve(&parameters),
        Benchmark::Webhook(options) => webhook::run(&options),
        Benchmark::Serve { certificate } => download::serve(certificate.as_deref()),
        Benchmark::Reelay { connections, no_part_checksums } => {
            download::run_reelay(connections, !no_part_checksums)
        }
        Benchmark::Baseline { copy } => download::run_baseline(copy),
        Benchmark::Measure { command } => {
            println!("{}", serde_json::to_string(&process::measure(&command)?)?);
            Ok(())
        }
    }
}
