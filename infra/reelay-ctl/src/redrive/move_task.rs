//! Runs an SQS message move task and follows it to its end.

use std::time::Duration;

use anyhow::bail;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{ListMessageMoveTasksResultEntry, QueueAttributeName};
use indicatif::ProgressBar;
use reelay_runtime::AwsError;

const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Polls after which the newest listed task counts as the started one, though it began when an earlier one did.
const MAX_POLLS_FOR_LATE_LIST: u32 = 5;

/// Error codes of `StartMessageMoveTask` when a task is already running: AWS's, and the embedded engine's.
const ALREADY_RUNNING: [&str; 2] =
    ["AWS.SimpleQueueService.UnsupportedOperation", "InvalidParameterValue"];

/// Result of a finished task.
#[derive(Debug)]
pub(super) struct TaskResult {
    pub(super) moved: u64,
    /// Why the task did not complete.
    pub(super) problem: Option<String>,
}

/// Starts a task, or joins the running one, and waits for its end.
///
/// # Errors
/// When SQS rejects a request, or does not list the task.
pub(super) async fn run(
    client: &Client,
    dlq_url: &str,
    bar: &ProgressBar,
) -> anyhow::Result<TaskResult> {
    let arn = queue_arn(client, dlq_url).await?;
    let earlier = latest_task(client, &arn).await?.map(|task| task.started_timestamp());
    // Without a destination SQS moves each message to its source queue.
    let started = client.start_message_move_task().source_arn(&arn).send().await;
    if let Err(error) = started {
        let error = AwsError::from_sdk("StartMessageMoveTask", &error);
        let is_running = ALREADY_RUNNING.contains(&error.code())
            && latest_task(client, &arn)
                .await?
                .is_some_and(|task| task.status() == Some("RUNNING"));
        if !is_running {
            return Err(error.into());
        }
    }
    let mut polls_for_late_list = 0;
    loop {
        let task = latest_task(client, &arn).await?;
        // The list may be late, and show none or the end of an earlier task.
        let is_started = task.as_ref().is_some_and(|task| {
            task.status() == Some("RUNNING") || Some(task.started_timestamp()) != earlier
        });
        if !is_started && polls_for_late_list < MAX_POLLS_FOR_LATE_LIST {
            polls_for_late_list += 1;
            tokio::time::sleep(POLL_INTERVAL).await;
            continue;
        }
        let Some(task) = task else {
            bail!("SQS does not list the message move task that it started");
        };
        let moved = u64::try_from(task.approximate_number_of_messages_moved()).unwrap_or(0);
        bar.set_position(moved);
        let problem = match task.status() {
            Some("RUNNING" | "CANCELLING") => {
                tokio::time::sleep(POLL_INTERVAL).await;
                continue;
            }
            Some("COMPLETED") => None,
            _ => Some(task.failure_reason().unwrap_or("the task was cancelled")),
        };
        return Ok(TaskResult { moved, problem: problem.map(str::to_owned) });
    }
}

async fn queue_arn(client: &Client, url: &str) -> Result<String, AwsError> {
    let response = client
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(QueueAttributeName::QueueArn)
        .send()
        .await
        .map_err(|error| AwsError::from_sdk("GetQueueAttributes", &error))?;
    response
        .attributes
        .and_then(|mut attributes| attributes.remove(&QueueAttributeName::QueueArn))
        .ok_or_else(|| AwsError::unexpected_response("GetQueueAttributes", "the queue has no ARN"))
}

async fn latest_task(
    client: &Client,
    arn: &str,
) -> Result<Option<ListMessageMoveTasksResultEntry>, AwsError> {
    let response = client
        .list_message_move_tasks()
        .source_arn(arn)
        .max_results(1)
        .send()
        .await
        .map_err(|error| AwsError::from_sdk("ListMessageMoveTasks", &error))?;
    Ok(response.results.unwrap_or_default().into_iter().next())
}
