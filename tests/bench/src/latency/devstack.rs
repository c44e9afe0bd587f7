//! A devstack in a process of its own, so that its memory, open files and CPU time can be read.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use reelay_devstack::{Browser, Options, Stack};
use reqwest::{Method, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{AnyError, BenchError};

/// Users that the simulator has from the start.
pub(super) const ZOOM_USERS: [&str; 4] = [
    "UserAdaBerg00000000001",
    "UserBenCole_0000000002",
    "-UserCemDiaz0000000003",
    "UserEvaFalk00000000004",
];

/// Clock ticks per second in `/proc/<pid>/stat`: `USER_HZ`, which is 100 on every Linux (`man 7 time`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Addresses and secrets that the child process prints.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    demo_app: Url,
    simulator: Url,
    notification_secret: String,
}

/// Resource usage of the devstack's process at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) rss_mib: f64,
    pub(super) open_files: usize,
    pub(super) cpu_s: f64,
}

/// A running devstack. It ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Devstack {
    child: Child,
    ready: Ready,
    http: reqwest::Client,
}

impl Devstack {
    /// Starts a devstack with these template parameters, each `NAME=VALUE`.
    pub(super) fn start(parameters: &[String]) -> Result<Self, BenchError> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("devstack")
            .args(parameters)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let ready = serde_json::from_str(&line)?;
        Ok(Self { child, ready, http: reqwest::Client::new() })
    }

    pub(super) fn notification_secret(&self) -> &str {
        &self.ready.notification_secret
    }

    /// Links an app user to a Zoom user through the demo app's pages, as a browser does.
    pub(super) async fn link(&self, app_user: &str, zoom_user: &str) -> Result<(), BenchError> {
        let failed = |source| BenchError::client("linking", source);
        let mut browser = Browser::default();
        let mut sign_in = self.ready.demo_app.clone();
        sign_in.set_path("sign-in");
        browser.post(&sign_in, &[("user", app_user)]).await.map_err(failed)?;
        let mut button = self.ready.demo_app.clone();
        button.set_path("settings/integrations/zoom/connect");
        let consent = |url: &mut Url| {
            if url.path() == "/oauth/authorize" {
                url.query_pairs_mut()
                    .append_pair("sim_user", zoom_user)
                    .append_pair("sim_decision", "allow");
            }
        };
        browser.follow(button, consent).await.map_err(failed)?;
        Ok(())
    }

    /// Completes a recording with one file at the simulator, which then signs and sends the event. Returns the
    /// meeting's UUID.
    pub(super) fn complete(
        &self,
        zoom_user: &str,
        bytes: u64,
    ) -> impl Future<Output = Result<String, BenchError>> + use<> {
        let file = json!({ "file_type": "MP4", "size": bytes });
        let new = json!({ "host_id": zoom_user, "files": [file] });
        let created = self.control(Method::POST, "recordings", &new);
        async move { Ok(created.await?["recording"]["uuid"].as_str().unwrap_or_default().to_owned()) }
    }

    /// Calls the simulator's control API. Its clock is the devstack's.
    pub(super) fn control(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> impl Future<Output = Result<Value, BenchError>> + use<> {
        let mut url = self.ready.simulator.clone();
        url.set_path(&format!("_sim/{path}"));
        let request = self.http.request(method, url).json(body);
        async move {
            let failed = |error| BenchError::client("the simulator", error);
            let response = request.send().await.and_then(reqwest::Response::error_for_status);
            response.map_err(failed)?.json().await.map_err(failed)
        }
    }

    /// Deletes the markers of erased recordings, which the product keeps for ever, in the background.
    pub(super) fn delete_markers(&mut self) -> Result<(), BenchError> {
        let stdin = self.child.stdin.as_mut();
        Ok(stdin.map_or(Ok(()), |stdin| stdin.write_all(b"\n"))?)
    }

    /// Reads the process's current usage from `/proc`.
    pub(super) fn usage(&self) -> Result<Usage, BenchError> {
        let folder = format!("/proc/{}", self.child.id());
        let status = std::fs::read_to_string(format!("{folder}/status"))?;
        let rss_kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss_kib = rss_kib.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        let stat = std::fs::read_to_string(format!("{folder}/stat"))?;
        // The name in parentheses may contain spaces. User and system time are fields 14 and 15 (`man 5 proc_pid_stat`).
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: f64 = fields.skip(11).take(2).filter_map(|it| it.parse::<f64>().ok()).sum();
        Ok(Usage {
            rss_mib: rss_kib.unwrap_or(0.0) / 1024.0,
            open_files: std::fs::read_dir(format!("{folder}/fd"))?.count(),
            cpu_s: ticks / TICKS_PER_SECOND,
        })
    }
}

impl Drop for Devstack {
    fn drop(&mut self) {
        // The child stops when its standard input ends.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The child process: a devstack that processes its queues until standard input ends. Each line of it deletes markers.
#[tokio::main]
pub(crate) async fn serve(parameters: &[String]) -> Result<(), BenchError> {
    let parameters = parameters.iter().filter_map(|it| it.split_once('='));
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let stack = Stack::start(Options { parameters, ..Options::default() }).await?;
    let ready = json!({
        "demo_app": stack.demo_app().map(|app| app.url().as_str()),
        "simulator": stack.simulator().map(|simulator| simulator.url().as_str()),
        "notification_secret": stack.config().secrets.notification_secret,
    });
    println!("{ready}");
    while read_line().await? > 0 {
        delete_markers(&stack).await.map_err(|error| BenchError::client("DynamoDB", error))?;
    }
    stack.shutdown().await;
    Ok(())
}

/// Reads a line of standard input and returns its length, 0 at the end.
async fn read_line() -> Result<usize, BenchError> {
    let read = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    Ok(read.await.map_err(std::io::Error::from)??)
}

async fn delete_markers(stack: &Stack) -> Result<(), AnyError> {
    let (client, table) = (stack.sdk().dynamodb(), &stack.config().tables.recordings);
    let scan = client.scan().table_name(table).filter_expression("attribute_exists(erased)");
    let mut markers = scan.into_paginator().items().send();
    while let Some(mut marker) = markers.try_next().await? {
        marker.retain(|name, _| name != "erased");
        client.delete_item().table_name(table).set_key(Some(marker)).send().await?;
    }
    Ok(())
}
