//! `download`: the same file from the same source to the same S3 by one client after the other, in turns.

mod baseline;
mod certificate;
pub(crate) mod kills;
mod reelay;
mod servers;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use clap::Args;
use serde::Serialize;

use self::servers::Addresses;
use crate::error::BenchError;
use crate::peers::Peers;
use crate::process::{self, ResourceUsage};
use crate::report::{median, print, progress_bar};

pub(crate) use self::baseline::run_baseline;
pub(crate) use self::reelay::run_reelay;
pub(crate) use self::servers::serve;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// Rate of a throttled source in bytes per second and connection.
const THROTTLED: u64 = 20_000_000;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    /// Runs of each client in each case, in turns. The results are medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Run only the cases whose name contains this text, such as `2GiB`, `tls` or `throttled`.
    #[arg(long, default_value = "")]
    only: String,
    /// Clients, comma-separated. The default is all.
    #[arg(long, value_delimiter = ',')]
    clients: Vec<String>,
    /// Also download 100 GiB once with Reelay, to measure memory.
    #[arg(long)]
    huge: bool,
}

struct Case {
    name: &'static str,
    size: u64,
    is_tls: bool,
    /// Rate of the source in bytes per second and connection; 0 for unlimited.
    rate: u64,
    clients: &'static [&'static str],
}

impl Case {
    fn is_huge(&self) -> bool {
        self.size >= 100 * GIB
    }
}

const CLIENTS: &[&str] = &["reelay", "python", "node", "copy", "read"];

/// `reelay-bare` sends no part checksums. Over plain HTTP the SDK signs each block of a body with a checksum.
const HTTP_CLIENTS: &[&str] = &["reelay", "reelay-bare", "python", "node", "copy", "read"];

const CASES: &[Case] = &[
    Case { name: "256MiB-tls", size: 256 * MIB, is_tls: true, rate: 0, clients: CLIENTS },
    Case { name: "2GiB-tls", size: 2 * GIB, is_tls: true, rate: 0, clients: CLIENTS },
    Case { name: "256MiB-http", size: 256 * MIB, is_tls: false, rate: 0, clients: HTTP_CLIENTS },
    Case { name: "2GiB-http", size: 2 * GIB, is_tls: false, rate: 0, clients: HTTP_CLIENTS },
    Case {
        name: "256MiB-tls-throttled",
        size: 256 * MIB,
        is_tls: true,
        rate: THROTTLED,
        clients: &["reelay-1", "reelay", "reelay-16", "python", "node", "copy", "read"],
    },
    Case {
        name: "2GiB-tls-throttled",
        size: 2 * GIB,
        is_tls: true,
        rate: THROTTLED,
        clients: &["reelay-1", "reelay", "reelay-16"],
    },
    Case { name: "100GiB-tls", size: 100 * GIB, is_tls: true, rate: 0, clients: &["reelay"] },
];

/// A row of the result.
#[derive(Serialize)]
struct Row<'a> {
    bench: &'static str,
    client: &'a str,
    case: &'a str,
    wall_s: f64,
    cpu_s_per_gib: f64,
    peak_rss_mib: f64,
    /// CPU and wall time as multiples of the copy's in the same turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    of_copy: Option<OfCopy>,
    runs: usize,
}

#[derive(Serialize)]
struct OfCopy {
    cpu: f64,
    wall: f64,
}

