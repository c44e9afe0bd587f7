//! Lists dead letters with their age, subject and failure reason. Listing leaves them in the queue.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use reelay_domain::ids::ZoomUser;
use reelay_domain::listing::Backfill;
use reelay_domain::message::{
    DownloadMessage, EventBody, EventMessage, Job, JobMessage, NotificationMessage,
};
use reelay_runtime::AwsError;
use reelay_store::recordings::RecordingTable;
use serde::Serialize;
use serde_json::json;

use crate::deployment::{Deployment, Queue};
use crate::output::{Outcome, Output, plural, table, time};

use super::depth::QueueDepth;

/// Hides received messages until the listing has read the whole queue.
const VISIBILITY_TIMEOUT_SECONDS: i32 = 120;
const MAX_LISTED: usize = 1000;

/// A receive that waits asks all of SQS's servers; one that does not may miss messages of a short queue.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html>
const WAIT_SECONDS: i32 = 1;

/// Empty receives in a row after which a queue counts as read.
const EMPTY_RECEIVES: u32 = 2;

#[derive(Debug, Serialize)]
struct DeadLetter {
    queue: &'static str,
    message_id: String,
    /// Time of the first send.
    sent_at: Option<Timestamp>,
    /// Subject of the message, without its content.
    subject: String,
    /// Why processing failed, if the recordings table has the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Command that finds the failures in the logs.
    logs: String,
}

/// Returns when the oldest visible dead letter was first sent.
///
/// # Errors
/// When SQS rejects a request.
pub(crate) async fn oldest(client: &Client, dlq_url: &str) -> Result<Option<Timestamp>, AwsError> {
    let messages = peek(client, dlq_url).await?;
    Ok(messages.iter().filter_map(sent_at).min())
}

pub(super) async fn list(
    deployment: &Deployment,
    queues: &[Queue],
    output: &Output,
) -> anyhow::Result<Outcome> {
    let client = deployment.environment.sqs();
    let recordings = RecordingTable::new(&deployment.environment)?;
    let mut letters = Vec::new();
    let peeked = try_join_all(queues.iter().map(|queue| peek(&client, &queue.dlq_url))).await?;
    for (queue, messages) in queues.iter().zip(peeked) {
        if messages.len() >= MAX_LISTED {
            let total = QueueDepth::load(&client, &queue.dlq_url).await?.total();
            let (name, listed) = (queue.name, messages.len());
            output.json(&json!({"queue": name, "listed": listed, "total": total}));
            output.note(&format!("{name}: the first {listed} of about {total} dead letters"));
        }
        for message in messages {
            let letter = describe(deployment, &recordings, queue, &message).await?;
            output.json(&letter);
            letters.push(letter);
        }
    }
    if letters.is_empty() {
        output.line("There are no dead letters.");
        return Ok(Outcome::Success);
    }
    let rows: Vec<[String; 5]> = letters
        .iter()
        .map(|letter| {
            let reason = letter.reason.as_deref().unwrap_or("see logs");
            [
                letter.queue.to_owned(),
                letter.sent_at.map(time).unwrap_or_default(),
                letter.message_id.clone(),
                letter.subject.clone(),
                reason.to_owned(),
            ]
        })
        .collect();
    let header = ["queue", "sent", "message", "subject", "reason"];
    output.line(&table(header, &rows));
    output.note(&format!(
        "\n{}. Logs of the first one:\n  {}\nFix the cause, then move them back:\n  {}",
        plural(letters.len() as u64, "dead letter"),
        letters[0].logs,
        deployment.reelay_command("redrive"),
    ));
    Ok(Outcome::Success)
}

/// Receives up to [`MAX_LISTED`] messages and makes them visible again.
async fn peek(client: &Client, url: &str) -> Result<Vec<Message>, AwsError> {
    let mut messages: Vec<Message> = Vec::new();
    let mut empty = 0;
    while messages.len() < MAX_LISTED && empty < EMPTY_RECEIVES {
        let response = client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(10)
            .visibility_timeout(VISIBILITY_TIMEOUT_SECONDS)
            .wait_time_seconds(WAIT_SECONDS)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ReceiveMessage", &error))?;
        let batch = response.messages.unwrap_or_default();
        empty = if batch.is_empty() { empty + 1 } else { 0 };
        messages.extend(batch);
    }
    for message in &messages {
        // If this fails the message becomes visible after its timeout.
        let _ = client
            .change_message_visibility()
            .queue_url(url)
            .receipt_handle(message.receipt_handle().unwrap_or_default())
            .visibility_timeout(0)
            .send()
            .await;
    }
    Ok(messages)
}

