//! Command-line arguments.

use std::str::FromStr;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use reelay_domain::ids::{AppUserId, InvalidId, ZoomUser};
use url::Url;

/// The operator's tool for a Reelay stack.
#[derive(Debug, Parser)]
#[command(name = "reelay", version)]
pub struct Arguments {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Print JSON: one object, or one object a line where the command says so.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Selects the deployment. AWS credentials come from the AWS command line's sources; `AWS_ENDPOINT_URL` sends
/// all AWS requests to an emulator.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Name of the CloudFormation stack.
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "dev")]
    pub(crate) stack: Option<String>,
    /// URL of a devstack, as printed by `cargo run`, in place of a stack.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) dev: Option<Url>,
    /// Profile in the AWS configuration.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// AWS region.
    #[arg(long, global = true, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// Base URL of the API in place of the stack's outputs, such as that of an emulator.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) api_url: Option<Url>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a deployment and print the fix for each problem. JSON: one object a line.
    Doctor {
        /// Also check the links of this app user: status and scopes.
        #[arg(long, value_name = "APP_USER")]
        user: Option<AppUserId>,
    },
    /// Print the Zoom app's manifest and the values to enter at Zoom manually. JSON: the manifest.
    Manifest {
        /// Name of the Zoom app.
        #[arg(long, default_value = "Reelay")]
        name: String,
    },
    /// Create a link that connects one app user to Zoom. It is valid for at most 15 minutes.
    MintLink(MintLinkArguments),
    /// Confirm a link in place of the app, for a first test before the app exists.
    ConfirmLink {
        /// App user for whom the link was created.
        #[arg(long, value_name = "APP_USER")]
        user: AppUserId,
        /// Claim from the `zoom_link` parameter of the return URL, or the whole return URL.
        #[arg(long, value_name = "CLAIM_OR_URL")]
        claim: String,
    },
    /// Move dead letters back to their source queue, or list them with the reason. JSON of --list: one object a line.
    Redrive(RedriveArguments),
    /// Revive grants that were marked by mistake: refresh their kept tokens and restore the links that the marking
    /// changed. Possible for seven days, unless a consent, disconnect or deauthorization came since.
    Revive(ReviveArguments),
    /// Send notifications of the last 30 days again, with the same ids and bodies, as far as links cover them.
    Resend(ResendArguments),
    /// Send one notification of each type to the app, with `"test": true`, and print the answers. JSON: one object a line.
    SendTest {
        /// Only to this destination. Default: to each that is configured.
        #[arg(long, value_enum)]
        to: Option<Destination>,
    },
    /// List notifications with the attempts to deliver them and the answers.
    Deliveries {
        /// Only notifications of this app user.
        #[arg(long, value_name = "APP_USER")]
        user: Option<AppUserId>,
        /// Only notifications that were created at or after this time, such as 2026-01-01T10:00:00Z or 2h (ago). Default:
        /// those of the last 24 hours.
        #[arg(long, value_name = "TIME")]
        since: Option<Since>,
    },
    /// Print notifications as they are created, and forward them to an app on this machine. JSON: one object a line.
    Listen {
        /// Only notifications of this app user. Required for a stack.
        #[arg(long, value_name = "APP_USER")]
        user: Option<AppUserId>,
        /// Endpoint of the local app. For a stack it must be on this machine, and signatures are made with a throwaway
        /// secret.
        #[arg(long, value_name = "URL")]
        forward_to: Option<Url>,
    },
    /// Compare Zoom's lists with what is stored, and fetch what is missing.
    Reconcile(ReconcileArguments),
    /// Print what Zoom lists and what of it is stored, per link and in all.
    Report {
        /// Only the links of this app user.
        #[arg(long, value_name = "APP_USER")]
        user: Option<AppUserId>,
    },
    /// Count failed files, or queue them again.
    Retry(RetryArguments),
    /// List an app user's links and the status of their grants.
    Links {
        /// Id of the user in the app.
        #[arg(long, value_name = "APP_USER")]
        user: AppUserId,
    },
    /// List an app user's recordings, newest first.
    Recordings(RecordingsArguments),
    /// Dry run of TrashAtZoomAfterDays: count the recordings that are complete and old enough for Zoom's trash, and the
    /// others by reason. Changes nothing.
    TrashPreview {
        /// Value of TrashAtZoomAfterDays to assume.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(7..))]
        after_days: u16,
    },
    /// List Zoom's events that could not be parsed. They stay in the bucket for 29 days, or 7 if they name no user.
    Unparsed,
    /// Erase an app user: all links, also those that ended, and the recordings that no other app user's link covers.
    /// Safe to repeat.
    EraseUser {
        /// Id of the user in the app.
        #[arg(long, value_name = "APP_USER")]
        user: AppUserId,
        /// Skip the confirmation prompt.
        #[arg(long)]
        yes: bool,
    },
    /// Erase a Zoom user: all links, of every app user, and everything that is stored. Safe to repeat.
    EraseZoomUser {
        /// Account id and user id at Zoom, as `links` shows them.
        #[arg(long, value_name = "ACCOUNT/USER", value_parser = zoom_user)]
        zoom: ZoomUser,
        /// Skip the confirmation prompt.
        #[arg(long)]
        yes: bool,
    },
    /// Print shell completions.
    Completions {
        /// Shell to print completions for.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct MintLinkArguments {
    /// Id of the user in the app.
    #[arg(long, value_name = "APP_USER")]
    pub(crate) user: AppUserId,
    /// Return URL of the browser, one of ReturnUrls. Default: the first.
    #[arg(long, value_name = "URL")]
    pub(crate) return_to: Option<String>,
    /// Lifetime of the link in minutes.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(i64).range(1..=15))]
    pub(crate) minutes: i64,
    /// Make the link valid for one connection only.
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RedriveArguments {
    /// Only this queue.
    #[arg(value_enum)]
    pub(crate) queue: Option<QueueName>,
    /// List the dead letters with the reason; move nothing.
    #[arg(long)]
    pub(crate) list: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReviveArguments {
    /// Only the grant of this Zoom user.
    #[arg(long, value_name = "ACCOUNT/USER", value_parser = zoom_user,
        required_unless_present = "all_marked_since", conflicts_with = "all_marked_since")]
    pub(crate) zoom: Option<ZoomUser>,
    /// All grants that were marked at or after this time, such as 2026-01-01T10:00:00Z or 2h (ago).
    #[arg(long, value_name = "TIME")]
    pub(crate) all_marked_since: Option<Since>,
    /// List the marked grants; revive none.
    #[arg(long, conflicts_with = "zoom")]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("resent").required(true).multiple(true).args(["since", "user", "undelivered"])))]
pub(crate) struct ResendArguments {
    /// Only notifications that were created at or after this time, such as 2026-01-01T10:00:00Z or 2h (ago).
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Since>,
    /// Only notifications of this app user.
    #[arg(long, value_name = "APP_USER")]
    pub(crate) user: Option<AppUserId>,
    /// Only notifications that a destination has not received, and only to that destination.
    #[arg(long)]
    pub(crate) undelivered: bool,
    /// Count the notifications; send none.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[group(id = "reconciled", required = true, multiple = false, args = ["user", "zoom", "all"])]
pub(crate) struct ReconcileArguments {
    /// Only the Zoom users that this app user is linked to.
    #[arg(long, value_name = "APP_USER")]
    pub(crate) user: Option<AppUserId>,
    /// Only this Zoom user.
    #[arg(long, value_name = "ACCOUNT/USER", value_parser = zoom_user)]
    pub(crate) zoom: Option<ZoomUser>,
    /// All Zoom users with an active link.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArguments {
    /// Only files that failed for this reason, such as not_found.
    #[arg(long, value_name = "REASON")]
    pub(crate) reason: Option<String>,
    /// Only files that failed at or after this time, such as 2026-01-01T10:00:00Z or 2h (ago).
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Since>,
    /// Queue the files again. Without it they are only counted.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// A destination of notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Destination {
    /// The app's endpoint, AppWebhookUrl.
    Webhook,
    /// The EventBridge bus.
    Bus,
}

/// A queue of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueueName {
    /// Events from Zoom.
    Events,
    /// Files to download.
    Downloads,
    /// Notifications to the app.
    Notifications,
    /// Background jobs: grants, interrupted authorizations, backfills.
    Jobs,
}

#[derive(Debug, Args)]
pub(crate) struct RecordingsArguments {
    /// Id of the user in the app.
    #[arg(long, value_name = "APP_USER")]
    pub(crate) user: AppUserId,
    /// Only recordings with this status.
    #[arg(long, value_enum)]
    pub(crate) status: Option<StatusName>,
    /// Maximum number of recordings.
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
    /// Continue after an earlier page: its `next`.
    #[arg(long, value_name = "NEXT")]
    pub(crate) after: Option<String>,
}

/// A time, or how long ago it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    At(Timestamp),
    Ago(SignedDuration),
}

