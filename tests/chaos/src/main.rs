//! `cargo run --release -p chaos -- --seeds 0..2000 --json`

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

fn main() -> anyhow::Result<ExitCode> {
    // The functions' logs are off unless requested: RUST_LOG=grants=debug,reconciler=debug
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::builder()
                .with_default_directive(LevelFilter::OFF.into())
                .from_env_lossy(),
        )
        .with_writer(std::io::stderr)
        .init();
    chaos::command::run(chaos::command::Args::parse())
}
