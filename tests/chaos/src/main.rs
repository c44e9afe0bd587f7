//! `cargo run --release -p chaos -- --seeds 0..2000 --json`

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

fn main() -> anyhow::Result<ExitCode> {
    // The functions' logs, on request: RUST_LOG=reelay_grants=debug,reconciler=debug
    let levels: Targets = std::env::var("RUST_LOG").unwrap_or_default().parse()?;
    tracing_subscriber::registry()
        .with(levels)
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr))
        .init();
    chaos::command::run(chaos::command::Args::parse())
}
