//! `cargo run`: the whole system on this machine. `cargo run -- demo`: its main job, unattended.

mod demo;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use reelay_devstack::{Options, Stack, ZoomChoice};
use tracing_subscriber::EnvFilter;
use url::Url;

/// Expired items go this often; AWS takes its time as well.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// What is logged unless `RUST_LOG` says otherwise. A condition that does not hold is an everyday answer
/// of DynamoDB, which its engine warns of.
const QUIET: &str = "warn,dynoxide=error";

/// Reelay on this machine: embedded AWS, the functions behind an HTTP API, a Zoom simulator and a demo
/// app. On loopback addresses only.
#[derive(Parser)]
#[command(name = "reelay", version)]
struct Arguments {
    /// Port of the HTTP API; 0 takes a free one.
    #[arg(long, default_value_t = 0, global = true)]
    port: u16,
    /// Sets a parameter of the template; may be repeated.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter, global = true)]
    parameters: Vec<(String, String)>,
    /// Uses another Zoom in place of the simulator.
    #[arg(long, value_name = "URL", value_parser = zoom_url)]
    zoom_url: Option<Url>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Links a user, completes a recording, verifies every byte and every notification.
    Demo,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(QUIET)),
        )
        .with_writer(std::io::stderr)
        .init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments {
        port,
        parameters,
        zoom_url,
        command,
    } = arguments;
    let zoom = zoom_url.map_or_else(ZoomChoice::default, ZoomChoice::External);
    let options = Options {
        port,
        parameters,
        zoom,
        ..Options::default()
    };
    match command {
        Some(Command::Demo) => demo::run(options).await,
        None => serve(options).await,
    }
}

async fn serve(options: Options) -> anyhow::Result<()> {
    let stack = Stack::start(options).await?;
    // The one line that programs wait for; whoever does not read it does not hold us up.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "ready {}", stack.url()).and_then(|()| out.flush());
    drop(out);
    tell(&hints(&stack));
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut asked = std::pin::pin!(asked_to_stop());
    loop {
        tokio::select! {
            stopped = &mut asked => {
                stopped?;
                break;
            }
            _ = sweep.tick() => {
                if let Err(error) = stack.engines().delete_expired_items() {
                    tracing::warn!(%error, "expired items stay");
                }
            }
        }
    }
    tell("stopping");
    stack.shutdown().await;
    Ok(())
}

/// Ctrl-C, or the polite signal of a supervisor.
async fn asked_to_stop() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        let mut terminated =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .context("SIGTERM cannot be waited for")?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.context("Ctrl-C cannot be waited for"),
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c()
        .await
        .context("Ctrl-C cannot be waited for")
}

fn hints(stack: &Stack) -> String {
    let mut lines = vec![String::new()];
    if let Some(app) = stack.demo_app() {
        lines.push(format!(
            "  Demo app        {}   sign in, then Integrations, Connect Zoom",
            app.url()
        ));
        let listed = stack
            .function_environment("oauth-start")
            .and_then(|start| start.variables.optional("RETURN_URLS"));
        if !listed.is_some_and(|listed| {
            listed
                .split(',')
                .any(|url| url.trim() == app.return_url().as_str())
        }) {
            lines.push(format!(
                "                  cannot connect: its {} is not in ReturnUrls",
                app.return_url()
            ));
        }
    }
    if let Some(simulator) = stack.simulator() {
        lines.push(format!(
            "  Zoom simulator  {}   complete a recording here",
            simulator.url()
        ));
    }
    lines.push(format!(
        "  Reelay          {}/   its keys and names are at /_dev/config",
        stack.url()
    ));
    lines.push("\n  No state is kept. Ctrl-C stops it.\n".to_owned());
    lines.join("\n")
}

/// For people. What cannot be told is not worth failing for.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it must be NAME=VALUE")?;
    if name.is_empty() {
        return Err("it has no name".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn zoom_url(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{error}"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err("it must be an http or https URL".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_read() {
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
        assert_eq!(
            arguments.parameters,
            [("A".into(), "b=c".into()), ("D".into(), String::new())]
        );
        assert!(Arguments::try_parse_from(["reelay", "--param", "A"]).is_err());
        assert!(Arguments::try_parse_from(["reelay", "--zoom-url", "zoom"]).is_err());
        assert!(matches!(
            Arguments::parse_from(["reelay", "demo", "--port", "1"]).command,
            Some(Command::Demo)
        ));
    }
}
