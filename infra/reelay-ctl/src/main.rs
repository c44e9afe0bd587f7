//! The `reelay` command.

use std::process::ExitCode;

use clap::Parser as _;
use reelay_ctl::Arguments;

#[tokio::main]
async fn main() -> ExitCode {
    reelay_ctl::run(Arguments::parse()).await
}
