//! `reconcile`: compares Zoom's lists with the stored recordings now, in place of the schedule's next run.

use std::collections::{BTreeSet, HashMap};

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
    let mut delays = HashMap::new();
    let (mut enqueued, mut left_out) = (0, 0);
    for zoom_user in zoom_users {
        let at = reconciliation::first_run(&zoom_user, every_hours, now);
        links.schedule_reconciliation(&zoom_user, at).await?;
        let delay = delays.entry(zoom_user.account_id.clone()).or_insert(0);
        if *delay > MAX_DELAY_SECONDS {
            left_out += 1;
            continue;
        }
        // If the item is gone, another process deleted it with the grant.
        let Some(item) = links.reconciliation(&zoom_user).await? else { continue };
        if let Some(run) = links.begin_reconciliation(&zoom_user, &item, now).await? {
            let tenant = zoom_user.account_id.clone();
            let job = Job::Reconcile(Reconciliation { zoom_user, run, progress: None });
            jobs.send_delayed(&JobMessage::new(job), tenant.as_str(), *delay).await?;
            *delay += RUN_SECONDS;
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
