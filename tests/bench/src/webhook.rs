//! `webhook`: one warm instance of the webhook function, one event after the other, as Lambda gives them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::lambda::{Client, Instance, LambdaError, Size, WEBHOOK, Work, World};
use crate::peers::Peers;

/// What to measure, and how.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// How many events each client gets in each case, after its first one.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..))]
    events: u16,
    /// Folder of Reelay's binaries; without it they are built.
    #[arg(long)]
    built: Option<PathBuf>,
}

/// A line of the result.
#[derive(Debug, Serialize)]
struct Line<'a> {
    bench: &'static str,
    client: &'a str,
    case: &'static str,
    /// Events a second, with what passes between two of them.
    events_per_s: f64,
    /// The middle one of the times from event to answer, and the one that 99 in 100 keep.
    p50_ms: f64,
    p99_ms: f64,
    peak_rss_mib: f64,
    /// Calls to AWS: of an instance with its first event, and of each event after it.
    calls_first: u64,
    calls_per_event: f64,
    events: usize,
}

/// Gives each client its events, in each case.
///
/// # Errors
/// See [`LambdaError`].
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn run(options: &Options) -> Result<(), LambdaError> {
    let folder = tempfile::tempdir()?;
    let peers = Peers::install()?;
    let mut clients = Client::reelay(&[WEBHOOK], options.built.as_deref())?;
    clients.push(Client::node(&peers, folder.path())?);
    clients.push(Client::python(&peers)?);
    let sizes = [Size::Small, Size::Large];
    let bar = ProgressBar::new((clients.len() * sizes.len()) as u64).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    for size in sizes {
        for client in &clients {
            bar.set_message(format!("{} {}", size.name(), client.name));
            // Engines of its own, for what is queued stays in their memory.
            let world = World::start().await?;
            let line = measured(client, size, options.events.into(), &world).await?;
            world.shutdown().await;
            bar.inc(1);
            bar.suspend(|| tell(options, &line))?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

async fn measured<'a>(
    client: &'a Client,
    size: Size,
    events: usize,
    world: &World,
) -> Result<Line<'a>, LambdaError> {
    let work = Work::Delivery(size);
    let calls = || world.calls().iter().map(|(_, calls)| calls).sum::<u64>();
    world.reset_calls();
    let (mut instance, _) = Instance::start(client, world).await?;
    accepted(client, work, &mut instance, world).await?;
    let calls_first = calls();
    world.reset_calls();
    let (mut took, mut wall) = (Vec::with_capacity(events), Duration::ZERO);
    for _ in 0..events {
        let event = work.event(world)?;
        let begun = Instant::now();
        let (answer, answered) = instance.invoke(&event).await?;
        wall += begun.elapsed();
        done(client, work, &answer)?;
        took.push(answered);
    }
    took.sort();
    let milliseconds = |of_100: usize| {
        let at = (took.len() * of_100 / 100).min(took.len() - 1);
        thousandths(took[at].as_secs_f64() * 1000.0)
    };
    Ok(Line {
        bench: "webhook",
        client: &client.name,
        case: size.name(),
        events_per_s: thousandths(events as f64 / wall.as_secs_f64()),
        p50_ms: milliseconds(50),
        p99_ms: milliseconds(99),
        peak_rss_mib: thousandths(instance.peak_rss_mib()?),
        calls_first,
        calls_per_event: thousandths(calls() as f64 / events as f64),
        events,
    })
}

async fn accepted(
    client: &Client,
    work: Work,
    instance: &mut Instance,
    world: &World,
) -> Result<(), LambdaError> {
    let (answer, _) = instance.invoke(&work.event(world)?).await?;
    done(client, work, &answer)
}

fn done(client: &Client, work: Work, answer: &serde_json::Value) -> Result<(), LambdaError> {
    if work.is_done(answer) {
        return Ok(());
    }
    Err(LambdaError::Function {
        client: client.name.clone(),
        reason: format!("it answered {answer}"),
    })
}

fn tell(options: &Options, line: &Line<'_>) -> Result<(), LambdaError> {
    if options.json {
        println!("{}", serde_json::to_string(line)?);
    } else {
        println!(
            "{:7} {:15} {:8.1} events/s {:8.2} ms p50 {:8.2} ms p99 {:7.1} MiB {:3} calls first, {:.2} an event",
            line.case,
            line.client,
            line.events_per_s,
            line.p50_ms,
            line.p99_ms,
            line.peak_rss_mib,
            line.calls_first,
            line.calls_per_event
        );
    }
    Ok(())
}

fn thousandths(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}
