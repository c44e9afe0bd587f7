//! `reconcile`: compares Zoom's lists with the stored recordings now, in place of the schedule's next run.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::LinkStatus;
use reelay_domain::message::{Job, JobMessage};
use reelay_domain::reconciliation::{self, Reconciliation};
use reelay_store::links::LinkTable;
use reelay_store::queue::Queue;
use serde_json::json;

use crate::arguments::ReconcileArguments;
use crate::deployment::Deployment;
use crate::output::{Outcome, Output, plural};

/// Seconds between the runs of one Zoom account, so that its list is requested once a second.
const RUN_SECONDS: i32 = 5;

/// Maximum delay of a message in seconds (SQS, "Delay queues").
const MAX_DELAY_SECONDS: i32 = 900;

pub(crate) async fn run(
    deployment: &Deployment,
    arguments: &ReconcileArguments,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let environment = &deployment.environment;
    let links = LinkTable::new(environment)?;
    let jobs = Queue::from_env(environment, "JOBS_QUEUE_URL")?;
    let now = environment.clock.now();
    let every_hours = deployment.parameter("ReconcileEveryHours").parse().unwrap_or(0);
    let zoom_users = selected(&links, arguments).await?;
    let mut runs = Vec::with_capacity(zoom_users.len());
    for zoom_user in zoom_users {
        let at = reconciliation::first_run(&zoom_user, every_hours, now);
        links.schedule_reconciliation(&zoom_user, at).await?;
        // If the item is gone, another process deleted it with the grant.
        let Some(item) = links.reconciliation(&zoom_user).await? else { continue };
        let ended_at = item.report.as_ref().map(|report| report.reconciled_at);
        runs.push((ended_at, zoom_user, item));
    }
    let (planned, left_out) = plan(runs);
    let mut enqueued = 0;
    for (zoom_user, item, delay) in planned {
        if let Some(run) = links.begin_reconciliation(&zoom_user, &item, now).await? {
            let tenant = zoom_user.account_id.clone();
            let job = Job::Reconcile(Reconciliation { zoom_user, run, progress: None });
            jobs.send_delayed(&JobMessage::new(job), tenant.as_str(), delay).await?;
            enqueued += 1;
        }
    }
    output.json(&json!({"enqueued": enqueued, "left_out": left_out}));
    output.line(&format!("{} enqueued.", plural(enqueued, "reconciliation")));
    if left_out > 0 {
        output.line(&format!(
            "{} left out: Zoom accounts with many users take longer. Run the command again in 15 minutes.",
            plural(left_out, "Zoom user")
        ));
    }
    Ok(Outcome::Success)
}

/// Delays the runs of each Zoom account one after the other, beginning with those that ended longest ago. Also returns the
/// number of runs that are left out, because SQS cannot delay them long enough: the next call begins with these.
fn plan<T>(mut runs: Vec<(Option<Timestamp>, ZoomUser, T)>) -> (Vec<(ZoomUser, T, i32)>, u64) {
    runs.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    let mut delays = HashMap::new();
    let (mut planned, mut left_out) = (Vec::with_capacity(runs.len()), 0);
    for (_, zoom_user, item) in runs {
        let next_delay = delays.entry(zoom_user.account_id.clone()).or_insert(0);
        let delay = *next_delay;
        if delay > MAX_DELAY_SECONDS {
            left_out += 1;
            continue;
        }
        *next_delay += RUN_SECONDS;
        planned.push((zoom_user, item, delay));
    }
    (planned, left_out)
}

async fn selected(
    links: &LinkTable,
    arguments: &ReconcileArguments,
) -> anyhow::Result<BTreeSet<ZoomUser>> {
    if let Some(zoom_user) = &arguments.zoom {
        return Ok(BTreeSet::from([zoom_user.clone()]));
    }
    let found = match &arguments.user {
        Some(user) => links.visible_links(user).await?,
        None => links.all_visible_links().await?,
    };
    let active = found.into_iter().filter(|link| link.status == LinkStatus::Active);
    Ok(active.map(|link| link.zoom_user).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_commands_reach_every_user_of_an_account() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let users = (0..300).map(|n| format!("Acct#User{n}"));
        let users: Vec<_> = users.map(|key| ZoomUser::from_key(&key).unwrap()).collect();
        let first = users.iter().map(|user| (None, user.clone(), ())).collect();
        let (first, left_out) = plan(first);
        assert_eq!((first.len(), left_out), (181, 119));
        assert!(first.iter().all(|(_, (), delay)| (0..=MAX_DELAY_SECONDS).contains(delay)));
        let ended = |user: &ZoomUser| first.iter().any(|(it, ..)| it == user).then_some(now);
        let second = users.iter().map(|user| (ended(user), user.clone(), ())).collect();
        let (second, _) = plan(second);
        let begun: BTreeSet<_> = first.iter().chain(&second).map(|(user, ..)| user).collect();
        assert_eq!(begun.len(), users.len());
    }
}
