//! `send-test`: sends one notification of each type to the app, past the queue and the tables.

mod samples;

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use reelay_domain::message::Notification;
use reelay_runtime::AwsError;
use serde_json::json;

pub(crate) use self::samples::samples;
use crate::arguments::Destination;
use crate::deployment::Deployment;
use crate::http::{AppEndpoint, describe, is_accepted};
use crate::output::{Outcome, Output, UsageError, table};

/// Result for an event that the bus accepted.
const ACCEPTED: &str = "accepted";

pub(crate) async fn run(
    deployment: &Deployment,
    to: Option<Destination>,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let is_wanted = |destination| to.is_none_or(|to| to == destination);
    let endpoint = match is_wanted(Destination::Webhook) {
        true => AppEndpoint::of_stack(deployment).await?,
        false => None,
    };
    if to == Some(Destination::Webhook) && endpoint.is_none() {
        return Err(UsageError("the stack has no AppWebhookUrl".to_owned()).into());
    }
    let (mut rows, mut is_everything_accepted) = (Vec::new(), true);
    let now = deployment.environment.clock.now();
    for notification in samples(deployment.resource("RecordingsBucket")?, now)? {
        let (mut webhook, mut bus) = (None, None);
        if let Some(endpoint) = &endpoint {
            let answer = endpoint.post(&notification, now).await?;
            is_everything_accepted &= is_accepted(answer);
            webhook = Some(describe(answer));
        }
        if is_wanted(Destination::Bus) {
            let answer = put(deployment, &notification).await?;
            is_everything_accepted &= answer == ACCEPTED;
            bus = Some(answer);
        }
        output.json(&json!({
            "id": notification.id, "type": notification.event_type, "webhook": webhook, "bus": bus,
        }));
        let cell = |answer: Option<String>| answer.unwrap_or_else(|| "-".to_owned());
        rows.push([notification.event_type, cell(webhook), cell(bus)]);
    }
    output.line(&table(["type", "AppWebhookUrl", "event bus"], &rows));
    Ok(Outcome::from_success(is_everything_accepted))
}

/// Puts a notification on the event bus, as the notifier does. Returns the result.
async fn put(deployment: &Deployment, notification: &Notification) -> anyhow::Result<String> {
    let entry = PutEventsRequestEntry::builder()
        .event_bus_name(deployment.output("EventBusName")?)
        .source("reelay")
        .detail_type(&notification.event_type)
        .detail(notification.body_with_id())
        .build();
    let response = deployment.environment.eventbridge().put_events().entries(entry).send().await;
    Ok(match response {
        Ok(response) => {
            let code = response.entries().iter().find_map(|entry| entry.error_code());
            code.unwrap_or(ACCEPTED).to_owned()
        }
        Err(error) => AwsError::from_sdk("PutEvents", &error).code().to_owned(),
    })
}
