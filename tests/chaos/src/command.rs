//! The command: seeds handed out to workers, a line or a summary for each.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::process;
use crate::report::{Line, Summary};
use crate::scenarios::Scenario;
use crate::world::World;

/// A stack grows with what was done to it; after so many seeds a worker takes a new one.
const SEEDS_A_STACK: usize = 200;

/// Kills, interleavings and random walks over the life of grants and links, each from a seed.
#[derive(Debug, clap::Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Args {
    /// From the first seed to the one before the last, as in 0..2000.
    #[arg(long, value_parser = seeds, required = true)]
    seeds: Option<Range<u64>>,
    /// What is tried; may be given more than once. All, if not given.
    #[arg(long)]
    scenario: Vec<Scenario>,
    /// One JSON object a line and seed.
    #[arg(long)]
    json: bool,
    /// How many seeds at the same time, each on a stack of its own. As many as there are cores, if not given.
    #[arg(long)]
    workers: Option<NonZeroUsize>,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    /// The downloader, for one delivery; for the simulation itself.
    #[command(hide = true)]
    RecordingDownloader,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let parsed = text.split_once("..").and_then(|(first, last)| {
        let range = first.parse().ok()?..last.parse().ok()?;
        (range.start < range.end).then_some(range)
    });
    parsed.ok_or_else(|| "two numbers, the lower first: 0..2000".to_owned())
}

/// Runs all seeds of all scenarios. The exit code is 1 if anything was found that must not be.
///
/// # Errors
/// If a stack does not start, or nothing can be printed.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(Part::RecordingDownloader) = args.part {
        process::recording_downloader()?;
        return Ok(ExitCode::SUCCESS);
    }
    let seeds = args.seeds.unwrap_or_default();
    let scenarios = if args.scenario.is_empty() {
        <Scenario as clap::ValueEnum>::value_variants().to_vec()
    } else {
        args.scenario.clone()
    };
    let all: Vec<(Scenario, u64)> = scenarios
        .iter()
        .flat_map(|scenario| seeds.clone().map(|seed| (*scenario, seed)))
        .collect();
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let workers = args.workers.map_or(cores, NonZeroUsize::get).min(all.len());
    let (all, next) = (Arc::new(all), Arc::new(AtomicUsize::new(0)));
    let (send, lines) = mpsc::channel();
    let threads: Vec<_> = (0..workers)
        .map(|_| {
            let (all, next, send) = (Arc::clone(&all), Arc::clone(&next), send.clone());
            std::thread::spawn(move || work(&all, &next, &send))
        })
        .collect();
    drop(send);

    let begun = Instant::now();
    let bar = if args.json {
        ProgressBar::hidden()
    } else {
        bar(all.len())?
    };
    let mut summary = Summary::default();
    let mut out = std::io::stdout().lock();
    for line in lines {
        if args.json {
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        } else if !line.ok {
            bar.suspend(|| writeln!(out, "{line}"))?;
        }
        summary.add(&line);
        bar.inc(1);
    }
    bar.finish_and_clear();
    for thread in threads {
        let ended = thread.join();
        ended.map_err(|_| anyhow::anyhow!("a worker has crashed"))??;
    }
    if !args.json {
        writeln!(out, "{}", summary.after(begun.elapsed()))?;
    }
    Ok(ExitCode::from(u8::from(summary.found_something())))
}

fn bar(length: usize) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {elapsed}, {eta} left")?;
    Ok(ProgressBar::new(length as u64).with_style(style))
}

/// Takes one seed after the other until none is left. A thread has a runtime of its own, and so a stack's
/// time is nobody else's.
fn work(
    all: &[(Scenario, u64)],
    next: &AtomicUsize,
    lines: &mpsc::Sender<Line>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        loop {
            let world = World::start().await?;
            for _ in 0..SEEDS_A_STACK {
                let Some((scenario, seed)) = all.get(next.fetch_add(1, Ordering::SeqCst)) else {
                    world.shutdown().await;
                    return Ok(());
                };
                let begun = Instant::now();
                let verdict = scenario.run(&world, *seed).await;
                // Nobody listens any more if printing has failed, which is told there.
                let _ = lines.send(Line::new(*scenario, *seed, verdict, begun.elapsed()));
            }
            world.shutdown().await;
        }
    })
}
