//! `download`: the same bytes from the same source to the same S3, by one client after the other.

mod certificate;
mod limit;
mod reelay;
mod servers;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use self::certificate::{Certificate, CertificateError};

use self::servers::Addresses;
use crate::measure::{self, MeasureError, Measured};
use crate::peers::{PeerError, Peers};

pub(crate) use self::limit::limit;
pub(crate) use self::reelay::reelay;

const MIB: u64 = 1024 * 1024;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// What a throttled source gives each connection, bytes per second.
const THROTTLE: u64 = 20_000_000;

/// What to measure, and how.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// How often each client runs in each case; the figures are medians.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Cases whose name contains this, such as `2GiB`, `tls` or `throttled`.
    #[arg(long, default_value = "")]
    only: String,
    /// Clients, comma-separated; all if left out.
    #[arg(long, value_delimiter = ',')]
    clients: Vec<String>,
    /// Also a synthetic 100 GiB, for memory alone: Reelay's downloader, once.
    #[arg(long)]
    huge: bool,
}

/// What ends the benchmark.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    /// The certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The peers.
    #[error(transparent)]
    Peers(#[from] PeerError),
    /// A client.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// The servers, or a file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// What the servers said.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Reelay's downloader.
    #[error("reelay: {0}")]
    Reelay(String),
    /// The limits.
    #[error("limit: {0}")]
    Limit(String),
}

/// One case.
struct Case {
    name: &'static str,
    size: u64,
    tls: bool,
    rate: u64,
    clients: &'static [&'static str],
    runs: Option<usize>,
}

const ALL: &[&str] = &["reelay", "python", "node", "copy", "read"];

/// Over plain HTTP the SDK signs every block that carries a checksum; so also without.
const HTTP: &[&str] = &["reelay", "reelay-bare", "python", "node", "copy", "read"];

const CASES: &[Case] = &[
    Case { name: "256MiB-tls", size: 256 * MIB, tls: true, rate: 0, clients: ALL, runs: None },
    Case { name: "2GiB-tls", size: 2048 * MIB, tls: true, rate: 0, clients: ALL, runs: None },
    Case { name: "256MiB-http", size: 256 * MIB, tls: false, rate: 0, clients: HTTP, runs: None },
    Case { name: "2GiB-http", size: 2048 * MIB, tls: false, rate: 0, clients: HTTP, runs: None },
    Case {
        name: "256MiB-tls-throttled",
        size: 256 * MIB,
        tls: true,
        rate: THROTTLE,
        clients: &["reelay-1", "reelay", "reelay-16", "python", "node", "copy", "read"],
        runs: None,
    },
    Case {
        name: "2GiB-tls-throttled",
        size: 2048 * MIB,
        tls: true,
        rate: THROTTLE,
        clients: &["reelay-1", "reelay", "reelay-16"],
        runs: None,
    },
    Case {
        name: "100GiB-http",
        size: 100 * 1024 * MIB,
        tls: false,
        rate: 0,
        clients: &["reelay"],
        runs: Some(1),
    },
];

/// A line of the result.
#[derive(Serialize)]
struct Line<'a> {
    bench: &'static str,
    client: &'a str,
    case: &'a str,
    wall_s: f64,
    cpu_s_per_gib: f64,
    peak_rss_mib: f64,
    runs: usize,
}

/// Runs all cases that were asked for.
///
/// # Errors
/// See [`DownloadError`].
pub(crate) fn run(options: &Options) -> Result<(), DownloadError> {
    let cases: Vec<&Case> = CASES
        .iter()
        .filter(|case| case.name.contains(&options.only))
        .filter(|case| case.runs.is_none() || options.huge)
        .collect();
    let wanted = |client: &str| {
        options.clients.is_empty() || options.clients.iter().any(|wanted| wanted == client)
    };
    let folder = tempfile::tempdir()?;
    let certificate = Certificate::make(folder.path())?;
    let peers = Peers::install()?;
    let total: usize = cases
        .iter()
        .map(|case| {
            case.clients.iter().filter(|client| wanted(client)).count()
                * case.runs.unwrap_or(options.runs)
        })
        .sum();
    let bar = ProgressBar::new(total as u64).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    for case in cases {
        let mut servers = Servers::start(case.tls.then(|| folder.path()))?;
        let addresses = servers.addresses.clone();
        for client in case.clients.iter().filter(|client| wanted(client)) {
            let command = command(client, &peers)?;
            let environment = environment(case, &addresses, &certificate);
            let mut measured = Vec::new();
            for _ in 0..case.runs.unwrap_or(options.runs) {
                bar.set_message(format!("{} {client}", case.name));
                measured.push(measure::run(&command, &environment)?);
                bar.inc(1);
            }
            bar.suspend(|| tell(options, case, client, &measured))?;
        }
        servers.end();
    }
    bar.finish_and_clear();
    Ok(())
}

