//! `trash-preview`: a dry run of `TrashAtZoomAfterDays` over what is stored.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use reelay_domain::cursor::Position;
use reelay_domain::link::LinkStatus;
use reelay_domain::recording::{FileStatus, Recording};
use reelay_domain::scope;
use reelay_domain::time::saturating_add;
use reelay_store::links::LinkTable;
use reelay_store::recordings::{ListBounds, RecordingTable, RecordingWithFiles};
use serde::Serialize;
use serde_json::json;

use crate::deployment::Deployment;
use crate::output::{Outcome, Output, size, table};

/// Number of recordings per query.
const PAGE_SIZE: usize = 100;

/// Recordings with the same outcome.
#[derive(Default, Serialize)]
struct Group {
    recordings: u64,
    stored_bytes: u64,
}

pub(crate) async fn run(
    deployment: &Deployment,
    after_days: u16,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let environment = &deployment.environment;
    let (links, recordings) = (LinkTable::new(environment)?, RecordingTable::new(environment)?);
    let now = environment.clock.now();
    let age = SignedDuration::from_hours(24 * i64::from(after_days));
    let mut groups = BTreeMap::<&str, Group>::new();
    let found = links.all_visible_links().await?;
    let zoom_users: BTreeSet<_> = found.into_iter().map(|link| link.zoom_user).collect();
    for zoom_user in zoom_users {
        let snapshot = links.snapshot(&zoom_user).await?;
        let is_active = snapshot.links.iter().any(|link| link.status == LinkStatus::Active);
        let is_allowed =
            snapshot.grant.is_some_and(|grant| scope::allows_trash(grant.scope.as_deref()));
        let mut after: Option<Position> = None;
        loop {
            let bounds = ListBounds { after: after.as_ref(), ..ListBounds::default() };
            let page = recordings.newest(&zoom_user, &bounds, PAGE_SIZE).await?;
            let Some(last) = page.last() else { break };
            let next = last.position(&zoom_user);
            for id in page.iter().filter_map(|it| it.position(&zoom_user).recording()) {
                let loaded = recordings.load(&zoom_user, &id).await?;
                let Some(recording) = loaded.as_ref().map(RecordingWithFiles::recording) else {
                    continue;
                };
                let outcome = match recording.reason_not_to_trash() {
                    Some(reason) => reason,
                    None if !is_active => "no_active_link",
                    None if !is_allowed => "scope_missing",
                    None if !is_older(&recording, age, now) => "too_recent",
                    None => "eligible",
                };
                let group = groups.entry(outcome).or_default();
                group.recordings += 1;
                let stored = recording.files.iter().filter(|it| it.status == FileStatus::Stored);
                group.stored_bytes += stored.map(|file| file.bytes_stored).sum::<u64>();
            }
            after = Some(next);
        }
    }
    output.json(&json!({"after_days": after_days, "outcomes": groups}));
    let rows: Vec<[String; 3]> = groups
        .into_iter()
        .map(|(outcome, group)| {
            [outcome.to_owned(), group.recordings.to_string(), size(group.stored_bytes)]
        })
        .collect();
    output.line(&table(["outcome", "recordings", "stored"], &rows));
    output.note(
        "Nothing was changed. `eligible`: old enough and complete. Reelay moves only what it stores after \
         TrashAtZoomAfterDays is set, and only if Zoom's details and the objects still equal what was stored.",
    );
    Ok(Outcome::Success)
}

fn is_older(recording: &Recording, age: SignedDuration, now: Timestamp) -> bool {
    recording.stored_at().is_some_and(|at| saturating_add(at, age) <= now)
}