impl Since {
    /// The time, by the deployment's clock.
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(age) => now.checked_sub(age).unwrap_or(Timestamp::MIN),
        }
    }
}

impl FromStr for Since {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let age = || {
            let span: Span = text.parse().ok()?;
            let age = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
            (!age.is_negative()).then_some(Self::Ago(age))
        };
        text.parse()
            .ok()
            .map(Self::At)
            .or_else(age)
            .ok_or("expected a time such as 2026-01-01T10:00:00Z, or how long ago: 90m, 2h, 3d")
    }
}

fn zoom_user(text: &str) -> Result<ZoomUser, InvalidId> {
    let (account, user) = text.split_once('/').ok_or(InvalidId("pair of account and user id"))?;
    Ok(ZoomUser { account_id: account.parse()?, user_id: user.parse()? })
}

/// Status of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusName {
    /// Known, no file downloaded.
    Detected,
    /// Download in progress.
    Transferring,
    /// All wanted files are in the bucket.
    Stored,
    /// The download of a file failed.
    Failed,
    /// Zoom names no file.
    Empty,
    /// Stored, and deleted after `RetentionDays`.
    Expired,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn time_may_be_how_long_ago() {
        let now: Timestamp = "2026-01-10T10:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z"),
            ("2h", "2026-01-10T08:00:00Z"),
            ("1h 30m", "2026-01-10T08:30:00Z"),
            ("3d", "2026-01-07T10:00:00Z"),
            ("1d 2h", "2026-01-09T08:00:00Z"),
        ] {
            let since: Since = text.parse().unwrap();
            assert_eq!(since.at(now), expected.parse().unwrap(), "{text}");
        }
        for invalid in ["", "d", "-2h", "9999999999999999d", "1mo", "2", "2026-01-01"] {
            assert!(invalid.parse::<Since>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn arguments_are_parsed() {
        Arguments::command().debug_assert();
        for valid in [
            "reelay --stack s doctor --json",
            "reelay doctor --stack s --user alice",
            "reelay --dev http://127.0.0.1:1 redrive downloads --list",
            "reelay recordings --user a --status failed --limit 5 --stack s --profile p --region r",
            "reelay mint-link --user a --minutes 1 --stack s",
            "reelay confirm-link --user a --claim https://app.example/?zoom_link=c --stack s",
            "reelay --stack s erase-zoom-user --zoom AcctA/UserB --yes",
            "reelay revive --stack s --zoom Acct/User",
            "reelay revive --stack s --all-marked-since 2026-01-01T10:00:00Z --dry-run",
            "reelay resend --stack s --user a --since 2026-01-01T10:00:00Z --undelivered --dry-run",
            "reelay resend --stack s --undelivered",
            "reelay reconcile --stack s --all",
            "reelay reconcile --stack s --zoom Acct/User",
            "reelay report --stack s --user a --json",
            "reelay retry --stack s --reason not_found --since 2026-01-01T10:00:00Z --yes",
            "reelay send-test --stack s --to bus",
            "reelay deliveries --stack s --user a --since 2026-01-01T10:00:00Z",
            "reelay deliveries --stack s --since 90m",
            "reelay listen --stack s --user a --forward-to http://localhost:3000/hook",
            "reelay trash-preview --stack s --after-days 7",
            "reelay completions fish",
        ] {
            Arguments::try_parse_from(valid.split(' ')).unwrap_or_else(|e| panic!("{valid}: {e}"));
        }
        for invalid in [
            "reelay",
            "reelay --stack s --dev http://127.0.0.1:1 doctor",
            "reelay --stack s links --user a/b",
            "reelay --stack s erase-zoom-user --zoom UserB",
            "reelay --stack s mint-link --user a --minutes 16",
            "reelay --stack s redrive nothing",
            "reelay --stack s revive",
            "reelay --stack s revive --zoom User",
            "reelay --stack s revive --zoom A/U --all-marked-since 2026-01-01T10:00:00Z",
            "reelay --stack s resend",
            "reelay --stack s reconcile",
            "reelay --stack s reconcile --all --user a",
            "reelay --stack s resend --dry-run",
            "reelay --stack s resend --since yesterday",
            "reelay --stack s trash-preview --after-days 6",
            "reelay --stack s recordings --user a --limit 0",
        ] {
            let error = Arguments::try_parse_from(invalid.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{invalid}");
        }
    }
}
