//! `webhook`: Zoom events sent one after the other to one warm instance of the webhook function.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::error::BenchError;
use crate::lambda::{Backend, BodySize, Function, Instance, Payload, WEBHOOK};
use crate::report::{milliseconds, print, progress_bar, round};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    /// Events that each client receives in each case after the first.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..))]
    events: u16,
    /// Folder of Reelay's binaries. Without it they are built.
    #[arg(long)]
    binaries: Option<PathBuf>,
}

/// A row of the result. The first event is counted only in `calls_first`.
#[derive(Debug, Serialize)]
struct Row<'a> {
    bench: &'static str,
    client: &'a str,
    case: &'static str,
    /// Throughput, including the time between a response and the request for the next event.
    events_per_s: f64,
    /// Percentiles of the time from an event to its response.
    p50_ms: f64,
    p99_ms: f64,
    peak_rss_mib: f64,
    /// AWS calls of an instance up to its first response.
    calls_first: u64,
    /// AWS calls per later event.
    calls_per_event: f64,
    events: usize,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn run(options: &Options) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let functions = Function::with_peers(&[WEBHOOK], options.binaries.as_deref(), folder.path())?;
    let sizes = [BodySize::Small, BodySize::Large];
    let bar = progress_bar(functions.len() * sizes.len());
    for size in sizes {
        for function in &functions {
            bar.set_message(format!("{} {}", size.name(), function.name));
            // A fresh backend, because queued messages stay in its memory.
            let backend = Backend::start().await?;
            let row = measure(function, size, options.events.into(), &backend).await?;
            backend.shutdown().await;
            bar.inc(1);
            let Row { client, case, events_per_s, p50_ms, p99_ms, peak_rss_mib, .. } = &row;
            let (first, later) = (row.calls_first, row.calls_per_event);
            bar.suspend(|| {
                print(
                    options.json,
                    &row,
                    format_args!(
                        "{case:7} {client:15} {events_per_s:8.1} events/s {p50_ms:8.2} ms p50 {p99_ms:8.2} ms p99 \
                         {peak_rss_mib:7.1} MiB, AWS calls: {first:3} first, {later:.2} per event"
                    ),
                )
            })?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

async fn measure<'a>(
    function: &'a Function,
    size: BodySize,
    events: usize,
    backend: &Backend,
) -> Result<Row<'a>, BenchError> {
    let payload = Payload::ZoomEvent(size);
    backend.reset_calls();
    let (mut instance, _) = Instance::start(function, backend).await?;
    instance.invoke(payload, &payload.event(backend.webhook_secret())?).await?;
    let calls_first = backend.calls();
    backend.reset_calls();
    let (mut latencies, mut total) = (Vec::with_capacity(events), Duration::ZERO);
    for _ in 0..events {
        let event = payload.event(backend.webhook_secret())?;
        let started = Instant::now();
        latencies.push(instance.invoke(payload, &event).await?);
        total += started.elapsed();
    }
    latencies.sort();
    let percentile = |percent: usize| round(milliseconds(latencies[events * percent / 100]));
    Ok(Row {
        bench: "webhook",
        client: &function.name,
        case: size.name(),
        events_per_s: round(events as f64 / total.as_secs_f64()),
        p50_ms: percentile(50),
        p99_ms: percentile(99),
        peak_rss_mib: round(instance.peak_rss_mib()?),
        calls_first,
        calls_per_event: round(backend.calls() as f64 / events as f64),
        events,
    })
}
