//! `unparsed`: lists Zoom's events that could not be parsed.

use reelay_store::bucket::Bucket;
use serde_json::json;

use crate::deployment::Deployment;
use crate::output::{Outcome, Output, size, table, time};

pub(crate) async fn run(deployment: &Deployment, output: &Output) -> anyhow::Result<Outcome> {
    let events = Bucket::new(&deployment.environment)?.unparsed_events().await?;
    let objects: Vec<_> = events
        .iter()
        .map(|it| json!({"key": it.key, "size": it.bytes, "filed_at": it.filed_at}))
        .collect();
    output.json(&json!({"events": objects}));
    if events.is_empty() {
        output.line("Every event could be parsed.");
        return Ok(Outcome::Success);
    }
    let rows: Vec<[String; 3]> = events
        .iter()
        .map(|event| [event.key.clone(), size(event.bytes), time(event.filed_at)])
        .collect();
    output.line(&table(["object", "size", "filed"], &rows));
    output.line(
        "Report their form to Reelay's maintainers. Keys under events/unparsed/ name no user.",
    );
    Ok(Outcome::ProblemsFound)
}
