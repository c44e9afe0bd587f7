//! Queues: dead letters, and what waits. On AWS also the alarms, which know how long it has waited.

use clap::ValueEnum as _;
use jiff::{SpanRound, Unit};
use reelay_runtime::AwsError;

use super::finding::Finding;
use crate::arguments::QueueName;
use crate::deployment::{Deployment, Pair};
use crate::redrive::{self, Depth};

pub(super) async fn examine(deployment: &Deployment) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for name in QueueName::value_variants() {
        let pair = deployment.pair(*name)?;
        findings.push(match dead_letters(deployment, &pair).await {
            Ok(finding) => finding,
            Err(failure) => unknown(format!("queue.{}", pair.name), &failure),
        });
    }
    if !deployment.is_dev {
        findings.push(alarms(deployment).await);
    }
    Ok(findings)
}

fn unknown(check: String, failure: &AwsError) -> Finding {
    Finding::warn(
        check,
        format!("can't be asked: {failure}"),
        "whether all is well there was not seen.",
        "see that you may read it, and run this again.",
    )
}

async fn dead_letters(deployment: &Deployment, pair: &Pair) -> Result<Finding, AwsError> {
    let client = deployment.environment.sqs();
    let check = format!("queue.{}", pair.name);
    let dead = Depth::of(&client, &pair.dlq).await?.all();
    let live = Depth::of(&client, &pair.queue).await?;
    let waiting = format!(
        "{} waiting, {} in work, {} for later",
        live.waiting, live.in_work, live.delayed
    );
    if dead == 0 {
        return Ok(Finding::ok(check, format!("no dead letters; {waiting}")));
    }
    let oldest = redrive::oldest(&client, &pair.dlq).await?;
    let age = oldest.map_or_else(String::new, |at| {
        let age = at.until(deployment.environment.clock.now()).ok();
        let rounded = age.and_then(|age| {
            age.round(SpanRound::new().largest(Unit::Hour).smallest(Unit::Minute))
                .ok()
        });
        rounded.map_or_else(String::new, |age| format!(", the oldest {age:#} old"))
    });
    let means = match pair.name {
        "events" => "these recordings were not noticed.",
        "downloads" => "these files are not in the bucket; the app was told that they failed.",
        "notifications" => "the app was not told of these.",
        _ => {
            "these grants were not ended or looked after; the clock orders most of it again every hour."
        }
    };
    Ok(Finding::fail(
        check,
        format!("{}{age}; {waiting}", redrive::letters(dead)),
        format!("{means} They are deleted 14 days after they were first sent."),
        format!(
            "see why: {}\nmend that, and put them back: {}",
            deployment.reelay(&format!("redrive {} --list", pair.name)),
            deployment.reelay(&format!("redrive {}", pair.name)),
        ),
    ))
}

/// Which of the stack's alarms have gone off. They know what a look of this moment can't: ages, rates, silence.
async fn alarms(deployment: &Deployment) -> Finding {
    const CHECK: &str = "alarms";
    let names: Vec<String> = deployment
        .resources()
        .filter(|(logical, _)| logical.ends_with("Alarm"))
        .map(|(_, physical)| physical.to_owned())
        .collect();
    let client = aws_sdk_cloudwatch::Client::new(&deployment.environment.sdk);
    let answer = client
        .describe_alarms()
        .set_alarm_names(Some(names.clone()))
        .max_records(100)
        .send()
        .await;
    let found = match answer {
        Ok(answer) => answer.metric_alarms.unwrap_or_default(),
        Err(error) => {
            return unknown(
                CHECK.to_owned(),
                &AwsError::from_sdk("DescribeAlarms", &error),
            );
        }
    };
    let off: Vec<String> = found
        .iter()
        .filter(|alarm| alarm.state_value() == Some(&aws_sdk_cloudwatch::types::StateValue::Alarm))
        .map(|alarm| {
            format!(
                "{}: {}",
                alarm.alarm_name().unwrap_or_default(),
                alarm.alarm_description().unwrap_or_default()
            )
        })
        .collect();
    if off.is_empty() {
        return Finding::ok(CHECK, format!("none of {} has gone off", found.len()));
    }
    Finding::fail(
        CHECK,
        format!("{} of {} have gone off", off.len(), found.len()),
        off.join("\n"),
        "docs/runbook.md has a heading for each.",
    )
}
