//! `latency`: time from a completed recording at Zoom to the app's notifications, on a devstack.
//!
//! Events come at a fixed rate that never waits for a response. A latency counts from the moment at which the event
//! was due.

mod app;
mod devstack;
pub(crate) mod soak;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::app::{Inbox, TYPES};
pub(crate) use self::devstack::serve;
use self::devstack::{Devstack, Usage, ZOOM_USERS};
use crate::error::BenchError;
use crate::report::{Percentiles, print, round};

/// Time after the last event in which all notifications must arrive.
const MAX_WAIT: Duration = Duration::from_secs(120);
/// Interval between two reports of memory and open files.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    /// Length of each load in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Events per second with files of 30 KB. The load with files of 100 MiB has one event every five seconds.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    events_per_second: u32,
    /// Loads, comma-separated.
    #[arg(long, value_delimiter = ',', default_value = "small,large")]
    loads: Vec<Load>,
    /// Sets a template parameter of the devstack, such as `MaxConcurrentDownloads=10`; may be repeated.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    parameters: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Load {
    Small,
    Large,
}

/// A row of the result.
#[derive(Debug, Serialize)]
struct Row {
    bench: &'static str,
    load: &'static str,
    file_bytes: u64,
    events: usize,
    events_per_s: f64,
    /// Distinct notifications about these recordings, and how many of them there must be.
    notifications: usize,
    notifications_expected: usize,
    /// Deliveries of a notification that the app already had.
    repeated: usize,
    /// Requests to the app without a valid signature.
    rejected: usize,
    detected_ms: Percentiles,
    stored_ms: Percentiles,
    /// CPU time of the devstack per event: functions, embedded AWS services, simulator.
    cpu_ms_per_event: f64,
    rss_start_mib: f64,
    rss_end_mib: f64,
    open_files_start: usize,
    open_files_end: usize,
}

/// The devstack's memory and open files while a load runs.
#[derive(Debug, Serialize)]
struct Sample {
    bench: &'static str,
    /// Since the start of the load.
    seconds: u64,
    rss_mib: f64,
    open_files: usize,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn run(options: &Options) -> Result<(), BenchError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut parameters = options.parameters.clone();
    parameters.push(format!("AppWebhookUrl=http://{}/", listener.local_addr()?));
    let devstack = Devstack::start(&parameters)?;
    let mut inbox = app::serve(listener, devstack.notification_secret())?;
    for (number, zoom_user) in ZOOM_USERS.iter().enumerate() {
        devstack.link(&format!("user-{number}"), zoom_user).await?;
    }
    // The first recordings are not counted: they fill the caches of the functions.
    measure("warm-up", &devstack, &mut inbox, 20, Duration::from_millis(100), 30_000, true).await?;
    let mut is_complete = true;
    for load in &options.loads {
        let row = match load {
            Load::Small => {
                let period = Duration::from_secs(1) / options.events_per_second;
                let count = options.events_per_second * options.seconds;
                measure("30 KB", &devstack, &mut inbox, count, period, 30_000, options.json).await?
            }
            Load::Large => {
                let (period, count) = (Duration::from_secs(5), options.seconds.div_ceil(5));
                measure("100 MiB", &devstack, &mut inbox, count, period, 100 << 20, options.json)
                    .await?
            }
        };
        is_complete &= row.notifications == row.notifications_expected && row.rejected == 0;
        let Row { load, events, events_per_s, detected_ms, stored_ms, .. } = &row;
        print(
            options.json,
            &row,
            format_args!(
                "{load:7} {events} events at {events_per_s}/s, {} of {} notifications, {} repeated, {} rejected\n\
                 \x20       detected {detected_ms}\n        stored   {stored_ms}\n        \
                 devstack {:.1} ms CPU per event, {:.1} -> {:.1} MiB, {} -> {} open files",
                row.notifications,
                row.notifications_expected,
                row.repeated,
                row.rejected,
                row.cpu_ms_per_event,
                row.rss_start_mib,
                row.rss_end_mib,
                row.open_files_start,
                row.open_files_end,
            ),
        )?;
    }
    if is_complete { Ok(()) } else { Err(BenchError::MissingNotifications) }
}

