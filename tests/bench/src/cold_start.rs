//! `cold-start`: from the start of a process to its first answer, how much memory it takes, and how large its
//! deployment package is.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::lambda::{Client, FUNCTIONS, Instance, LambdaError, World, zipped};
use crate::peers::Peers;

/// How often a warm instance is called; the figure of a run is the median.
const WARM: usize = 25;

/// What is asked of the webhook function, in the figures of the same run.
const INIT_OF_NODE: f64 = 1.0 / 15.0;
const INIT_OF_PYTHON: f64 = 1.0 / 30.0;
const PEAK_RSS_MIB: f64 = 16.0;
const ZIP_MIB: f64 = 4.0;

/// What to measure, and how.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// How often each client is started; the figures are medians.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Clients, comma-separated, such as `reelay:webhook,node`; all if left out.
    #[arg(long, value_delimiter = ',')]
    clients: Vec<String>,
    /// Folder of Reelay's binaries; without it they are built.
    #[arg(long)]
    built: Option<PathBuf>,
}

/// A line of the result.
#[derive(Debug, Serialize)]
struct Line<'a> {
    bench: &'static str,
    client: &'a str,
    /// From exec to the first `GET /next`.
    init_ms: f64,
    /// The first event, from the moment it was handed over to its answer.
    first_ms: f64,
    /// The same of an instance that has answered before.
    warm_ms: f64,
    peak_rss_mib: f64,
    zip_mib: f64,
    runs: usize,
}

#[derive(Debug)]
struct Run {
    init: Duration,
    first: Duration,
    warm: Duration,
    peak_rss_mib: f64,
}

/// Starts each client as often as asked, in turn, so that all of them meet the machine in the same moods.
///
/// # Errors
/// See [`LambdaError`].
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn run(options: &Options) -> Result<(), LambdaError> {
    let folder = tempfile::tempdir()?;
    let peers = Peers::install()?;
    let mut clients = Client::reelay(&FUNCTIONS, options.built.as_deref())?;
    clients.push(Client::node(&peers, folder.path())?);
    clients.push(Client::python(&peers)?);
    clients.retain(|client| options.clients.is_empty() || options.clients.contains(&client.name));
    let world = World::start().await?;
    let runs = usize::from(options.runs);
    let bar = ProgressBar::new((clients.len() * runs) as u64).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut measured: Vec<Vec<Run>> = clients.iter().map(|_| Vec::new()).collect();
    // Nobody's first run counts: it finds neither binary nor packages in the page cache.
    for client in &clients {
        bar.set_message(client.name.clone());
        once(client, &world).await?;
    }
    for _ in 0..runs {
        for (client, measured) in clients.iter().zip(&mut measured) {
            bar.set_message(client.name.clone());
            measured.push(once(client, &world).await?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    world.shutdown().await;
    let lines = clients
        .iter()
        .zip(&measured)
        .map(|(client, runs)| line(client, runs))
        .collect::<Result<Vec<_>, _>>()?;
    if options.json {
        for line in &lines {
            println!("{}", serde_json::to_string(line)?);
        }
    } else {
        print_table(&lines);
        print_verdict(&lines);
    }
    Ok(())
}

/// One instance, from its start to its end.
async fn once(client: &Client, world: &World) -> Result<Run, LambdaError> {
    let (mut instance, init) = Instance::start(client, world).await?;
    let first = call(client, world, &mut instance).await?;
    let mut warm = Vec::with_capacity(WARM);
    for _ in 0..WARM {
        warm.push(call(client, world, &mut instance).await?);
    }
    warm.sort();
    Ok(Run { init, first, warm: warm[WARM / 2], peak_rss_mib: instance.peak_rss_mib()? })
}

async fn call(
    client: &Client,
    world: &World,
    instance: &mut Instance,
) -> Result<Duration, LambdaError> {
    let event = client.work.event(world)?;
    let (answer, took) = instance.invoke(&event).await?;
    if client.work.is_done(&answer) {
        Ok(took)
    } else {
        Err(LambdaError::Function {
            client: client.name.clone(),
            reason: format!("it answered {answer}"),
        })
    }
}

fn line<'a>(client: &'a Client, runs: &[Run]) -> Result<Line<'a>, LambdaError> {
    let middle = |figure: &dyn Fn(&Run) -> f64| {
        let mut figures: Vec<f64> = runs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        hundredths(figures[figures.len() / 2])
    };
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
    Ok(Line {
        bench: "cold-start",
        client: &client.name,
        init_ms: middle(&|run| milliseconds(run.init)),
        first_ms: middle(&|run| milliseconds(run.first)),
        warm_ms: middle(&|run| milliseconds(run.warm)),
        peak_rss_mib: middle(&|run| run.peak_rss_mib),
        zip_mib: hundredths(zipped(&client.package)?),
        runs: runs.len(),
    })
}

fn hundredths(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

fn print_table(lines: &[Line<'_>]) {
    println!(
        "{:28} {:>9} {:>9} {:>9} {:>10} {:>9}",
        "client", "init ms", "first ms", "warm ms", "peak MiB", "zip MiB"
    );
    for line in lines {
        println!(
            "{:28} {:9.2} {:9.2} {:9.2} {:10.2} {:9.2}",
            line.client, line.init_ms, line.first_ms, line.warm_ms, line.peak_rss_mib, line.zip_mib
        );
    }
}

/// The webhook function against its peers and its limits.
fn print_verdict(lines: &[Line<'_>]) {
    let of = |client: &str| lines.iter().find(|line| line.client == client);
    let Some(webhook) = of("reelay:webhook") else {
        return;
    };
    println!();
    for (peer, limit) in [("node", INIT_OF_NODE), ("python", INIT_OF_PYTHON)] {
        let Some(peer) = of(peer) else { continue };
        let cold = |line: &Line<'_>| line.init_ms + line.first_ms;
        println!(
            "webhook beside {:7} init 1/{:.1}, to the first answer 1/{:.1}, warm 1/{:.1}, memory 1/{:.1}",
            peer.client,
            peer.init_ms / webhook.init_ms,
            cold(peer) / cold(webhook),
            peer.warm_ms / webhook.warm_ms,
            peer.peak_rss_mib / webhook.peak_rss_mib,
        );
        verdict(
            &format!("init at most 1/{:.0} of {}'s", 1.0 / limit, peer.client),
            webhook.init_ms,
            peer.init_ms * limit,
            "ms",
        );
    }
    verdict("peak memory", webhook.peak_rss_mib, PEAK_RSS_MIB, "MiB");
    verdict("deployment package", webhook.zip_mib, ZIP_MIB, "MiB");
}

fn verdict(limit: &str, figure: f64, most: f64, unit: &str) {
    let holds = if figure <= most { "holds" } else { "MISSED" };
    println!("{holds:>6}  {limit}: {figure:.2} of {most:.2} {unit}");
}
