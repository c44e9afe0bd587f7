//! Running the binary.

use std::process::Stdio;

use serde_json::Value;
use support::System;
use tokio::process::Command;

/// What a run said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// The one object that was printed.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.out.trim()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The objects that were printed, one a line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }
}

/// Runs `reelay` with these arguments, separated by spaces, and these variables; nothing of AWS's comes in
/// from around.
pub(crate) async fn with(arguments: &str, variables: &[(&str, &str)]) -> Said {
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
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs it on a system.
pub(crate) async fn on(system: &System, arguments: &str) -> Said {
    with(&format!("--dev {} {arguments}", system.stack.url()), &[]).await
}

/// Nothing that was said holds a secret of the system.
pub(crate) fn assert_keeps_secrets(system: &System, said: &Said) {
    let secrets = &system.config().secrets;
    for secret in [
        &secrets.zoom_client_secret,
        &secrets.zoom_webhook_secret,
        &secrets.app_secret,
        &secrets.notification_secret,
    ] {
        assert!(
            !said.out.contains(secret.as_str()) && !said.err.contains(secret.as_str()),
            "a secret is shown: {said:?}"
        );
    }
}
