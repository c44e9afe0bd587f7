//! SQS moves messages by itself: a message move task.

use std::time::Duration;

use anyhow::bail;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{ListMessageMoveTasksResultEntry, QueueAttributeName};
use indicatif::ProgressBar;
use reelay_runtime::AwsError;

use super::Ended;

/// Between two looks at how far it is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What engines say that do not have the call. AWS says the first of them when a task is running already.
const NOT_THERE: [&str; 7] = [
    "AWS.SimpleQueueService.UnsupportedOperation",
    "UnsupportedOperation",
    "InvalidAction",
    "UnknownOperation",
    "UnknownOperationException",
    "NotImplemented",
    "NotImplementedException",
];

/// Starts a task, or finds the one that is running, and follows it to its end. `None` where there are no tasks.
pub(super) async fn run(
    client: &Client,
    dlq_url: &str,
    bar: &ProgressBar,
) -> anyhow::Result<Option<Ended>> {
    let arn = arn(client, dlq_url).await?;
    // Without a destination each message goes to the queue that it came from.
    let started = client
        .start_message_move_task()
        .source_arn(&arn)
        .send()
        .await;
    if let Err(error) = started {
        let failure = AwsError::from_sdk("StartMessageMoveTask", &error);
        if !NOT_THERE.contains(&failure.code()) {
            return Err(failure.into());
        }
        match latest(client, &arn).await {
            Ok(Some(task)) if task.status() == Some("RUNNING") => {}
            Ok(_) => return Ok(None),
            Err(failure) if NOT_THERE.contains(&failure.code()) => return Ok(None),
            Err(failure) => return Err(failure.into()),
        }
    }
    loop {
        let Some(task) = latest(client, &arn).await? else {
            bail!("the task that SQS has begun is not in its list");
        };
        let moved = u64::try_from(task.approximate_number_of_messages_moved()).unwrap_or(0);
        bar.set_position(moved);
        let problem = match task.status() {
            Some("RUNNING" | "CANCELLING") => {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            Some("COMPLETED") => None,
            _ => Some(
                task.failure_reason()
                    .unwrap_or("the task was ended")
                    .to_owned(),
            ),
        };
        return Ok(Some(Ended { moved, problem }));
    }
}

async fn arn(client: &Client, url: &str) -> Result<String, AwsError> {
    let answer = client
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(QueueAttributeName::QueueArn)
        .send()
        .await
        .map_err(|error| AwsError::from_sdk("GetQueueAttributes", &error))?;
    answer
        .attributes
        .and_then(|mut known| known.remove(&QueueAttributeName::QueueArn))
        .ok_or_else(|| AwsError::unexpected_response("GetQueueAttributes", "the queue has no ARN"))
}

/// The newest task of a queue.
async fn latest(
    client: &Client,
    arn: &str,
) -> Result<Option<ListMessageMoveTasksResultEntry>, AwsError> {
    let answer = client
        .list_message_move_tasks()
        .source_arn(arn)
        .max_results(1)
        .send()
        .await
        .map_err(|error| AwsError::from_sdk("ListMessageMoveTasks", &error))?;
    Ok(answer.results.unwrap_or_default().into_iter().next())
}
