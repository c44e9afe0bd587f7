//! The operator's tool: one command for what a deployed stack needs of a person.
//!
//! It works on a stack (`--stack NAME`: CloudFormation says what it consists of) and alike on a devstack
//! (`--dev URL`: `/_dev/config` says the same), by the tables and rules of the functions themselves. It prints
//! for people, or with `--json` for programs, and never a secret; `mint-link` prints a link, for that is its job.
//!
//! Exit codes: 0, all is well; 1, something is wrong, and was said; 2, it was called in a wrong way.

mod arguments;
mod confirm;
mod deployment;
mod doctor;
mod erase;
mod links;
mod manifest;
mod mint;
mod output;
mod recordings;
mod redrive;
mod tokens;

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap::error::ErrorKind;

pub use crate::arguments::Arguments;
use crate::arguments::Command;
use crate::deployment::Deployment;
use crate::output::Output;

/// What a command came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// All is well.
    Fine,
    /// It was done, or looked at, and something is wrong.
    Wrong,
}

/// A command that was called in a wrong way, as only its work could tell.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misused(String);

/// Does what the arguments say, and prints.
pub async fn run(arguments: Arguments) -> ExitCode {
    let output = Output::new(arguments.json);
    match perform(&arguments, &output).await {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Wrong) => ExitCode::from(1),
        Err(error) => {
            output.failure(&error);
            ExitCode::from(if error.is::<Misused>() { 2 } else { 1 })
        }
    }
}

async fn perform(arguments: &Arguments, output: &Output) -> anyhow::Result<Verdict> {
    if let Command::Completions { shell } = arguments.command {
        let mut command = Arguments::command();
        clap_complete::generate(shell, &mut command, "reelay", &mut std::io::stdout());
        return Ok(Verdict::Fine);
    }
    if arguments.target.stack.is_none() && arguments.target.dev.is_none() {
        let missing = Arguments::command().error(
            ErrorKind::MissingRequiredArgument,
            "say which stack: --stack NAME, or --dev URL for one that `cargo run` has started",
        );
        missing.exit();
    }
    let deployment = Deployment::find(&arguments.target).await?;
    match &arguments.command {
        Command::Doctor { user } => doctor::run(&deployment, user.as_ref(), output).await,
        Command::Manifest { name } => manifest::run(&deployment, name, output),
        Command::MintLink(wanted) => mint::run(&deployment, wanted, output).await,
        Command::ConfirmLink { user, claim } => {
            confirm::run(&deployment, user, claim, output).await
        }
        Command::Redrive(wanted) => redrive::run(&deployment, wanted, output).await,
        Command::Links { user } => links::run(&deployment, user, output).await,
        Command::Recordings(wanted) => recordings::run(&deployment, wanted, output).await,
        Command::EraseUser { user, yes } => erase::run(&deployment, user, *yes, output).await,
        // Needs no stack, and was answered above.
        Command::Completions { .. } => Ok(Verdict::Fine),
    }
}
