//! A function as a process of its own, which the operating system can kill: no destructor runs, no
//! connection is closed in order, nothing is said.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
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

use crate::journal::Message;
use crate::work::{DOWNLOADER_TIME, batch};
use crate::world::World;

/// What a process is told: where it is, what time it is, and what to do.
#[derive(Debug, Serialize, Deserialize)]
struct Invocation {
    variables: HashMap<String, String>,
    /// How far the simulation's clock is ahead of the machine's.
    ahead_ms: i64,
    event: SqsEvent,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    NotDone,
    Killed,
}

/// The process: reads what it is told from its input, works, writes Lambda's answer to its output.
///
/// # Errors
/// If it is told nonsense.
pub fn recording_downloader() -> anyhow::Result<()> {
    let mut told = String::new();
    std::io::stdin().read_to_string(&mut told)?;
    let told: Invocation = serde_json::from_str(&told)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(async {
        let environment = Environment {
            variables: Variables::new(told.variables),
            ..Environment::from_process_env()?
        };
        let ahead = SignedDuration::from_millis(told.ahead_ms);
        environment.clock.advance(ahead);
        let function = RecordingDownloader::new(&environment)?;
        let deadline = Instant::now() + DOWNLOADER_TIME;
        anyhow::Ok(function.handle(told.event, deadline).await)
    })?;
    let mut out = std::io::stdout().lock();
    Ok(out.write_all(&serde_json::to_vec(&answer)?)?)
}

impl World {
    /// Delivers a message to a new process, and kills it after a while, if it still lives.
    ///
    /// # Errors
    /// If the process does not start, or dies by itself.
    pub(crate) async fn deliver_to_process(
        &self,
        message: &Message,
        killed_after: Option<Duration>,
    ) -> anyhow::Result<Ended> {
        let ahead = self
            .stack()
            .clock()
            .now()
            .duration_since(jiff::Timestamp::now());
        let told = Invocation {
            variables: self.variables()?,
            ahead_ms: i64::try_from(ahead.as_millis())?,
            event: batch(message)?,
        };
        let config = self.stack().config();
        let mut process = Command::new(&self.executable)
            .arg("recording-downloader")
            .env_clear()
            .env("AWS_REGION", &config.region)
            .env("AWS_ACCESS_KEY_ID", &config.credentials.access_key_id)
            .env(
                "AWS_SECRET_ACCESS_KEY",
                &config.credentials.secret_access_key,
            )
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = process.stdin.take().context("no input")?;
        let mut stdout = process.stdout.take().context("no output")?;
        stdin.write_all(&serde_json::to_vec(&told)?).await?;
        drop(stdin);
        let mut answer = Vec::new();
        let reading = stdout.read_to_end(&mut answer);
        let read = match killed_after {
            None => reading.await,
            Some(after) => match tokio::time::timeout(after, reading).await {
                Ok(read) => read,
                Err(_) => {
                    process.kill().await?;
                    return Ok(Ended::Killed);
                }
            },
        };
        read?;
        let status = process.wait().await?;
        anyhow::ensure!(status.success(), "the downloader ended with {status}");
        let answer: SqsBatchResponse = serde_json::from_slice(&answer)?;
        Ok(if answer.batch_item_failures.is_empty() {
            Ended::Done
        } else {
            Ended::NotDone
        })
    }

    /// The downloader's variables, and where the engines are.
    fn variables(&self) -> anyhow::Result<HashMap<String, String>> {
        let around = self.warm.environment("recording-downloader")?;
        let mut variables = around.variables.all().clone();
        let endpoints = self.stack().config().endpoints.clone();
        variables.extend(
            [
                ("DYNAMODB", endpoints.dynamodb),
                ("S3", endpoints.s3),
                ("SQS", endpoints.sqs),
                ("KMS", endpoints.kms),
                ("SECRETS_MANAGER", endpoints.secretsmanager),
                ("EVENTBRIDGE", endpoints.events),
            ]
            .map(|(service, url)| (format!("AWS_ENDPOINT_URL_{service}"), url)),
        );
        Ok(variables)
    }
}
