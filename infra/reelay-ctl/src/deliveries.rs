//! `deliveries`: lists attempts at delivering notifications, and the destinations' last responses.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::SignedDuration;
use reelay_domain::delivery::Delivery;
use reelay_domain::ids::AppUserId;
use reelay_store::notifications::NotificationTable;
use serde_json::json;

use crate::arguments::Since;
use crate::deployment::Deployment;
use crate::output::{Outcome, Output, table, time};

/// Notifications that are read at the same time.
const CONCURRENCY: usize = 16;

/// Value of `--since` if it is absent.
const DEFAULT_SINCE: Since = Since::Ago(SignedDuration::from_hours(24));

pub(crate) async fn run(
    deployment: &Deployment,
    user: Option<&AppUserId>,
    since: Option<Since>,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let notifications = NotificationTable::new(&deployment.environment)?;
    let since = since.unwrap_or(DEFAULT_SINCE).at(deployment.environment.clock.now());
    let mut found = notifications.guards_since(since).await?;
    found.retain(|(_, guard)| user.is_none_or(|user| *user == guard.app_user_id));
    let types: Vec<Option<String>> = stream::iter(&found)
        .map(|(key, guard)| async {
            let notification = notifications.notification(&key.id, guard).await?;
            anyhow::Ok(notification.map(|it| it.event_type))
        })
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    // The notifier leaves a destination that is not configured untouched.
    let has_webhook = !deployment.parameter("AppWebhookUrl").is_empty();
    let (mut objects, mut rows) = (Vec::new(), Vec::new());
    for ((key, guard), event_type) in found.iter().zip(types) {
        // A guard without a row: the notification was erased.
        let Some(event_type) = event_type else { continue };
        let webhook = has_webhook.then_some(&guard.webhook);
        objects.push(json!({
            "id": key.id, "type": event_type, "app_user_id": guard.app_user_id,
            "created_at": guard.stamp, "webhook": webhook.map(view), "bus": view(&guard.bus),
        }));
        rows.push([
            time(guard.stamp),
            guard.app_user_id.to_string(),
            event_type,
            webhook.map_or_else(|| "-".to_owned(), describe),
            describe(&guard.bus),
            key.id.clone(),
        ]);
    }
    output.json(&json!({"deliveries": objects}));
    if rows.is_empty() {
        output.line(&format!("No notifications since {}.", time(since)));
    } else {
        let header = ["created", "app user", "type", "AppWebhookUrl", "event bus", "id"];
        output.line(&table(header, &rows));
    }
    Ok(Outcome::Success)
}

fn state(delivery: &Delivery) -> &'static str {
    match delivery {
        Delivery { delivered_at: Some(_), .. } => "delivered",
        Delivery { gave_up_at: Some(_), .. } => "given_up",
        Delivery { is_held: true, .. } => "held",
        _ => "pending",
    }
}

fn view(delivery: &Delivery) -> serde_json::Value {
    json!({
        "status": state(delivery), "attempts": delivery.attempts, "last_answer": delivery.last_answer,
        "delivered_at": delivery.delivered_at, "gave_up_at": delivery.gave_up_at,
        "next_attempt_at": delivery.next_attempt_at,
    })
}

/// Such as `pending (2 attempts, last 503)`.
fn describe(delivery: &Delivery) -> String {
    let answer = delivery.last_answer.as_deref().unwrap_or("none");
    match (state(delivery), delivery.attempts) {
        (state, 0) => state.replace('_', " "),
        (state, 1) => format!("{} ({answer})", state.replace('_', " ")),
        (state, attempts) => {
            format!("{} ({attempts} attempts, last {answer})", state.replace('_', " "))
        }
    }
}
