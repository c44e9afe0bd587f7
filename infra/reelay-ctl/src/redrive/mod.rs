//! `redrive`: lists dead letters, or moves them back to their source queue.

mod dead_letters;
mod depth;
mod move_task;

use anyhow::Context as _;
use aws_sdk_sqs::Client;
use clap::ValueEnum as _;
use serde::Serialize;
use serde_json::json;

pub(crate) use self::dead_letters::oldest;
pub(crate) use self::depth::QueueDepth;
use crate::arguments::{QueueName, RedriveArguments};
use crate::deployment::{Deployment, Queue};
use crate::output::{Outcome, Output, plural};

/// Result of the redrive of one queue.
#[derive(Debug, Serialize)]
struct Redrive {
    queue: &'static str,
    /// Approximate number of dead letters before the redrive.
    found: u64,
    moved: u64,
    /// Why the task did not move every message.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

pub(crate) async fn run(
    deployment: &Deployment,
    arguments: &RedriveArguments,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let names = match arguments.queue {
        Some(name) => vec![name],
        None => QueueName::value_variants().to_vec(),
    };
    let queues =
        names.into_iter().map(|name| deployment.queue(name)).collect::<Result<Vec<_>, _>>()?;
    if arguments.list {
        return dead_letters::list(deployment, &queues, output).await;
    }
    let client = deployment.environment.sqs();
    let mut redrives = Vec::new();
    for queue in &queues {
        let redrive = redrive(&client, queue, output)
            .await
            .with_context(|| format!("failed to redrive the {} queue", queue.name))?;
        let moved = plural(redrive.moved, "dead letter");
        output.line(&match &redrive.problem {
            None if redrive.found == 0 && redrive.moved == 0 => format!("{:<14} no dead letters", queue.name),
            None => format!("{:<14} {moved} moved back", queue.name),
            Some(problem) => format!(
                "{:<14} {moved} moved back, the rest not: {problem}. No message was lost; run the command again.",
                queue.name,
            ),
        });
        redrives.push(redrive);
    }
    output.json(&json!({"queues": redrives}));
    Ok(Outcome::from_success(redrives.iter().all(|redrive| redrive.problem.is_none())))
}

async fn redrive(client: &Client, queue: &Queue, output: &Output) -> anyhow::Result<Redrive> {
    // Also if it is 0: the number is approximate.
    let found = QueueDepth::load(client, &queue.dlq_url).await?.total();
    let bar = output.progress_bar(found, queue.name);
    let move_task::TaskResult { moved, problem } =
        move_task::run(client, &queue.dlq_url, &bar).await?;
    bar.finish_and_clear();
    Ok(Redrive { queue: queue.name, found, moved, problem })
}