/// A recording: its meeting's UUID, and when its event was due.
type Completed = (String, Instant);

async fn measure(
    load: &'static str,
    devstack: &Devstack,
    inbox: &mut watch::Receiver<Inbox>,
    count: u32,
    period: Duration,
    bytes: u64,
    json: bool,
) -> Result<Row, BenchError> {
    let (repeated, rejected) = (inbox.borrow().repeated, inbox.borrow().rejected);
    let start = devstack.usage()?;
    let expected = count as usize * TYPES.len();
    let all = inbox.borrow().arrived + expected;
    let work = async {
        let completed = complete(devstack, count as usize, period, bytes).await?;
        // The row says what is missing after the time limit.
        let _ = timeout(MAX_WAIT, inbox.wait_for(|inbox| inbox.arrived >= all)).await;
        Ok::<_, BenchError>(completed)
    };
    let completed = tokio::select! {
        completed = work => completed?,
        error = sample(devstack, json) => return Err(error),
    };
    let end = devstack.usage()?;
    let inbox = inbox.borrow();
    let arrivals: Vec<_> = completed.iter().map(|(uuid, _)| inbox.arrivals(uuid)).collect();
    let latencies = |index: usize| {
        let pairs = completed.iter().zip(&arrivals);
        let latencies = pairs.filter_map(|((_, due), at)| Some(at[index]?.duration_since(*due)));
        Percentiles::of(latencies.collect())
    };
    let events = completed.len();
    Ok(Row {
        bench: "latency",
        load,
        file_bytes: bytes,
        events,
        events_per_s: round(1.0 / period.as_secs_f64()),
        notifications: arrivals.iter().flatten().flatten().count(),
        notifications_expected: expected,
        repeated: inbox.repeated - repeated,
        rejected: inbox.rejected - rejected,
        detected_ms: latencies(0),
        stored_ms: latencies(2),
        cpu_ms_per_event: round((end.cpu_s - start.cpu_s) * 1e3 / events as f64),
        rss_start_mib: round(start.rss_mib),
        rss_end_mib: round(end.rss_mib),
        open_files_start: start.open_files,
        open_files_end: end.open_files,
    })
}

/// Completes recordings at a fixed rate, whether the requests before have been answered or not.
async fn complete(
    devstack: &Devstack,
    count: usize,
    period: Duration,
    bytes: u64,
) -> Result<Vec<Completed>, BenchError> {
    let start = Instant::now();
    let mut requests = JoinSet::new();
    for (number, zoom_user) in (0..count).zip(ZOOM_USERS.iter().cycle()) {
        let due = start + period.mul_f64(number as f64);
        tokio::time::sleep_until(due.into()).await;
        let created = devstack.complete(zoom_user, bytes);
        requests.spawn(async move { Ok::<_, BenchError>((created.await?, due)) });
    }
    let mut completed = Vec::with_capacity(count);
    while let Some(created) = requests.join_next().await {
        completed.push(created.map_err(std::io::Error::from)??);
    }
    Ok(completed)
}

/// Prints memory and open files of the devstack every minute. Returns only if they cannot be read.
async fn sample(devstack: &Devstack, json: bool) -> BenchError {
    let started = Instant::now();
    loop {
        tokio::time::sleep(SAMPLE_INTERVAL).await;
        let printed = devstack.usage().and_then(|usage| {
            let seconds = started.elapsed().as_secs();
            let Usage { rss_mib, open_files, .. } = usage;
            let sample = Sample { bench: "latency-sample", seconds, rss_mib, open_files };
            let text = format_args!("{seconds:5} s {rss_mib:8.1} MiB, {open_files} open files");
            print(json, &sample, text)
        });
        if let Err(error) = printed {
            return error;
        }
    }
}
