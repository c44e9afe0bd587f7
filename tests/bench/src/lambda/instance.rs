//! One instance of a function.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::{Child, Command};

use super::runtime_api::{RuntimeApi, Step};
use super::{Backend, Function, Payload};
use crate::error::{AnyError, BenchError};

/// Time that an instance has for each step.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// A process that waits for events. Dropping it kills the process, as Lambda does.
#[derive(Debug)]
pub(crate) struct Instance {
    name: String,
    process: Child,
    api: RuntimeApi,
}

impl Instance {
    /// Starts an instance. Returns it with the time until it requested its first event.
    pub(crate) async fn start(
        function: &Function,
        backend: &Backend,
    ) -> Result<(Self, Duration), BenchError> {
        let api = RuntimeApi::start().await?;
        let mut command = Command::new(&function.command[0]);
        command
            .args(&function.command[1..])
            .current_dir(&function.working_directory)
            .env_clear()
            .envs(backend.variables(function))
            .env("AWS_LAMBDA_RUNTIME_API", api.address())
            .env("LAMBDA_TASK_ROOT", &function.working_directory)
            .stdin(Stdio::null())
            // The log is discarded; stderr stays visible for panics.
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let started = Instant::now();
        let process = command.spawn()?;
        let mut instance = Self { name: function.name.clone(), process, api };
        match instance.next_step().await? {
            Step::NextRequested(at) => Ok((instance, at - started)),
            step => Err(instance.unexpected(&step)),
        }
    }

    /// Invokes the function and waits until it requests the next event. Returns the time from the event to the
    /// complete response. Fails if the response does not match the payload.
    pub(crate) async fn invoke(
        &mut self,
        payload: Payload,
        event: &Value,
    ) -> Result<Duration, BenchError> {
        self.api.send(event.to_string());
        let sent_at = match self.next_step().await? {
            Step::EventSent(at) => at,
            step => return Err(self.unexpected(&step)),
        };
        let (received_at, response) = match self.next_step().await? {
            Step::ResponseReceived(at, response) => (at, response),
            step => return Err(self.unexpected(&step)),
        };
        match self.next_step().await? {
            Step::NextRequested(_) => {}
            step => return Err(self.unexpected(&step)),
        }
        let response: Value =
            serde_json::from_slice(&response).map_err(|error| self.failure(error))?;
        if !payload.is_success(&response) {
            return Err(self.failure(format!("unexpected response {response}")));
        }
        Ok(received_at - sent_at)
    }

    /// CPU time of the process so far.
    pub(crate) fn cpu_time(&self) -> Result<Duration, BenchError> {
        let pid = self.process.id().ok_or_else(|| self.failure("process ended"))?;
        let pid = Pid::from_raw(i32::try_from(pid).map_err(|error| self.failure(error))?);
        let time = clock_getcpuclockid(pid).and_then(ClockId::now);
        Ok(time.map_err(|error| self.failure(error))?.into())
    }

    /// Peak resident memory so far in MiB: Linux's `VmHWM`.
    pub(crate) fn peak_rss_mib(&self) -> Result<f64, BenchError> {
        let pid = self.process.id().ok_or_else(|| self.failure("process ended"))?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|value| value.trim().trim_end_matches(" kB").parse::<f64>().ok())
            .map(|kib| kib / 1024.0)
            .ok_or_else(|| self.failure("no VmHWM in /proc"))
    }

    async fn next_step(&mut self) -> Result<Step, BenchError> {
        let error: AnyError = tokio::select! {
            step = self.api.steps.recv() => match step {
                Some(step) => return Ok(step),
                None => "runtime API ended".into(),
            },
            status = self.process.wait() => format!("process ended: {}", status?).into(),
            () = tokio::time::sleep(STEP_TIMEOUT) => "no step within the timeout".into(),
        };
        Err(self.failure(error))
    }

    fn unexpected(&self, step: &Step) -> BenchError {
        self.failure(match step {
            Step::NextRequested(_) => "unexpected request for an event".to_owned(),
            Step::EventSent(_) => "an event was sent unexpectedly".to_owned(),
            Step::ResponseReceived(..) => "unexpected response".to_owned(),
            Step::ErrorReceived(error) => {
                format!("function reported {}", String::from_utf8_lossy(error))
            }
        })
    }

    fn failure(&self, reason: impl Into<AnyError>) -> BenchError {
        BenchError::client(&self.name, reason)
    }
}
