//! One instance of a function, from its start to its end.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::{Child, Command};

use super::runtime_api::{Did, RuntimeApi};
use super::{Client, LambdaError, World};

/// What has not happened by then will not happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that waits for events. It is killed when this is dropped, as Lambda does it.
#[derive(Debug)]
pub(crate) struct Instance {
    client: String,
    process: Child,
    api: RuntimeApi,
}

impl Instance {
    /// Starts an instance and tells how long it took until it asked for its first event.
    ///
    /// # Errors
    /// If it ends, or does not ask.
    pub(crate) async fn start(
        client: &Client,
        world: &World,
    ) -> Result<(Self, Duration), LambdaError> {
        let api = RuntimeApi::start().await?;
        let (program, arguments) = client
            .command
            .split_first()
            .ok_or_else(|| failure(&client.name, "it has no command"))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&client.folder)
            .env_clear()
            .envs(world.variables(client))
            .env("AWS_LAMBDA_RUNTIME_API", api.address())
            .env("LAMBDA_TASK_ROOT", &client.folder)
            .stdin(Stdio::null())
            // Its log. What it says when it dies goes where ours goes.
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let begun = Instant::now();
        let process = command.spawn()?;
        let mut instance = Self { client: client.name.clone(), process, api };
        match instance.next().await? {
            Did::Asked(at) => Ok((instance, at - begun)),
            did => Err(instance.unexpected(&did)),
        }
    }

    /// Gives it an event, and tells its answer and how long that took, from the moment at which the event was
    /// handed over to the one at which the whole answer was there. Returns when it has asked for the next one.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) async fn invoke(&mut self, event: &Value) -> Result<(Value, Duration), LambdaError> {
        self.api.give(event.to_string());
        let began = match self.next().await? {
            Did::Began(at) => at,
            did => return Err(self.unexpected(&did)),
        };
        let (answered, answer) = match self.next().await? {
            Did::Answered(at, answer) => (at, answer),
            did => return Err(self.unexpected(&did)),
        };
        match self.next().await? {
            Did::Asked(_) => {}
            did => return Err(self.unexpected(&did)),
        }
        let answer = serde_json::from_slice(&answer)
            .map_err(|_| failure(&self.client, "its answer is not JSON"))?;
        Ok((answer, answered - began))
    }

    /// The most memory that it has held so far, MiB: `VmHWM` of Linux.
    ///
    /// # Errors
    /// If it has ended.
    pub(crate) fn peak_rss_mib(&self) -> Result<f64, LambdaError> {
        let pid = self.process.id().ok_or_else(|| failure(&self.client, "it has ended"))?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|figure| figure.trim().trim_end_matches(" kB").parse::<f64>().ok())
            .map(|kibibytes| kibibytes / 1024.0)
            .ok_or_else(|| failure(&self.client, "the system does not tell its memory"))
    }

    async fn next(&mut self) -> Result<Did, LambdaError> {
        tokio::select! {
            did = self.api.did.recv() => did.ok_or_else(|| failure(&self.client, "its Runtime API has ended")),
            status = self.process.wait() => Err(failure(&self.client, format!("it ended: {}", status?))),
            () = tokio::time::sleep(PATIENCE) => Err(failure(&self.client, "it does nothing any more")),
        }
    }

    fn unexpected(&self, did: &Did) -> LambdaError {
        let reason = match did {
            Did::Asked(_) => "it asked for an event out of turn".to_owned(),
            Did::Began(_) => "it took an event out of turn".to_owned(),
            Did::Answered(..) => "it answered out of turn".to_owned(),
            Did::Failed(error) => format!("it failed: {}", String::from_utf8_lossy(error)),
        };
        failure(&self.client, reason)
    }
}

fn failure(client: &str, reason: impl Into<String>) -> LambdaError {
    LambdaError::Function { client: client.to_owned(), reason: reason.into() }
}
