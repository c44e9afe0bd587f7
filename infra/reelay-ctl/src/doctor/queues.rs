//! Checks the queues for dead letters and, on AWS, the state of the alarms.

use aws_sdk_cloudwatch::types::{MetricAlarm, StateValue};
use clap::ValueEnum as _;
use jiff::{SignedDuration, SpanRound, Timestamp, Unit};
use reelay_runtime::AwsError;

use super::finding::Finding;
use crate::arguments::QueueName;
use crate::deployment::{Deployment, Queue};
use crate::output::plural;
use crate::redrive::{self, QueueDepth};

pub(super) async fn check(deployment: &Deployment) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for name in QueueName::value_variants() {
        let queue = deployment.queue(*name)?;
        let check = format!("queue.{}", queue.name);
        findings.push(match dead_letters(deployment, &queue, &check).await {
            Ok(finding) => finding,
            Err(error) => Finding::not_checked(check, &error),
        });
    }
    if !deployment.is_dev {
        findings.push(alarms(deployment).await);
    }
    Ok(findings)
}

async fn dead_letters(
    deployment: &Deployment,
    queue: &Queue,
    check: &str,
) -> Result<Finding, AwsError> {
    let client = deployment.environment.sqs();
    let dead = QueueDepth::load(&client, &queue.dlq_url).await?.total();
    let depth = QueueDepth::load(&client, &queue.url).await?;
    let waiting = format!(
        "{} visible, {} in flight, {} delayed",
        depth.visible, depth.in_flight, depth.delayed
    );
    if dead == 0 {
        return Ok(Finding::ok(check, format!("no dead letters; {waiting}")));
    }
    let oldest = redrive::oldest(&client, &queue.dlq_url).await?;
    let age = oldest.and_then(|sent_at| age(sent_at, deployment.environment.clock.now()));
    let impact = match queue.name {
        "events" => "these recordings were not detected.",
        "downloads" => "these files are not in the bucket; the app was notified of the failure.",
        "notifications" => "the app did not receive these notifications.",
        _ => {
            "these grants were not revoked or maintained; the maintenance run enqueues most of these jobs again."
        }
    };
    Ok(Finding::fail(
        check,
        format!("{}{}; {waiting}", plural(dead, "dead letter"), age.unwrap_or_default()),
        format!("{impact} SQS deletes dead letters 14 days after they were first sent."),
        format!(
            "find the cause: {}\nfix it, then move the messages back: {}",
            deployment.reelay_command(&format!("redrive {} --list", queue.name)),
            deployment.reelay_command(&format!("redrive {}", queue.name)),
        ),
    ))
}

fn age(sent_at: Timestamp, now: Timestamp) -> Option<String> {
    let rounding = SpanRound::new().largest(Unit::Hour).smallest(Unit::Minute);
    let age = sent_at.until(now).ok()?.round(rounding).ok()?;
    Some(format!(", the oldest {age:#} old"))
}

const ALARMS: &str = "alarms";

async fn alarms(deployment: &Deployment) -> Finding {
    let names: Vec<String> = deployment
        .resources()
        .filter(|(logical, _)| logical.ends_with("Alarm"))
        .map(|(_, physical)| physical.to_owned())
        .collect();
    let response = aws_sdk_cloudwatch::Client::new(&deployment.environment.sdk)
        .describe_alarms()
        .set_alarm_names(Some(names))
        .max_records(100)
        .send()
        .await;
    let alarms = match response {
        Ok(response) => response.metric_alarms.unwrap_or_default(),
        Err(error) => {
            return Finding::not_checked(ALARMS, &AwsError::from_sdk("DescribeAlarms", &error));
        }
    };
    let active: Vec<String> = alarms
        .iter()
        .filter(|alarm| alarm.state_value() == Some(&StateValue::Alarm))
        .map(|alarm| {
            format!(
                "{}: {}",
                alarm.alarm_name().unwrap_or_default(),
                alarm.alarm_description().unwrap_or_default()
            )
        })
        .collect();
    if active.is_empty() {
        return silent(&alarms, deployment.environment.clock.now())
            .unwrap_or_else(|| Finding::ok(ALARMS, format!("none of {} is active", alarms.len())));
    }
    Finding::fail(
        ALARMS,
        format!("{} of {} are active", active.len(), alarms.len()),
        active.join("\n"),
        "follow the section of each alarm in docs/runbook.md.",
    )
}

/// Age from which an alarm has had time to receive data. A new one has none.
const NEW_ALARM: SignedDuration = SignedDuration::from_hours(4 * 24);

/// Warns of alarms that notify the operator when their data ends, and have none.
fn silent(alarms: &[MetricAlarm], now: Timestamp) -> Option<Finding> {
    let is_silent = |alarm: &&MetricAlarm| {
        let updated_at = alarm.alarm_configuration_updated_timestamp();
        alarm.state_value() == Some(&StateValue::InsufficientData)
            && !alarm.insufficient_data_actions().is_empty()
            && updated_at.is_some_and(|at| now.as_second() - at.secs() > NEW_ALARM.as_secs())
    };
    let silent = alarms.iter().filter(is_silent).map(|alarm| {
        let (name, description) = (alarm.alarm_name(), alarm.alarm_description());
        format!("{}: {}", name.unwrap_or_default(), description.unwrap_or_default())
    });
    let silent: Vec<String> = silent.collect();
    (!silent.is_empty()).then(|| {
        Finding::warn(
            ALARMS,
            "none is active, but data are missing",
            silent.join("\n"),
            "follow the section of each alarm in docs/runbook.md.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_cloudwatch::primitives::DateTime;

    #[test]
    fn alarm_without_data_is_silent_once_it_is_old() {
        let now: Timestamp = "2026-01-09T10:00:00Z".parse().unwrap();
        let alarm = |days: i64, action: &str, state: StateValue| {
            let updated_at = DateTime::from_secs(now.as_second() - days * 86_400);
            let actions = (!action.is_empty()).then(|| vec![action.to_owned()]);
            MetricAlarm::builder()
                .state_value(state)
                .set_insufficient_data_actions(actions)
                .alarm_configuration_updated_timestamp(updated_at)
                .build()
        };
        for (alarm, expected) in [
            (alarm(5, "topic", StateValue::InsufficientData), true),
            (alarm(1, "topic", StateValue::InsufficientData), false),
            (alarm(5, "topic", StateValue::Ok), false),
            (alarm(5, "", StateValue::InsufficientData), false),
        ] {
            assert_eq!(silent(std::slice::from_ref(&alarm), now).is_some(), expected, "{alarm:?}");
        }
    }
}
