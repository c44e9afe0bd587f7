//! `resend`: makes notifications pending again, so that the notifier sends them with the same id and body.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use reelay_domain::message::{Job, JobMessage};
use reelay_runtime::AwsError;
use reelay_store::links::LinkTable;
use reelay_store::notifications::{Guard, GuardKey, NotificationTable};
use reelay_store::queue::Queue;
use serde_json::json;

use crate::arguments::ResendArguments;
use crate::deployment::Deployment;
use crate::output::{Outcome, Output, plural};

/// Notifications that are processed at the same time.
const CONCURRENCY: usize = 16;

struct Resending<'a> {
    links: LinkTable,
    notifications: NotificationTable,
    arguments: &'a ResendArguments,
    has_webhook: bool,
    now: Timestamp,
}

/// Outcome of resending one notification.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resent {
    Yes,
    /// No link of the app user covers the recording.
    NotCovered,
    /// It has been erased.
    Gone,
}

pub(crate) async fn run(
    deployment: &Deployment,
    arguments: &ResendArguments,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let environment = &deployment.environment;
    let jobs = Queue::from_env(environment, "JOBS_QUEUE_URL")?;
    let resending = Resending {
        links: LinkTable::new(environment)?,
        notifications: NotificationTable::new(environment)?,
        arguments,
        has_webhook: !deployment.parameter("AppWebhookUrl").is_empty(),
        now: environment.clock.now(),
    };
    let since = arguments.since.map_or(Timestamp::MIN, |since| since.at(resending.now));
    let mut found = resending.notifications.guards_since(since).await?;
    found.retain(|(_, guard)| resending.is_selected(guard));
    let results: Vec<Resent> = stream::iter(&found)
        .map(|(key, guard)| resending.resend(key, guard))
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    let count = |wanted| results.iter().filter(|resent| **resent == wanted).count() as u64;
    let (resent, not_covered) = (count(Resent::Yes), count(Resent::NotCovered));
    if resent > 0 && !arguments.dry_run {
        // The schedule's next run would find them too.
        jobs.send(&JobMessage::new(Job::RunMaintenance), "maintenance").await?;
    }
    output.json(&json!({
        "notifications": resent, "not_covered": not_covered, "dry_run": arguments.dry_run,
    }));
    let verb = if arguments.dry_run { "would be sent again" } else { "will be sent again" };
    output.line(&format!("{} {verb}.", plural(resent, "notification")));
    if not_covered > 0 {
        output.line(&format!(
            "{} left out: no link of the app user covers the recording.",
            plural(not_covered, "notification")
        ));
    }
    Ok(Outcome::Success)
}

impl Resending<'_> {
    fn is_selected(&self, guard: &Guard) -> bool {
        let is_undelivered = (self.has_webhook && guard.webhook.delivered_at.is_none())
            || guard.bus.delivered_at.is_none();
        self.arguments.user.as_ref().is_none_or(|user| *user == guard.app_user_id)
            && (!self.arguments.undelivered || is_undelivered)
    }

    async fn resend(&self, key: &GuardKey, guard: &Guard) -> Result<Resent, AwsError> {
        if guard.recording_id.is_some() {
            let link = self.links.covering_link(&guard.app_user_id, &key.zoom_user).await?;
            if !link.is_some_and(|link| link.covers_notification(&key.zoom_user, guard.stamp)) {
                return Ok(Resent::NotCovered);
            }
        }
        if self.arguments.dry_run {
            return Ok(Resent::Yes);
        }
        let is_reset =
            self.notifications.reset(key, guard, self.arguments.undelivered, self.now).await?;
        Ok(if is_reset { Resent::Yes } else { Resent::Gone })
    }
}
