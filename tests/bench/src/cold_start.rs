//! `cold-start`: time from the start of a process to its first response, memory, and package size.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::error::BenchError;
use crate::lambda::{Backend, FUNCTIONS, Function, Instance, zipped_mib};
use crate::report::{median, milliseconds, print, progress_bar, round};

/// Invocations of a warm instance per run. A run's value is their median.
const WARM_INVOCATIONS: usize = 25;

/// Limits of the webhook function. Those of its times are multiples of another client's in the same run.
const MAX_INIT_RATIO_TO_NODE: f64 = 1.0 / 15.0;
const MAX_INIT_RATIO_TO_PYTHON: f64 = 1.0 / 30.0;
const MAX_INIT_RATIO_TO_BARE: f64 = 1.6;
const MAX_FIRST_RATIO_TO_BARE: f64 = 2.5;
const MAX_PEAK_RSS_MIB: f64 = 16.0;
const MAX_ZIP_MIB: f64 = 3.0;

/// Limit of the other functions' init time, as a multiple of the bare function's.
const MAX_OTHER_INIT_RATIO_TO_BARE: f64 = 2.5;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    /// Starts of each client. The results are medians.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Clients, comma-separated, such as `reelay:webhook,bare,node`. The default is all.
    #[arg(long, value_delimiter = ',')]
    clients: Vec<String>,
    /// Folder of Reelay's binaries. Without it they are built.
    #[arg(long)]
    binaries: Option<PathBuf>,
}

/// A row of the result.
#[derive(Debug, Serialize)]
struct Row<'a> {
    bench: &'static str,
    client: &'a str,
    /// From the start of the process to its first `GET /next`.
    init_ms: f64,
    /// From the first event to its response.
    first_ms: f64,
    /// From a later event to its response.
    warm_ms: f64,
    peak_rss_mib: f64,
    zip_mib: f64,
    runs: usize,
}

struct Run {
    init_ms: f64,
    first_ms: f64,
    warm_ms: f64,
    peak_rss_mib: f64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn run(options: &Options) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let mut functions =
        Function::with_peers(&FUNCTIONS, options.binaries.as_deref(), folder.path())?;
    functions.retain(|it| options.clients.is_empty() || options.clients.contains(&it.name));
    let backend = Backend::start().await?;
    let bar = progress_bar(functions.len() * usize::from(options.runs));
    let mut runs: Vec<Vec<Run>> = functions.iter().map(|_| Vec::new()).collect();
    // A first run that is not counted brings binary and packages into the page cache.
    for function in &functions {
        bar.set_message(function.name.clone());
        measure(function, &backend).await?;
    }
    // The functions take turns, so that a change of the machine's speed affects all of them.
    for _ in 0..options.runs {
        for (function, runs) in functions.iter().zip(&mut runs) {
            bar.set_message(function.name.clone());
            runs.push(measure(function, &backend).await?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    backend.shutdown().await;
    if !options.json {
        println!(
            "{:28} {:>9} {:>9} {:>9} {:>10} {:>9}",
            "client", "init ms", "first ms", "warm ms", "peak MiB", "zip MiB"
        );
    }
    let mut rows = Vec::new();
    for (function, runs) in functions.iter().zip(&runs) {
        let row = Row {
            bench: "cold-start",
            client: &function.name,
            init_ms: median(runs, |run| run.init_ms),
            first_ms: median(runs, |run| run.first_ms),
            warm_ms: median(runs, |run| run.warm_ms),
            peak_rss_mib: median(runs, |run| run.peak_rss_mib),
            zip_mib: round(zipped_mib(&function.package)?),
            runs: runs.len(),
        };
        let Row { client, init_ms, first_ms, warm_ms, peak_rss_mib, zip_mib, .. } = &row;
        print(
            options.json,
            &row,
            format_args!(
                "{client:28} {init_ms:9.2} {first_ms:9.2} {warm_ms:9.2} {peak_rss_mib:10.2} {zip_mib:9.2}"
            ),
        )?;
        rows.push(row);
    }
    if !options.json {
        print_comparison(&rows);
    }
    Ok(())
}

/// Measures one instance from start to end.
async fn measure(function: &Function, backend: &Backend) -> Result<Run, BenchError> {
    let event = function.payload.event(backend.webhook_secret())?;
    let (mut instance, init) = Instance::start(function, backend).await?;
    let first = instance.invoke(function.payload, &event).await?;
    let mut warm = Vec::with_capacity(WARM_INVOCATIONS);
    for _ in 0..WARM_INVOCATIONS {
        warm.push(instance.invoke(function.payload, &event).await?);
    }
    Ok(Run {
        init_ms: milliseconds(init),
        first_ms: milliseconds(first),
        warm_ms: median(&warm, |duration| milliseconds(*duration)),
        peak_rss_mib: instance.peak_rss_mib()?,
    })
}

/// Compares the webhook function with its peers and its limits.
fn print_comparison(rows: &[Row<'_>]) {
    let find = |client: &str| rows.iter().find(|row| row.client == client);
    let Some(webhook) = find("reelay:webhook") else {
        return;
    };
    println!();
    for (name, max_ratio) in
        [("node", MAX_INIT_RATIO_TO_NODE), ("python", MAX_INIT_RATIO_TO_PYTHON)]
    {
        let Some(peer) = find(name) else { continue };
        let cold = |row: &Row<'_>| row.init_ms + row.first_ms;
        println!(
            "webhook compared with {name:7} init 1/{:.1}, init and first response 1/{:.1}, warm 1/{:.1}, memory 1/{:.1}",
            peer.init_ms / webhook.init_ms,
            cold(peer) / cold(webhook),
            peer.warm_ms / webhook.warm_ms,
            peer.peak_rss_mib / webhook.peak_rss_mib,
        );
        let limit = format!("init at most 1/{:.0} of {name}", 1.0 / max_ratio);
        print_limit(&limit, webhook.init_ms, peer.init_ms * max_ratio, "ms");
    }
    if let Some(bare) = find("bare") {
        let is_other =
            |row: &&Row<'_>| row.client.starts_with("reelay:") && row.client != "reelay:webhook";
        let print = |name: &str, value: f64, ratio: f64, bare: f64| {
            print_limit(&format!("{name} at most {ratio} times bare"), value, bare * ratio, "ms");
        };
        print("init", webhook.init_ms, MAX_INIT_RATIO_TO_BARE, bare.init_ms);
        print("first response", webhook.first_ms, MAX_FIRST_RATIO_TO_BARE, bare.first_ms);
        for row in rows.iter().filter(is_other) {
            let name = format!("init of {}", row.client);
            print(&name, row.init_ms, MAX_OTHER_INIT_RATIO_TO_BARE, bare.init_ms);
        }
    }
    print_limit("peak memory", webhook.peak_rss_mib, MAX_PEAK_RSS_MIB, "MiB");
    print_limit("deployment package", webhook.zip_mib, MAX_ZIP_MIB, "MiB");
}

fn print_limit(name: &str, value: f64, max: f64, unit: &str) {
    let result = if value <= max { "met" } else { "MISSED" };
    println!("{result:>6}  {name}: {value:.2} of {max:.2} {unit}");
}
