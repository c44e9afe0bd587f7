//! The command line: distributes seeds to worker threads and prints their outcomes.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use clap::ValueEnum as _;
use indicatif::{ProgressBar, ProgressStyle};

use crate::aws::AwsCondition;
use crate::process;
use crate::report::{Line, Summary};
use crate::scenarios::Scenario;
use crate::world::World;

/// Seeds after which a worker replaces its stack, because a stack's tables grow with each seed.
const MAX_SEEDS_PER_STACK: usize = 200;

/// Injects kills, faults and interleavings into the life of grants, links and recordings.
#[derive(Debug, clap::Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    /// Range of seeds without its end, such as 0..2000.
    #[arg(long, value_parser = parse_seeds, required = true)]
    seeds: Option<Range<u64>>,
    /// Scenario to run; repeatable. Default: all but `weeks` and `outages`, whose seeds take minutes.
    #[arg(long)]
    scenario: Vec<Scenario>,
    /// Condition of AWS; repeatable. Default: the conditions that every scenario must withstand.
    #[arg(long, value_delimiter = ',')]
    aws: Option<Vec<AwsCondition>>,
    /// Print one JSON object per seed.
    #[arg(long)]
    json: bool,
    /// Number of seeds that run in parallel, each on its own stack. Default: the number of cores.
    #[arg(long)]
    workers: Option<NonZeroUsize>,
    #[command(subcommand)]
    function: Option<Function>,
}

#[derive(Debug, clap::Subcommand)]
enum Function {
    /// Runs the downloader for one delivery. The simulation starts this subcommand itself.
    #[command(hide = true)]
    RecordingDownloader,
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let parsed = text.split_once("..").and_then(|(first, last)| {
        let range = first.parse().ok()?..last.parse().ok()?;
        (range.start < range.end).then_some(range)
    });
    parsed.ok_or_else(|| "expected an ascending range such as 0..2000".to_owned())
}

/// Runs all seeds of the selected scenarios. The exit code is 1 if a seed violates an invariant.
///
/// # Errors
/// If a stack fails to start or the output cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(Function::RecordingDownloader) = args.function {
        process::recording_downloader()?;
        return Ok(ExitCode::SUCCESS);
    }
    let seeds = args.seeds.unwrap_or_default();
    let mut scenarios = args.scenario;
    if scenarios.is_empty() {
        let all = Scenario::value_variants().iter();
        scenarios.extend(all.filter(|it| !matches!(it, Scenario::Weeks | Scenario::Outages)));
    }
    let runs: Vec<(Scenario, u64)> =
        scenarios.iter().flat_map(|scenario| seeds.clone().map(|seed| (*scenario, seed))).collect();
    let started = Instant::now();
    let progress = if args.json {
        ProgressBar::hidden()
    } else {
        let style =
            ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {elapsed}, {eta} left")?;
        ProgressBar::new(runs.len() as u64).with_style(style)
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let workers = args.workers.map_or(cores, NonZeroUsize::get);
    let workers = workers.min(runs.len());
    let (runs, next) = (Arc::new(runs), Arc::new(AtomicUsize::new(0)));
    let (sender, lines) = mpsc::channel();
    let threads: Vec<_> = (0..workers)
        .map(|_| {
            let (runs, next, sender) = (Arc::clone(&runs), Arc::clone(&next), sender.clone());
            let aws = args.aws.clone().unwrap_or_else(|| AwsCondition::DEFAULT.to_vec());
            std::thread::spawn(move || run_worker(&runs, &aws, &next, &sender))
        })
        .collect();
    drop(sender);

    let mut summary = Summary::default();
    let mut out = std::io::stdout().lock();
    for line in lines {
        if args.json {
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        } else if !line.ok {
            progress.suspend(|| writeln!(out, "{line}"))?;
        }
        summary.add(&line);
        progress.inc(1);
    }
    progress.finish_and_clear();
    for thread in threads {
        let joined = thread.join();
        joined.map_err(|_| anyhow::anyhow!("worker thread panicked"))??;
    }
    if !args.json {
        writeln!(out, "{}", summary.table(started.elapsed()))?;
    }
    Ok(ExitCode::from(u8::from(summary.has_violations())))
}

/// Runs seeds until none is left. Each thread has its own runtime, so that stacks do not share timers.
fn run_worker(
    runs: &[(Scenario, u64)],
    aws: &[AwsCondition],
    next: &AtomicUsize,
    lines: &mpsc::Sender<Line>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        loop {
            let world = World::start().await?;
            world.set_conditions(aws);
            for _ in 0..MAX_SEEDS_PER_STACK {
                let Some((scenario, seed)) = runs.get(next.fetch_add(1, Ordering::SeqCst)) else {
                    world.shutdown().await;
                    return Ok(());
                };
                let started = Instant::now();
                let outcome = scenario.run(&world, *seed).await;
                // Sending fails only after the printing thread has failed and reported its error.
                let _ = lines.send(Line::new(*scenario, aws, *seed, outcome, started.elapsed()));
            }
            world.shutdown().await;
        }
    })
}