fn tell(
    options: &Options,
    case: &Case,
    client: &str,
    measured: &[Measured],
) -> Result<(), DownloadError> {
    let Some(median) = measure::median(measured) else {
        return Ok(());
    };
    let line = Line {
        bench: "download",
        client,
        case: case.name,
        wall_s: thousandths(median.wall_s),
        cpu_s_per_gib: thousandths(median.cpu_s / (case.size as f64 / GIB)),
        peak_rss_mib: thousandths(median.peak_rss_mib),
        runs: measured.len(),
    };
    if options.json {
        println!("{}", serde_json::to_string(&line)?);
    } else {
        println!(
            "{:22} {:10} {:8.2} s {:8.2} CPU s/GiB {:8.1} MiB",
            line.case, line.client, line.wall_s, line.cpu_s_per_gib, line.peak_rss_mib
        );
    }
    Ok(())
}

fn thousandths(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

fn command(client: &str, peers: &Peers) -> Result<Vec<String>, DownloadError> {
    let this = std::env::current_exe()?.display().to_string();
    let own = |arguments: &[&str]| {
        let mut command = vec![this.clone()];
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        command
    };
    Ok(match client {
        "python" => peers.python_command("download.py"),
        "node" => peers.node_command("download.mjs"),
        "copy" => own(&["limit", "--copy"]),
        "read" => own(&["limit"]),
        // Without checksums of parts, as a raw copy has none.
        "reelay-bare" => own(&["reelay", "--connections", "8", "--bare"]),
        "reelay-1" => own(&["reelay", "--connections", "1"]),
        "reelay-16" => own(&["reelay", "--connections", "16"]),
        _ => own(&["reelay", "--connections", "8"]),
    })
}

/// What every client finds around it.
fn environment(
    case: &Case,
    addresses: &Addresses,
    certificate: &Certificate,
) -> BTreeMap<String, String> {
    let authority = certificate.authority().display().to_string();
    BTreeMap::from(
        [
            ("BENCH_SOURCE", format!("{}/{}/{}", addresses.source, case.size, case.rate)),
            ("BENCH_SINK", addresses.sink.clone()),
            ("BENCH_CA", authority.clone()),
            ("BENCH_SIZE", case.size.to_string()),
            ("NODE_EXTRA_CA_CERTS", authority.clone()),
            ("SSL_CERT_FILE", authority),
            ("AWS_ACCESS_KEY_ID", "synthetic".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "synthetic".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("NO_PROXY", "127.0.0.1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    )
}

/// The servers' process, ended with this value.
struct Servers {
    process: Child,
    addresses: Addresses,
}

impl Servers {
    fn start(certificate: Option<&Path>) -> Result<Self, DownloadError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").stdout(Stdio::piped());
        if let Some(folder) = certificate {
            command.arg("--certificate").arg(folder);
        }
        let mut process = command.spawn()?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let addresses = serde_json::from_str(&line);
        let mut servers =
            Self { process, addresses: Addresses { source: String::new(), sink: String::new() } };
        match addresses {
            Ok(addresses) => {
                servers.addresses = addresses;
                Ok(servers)
            }
            Err(error) => {
                servers.end();
                Err(error.into())
            }
        }
    }

    fn end(&mut self) {
        // It has no state worth ending well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.end();
    }
}

/// The servers, in their own process.
///
/// # Errors
/// If no port can be had.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn serve(certificate: Option<&Path>) -> Result<(), DownloadError> {
    Ok(servers::serve(certificate.map(Certificate::at)).await?)
}
