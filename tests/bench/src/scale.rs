//! `scale`: AWS calls and DynamoDB units per recording while the tables grow, and a maintenance run at a backlog.
//!
//! The tables are filled with copies of items that the functions wrote: the grant, links, recordings, files and
//! notifications of one Zoom user, under the keys of others.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::SqsEvent;
use clap::Args;
use jiff::SignedDuration;
use reconciler::Reconciler;
use reelay_zoom_sim::{Fault, NewFile, NewRecording, Point};
use serde::Serialize;
use serde_json::{Value, json};
use support::System;
use support::counted::{Counted, Row as Counts};
use support::zoom_users::{ADA, BEN};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::error::BenchError;
use crate::report::{print, round};

/// App user of the copied items. Its name occurs nowhere else.
const TEMPLATE_USER: &str = "template-app-user";
/// Items that are written in one transaction.
const BATCH: usize = 20_000;
/// Largest quotient of a count and that at the smallest tables.
const MAX_RATIO: f64 = 1.05;
/// Files of each copied recording of the backlog.
const FILES: u64 = 5;
/// Interval between the due times of two files of the backlog. It is odd, so that they spread over the shards.
const DUE_INTERVAL_MS: i64 = 2_591;
/// What a maintenance run reads of each of the 16 shards: the latest and the oldest.
const LATEST: usize = 125;
const OLDEST: usize = 16;
const SHARDS: usize = 16;
/// Time within which a maintenance run must end.
const MAX_RUN: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    /// Numbers of items in the tables, ascending, comma-separated.
    #[arg(long, value_delimiter = ',', default_value = "1000,100000,1000000")]
    items: Vec<usize>,
    /// Recordings in all. All but the last number of items get a tenth of them each.
    #[arg(long, default_value_t = 10_000)]
    recordings: usize,
    /// Files whose check is due in the maintenance run.
    #[arg(long, default_value_t = 1_000_000)]
    backlog: u64,
}

/// A row of the first table.
#[derive(Debug, Serialize)]
struct Row {
    bench: &'static str,
    items: usize,
    recordings: usize,
    calls: f64,
    read_units: f64,
    write_units: f64,
    ms: f64,
    /// Largest quotient of a count and that of the first row.
    ratio: f64,
}

/// The maintenance run.
#[derive(Debug, Serialize)]
struct Run {
    bench: &'static str,
    due: u64,
    seconds: f64,
    calls: f64,
    read_units: f64,
    write_units: f64,
    enqueued: usize,
    /// Whether exactly the latest and the oldest files of each shard are enqueued.
    is_ordered: bool,
    /// Age of the oldest due check, and what the metric says.
    oldest_seconds: f64,
    metric_seconds: Option<f64>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn run(options: &Options) -> Result<(), BenchError> {
    let is_flat = run_recordings(options).await?;
    let is_bounded = run_maintenance(options).await?;
    if is_flat && is_bounded { Ok(()) } else { Err(BenchError::Scale) }
}

async fn run_recordings(options: &Options) -> Result<bool, BenchError> {
    let system = System::start().await;
    system.link(TEMPLATE_USER, BEN).await;
    for _ in 0..5 {
        let files = ["MP4", "M4A", "CHAT"].map(|kind| NewFile::new(kind, 300));
        system.record(NewRecording::of(BEN).with_files(files.into())).await;
    }
    let tables = system.tables();
    let tables = [&tables.links, &tables.recordings, &tables.notifications];
    let template = Template::of(&system, &tables)?;
    system.link("alice", ADA).await;
    // A quarter of an hour after the activation, its job reads all recordings since then.
    system.pass(SignedDuration::from_mins(16)).await;
    record(&system, 20).await;
    let (mut rows, mut copies, mut filled): (Vec<Row>, _, _) = (Vec::new(), 0, 0);
    for (step, items) in options.items.iter().enumerate() {
        while filled < *items {
            let count = (items - filled).min(BATCH).div_ceil(template.len());
            template.import(&system, copies..copies + count as u64, |_, _, _| {})?;
            copies += count as u64;
            filled += count * template.len();
        }
        let others = options.items.len() - 1;
        let tenth = options.recordings / 10;
        let recordings = if step < others { tenth } else { options.recordings - others * tenth };
        let started = Instant::now();
        let counted = Counted::begin(&system);
        record(&system, recordings).await;
        let counts = counted.end();
        let each = |count: f64| round(count / recordings as f64);
        let [read, written] = units(&counts);
        let mut row = Row {
            bench: "scale",
            items: filled,
            recordings,
            calls: each(calls(&counts)),
            read_units: each(read),
            write_units: each(written),
            ms: each(started.elapsed().as_secs_f64() * 1e3),
            ratio: 1.0,
        };
        if let Some(first) = rows.first() {
            let quotients = [
                row.calls / first.calls,
                row.read_units / first.read_units,
                row.write_units / first.write_units,
            ];
            row.ratio = round(quotients.into_iter().fold(0.0, f64::max));
        }
        let Row { calls, read_units, write_units, ms, ratio, .. } = &row;
        let text = format_args!(
            "{filled:8} items, {recordings:5} recordings: each {calls} calls, {read_units} read units, \
             {write_units} write units, {ms} ms; ratio {ratio}"
        );
        print(options.json, &row, text)?;
        rows.push(row);
    }
    system.stack.shutdown().await;
    Ok(rows.iter().all(|row| row.ratio <= MAX_RATIO))
}

/// Records Ada's recordings, each with one file. The simulator forgets them, because it searches its lists.
async fn record(system: &System, count: usize) {
    for number in 0..count {
        system.record(NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 100)])).await;
        if number % 100 == 99 {
            system.zoom().forget();
        }
    }
}

