//! `redrive`: dead letters, listed or put back to where they came from.

mod by_hand;
mod letters;
mod task;

use anyhow::Context as _;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use clap::ValueEnum as _;
use reelay_runtime::AwsError;
use serde::Serialize;
use serde_json::json;

pub(crate) use self::letters::oldest;
use crate::Verdict;
use crate::arguments::{QueueName, Redrive};
use crate::deployment::{Deployment, Pair};
use crate::output::{Output, several};

/// How many messages a queue has, as far as SQS tells.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Depth {
    /// That can be received.
    pub(crate) waiting: u64,
    /// That somebody has received and not deleted.
    pub(crate) in_work: u64,
    /// That are delivered later.
    pub(crate) delayed: u64,
}

impl Depth {
    /// Reads it.
    pub(crate) async fn of(client: &Client, queue_url: &str) -> Result<Self, AwsError> {
        let answer = client
            .get_queue_attributes()
            .queue_url(queue_url)
            .attribute_names(QueueAttributeName::All)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("GetQueueAttributes", &error))?;
        let known = answer.attributes.unwrap_or_default();
        let number = |name: QueueAttributeName| {
            let text = known.get(&name);
            text.and_then(|text| text.parse().ok()).unwrap_or_default()
        };
        Ok(Self {
            waiting: number(QueueAttributeName::ApproximateNumberOfMessages),
            in_work: number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            delayed: number(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
        })
    }

    /// All of them.
    pub(crate) fn all(self) -> u64 {
        self.waiting + self.in_work + self.delayed
    }
}

/// What came of one queue.
#[derive(Debug, Serialize)]
struct Moved {
    queue: &'static str,
    /// Messages that lay there, as far as SQS told.
    found: u64,
    moved: u64,
    /// `task` if SQS did it by itself, `by_hand` if this tool did.
    how: &'static str,
    /// Why it is not all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

pub(crate) async fn run(
    deployment: &Deployment,
    wanted: &Redrive,
    output: &Output,
) -> anyhow::Result<Verdict> {
    let names = match wanted.queue {
        Some(name) => vec![name],
        None => QueueName::value_variants().to_vec(),
    };
    let mut pairs = Vec::new();
    for name in names {
        pairs.push(deployment.pair(name)?);
    }
    if wanted.list {
        return letters::list(deployment, &pairs, output).await;
    }
    let client = deployment.environment.sqs();
    let mut all = Vec::new();
    for pair in &pairs {
        let moved = redrive(&client, pair, output)
            .await
            .with_context(|| format!("the dead letters of {} can't be moved", pair.name))?;
        output.text(&match &moved.problem {
            None if moved.found == 0 && moved.moved == 0 => {
                format!("{:<14} no dead letters", pair.name)
            }
            None => format!("{:<14} {} put back", pair.name, letters(moved.moved)),
            Some(problem) => format!(
                "{:<14} {} put back, not all: {problem}. Nothing is lost; run it again.",
                pair.name,
                letters(moved.moved)
            ),
        });
        all.push(moved);
    }
    let is_whole = all.iter().all(|moved| moved.problem.is_none());
    output.object(&json!({"queues": all}));
    Ok(if is_whole {
        Verdict::Fine
    } else {
        Verdict::Wrong
    })
}

/// `1 dead letter`, `2 dead letters`.
pub(crate) fn letters(count: u64) -> String {
    several(usize::try_from(count).unwrap_or(usize::MAX), "dead letter")
}

async fn redrive(client: &Client, pair: &Pair, output: &Output) -> anyhow::Result<Moved> {
    let depth = Depth::of(client, &pair.dlq).await?;
    let mut moved = Moved {
        queue: pair.name,
        found: depth.all(),
        moved: 0,
        how: "task",
        problem: None,
    };
    if moved.found == 0 {
        return Ok(moved);
    }
    let bar = output.bar(moved.found, pair.name);
    let ended = match task::run(client, &pair.dlq, &bar).await? {
        Some(ended) => ended,
        None => {
            moved.how = "by_hand";
            by_hand::run(client, pair, &bar).await?
        }
    };
    bar.finish_and_clear();
    moved.moved = ended.moved;
    moved.problem = ended.problem;
    Ok(moved)
}

/// How a move ended.
#[derive(Debug, Default)]
struct Ended {
    moved: u64,
    problem: Option<String>,
}
