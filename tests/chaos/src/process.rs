//! A function in its own process, which the simulation kills with SIGKILL: no destructor runs and no
//! connection is closed.

use std::collections::HashMap;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use jiff::SignedDuration;
use recording_downloader::RecordingDownloader;
use reelay_runtime::environment::{Environment, Variables};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::delivery::{DOWNLOADER_TIMEOUT, Delivery, sqs_event};
use crate::journal::Message;
use crate::world::World;

/// Input of the process.
#[derive(Debug, Serialize, Deserialize)]
struct Invocation {
    variables: HashMap<String, String>,
    /// Milliseconds by which the simulated clock is ahead of the system clock.
    clock_offset_ms: i64,
    event: SqsEvent,
}

/// Runs the downloader as a process: reads an invocation from standard input and writes Lambda's batch
/// response to standard output.
///
/// # Errors
/// If the input is malformed or the output cannot be written.
pub fn recording_downloader() -> anyhow::Result<()> {
    let invocation: Invocation = serde_json::from_reader(std::io::stdin())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let response = runtime.block_on(async {
        let environment = Environment {
            variables: Variables::new(invocation.variables),
            ..Environment::from_process_env()?
        };
        let offset = SignedDuration::from_millis(invocation.clock_offset_ms);
        environment.clock.advance(offset);
        let function = RecordingDownloader::new(&environment)?;
        let deadline = Instant::now() + DOWNLOADER_TIMEOUT;
        anyhow::Ok(function.handle(invocation.event, deadline).await)
    })?;
    let mut out = std::io::stdout().lock();
    Ok(out.write_all(&serde_json::to_vec(&response)?)?)
}

impl World {
    /// Delivers a message to a new process, and kills the process after `kill_after`.
    pub(crate) async fn deliver_to_process(
        &self,
        message: &Message,
        kill_after: Option<Duration>,
    ) -> anyhow::Result<Delivery> {
        let now = self.stack().clock().now();
        let offset = now.duration_since(jiff::Timestamp::now());
        let invocation = Invocation {
            variables: self.warm.environment("recording-downloader")?.variables.all().clone(),
            clock_offset_ms: i64::try_from(offset.as_millis())?,
            event: sqs_event(message)?,
        };
        let config = self.stack().config();
        let credentials = &config.credentials;
        let mut process = Command::new(&self.executable)
            .arg("recording-downloader")
            .env_clear()
            .env("AWS_REGION", &config.region)
            .env("AWS_ACCESS_KEY_ID", &credentials.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &credentials.secret_access_key)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            // Says why a download was retried.
            .env("RUST_LOG", "recording_downloader=warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = process.stdin.take().context("no standard input")?;
        let mut stdout = process.stdout.take().context("no standard output")?;
        stdin.write_all(&serde_json::to_vec(&invocation)?).await?;
        drop(stdin);
        let mut response = Vec::new();
        let reading = stdout.read_to_end(&mut response);
        let timeout = kill_after.unwrap_or(DOWNLOADER_TIMEOUT);
        match tokio::time::timeout(timeout, reading).await {
            Ok(read) => read?,
            Err(_) => {
                process.kill().await?;
                anyhow::ensure!(kill_after.is_some(), "downloader exceeded its timeout");
                return Ok(Delivery::Killed);
            }
        };
        let status = process.wait().await?;
        anyhow::ensure!(status.success(), "downloader exited with {status}");
        let response: SqsBatchResponse = serde_json::from_slice(&response)?;
        Ok(Delivery::from(response))
    }
}