fn sent_at(message: &Message) -> Option<Timestamp> {
    let attributes = message.attributes.as_ref()?;
    let milliseconds = attributes.get(&MessageSystemAttributeName::SentTimestamp)?;
    Timestamp::from_millisecond(milliseconds.parse().ok()?).ok()
}

async fn describe(
    deployment: &Deployment,
    recordings: &RecordingTable,
    queue: &Queue,
    message: &Message,
) -> anyhow::Result<DeadLetter> {
    let body = message.body().unwrap_or_default();
    let message_id = message.message_id().unwrap_or_default().to_owned();
    let mut reason = None;
    let subject = match queue.name {
        "downloads" => match serde_json::from_str::<DownloadMessage>(body) {
            Ok(download) => {
                reason = failure_reason(recordings, &download).await?;
                Ok(format!("file {} of recording {}", download.file_id, download.recording_id))
            }
            Err(error) => Err(error),
        },
        "events" => serde_json::from_str(body).map(|message| describe_event(&message)),
        "notifications" => serde_json::from_str::<NotificationMessage>(body).map(|message| {
            let notification = message.notification;
            format!("{} {}", notification.event_type, notification.id)
        }),
        _ => serde_json::from_str::<JobMessage>(body).map(|message| describe_job(&message.job)),
    };
    Ok(DeadLetter {
        queue: queue.name,
        sent_at: sent_at(message),
        subject: subject.unwrap_or_else(|_| "not a message of this version of Reelay".to_owned()),
        reason,
        logs: deployment.logs_command(queue.consumer, Some(&message_id)),
        message_id,
    })
}

/// Loads the failure reason of a file from the recordings table.
async fn failure_reason(
    recordings: &RecordingTable,
    download: &DownloadMessage,
) -> Result<Option<String>, AwsError> {
    let recording = recordings.load(&download.zoom_user, &download.recording_id).await?;
    let Some(recording) = recording else {
        return Ok(Some("the recording was deleted".to_owned()));
    };
    let mut files = recording.files.into_iter();
    Ok(match files.find(|file| file.observed.metadata.id == download.file_id) {
        None => Some("the file was deleted".to_owned()),
        Some(file) => file.reason,
    })
}

fn describe_event(message: &EventMessage) -> String {
    match &message.body {
        EventBody::ObjectKey(key) | EventBody::EncryptedObjectKey(key) => {
            format!("event in the bucket at {key}")
        }
        EventBody::Event(event) => {
            let text = |pointer| event.pointer(pointer).and_then(|value| value.as_str());
            format!(
                "{} of {} / {}",
                text("/event").unwrap_or("event"),
                text("/payload/account_id").unwrap_or("?"),
                text("/payload/object/host_id").or_else(|| text("/payload/user_id")).unwrap_or("?")
            )
        }
    }
}

fn describe_job(job: &Job) -> String {
    let of = |action: &str, zoom_user: &ZoomUser| {
        format!("{action} {} / {}", zoom_user.account_id, zoom_user.user_id)
    };
    match job {
        Job::RevokeGrant { zoom_user } => of("revoke the grant of", zoom_user),
        Job::EndTransfers { zoom_user, .. } => of("remove unfinished transfers of", zoom_user),
        Job::VerifyDeauthorization { zoom_user, .. } => {
            of("verify the deauthorization of", zoom_user)
        }
        Job::FinishConnect { .. } => "finish an interrupted authorization".to_owned(),
        Job::MaintainGrant { zoom_user } => of("maintain the grant of", zoom_user),
        Job::EraseRecordings { zoom_user, .. } => of("erase the recordings of", zoom_user),
        Job::TrashAtZoom { zoom_user, .. } => of("trash at Zoom a recording of", zoom_user),
        Job::SweepErased { zoom_user, .. } => of("erase what remains of", zoom_user),
        Job::NotifyActivation { zoom_user, .. } => {
            of("notify a new link of recordings of", zoom_user)
        }
        Job::RunMaintenance => "run maintenance".to_owned(),
        Job::RunRetries => "run retries".to_owned(),
        Job::Backfill(Backfill { zoom_user, from, to, .. }) => {
            of(&format!("backfill {from} to {to} of"), zoom_user)
        }
        Job::ReadDetails { zoom_user, .. } => of("read a recording's details of", zoom_user),
        Job::Reconcile(run) => of("reconcile", &run.zoom_user),
        Job::EventArrived { zoom_user } => of("clear the missing events of", zoom_user),
    }
}
