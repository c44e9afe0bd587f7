//! `cargo run --release -p bench -- <name> --json`: figures beside those of peers, in one run on one
//! machine. With `--json` one object a line, without it a table.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command: its figures go to stdout, its errors to stderr"
)]

mod cold_start;
mod download;
mod lambda;
mod measure;
mod peers;
mod webhook;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Speed, memory and size, measured against peers in the same run")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Start, first answer, memory and package of each function, and of the webhook's work in Node and Python.
    ColdStart(cold_start::Options),
    /// From an HTTP source to S3: Reelay's downloader, Python, Node, and what cannot be undercut.
    Download(download::Options),
    /// Events through one instance of the webhook function, and through its peers.
    Webhook(webhook::Options),
    /// The two sides of a download; for `download` itself.
    #[command(hide = true)]
    Serve {
        /// Folder with the certificate; without it no TLS.
        #[arg(long)]
        certificate: Option<PathBuf>,
    },
    /// Reelay's downloader as one process; for `download` itself.
    #[command(hide = true)]
    Reelay {
        #[arg(long)]
        connections: usize,
        /// Parts without checksums of their own.
        #[arg(long)]
        bare: bool,
    },
    /// A blocking read to nowhere, or a blocking copy; for `download` itself.
    #[command(hide = true)]
    Limit {
        #[arg(long)]
        copy: bool,
    },
    /// Measures one command; for the benchmarks themselves.
    #[command(hide = true)]
    Measure {
        #[arg(last = true)]
        command: Vec<String>,
    },
}

/// What ends a benchmark early.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(transparent)]
    Download(#[from] download::DownloadError),
    #[error(transparent)]
    Lambda(#[from] lambda::LambdaError),
    #[error(transparent)]
    Measure(#[from] measure::MeasureError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

fn main() -> ExitCode {
    match run(Arguments::parse().bench) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(bench: Bench) -> Result<(), BenchError> {
    match bench {
        Bench::ColdStart(options) => cold_start::run(&options)?,
        Bench::Download(options) => download::run(&options)?,
        Bench::Webhook(options) => webhook::run(&options)?,
        Bench::Serve { certificate } => download::serve(certificate.as_deref())?,
        Bench::Reelay { connections, bare } => download::reelay(connections, bare)?,
        Bench::Limit { copy } => download::limit(copy)?,
        Bench::Measure { command } => {
            println!("{}", serde_json::to_string(&measure::alone(&command)?)?);
        }
    }
    Ok(())
}
