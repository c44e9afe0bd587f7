//! Dead letters: what lies there, since when, and why. Looking leaves them where they are.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use jiff::Timestamp;
use reelay_domain::message::{
    DownloadMessage, EventBody, EventMessage, Job, JobMessage, NotificationMessage,
};
use reelay_runtime::AwsError;
use reelay_store::recordings::RecordingTable;
use serde::Serialize;

use crate::Verdict;
use crate::deployment::{Deployment, Pair};
use crate::output::{Output, several, table};

/// So long a message is hidden while others are looked for; then it is shown again.
const HIDDEN_SECONDS: i32 = 30;
/// Nobody reads more of them.
const MOST: usize = 1000;

/// One of them.
#[derive(Debug, Serialize)]
struct Letter {
    queue: &'static str,
    message_id: String,
    /// When it was first sent.
    sent_at: Option<Timestamp>,
    /// What it is about, without what it says.
    about: String,
    /// Why it was given up, where that is written down.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The command that finds the reasons in the logs.
    logs: String,
}

/// When the oldest dead letter that can be seen was first sent.
pub(crate) async fn oldest(client: &Client, dlq_url: &str) -> Result<Option<Timestamp>, AwsError> {
    let seen = look(client, dlq_url).await?;
    Ok(seen.iter().filter_map(sent_at).min())
}

pub(super) async fn list(
    deployment: &Deployment,
    pairs: &[Pair],
    output: &Output,
) -> anyhow::Result<Verdict> {
    let client = deployment.environment.sqs();
    let recordings = RecordingTable::new(&deployment.environment)?;
    let mut letters = Vec::new();
    for pair in pairs {
        for message in look(&client, &pair.dlq).await? {
            let letter = read(deployment, &recordings, pair, &message).await?;
            output.object(&letter);
            letters.push(letter);
        }
    }
    if letters.is_empty() {
        output.text("There are no dead letters.");
        return Ok(Verdict::Fine);
    }
    let rows: Vec<[String; 5]> = letters
        .iter()
        .map(|letter| {
            [
                letter.queue.to_owned(),
                letter.sent_at.map(|at| at.to_string()).unwrap_or_default(),
                letter.message_id.clone(),
                letter.about.clone(),
                letter
                    .reason
                    .clone()
                    .unwrap_or_else(|| "in the logs".to_owned()),
            ]
        })
        .collect();
    let head = ["queue", "sent", "message", "about", "reason"];
    output.text(&table(head, &rows));
    output.note(&format!(
        "\n{}. The logs of one, such as the first:\n  {}\nOnce the reason is mended, put them back:\n  {}",
        several(letters.len(), "dead letter"),
        letters[0].logs,
        deployment.reelay("redrive"),
    ));
    Ok(Verdict::Fine)
}

/// All messages of a queue, which stay there.
async fn look(client: &Client, url: &str) -> Result<Vec<Message>, AwsError> {
    let mut seen: Vec<Message> = Vec::new();
    while seen.len() < MOST {
        let received = client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(10)
            .visibility_timeout(HIDDEN_SECONDS)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ReceiveMessage", &error))?;
        match received.messages.filter(|messages| !messages.is_empty()) {
            Some(messages) => seen.extend(messages),
            None => break,
        }
    }
    for message in &seen {
        let shown = client
            .change_message_visibility()
            .queue_url(url)
            .receipt_handle(message.receipt_handle().unwrap_or_default())
            .visibility_timeout(0)
            .send()
            .await;
        // It shows itself when its time is up.
        let _ = shown;
    }
    Ok(seen)
}

fn attribute(message: &Message, name: MessageSystemAttributeName) -> Option<&str> {
    let known = message.attributes.as_ref()?;
    known.get(&name).map(String::as_str)
}

fn sent_at(message: &Message) -> Option<Timestamp> {
    let milliseconds = attribute(message, MessageSystemAttributeName::SentTimestamp)?;
    Timestamp::from_millisecond(milliseconds.parse().ok()?).ok()
}

async fn read(
    deployment: &Deployment,
    recordings: &RecordingTable,
    pair: &Pair,
    message: &Message,
) -> anyhow::Result<Letter> {
    let body = message.body().unwrap_or_default();
    let message_id = message.message_id().unwrap_or_default().to_owned();
    let mut reason = None;
    let about = match pair.name {
        "downloads" => match serde_json::from_str::<DownloadMessage>(body) {
            Ok(order) => {
                reason = why_not_stored(recordings, &order).await?;
                format!("file {} of recording {}", order.file_id, order.recording_id)
            }
            Err(_) => unread(),
        },
        "events" => serde_json::from_str::<EventMessage>(body)
            .map_or_else(|_| unread(), |message| event(&message)),
        "notifications" => serde_json::from_str::<NotificationMessage>(body).map_or_else(
            |_| unread(),
            |message| {
                let told = message.notification;
                format!("{} {}", told.event_type, told.id)
            },
        ),
        _ => serde_json::from_str::<JobMessage>(body)
            .map_or_else(|_| unread(), |message| job(&message.job)),
    };
    Ok(Letter {
        queue: pair.name,
        sent_at: sent_at(message),
        about,
        reason,
        logs: deployment.logs(pair.worker, Some(&message_id)),
        message_id,
    })
}

/// A message of another version, or none of ours.
fn unread() -> String {
    "does not read as a message of this version".to_owned()
}

/// What the table says of the file.
async fn why_not_stored(
    recordings: &RecordingTable,
    order: &DownloadMessage,
) -> Result<Option<String>, AwsError> {
    let loaded = recordings
        .load(&order.zoom_user, &order.recording_id)
        .await?;
    let Some(loaded) = loaded else {
        return Ok(Some("the recording is gone".to_owned()));
    };
    let file = loaded
        .files
        .into_iter()
        .find(|it| it.metadata.id == order.file_id);
    Ok(match file {
        None => Some("the file is gone".to_owned()),
        Some(file) => file.reason,
    })
}

fn event(message: &EventMessage) -> String {
    match &message.body {
        EventBody::ObjectKey(key) => format!("an event, in the bucket at {key}"),
        EventBody::Event(event) => {
            let text = |pointer| event.pointer(pointer).and_then(|it| it.as_str());
            format!(
                "{} of {} / {}",
                text("/event").unwrap_or("an event"),
                text("/payload/account_id").unwrap_or("?"),
                text("/payload/object/host_id")
                    .or_else(|| text("/payload/user_id"))
                    .unwrap_or("?")
            )
        }
    }
}

fn job(job: &Job) -> String {
    let of = |what: &str, zoom_user: &reelay_domain::ids::ZoomUser| {
        format!("{what} {} / {}", zoom_user.account_id, zoom_user.user_id)
    };
    match job {
        Job::RevokeGrant { zoom_user } => of("revoke the grant of", zoom_user),
        Job::VerifyDeauthorization { zoom_user, .. } => of("check the grant of", zoom_user),
        Job::FinishConnect { .. } => "finish an authorization".to_owned(),
        Job::MaintainGrant { zoom_user } => of("look after", zoom_user),
        Job::RunMaintenance => "look for what is due".to_owned(),
        Job::Backfill {
            zoom_user,
            from,
            to,
        } => of(
            &format!("read the recordings from {from} to {to} of"),
            zoom_user,
        ),
    }
}
