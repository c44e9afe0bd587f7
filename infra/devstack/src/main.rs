//! `cargo run` starts the whole system on this machine. `cargo run -- demo` runs its main job unattended.

mod demo;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use reelay_devstack::{Options, Stack, ZoomChoice};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use url::Url;

/// Interval at which the engines delete expired items.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(30);

/// Log filter unless `RUST_LOG` is set. The DynamoDB engine warns of every failed condition, which is normal.
const DEFAULT_LOG_FILTER: &str = "warn,dynoxide=error";

/// Reelay on this machine: embedded AWS services, the functions behind an HTTP API, a Zoom simulator and a demo app.
/// All servers listen on loopback addresses.
#[derive(Parser)]
#[command(name = "reelay", version)]
struct Arguments {
    /// Port of the HTTP API; 0 selects a free port
    #[arg(long, default_value_t = 0, global = true)]
    port: u16,
    /// Sets a template parameter; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter, global = true)]
    parameters: Vec<(String, String)>,
    /// Uses another Zoom instead of the simulator
    #[arg(long, value_name = "URL", value_parser = zoom_url)]
    zoom_url: Option<Url>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Links a user, completes a recording, and verifies every byte and notification
    Demo,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| DEFAULT_LOG_FILTER.to_owned());
    match filter.parse::<Targets>() {
        Ok(filter) => tracing_subscriber::registry()
            .with(filter)
            .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr))
            .init(),
        Err(error) => {
            print(&format!("error: RUST_LOG is not a list of target=level: {error}"));
            return ExitCode::FAILURE;
        }
    }
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { port, parameters, zoom_url, command } = arguments;
    let zoom = zoom_url.map_or_else(ZoomChoice::default, ZoomChoice::External);
    let options = Options { port, parameters, zoom, ..Options::default() };
    match command {
        Some(Command::Demo) => demo::run(options).await,
        None => serve(options).await,
    }
}

async fn serve(options: Options) -> anyhow::Result<()> {
    let stack = Stack::start(options).await?;
    // Programs wait for this line. A closed standard output does not stop the stack.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "ready {}", stack.url()).and_then(|()| out.flush());
    drop(out);
    print(&overview(&stack));
    let mut expiry = tokio::time::interval(EXPIRY_INTERVAL);
    let mut stop = std::pin::pin!(stop_signal());
    loop {
        tokio::select! {
            signal = &mut stop => {
                signal?;
                break;
            }
            _ = expiry.tick() => {
                if let Err(error) = stack.engines().time_to_live().delete_expired_items() {
                    tracing::warn!(%error, "expired items not deleted");
                }
            }
        }
    }
    print("stopping");
    stack.shutdown().await;
    Ok(())
}

/// Waits for Ctrl-C or SIGTERM.
async fn stop_signal() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        let mut terminated =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .context("failed to listen for SIGTERM")?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.context("failed to listen for Ctrl-C"),
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.context("failed to listen for Ctrl-C")
}

/// URLs and the next steps, for the user.
fn overview(stack: &Stack) -> String {
    let mut lines = vec![String::new()];
    if let Some(app) = stack.demo_app() {
        lines.push(format!("  Demo app        {}   sign in and press Connect Zoom", app.url()));
    }
    if let Some(simulator) = stack.simulator() {
        lines.push(format!("  Zoom simulator  {}   complete a recording", simulator.url()));
    }
    lines
        .push(format!("  Reelay          {}/   /_dev/config lists secrets and names", stack.url()));
    lines.push("\n  No state is kept. Ctrl-C stops it.\n".to_owned());
    lines.join("\n")
}

/// Prints to standard error. A closed standard error does not stop the stack.
fn print(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("the format is NAME=VALUE")?;
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn zoom_url(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{error}"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err("it is not an http or https URL".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_parsed() {
        Arguments::command().debug_assert();
        let arguments = Arguments::parse_from([
            "reelay",
            "--param",
            "A=b=c",
            "--param",
            "D=",
            "--zoom-url",
            "http://z:1",
        ]);
        assert_eq!(arguments.parameters, [("A".into(), "b=c".into()), ("D".into(), String::new())]);
        assert!(Arguments::try_parse_from(["reelay", "--param", "A"]).is_err());
        assert!(Arguments::try_parse_from(["reelay", "--zoom-url", "zoom"]).is_err());
        assert!(matches!(
            Arguments::parse_from(["reelay", "demo", "--port", "1"]).command,
            Some(Command::Demo)
        ));
    }
}
