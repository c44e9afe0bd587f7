//! Runs the binary.

use std::process::Stdio;

use serde_json::Value;
use support::System;
use tokio::process::Command;

/// Exit code and output of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// Parses the output as one JSON object.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.out.trim()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Parses the output as one JSON object a line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }
}

/// Runs `reelay` with these arguments, separated by spaces, and these environment variables. Other `AWS_`
/// variables are removed.
pub(crate) async fn with(arguments: &str, variables: &[(&str, &str)]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reelay"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    let output = command
        .args(arguments.split_whitespace())
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs `reelay` on a system.
pub(crate) async fn on(system: &System, arguments: &str) -> Run {
    with(&format!("--dev {} {arguments}", system.stack.url()), &[]).await
}

/// Asserts that the output contains no secret of the system.
pub(crate) fn assert_prints_no_secret(system: &System, output: &Run) {
    let secrets = &system.config().secrets;
    for secret in [
        &secrets.zoom_client_secret,
        &secrets.zoom_webhook_secret,
        &secrets.app_secret,
        &secrets.notification_secret,
    ] {
        assert!(
            !output.out.contains(secret.as_str()) && !output.err.contains(secret.as_str()),
            "secret printed: {output:?}"
        );
    }
}
