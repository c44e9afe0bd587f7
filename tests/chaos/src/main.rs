//! `cargo run --release -p chaos -- --seeds 0..2000 --json`

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> anyhow::Result<ExitCode> {
    chaos::command::run(chaos::command::Args::parse())
}
