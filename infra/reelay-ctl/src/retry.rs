//! `retry`: queues failed files again, in bulk.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use reelay_domain::message::DownloadMessage;
use reelay_domain::recording::FileStatus;
use reelay_store::links::LinkTable;
use reelay_store::queue::Queue;
use reelay_store::recordings::{FileItem, RecordingTable};
use serde_json::json;

use crate::arguments::RetryArguments;
use crate::deployment::Deployment;
use crate::output::{Outcome, Output, plural, table};

pub(crate) async fn run(
    deployment: &Deployment,
    arguments: &RetryArguments,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let environment = &deployment.environment;
    let (links, recordings) = (LinkTable::new(environment)?, RecordingTable::new(environment)?);
    let downloads = Queue::from_env(environment, "DOWNLOADS_QUEUE_URL")?;
    let now = environment.clock.now();
    let mut covered = HashMap::new();
    let mut by_reason = BTreeMap::<String, u64>::new();
    let mut other_reasons = BTreeSet::new();
    let (mut files, mut not_covered) = (0, 0);
    for (key, item) in recordings.failed_files().await? {
        if !is_selected(arguments, &item, now) {
            other_reasons.extend(item.reason);
            continue;
        }
        let zoom_user = &key.zoom_user;
        let is_covered = match covered.get(zoom_user) {
            Some(is_covered) => *is_covered,
            None => {
                let is_covered = !links.receivers(zoom_user).await?.is_empty();
                covered.insert(zoom_user.clone(), is_covered);
                is_covered
            }
        };
        if !is_covered {
            not_covered += 1;
            continue;
        }
        if arguments.yes {
            if !recordings.queue_again(&key, FileStatus::Failed, now).await? {
                continue;
            }
            let tenant = key.zoom_user.account_id.clone();
            let message = DownloadMessage::new(key.zoom_user, key.recording, key.file);
            downloads.send(&message, tenant.as_str()).await?;
        }
        files += 1;
        *by_reason.entry(item.reason.unwrap_or_default()).or_default() += 1;
    }
    output.json(&json!({
        "files": files, "not_covered": not_covered, "reasons": by_reason, "dry_run": !arguments.yes,
    }));
    if !by_reason.is_empty() {
        let rows: Vec<[String; 2]> =
            by_reason.into_iter().map(|(reason, count)| [reason, count.to_string()]).collect();
        output.line(&table(["reason", "files"], &rows));
    }
    let verb = if arguments.yes { "queued again" } else { "would be queued again" };
    output.line(&format!("{} {verb}.", plural(files, "failed file")));
    if not_covered > 0 {
        output.line(&format!(
            "{} left out: no link receives the recordings.",
            plural(not_covered, "failed file")
        ));
    }
    if files + not_covered == 0 && !other_reasons.is_empty() {
        let reasons = Vec::from_iter(other_reasons).join(", ");
        output.note(&format!("Reasons of the failed files that were not selected: {reasons}."));
    }
    if !arguments.yes && files > 0 {
        output.note("Nothing was changed. Run the command again with --yes.");
    }
    Ok(Outcome::Success)
}

fn is_selected(arguments: &RetryArguments, item: &FileItem, now: Timestamp) -> bool {
    let failed_at = item.failed_at.and_then(|at| Timestamp::from_millisecond(at).ok());
    arguments.reason.as_ref().is_none_or(|reason| item.reason.as_ref() == Some(reason))
        && arguments.since.is_none_or(|since| failed_at.is_some_and(|at| at >= since.at(now)))
}
