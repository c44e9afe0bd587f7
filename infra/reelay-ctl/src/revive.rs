//! `revive`: refreshes the kept pairs of marked grants, after a mistake of the operator or of Zoom, and restores
//! exactly the links that the marking had changed.

use anyhow::Context as _;
use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use reelay_domain::ids::ZoomUser;
use reelay_domain::message::JobMessage;
use reelay_grants::{Grants, RevivalOutcome};
use reelay_store::queue::Queue;
use serde_json::{Value, json};

use crate::arguments::ReviveArguments;
use crate::deployment::Deployment;
use crate::output::{Outcome, Output, plural, table};

/// Grants that are refreshed at the same time.
const CONCURRENCY: usize = 8;

pub(crate) async fn run(
    deployment: &Deployment,
    arguments: &ReviveArguments,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let environment = deployment.grants_environment();
    let grants = Grants::new(&environment)?;
    let jobs = Queue::from_env(&environment, "JOBS_QUEUE_URL")?;
    let now = environment.clock.now();
    let mut marked = match &arguments.zoom {
        Some(zoom_user) => vec![zoom_user.clone()],
        // One of the two is required.
        None => {
            let since = arguments.all_marked_since.map_or(Timestamp::MIN, |since| since.at(now));
            let found = grants.links().marked_since(since, now).await?;
            found.into_iter().map(|(zoom_user, _)| zoom_user).collect()
        }
    };
    marked.sort_by_key(ZoomUser::key);
    let revive = |zoom_user: ZoomUser| async {
        let revived =
            if arguments.dry_run { None } else { Some(revive(&grants, &jobs, &zoom_user).await) };
        (zoom_user, revived)
    };
    let results: Vec<_> = stream::iter(marked).map(revive).buffered(CONCURRENCY).collect().await;
    Ok(report(&results, arguments.dry_run, output))
}

type Revived = anyhow::Result<RevivalOutcome>;

/// Revives a grant and enqueues a backfill of the recordings that its links have missed.
async fn revive(grants: &Grants, jobs: &Queue<JobMessage>, zoom_user: &ZoomUser) -> Revived {
    let outcome = grants.revive(zoom_user).await?;
    let links = grants.links();
    let pending = links.snapshot(zoom_user).await?.jobs;
    links
        .enqueue_pending_jobs(jobs, zoom_user, &pending)
        .await
        .context("the backfill is not enqueued yet; the hourly maintenance run enqueues it")?;
    Ok(outcome)
}

fn report(results: &[(ZoomUser, Option<Revived>)], is_dry_run: bool, output: &Output) -> Outcome {
    let objects: Vec<Value> = results
        .iter()
        .map(|(zoom_user, revived)| match revived {
            None => json!({"zoom": zoom_user, "outcome": "marked"}),
            Some(Ok(RevivalOutcome::Revived { links, marked_at })) => json!({
                "zoom": zoom_user, "outcome": "revived", "links": links, "marked_at": marked_at,
            }),
            Some(Ok(RevivalOutcome::Rejected)) => {
                json!({"zoom": zoom_user, "outcome": "rejected"})
            }
            Some(Ok(RevivalOutcome::NotMarked)) => {
                json!({"zoom": zoom_user, "outcome": "not_marked"})
            }
            Some(Err(error)) => {
                json!({"zoom": zoom_user, "outcome": "failed", "error": format!("{error:#}")})
            }
        })
        .collect();
    output.json(&json!({"grants": objects}));
    if results.is_empty() {
        output.line("No marked grant was found.");
        return Outcome::Success;
    }
    let rows: Vec<[String; 2]> = results
        .iter()
        .map(|(zoom_user, revived)| {
            let result = match revived {
                None => "marked, can be revived".to_owned(),
                Some(Ok(RevivalOutcome::Revived { links, .. })) => {
                    format!("revived, {} active again", plural(*links as u64, "link"))
                }
                Some(Ok(RevivalOutcome::Rejected)) => {
                    "Zoom rejects the tokens: the user must connect again".to_owned()
                }
                Some(Ok(RevivalOutcome::NotMarked)) => "nothing to revive".to_owned(),
                Some(Err(error)) => format!("failed: {error:#}"),
            };
            [format!("{}/{}", zoom_user.account_id, zoom_user.user_id), result]
        })
        .collect();
    output.line(&table(["zoom account/user", "result"], &rows));
    let is_revived =
        |revived: &Option<Revived>| matches!(revived, Some(Ok(RevivalOutcome::Revived { .. })));
    Outcome::from_success(is_dry_run || results.iter().all(|(_, revived)| is_revived(revived)))
}
