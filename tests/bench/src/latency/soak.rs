//! `soak`: memory and open files of a devstack under steady load.
//!
//! A round takes a minute, or longer on a busy machine. Recordings complete at a fixed rate; a day later the users remove
//! the app, so the product erases their recordings; days later the users link again. What is kept is then bounded, but for
//! the receipts of the erasures, some hundred bytes, and the marker of each erased recording, which the soak deletes.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Method;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{sleep_until, timeout};

use super::app::{self, TYPES};
use super::devstack::{Devstack, Usage, ZOOM_USERS};
use super::{MAX_WAIT, SAMPLE_INTERVAL, Sample, complete};
use crate::error::BenchError;
use crate::report::{median, print};

/// Part of each round in which recordings complete. The rest is for the days that pass.
const LOAD_SECONDS: u32 = 40;
/// Time whose rounds are not compared: caches fill, and the first notifications have not expired.
const WARM_UP: Duration = Duration::from_secs(600);
/// Time from the removal of the app to the next link. Notifications are kept for 30 days, so those of five rounds.
const PAUSE_DAYS: u32 = 6;
/// Largest quotient of the second half's median and the first half's.
const MAX_GROWTH: f64 = 1.05;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    /// Length. The first ten minutes are not compared.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(20..))]
    minutes: u32,
    /// Recordings per second, each with one file of 30 KB.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    events_per_second: u32,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn run(options: &Options) -> Result<(), BenchError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let parameters = [
        format!("AppWebhookUrl=http://{}/", listener.local_addr()?),
        "EraseAfterDeauthorizationDays=1".to_owned(),
    ];
    let mut devstack = Devstack::start(&parameters)?;
    let mut inbox = app::serve(listener, devstack.notification_secret())?;
    let period = Duration::from_secs(1) / options.events_per_second;
    let count = (options.events_per_second * LOAD_SECONDS) as usize;
    let (started, mut samples) = (Instant::now(), Vec::new());
    while started.elapsed() < SAMPLE_INTERVAL * options.minutes {
        let next = Instant::now() + SAMPLE_INTERVAL;
        for (number, zoom_user) in ZOOM_USERS.iter().enumerate() {
            devstack.link(&format!("user-{number}"), zoom_user).await?;
        }
        let all = inbox.borrow().arrived + count * TYPES.len();
        complete(&devstack, count, period, 30_000).await?;
        let arrived = timeout(MAX_WAIT, inbox.wait_for(|inbox| inbox.arrived >= all)).await;
        if !arrived.is_ok_and(|inbox| inbox.is_ok()) || inbox.borrow().rejected > 0 {
            return Err(BenchError::MissingNotifications);
        }
        let Usage { rss_mib, open_files, .. } = devstack.usage()?;
        let seconds = started.elapsed().as_secs();
        let sample = Sample { bench: "soak", seconds, rss_mib, open_files };
        let text = format_args!("{seconds:5} s {rss_mib:8.1} MiB, {open_files} open files");
        print(options.json, &sample, text)?;
        samples.push(sample);
        let advance = |days: u32| {
            let body = json!({ "advance_seconds": days * 24 * 3600 });
            devstack.control(Method::POST, "clock", &body)
        };
        advance(1).await?;
        for zoom_user in ZOOM_USERS {
            let path = format!("users/{zoom_user}/deauthorize");
            devstack.control(Method::POST, &path, &json!({})).await?;
        }
        advance(PAUSE_DAYS).await?;
        devstack.control(Method::DELETE, "history", &json!({})).await?;
        devstack.delete_markers()?;
        sleep_until(next.into()).await;
    }
    samples.retain(|sample| sample.seconds >= WARM_UP.as_secs());
    let (first, second) = samples.split_at(samples.len() / 2);
    for (resource, property) in [
        ("memory in MiB", (|it| it.rss_mib) as fn(&Sample) -> f64),
        ("number of open files", |it| it.open_files as f64),
    ] {
        let (first, second) = (median(first, property), median(second, property));
        if second > first * MAX_GROWTH {
            return Err(BenchError::NotFlat { resource, first, second });
        }
        let row =
            json!({ "bench": "soak", "resource": resource, "first": first, "second": second });
        let text =
            format_args!("{resource}: median {first} in the first half, {second} in the second");
        print(options.json, &row, text)?;
    }
    Ok(())
}
