//! What can be asked for.

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use reelay_domain::ids::AppUserId;
use url::Url;

/// The operator's tool for a Reelay stack.
#[derive(Debug, Parser)]
#[command(name = "reelay", version)]
pub struct Arguments {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Prints JSON: one object, or one a line where the command says so.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which stack, and how AWS is reached. Credentials are found as the AWS command line finds them; with
/// `AWS_ENDPOINT_URL` in the environment all of it goes to an emulator.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Name of the CloudFormation stack.
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "dev")]
    pub(crate) stack: Option<String>,
    /// A devstack in place of a stack: the URL that `cargo run` prints.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) dev: Option<Url>,
    /// Profile of the AWS configuration.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// AWS region.
    #[arg(long, global = true, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// Where the API is reached, if not under the addresses of the stack's outputs: an emulator's.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) api_url: Option<Url>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Checks a stack from outside and inside, and says how to mend what is wrong. JSON: a line a check.
    Doctor {
        /// Checks this app user's links as well: whether they work, and with which scopes.
        #[arg(long, value_name = "APP_USER")]
        user: Option<AppUserId>,
    },
    /// Prints the Zoom app's manifest, and what has to be entered at Zoom by hand. JSON: the manifest.
    Manifest {
        /// Name of the app at Zoom.
        #[arg(long, default_value = "Reelay")]
        name: String,
    },
    /// Makes a link by which one app user connects Zoom: good for fifteen minutes at most.
    MintLink(MintLink),
    /// Confirms a link in the app's place: for a first try, before there is an app that does it.
    ConfirmLink {
        /// The app's own id of its user, for whom the link was minted.
        #[arg(long, value_name = "APP_USER")]
        user: AppUserId,
        /// The claim that the browser came back with, or the whole address.
        #[arg(long, value_name = "CLAIM_OR_URL")]
        claim: String,
    },
    /// Puts dead letters back to where they came from, or lists them with the reason. JSON of --list: a line a
    /// message.
    Redrive(Redrive),
    /// Lists an app user's links, and the state of the grants behind them.
    Links {
        /// The app's own id of its user.
        #[arg(long, value_name = "APP_USER")]
        user: AppUserId,
    },
    /// Lists an app user's recordings, newest first.
    Recordings(Recordings),
    /// Erases an app user: all links, and the recordings that no other link holds. Safe to repeat.
    EraseUser {
        /// The app's own id of its user.
        #[arg(long, value_name = "APP_USER")]
        user: AppUserId,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Prints completions for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct MintLink {
    /// The app's own id of its user.
    #[arg(long, value_name = "APP_USER")]
    pub(crate) user: AppUserId,
    /// Where the browser comes back to: one of ReturnUrls; the first without it.
    #[arg(long, value_name = "URL")]
    pub(crate) return_to: Option<String>,
    /// How long the link is good for.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(i64).range(1..=15))]
    pub(crate) minutes: i64,
    /// Makes the link good for one connection only.
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Redrive {
    /// Of this queue only.
    #[arg(value_enum)]
    pub(crate) queue: Option<QueueName>,
    /// Moves nothing; says what lies there, and why.
    #[arg(long)]
    pub(crate) list: bool,
}

/// A queue, by the name of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueueName {
    /// Zoom's events.
    Events,
    /// Files to fetch.
    Downloads,
    /// What the app is told.
    Notifications,
    /// Background jobs: grants, interrupted authorizations, backfills.
    Jobs,
}

#[derive(Debug, Args)]
pub(crate) struct Recordings {
    /// The app's own id of its user.
    #[arg(long, value_name = "APP_USER")]
    pub(crate) user: AppUserId,
    /// Only those in this state.
    #[arg(long, value_enum)]
    pub(crate) status: Option<StatusName>,
    /// How many at most.
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
    /// Goes on where an earlier page ended: its `next`.
    #[arg(long, value_name = "NEXT")]
    pub(crate) after: Option<String>,
}

/// A recording's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusName {
    /// Known, nothing fetched.
    Detected,
    /// Under way.
    Transferring,
    /// All wanted files are in the bucket.
    Stored,
    /// A file was given up.
    Failed,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_read() {
        Arguments::command().debug_assert();
        for good in [
            "reelay --stack s doctor --json",
            "reelay doctor --stack s --user alice",
            "reelay --dev http://127.0.0.1:1 redrive downloads --list",
            "reelay recordings --user a --status failed --limit 5 --stack s --profile p --region r",
            "reelay mint-link --user a --minutes 1 --stack s",
            "reelay confirm-link --user a --claim https://app.example/?zoom_link=c --stack s",
            "reelay completions fish",
        ] {
            Arguments::try_parse_from(good.split(' ')).unwrap_or_else(|e| panic!("{good}: {e}"));
        }
        for bad in [
            "reelay",
            "reelay --stack s --dev http://127.0.0.1:1 doctor",
            "reelay --stack s links --user a/b",
            "reelay --stack s mint-link --user a --minutes 16",
            "reelay --stack s redrive nothing",
            "reelay --stack s recordings --user a --limit 0",
        ] {
            let error = Arguments::try_parse_from(bad.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad}");
        }
    }
}