impl OfCopy {
    fn new(usages: &[ResourceUsage], copies: &[ResourceUsage]) -> Self {
        let turns: Vec<_> = usages.iter().zip(copies).collect();
        Self {
            cpu: median(&turns, |(usage, copy)| usage.cpu_s / copy.cpu_s),
            wall: median(&turns, |(usage, copy)| usage.wall_s / copy.wall_s),
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<(), BenchError> {
    let is_selected = |client: &str| {
        options.clients.is_empty() || options.clients.iter().any(|selected| selected == client)
    };
    let cases: Vec<_> = CASES
        .iter()
        .filter(|case| case.name.contains(&options.only) && (options.huge || !case.is_huge()))
        .map(|case| {
            let clients = case.clients.iter().copied().filter(|client| is_selected(client));
            let runs = if case.is_huge() { 1 } else { options.runs };
            (case, clients.collect::<Vec<_>>(), usize::from(runs))
        })
        .collect();
    let folder = tempfile::tempdir()?;
    certificate::create(folder.path())?;
    let peers = Peers::install()?;
    let bar = progress_bar(cases.iter().map(|(_, clients, runs)| clients.len() * runs).sum());
    for (case, clients, runs) in cases {
        let servers = Servers::start(case.is_tls.then(|| folder.path()))?;
        let environment = environment(case, &servers.addresses, folder.path());
        let mut usages: Vec<Vec<ResourceUsage>> = clients.iter().map(|_| Vec::new()).collect();
        for _ in 0..runs {
            for (client, usages) in clients.iter().zip(&mut usages) {
                bar.set_message(format!("{} {client}", case.name));
                let command = command(client, &peers)?;
                usages.push(process::measure_separately(&command, &environment)?);
                bar.inc(1);
            }
        }
        let copy = clients.iter().position(|client| *client == "copy");
        for (client, measured) in clients.iter().zip(&usages) {
            let of_copy = copy.map(|copy| OfCopy::new(measured, &usages[copy]));
            bar.suspend(|| print_row(options.json, case, client, measured, of_copy))?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn print_row(
    json: bool,
    case: &Case,
    client: &str,
    usages: &[ResourceUsage],
    of_copy: Option<OfCopy>,
) -> Result<(), BenchError> {
    let row = Row {
        bench: "download",
        client,
        case: case.name,
        wall_s: median(usages, |usage| usage.wall_s),
        cpu_s_per_gib: median(usages, |usage| usage.cpu_s * GIB as f64 / case.size as f64),
        peak_rss_mib: median(usages, |usage| usage.peak_rss_mib),
        of_copy,
        runs: usages.len(),
    };
    let Row { case, wall_s, cpu_s_per_gib, peak_rss_mib, of_copy, .. } = &row;
    let of_copy = of_copy.as_ref().map_or_else(String::new, |OfCopy { cpu, wall }| {
        format!("  of the copy's: CPU {cpu:.2}, wall {wall:.2}")
    });
    print(
        json,
        &row,
        format_args!(
            "{case:22} {client:11} {wall_s:8.2} s {cpu_s_per_gib:8.2} CPU s/GiB {peak_rss_mib:8.1} MiB{of_copy}"
        ),
    )
}

fn command(client: &str, peers: &Peers) -> Result<Vec<String>, BenchError> {
    let this = std::env::current_exe()?.display().to_string();
    let python = peers.python();
    let scripts = [peers.path("download.py"), peers.path("download.mjs")];
    let command: &[&str] = match client {
        "python" => &[&python, &scripts[0]],
        "node" => &["node", &scripts[1]],
        "copy" => &[&this, "baseline", "--copy"],
        "read" => &[&this, "baseline"],
        "reelay-bare" => &[&this, "reelay", "--connections", "8", "--no-part-checksums"],
        "reelay-1" => &[&this, "reelay", "--connections", "1"],
        "reelay-16" => &[&this, "reelay", "--connections", "16"],
        _ => &[&this, "reelay", "--connections", "8"],
    };
    Ok(command.iter().map(|argument| (*argument).to_owned()).collect())
}

/// Environment variables of every client.
fn environment(
    case: &Case,
    addresses: &Addresses,
    certificate: &Path,
) -> Vec<(&'static str, String)> {
    let authority = certificate.join(certificate::AUTHORITY).display().to_string();
    vec![
        ("BENCH_SOURCE", format!("{}/{}/{}", addresses.source, case.size, case.rate)),
        ("BENCH_SIZE", case.size.to_string()),
        ("BENCH_CA", authority.clone()),
        ("BUCKET", "bench".to_owned()),
        ("NODE_EXTRA_CA_CERTS", authority.clone()),
        ("SSL_CERT_FILE", authority),
        ("AWS_ACCESS_KEY_ID", "synthetic".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "synthetic".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_ENDPOINT_URL_S3", addresses.s3.clone()),
        ("NO_PROXY", "127.0.0.1".to_owned()),
    ]
}

/// The process of the servers. Dropping it kills the process.
struct Servers {
    process: Child,
    addresses: Addresses,
}

impl Servers {
    fn start(certificate: Option<&Path>) -> Result<Self, BenchError> {
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
        // An incomplete line means that the process ended.
        Ok(Self { process, addresses: serde_json::from_str(&line)? })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
