//! `webhook`: Zoom events sent to warm instances of the webhook function, one instance for each connection, as Lambda
//! does.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::future::try_join_all;
use serde::Serialize;

use crate::error::BenchError;
use crate::lambda::{Backend, BodySize, Function, Instance, Payload, WEBHOOK};
use crate::report::{Percentiles, milliseconds, print, progress_bar, round};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    /// Events that each client receives in each case after the first of each instance.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    events: u32,
    /// Numbers of concurrent connections, comma-separated.
    #[arg(long, value_delimiter = ',', default_value = "1,10,100", value_parser = clap::value_parser!(u16).range(1..))]
    connections: Vec<u16>,
    /// Bodies, comma-separated: a Zoom event of 1.5 KB, or of 200 KiB.
    #[arg(long, value_delimiter = ',', default_value = "small,large")]
    bodies: Vec<BodySize>,
    /// Clients, comma-separated: `reelay:webhook`, `node`, `python`. The default is all.
    #[arg(long, value_delimiter = ',')]
    clients: Vec<String>,
    /// Folder of Reelay's binaries. Without it they are built.
    #[arg(long)]
    binaries: Option<PathBuf>,
}

/// A row of the result. The first event of each instance is counted only in `calls_first`.
#[derive(Debug, Serialize)]
struct Row<'a> {
    bench: &'static str,
    client: &'a str,
    body: &'static str,
    connections: u16,
    events: u32,
    /// Throughput, including the time between a response and the request for the next event.
    events_per_s: f64,
    /// From an event to its response.
    latency_ms: Percentiles,
    /// CPU time of all instances per event.
    cpu_ms_per_event: f64,
    /// Of the instance with the highest.
    peak_rss_mib: f64,
    /// AWS calls of an instance up to its first response.
    calls_first: f64,
    /// AWS calls per later event.
    calls_per_event: f64,
    /// Accepted events that are not in the queue.
    lost: u64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn run(options: &Options) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let mut functions =
        Function::with_peers(&[WEBHOOK], options.binaries.as_deref(), folder.path())?;
    functions.retain(|it| options.clients.is_empty() || options.clients.contains(&it.name));
    let bar = progress_bar(functions.len() * options.bodies.len() * options.connections.len());
    let mut is_lost = false;
    for size in &options.bodies {
        for connections in &options.connections {
            for function in &functions {
                bar.set_message(format!("{} {}", size.name(), function.name));
                let row = measure(function, *size, *connections, options.events).await?;
                bar.inc(1);
                is_lost |= row.lost > 0;
                bar.suspend(|| {
                    let Row { client, body, events_per_s, latency_ms, cpu_ms_per_event, .. } = &row;
                    let Row { peak_rss_mib, calls_first, calls_per_event, lost, .. } = &row;
                    let text = format_args!(
                        "{body:7} {connections:3} connections {client:15} {events_per_s:8.1} events/s {latency_ms} \
                         {cpu_ms_per_event:7.3} ms CPU per event {peak_rss_mib:6.1} MiB, AWS calls: {calls_first:.0} \
                         first, {calls_per_event:.2} per event, {lost} lost"
                    );
                    print(options.json, &row, text)
                })?;
            }
        }
    }
    bar.finish_and_clear();
    if is_lost { Err(BenchError::LostEvents) } else { Ok(()) }
}

async fn measure(
    function: &Function,
    size: BodySize,
    connections: u16,
    events: u32,
) -> Result<Row<'_>, BenchError> {
    // A fresh backend, because queued messages stay in its memory.
    let backend = Backend::start().await?;
    let payload = Payload::ZoomEvent(size);
    let secret = backend.webhook_secret();
    backend.reset_calls();
    let mut instances = Vec::new();
    for _ in 0..connections {
        let (mut instance, _) = Instance::start(function, &backend).await?;
        instance.invoke(payload, &payload.event(secret)?).await?;
        instances.push(instance);
    }
    let calls_first = backend.calls() as f64 / f64::from(connections);
    backend.reset_calls();
    let cpu_before = cpu_time(&instances)?;
    let (started, sent) = (Instant::now(), AtomicU32::new(0));
    let latencies = try_join_all(instances.iter_mut().map(async |instance| {
        let mut latencies = Vec::new();
        while sent.fetch_add(1, Ordering::Relaxed) < events {
            latencies.push(instance.invoke(payload, &payload.event(secret)?).await?);
        }
        Ok::<_, BenchError>(latencies)
    }))
    .await?;
    let elapsed = started.elapsed();
    let cpu = cpu_time(&instances)?.saturating_sub(cpu_before);
    let peaks: Vec<f64> = instances.iter().map(Instance::peak_rss_mib).collect::<Result<_, _>>()?;
    let queued = backend.queued_events().await;
    let queued = queued.map_err(|error| BenchError::client("the events queue", error))?;
    let row = Row {
        bench: "webhook",
        client: &function.name,
        body: size.name(),
        connections,
        events,
        events_per_s: round(f64::from(events) / elapsed.as_secs_f64()),
        latency_ms: Percentiles::of(latencies.concat()),
        cpu_ms_per_event: round(milliseconds(cpu) / f64::from(events)),
        peak_rss_mib: round(peaks.into_iter().fold(0.0, f64::max)),
        calls_first: round(calls_first),
        calls_per_event: round(backend.calls() as f64 / f64::from(events)),
        lost: (u64::from(events) + u64::from(connections)).saturating_sub(queued),
    };
    drop(instances);
    backend.shutdown().await;
    Ok(row)
}

fn cpu_time(instances: &[Instance]) -> Result<Duration, BenchError> {
    instances.iter().map(Instance::cpu_time).sum()
}