fn calls(counts: &Counts) -> f64 {
    let calls = counts.iter().filter(|(row, _)| !row.contains("units") && !row.contains("queued"));
    calls.map(|(_, count)| count).sum()
}

fn units(counts: &Counts) -> [f64; 2] {
    ["read", "write"]
        .map(|kind| counts.get(&format!("DynamoDB {kind} units")).copied().unwrap_or(0.0))
}

async fn run_maintenance(options: &Options) -> Result<bool, BenchError> {
    let failed = |error| BenchError::client("the reconciler", error);
    let system = System::start().await;
    system.link(TEMPLATE_USER, BEN).await;
    system.fail(Point::Download, Fault::Status { status: 500 });
    let files = (0..FILES).map(|_| NewFile::new("MP4", 300)).collect();
    system.record(NewRecording::of(BEN).with_files(files)).await;
    let downloads = &system.queues().downloads;
    system.purge_queue(downloads).await;
    let template = Template::of(&system, &[&system.tables().recordings])?;
    let newest_at = system.app.now().as_millisecond() - DUE_INTERVAL_MS;
    let due_at = |file: u64| newest_at - file as i64 * DUE_INTERVAL_MS;
    let users = options.backlog / FILES;
    let batch = (BATCH / template.len()) as u64;
    for first in (0..users).step_by(BATCH / template.len()) {
        template.import(&system, first..(first + batch).min(users), |user, file, item| {
            let Some(file) = file else { return };
            let at = due_at(user * FILES + file as u64);
            item["next_check_shard"]["N"] = at.rem_euclid(SHARDS as i64).to_string().into();
            item["next_check_at"]["N"] = at.to_string().into();
            item["next_attempt_at"]["N"] = at.to_string().into();
        })?;
    }
    let environment = system.stack.function_environment("reconciler");
    let environment = environment.ok_or_else(|| failed("no environment"))?;
    let reconciler = Reconciler::new(environment)
        .map_err(|error| BenchError::client("the reconciler", error))?;
    let job = json!({ "v": 1, "job": "run_maintenance" }).to_string();
    let sent = system.app.now().as_millisecond().to_string();
    let attributes = json!({ "ApproximateReceiveCount": "1", "SentTimestamp": sent });
    let message =
        json!({ "messageId": "m", "receiptHandle": "r", "body": job, "attributes": attributes });
    let event: SqsEvent = serde_json::from_value(json!({ "Records": [message] }))?;
    let log = Arc::new(tempfile::tempfile()?);
    let subscriber = tracing_subscriber::fmt().json().with_writer(Arc::clone(&log)).finish();
    let counted = Counted::begin(&system);
    let (now, started) = (system.app.now().as_millisecond(), Instant::now());
    let response = {
        let _default = subscriber.set_default();
        reconciler.handle(event, started + MAX_RUN).await
    };
    let took = started.elapsed();
    let counts = counted.end();
    let [read_units, write_units] = units(&counts);
    let enqueued = system.take_messages(downloads).await;
    let mut enqueued =
        enqueued.iter().map(|body| template.file_of(body)).collect::<Option<Vec<_>>>();
    if let Some(files) = &mut enqueued {
        files.sort_unstable();
    }
    let run = Run {
        bench: "maintenance",
        due: users * FILES,
        seconds: round(took.as_secs_f64()),
        calls: calls(&counts),
        read_units,
        write_units,
        enqueued: enqueued.as_ref().map_or(0, Vec::len),
        is_ordered: enqueued == Some(expected_files(users * FILES, due_at)),
        oldest_seconds: (now - due_at(users * FILES - 1)) as f64 / 1e3,
        metric_seconds: metric(&log, "OldestCheckSeconds")?,
    };
    let metric_is_right =
        run.metric_seconds.is_some_and(|metric| (metric - run.oldest_seconds).abs() < 60.0);
    let is_good = run.is_ordered
        && metric_is_right
        && took < MAX_RUN
        && response.batch_item_failures.is_empty();
    print(options.json, &run, format_args!("{run:#?}"))?;
    system.stack.shutdown().await;
    Ok(is_good)
}

