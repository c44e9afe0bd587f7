//! `reelay`, the operator's tool.
//!
//! It works on a deployed stack (`--stack NAME`, described by CloudFormation) and on a devstack (`--dev URL`,
//! described by `/_dev/config`), with the table code of the functions themselves. It prints text, or JSON with
//! `--json`, and no secret except the link of `mint-link` and the
//! throwaway secret of `listen`.
//!
//! Exit codes: 0 success; 1 problems found, or the command failed; 2 invalid usage.

mod arguments;
mod confirm_link;
mod deliveries;
mod deployment;
mod doctor;
mod erase;
mod http;
mod links;
mod listen;
mod manifest;
mod mint_link;
mod output;
mod reconcile;
mod recordings;
mod redrive;
mod report;
mod resend;
mod retry;
mod revive;
mod send_test;
mod token;
mod trash;
mod unparsed;

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap::error::ErrorKind;

pub use crate::arguments::Arguments;
use crate::arguments::Command;
use crate::erase::Subject;
use crate::output::{Outcome, Output, UsageError};

/// Runs a command and prints its result.
pub async fn run(arguments: Arguments) -> ExitCode {
    let output = Output::new(arguments.json);
    match execute(&arguments, &output).await {
        Ok(Outcome::Success) => ExitCode::SUCCESS,
        Ok(Outcome::ProblemsFound) => ExitCode::from(1),
        Err(error) => {
            output.error(&error);
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}

async fn execute(arguments: &Arguments, output: &Output) -> anyhow::Result<Outcome> {
    if let Command::Completions { shell } = arguments.command {
        let mut command = Arguments::command();
        clap_complete::generate(shell, &mut command, "reelay", &mut std::io::stdout());
        return Ok(Outcome::Success);
    }
    if arguments.target.stack.is_none() && arguments.target.dev.is_none() {
        let missing = Arguments::command().error(
            ErrorKind::MissingRequiredArgument,
            "name the deployment: --stack NAME, or --dev URL for a devstack started by `cargo run`",
        );
        missing.exit();
    }
    let deployment = deployment::find(&arguments.target).await?;
    match &arguments.command {
        Command::Doctor { user } => doctor::run(&deployment, user.as_ref(), output).await,
        Command::Manifest { name } => manifest::run(&deployment, name, output),
        Command::MintLink(arguments) => mint_link::run(&deployment, arguments, output).await,
        Command::ConfirmLink { user, claim } => {
            confirm_link::run(&deployment, user, claim, output).await
        }
        Command::Redrive(arguments) => redrive::run(&deployment, arguments, output).await,
        Command::Revive(arguments) => revive::run(&deployment, arguments, output).await,
        Command::Resend(arguments) => resend::run(&deployment, arguments, output).await,
        Command::Reconcile(arguments) => reconcile::run(&deployment, arguments, output).await,
        Command::Report { user } => report::run(&deployment, user.as_ref(), output).await,
        Command::Retry(arguments) => retry::run(&deployment, arguments, output).await,
        Command::SendTest { to } => send_test::run(&deployment, *to, output).await,
        Command::Deliveries { user, since } => {
            deliveries::run(&deployment, user.as_ref(), *since, output).await
        }
        Command::Listen { user, forward_to } => {
            listen::run(&deployment, user.as_ref(), forward_to.as_ref(), output).await
        }
        Command::Links { user } => links::run(&deployment, user, output).await,
        Command::Recordings(arguments) => recordings::run(&deployment, arguments, output).await,
        Command::TrashPreview { after_days } => trash::run(&deployment, *after_days, output).await,
        Command::Unparsed => unparsed::run(&deployment, output).await,
        Command::EraseUser { user, yes } => {
            erase::run(&deployment, &Subject::AppUser(user.clone()), *yes, output).await
        }
        Command::EraseZoomUser { zoom, yes } => {
            erase::run(&deployment, &Subject::ZoomUser(zoom.clone()), *yes, output).await
        }
        // Handled above: it needs no deployment.
        Command::Completions { .. } => Ok(Outcome::Success),
    }
}