/// The files that a run must enqueue: of each shard the latest and the oldest.
fn expected_files(count: u64, due_at: impl Fn(u64) -> i64) -> Vec<u64> {
    let mut shards: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for file in 0..count {
        shards.entry(due_at(file).rem_euclid(SHARDS as i64)).or_default().push(file);
    }
    let mut expected: Vec<u64> = Vec::new();
    for latest_first in shards.into_values() {
        let oldest = latest_first.len().saturating_sub(OLDEST).max(LATEST.min(latest_first.len()));
        expected.extend(latest_first.iter().take(LATEST).chain(&latest_first[oldest..]));
    }
    expected.sort_unstable();
    expected
}

/// The value of a metric in a log.
fn metric(mut log: &std::fs::File, name: &str) -> Result<Option<f64>, BenchError> {
    let mut text = String::new();
    log.rewind()?;
    log.read_to_string(&mut text)?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut values = lines.filter(|line| line["fields"]["name"] == name);
    Ok(values.next().and_then(|line| line["fields"]["value"].as_f64()))
}

/// Items of one Zoom user, to be copied to others.
struct Template {
    /// Each table's items as a JSON array.
    tables: Vec<(String, String)>,
    account: String,
    /// Ids of the files, ascending, as their items are sorted.
    files: Vec<String>,
    items: usize,
}

impl Template {
    fn of(system: &System, tables: &[&String]) -> Result<Self, BenchError> {
        let users = system.zoom().users();
        let account = users.into_iter().find(|user| user.id == BEN).map(|user| user.account_id);
        let mut template = Self {
            tables: Vec::new(),
            account: account.unwrap_or_default(),
            files: Vec::new(),
            items: 0,
        };
        for table in tables {
            let items = system.stack.engines().items(table);
            let mut items = items.map_err(|error| BenchError::client("DynamoDB", error))?;
            items.retain(|item| {
                let text = item.to_string();
                text.contains(BEN) || text.contains(TEMPLATE_USER)
            });
            template.items += items.len();
            template.files.extend(items.iter().filter_map(file_id));
            template.tables.push(((*table).clone(), Value::Array(items).to_string()));
        }
        template.files.sort();
        Ok(template)
    }

    /// Number of items of a copy.
    fn len(&self) -> usize {
        self.items
    }

    /// Writes copies for the users with these numbers. `change` gets the user, the file's index, if it is one, and the item.
    fn import(
        &self,
        system: &System,
        users: std::ops::Range<u64>,
        change: impl Fn(u64, Option<usize>, &mut Value),
    ) -> Result<(), BenchError> {
        for (table, items) in &self.tables {
            let mut copies = Vec::new();
            for user in users.clone() {
                let copy = items
                    .replace(BEN, &format!("User_{user:017}"))
                    .replace(&self.account, &format!("Acct_{user:017}"))
                    .replace(TEMPLATE_USER, &format!("app-user-{user}"));
                let mut copy: Vec<Value> = serde_json::from_str(&copy)?;
                for item in &mut copy {
                    let file = file_id(item).and_then(|id| self.files.binary_search(&id).ok());
                    change(user, file, item);
                }
                copies.append(&mut copy);
            }
            let imported = system.stack.engines().import_items(table, copies);
            imported.map_err(|error| BenchError::client("DynamoDB", error))?;
        }
        Ok(())
    }

    /// The number of the file that a download message names.
    fn file_of(&self, message: &str) -> Option<u64> {
        let message: Value = serde_json::from_str(message).ok()?;
        let user = message["zoom_user"]["user_id"].as_str()?.strip_prefix("User_")?;
        let file = message["file_id"].as_str()?.to_owned();
        let file = self.files.binary_search(&file).ok()? as u64;
        Some(user.parse::<u64>().ok()? * FILES + file)
    }
}

/// The id in the key of a file's item.
fn file_id(item: &Value) -> Option<String> {
    let (_, file) = item["entry"]["S"].as_str()?.split_once("#file#")?;
    Some(file.to_owned())
}
