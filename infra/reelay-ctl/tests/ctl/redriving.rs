//! `redrive`: lists dead letters, and moves them back without loss.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reelay_embedded_aws::{Fault, Service};
use reelay_zoom_sim::{NewFault, NewFile, NewRecording, Point};
use serde_json::{Value, json};
use support::System;
use support::zoom_users::ADA;

use crate::fake::Fake;
use crate::run;

/// Starts a system with one dead letter: a download whose table is unavailable after Zoom sent HTML.
async fn system_with_failed_download() -> System {
    let system = System::with(&[("RetryDays", "1")]).await;
    system.link("alice", ADA).await;
    let html = NewFault::always(Point::Download, reelay_zoom_sim::Fault::Html);
    system.zoom().arm(html).unwrap();
    let recording = NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 500)]);
    system.complete_recording(recording).await;
    system.process_queues().await;
    system.zoom().clear_faults(None);
    let queues = &system.queues();
    let denied = Fault::error(400, "AccessDeniedException");
    system.faults().fail_until_cleared(Service::DynamoDb, "UpdateItem", denied);
    assert_eq!(system.stack.engines().queues().end_delays(&queues.downloads), 1);
    system.process_queues().await;
    system.faults().clear_all();
    assert_eq!(system.queue_depth(&queues.downloads_dlq).await, 1);
    system
}

#[tokio::test]
async fn listing_shows_reason_and_keeps_messages() {
    let system = system_with_failed_download().await;
    let output = run::on(&system, "redrive --list --json").await;
    assert_eq!(output.code, 0, "{output:?}");
    let letters = output.lines();
    assert_eq!(letters.len(), 1, "{output:?}");
    let letter = &letters[0];
    assert_eq!(letter["queue"], "downloads");
    assert_eq!(letter["reason"], "html_instead_of_file");
    let subject = letter["subject"].as_str().unwrap();
    assert!(subject.starts_with("file "), "{letter}");
    let logs = letter["logs"].as_str().unwrap();
    assert!(logs.contains("recording-downloader"), "{letter}");
    let message_id = letter["message_id"].as_str().unwrap();
    assert!(logs.contains(message_id), "{letter}");
    let output = run::on(&system, "redrive downloads --list").await;
    assert!(output.out.contains("html_instead_of_file"), "{output:?}");
    let dlq = &system.queues().downloads_dlq;
    assert_eq!(system.peek_messages(dlq).await.len(), 1);
}

#[tokio::test]
async fn dead_letter_is_moved_back_and_processed() {
    let system = system_with_failed_download().await;
    let output = run::on(&system, "redrive --json").await;
    assert_eq!(output.code, 0, "{output:?}");
    let downloads = json!({"queue": "downloads", "found": 1, "moved": 1});
    let queues = output.json()["queues"].clone();
    assert!(queues.as_array().unwrap().contains(&downloads), "{output:?}");
    system.process_queues().await;
    let queues = &system.queues();
    for queue in [&queues.downloads, &queues.downloads_dlq] {
        assert_eq!(system.queue_depth(queue).await, 0);
    }
    let output = run::on(&system, "redrive").await;
    assert_eq!(output.out.matches("no dead letters").count(), 4, "{output:?}");
}

#[tokio::test]
async fn failed_redrive_loses_no_message() {
    let system = system_with_failed_download().await;
    let queues = system.queues().clone();
    let faults = system.faults();
    let denied = Fault::error(403, "AccessDenied");
    faults.fail_until_cleared(Service::Sqs, "StartMessageMoveTask", denied);
    let output = run::on(&system, "redrive downloads").await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.err.contains("AccessDenied"), "{output:?}");
    assert_eq!(system.queue_depth(&queues.downloads_dlq).await, 1);
    faults.clear_all();

    // SQS cannot move messages that were sent to the dead-letter queue directly.
    for number in 0..3 {
        let body = json!({"n": number}).to_string();
        system.send_message(&queues.jobs_dlq, &body).await;
    }
    let output = run::on(&system, "redrive jobs").await;
    assert_eq!(output.code, 1, "{output:?}");
    for text in ["CouldNotDetermineMessageSource", "No message was lost"] {
        assert!(output.out.contains(text), "{output:?}");
    }
    assert_eq!(system.queue_depth(&queues.jobs_dlq).await, 3);
}

/// Starts a fake devstack whose SQS responds to `StartMessageMoveTask` with `start` and lists `tasks` one after
/// another.
async fn fake_sqs(start: (u16, Value), tasks: Vec<Value>) -> Fake {
    let listed = Arc::new(AtomicUsize::new(0));
    Fake::with(move |headers, _| {
        let target = headers.get("x-amz-target").map(|it| it.to_str().unwrap());
        let (status, response) = match target {
            Some("AmazonSQS.GetQueueAttributes") => {
                let attributes = json!({
                    "QueueArn": "arn:aws:sqs:us-east-1:000000000000:dlq",
                    "ApproximateNumberOfMessages": "7",
                });
                (200, json!({"Attributes": attributes}))
            }
            Some("AmazonSQS.StartMessageMoveTask") => start.clone(),
            Some("AmazonSQS.ListMessageMoveTasks") => {
                let index = listed.fetch_add(1, Ordering::Relaxed).min(tasks.len() - 1);
                (200, json!({"Results": [tasks[index]]}))
            }
            Some(other) => panic!("unexpected request {other}"),
            None => {
                let url = format!("http://{}", headers["host"].to_str().unwrap());
                let resources: serde_json::Map<_, _> =
                    ["Events", "Downloads", "Notifications", "Jobs"]
                        .iter()
                        .flat_map(|queue| [format!("{queue}Queue"), format!("{queue}Dlq")])
                        .map(|name| (name.clone(), format!("{url}/{name}").into()))
                        .collect();
                let config = json!({
                    "region": "us-east-1",
                    "credentials": {"access_key_id": "test", "secret_access_key": "test"},
                    "endpoints": {
                        "dynamodb": url, "s3": url, "sqs": url, "kms": url,
                        "secretsmanager": url, "events": url,
                    },
                    "stack": {"outputs": {}, "parameters": {}, "resources": resources},
                });
                (200, config)
            }
        };
        (status, "application/x-amz-json-1.0", response.to_string())
    })
    .await
}

fn started() -> (u16, Value) {
    (200, json!({"TaskHandle": "handle"}))
}

fn rejected(code: &str) -> (u16, Value) {
    (400, json!({"__type": code, "message": "rejected"}))
}

fn task(status: &str, moved: u32) -> Value {
    json!({"Status": status, "ApproximateNumberOfMessagesMoved": moved})
}

#[tokio::test]
async fn started_or_running_task_is_followed_to_its_end() {
    for start in [
        started(),
        rejected("AWS.SimpleQueueService.UnsupportedOperation"),
        rejected("InvalidParameterValue"),
    ] {
        let tasks = vec![task("RUNNING", 3), task("RUNNING", 5), task("COMPLETED", 7)];
        let sqs = fake_sqs(start.clone(), tasks).await;
        let command = format!("--dev {} redrive events --json", sqs.url());
        let output = run::with(&command, &[]).await;
        assert_eq!(output.code, 0, "{start:?}: {output:?}");
        let expected = json!({"queues": [{"queue": "events", "found": 7, "moved": 7}]});
        assert_eq!(output.json(), expected, "{start:?}");
    }
}

#[tokio::test]
async fn rejected_start_without_running_task_fails() {
    let sqs = fake_sqs(rejected("InvalidParameterValue"), vec![task("COMPLETED", 7)]).await;
    let output = run::with(&format!("--dev {} redrive events", sqs.url()), &[]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.err.contains("InvalidParameterValue"), "{output:?}");
}

#[tokio::test]
async fn failed_task_is_reported_with_its_reason() {
    let mut failed = task("FAILED", 2);
    failed["FailureReason"] = "CouldNotDetermineMessageSource".into();
    let sqs = fake_sqs(started(), vec![failed]).await;
    let output = run::with(&format!("--dev {} redrive events", sqs.url()), &[]).await;
    assert_eq!(output.code, 1, "{output:?}");
    let expected = "2 dead letters moved back, the rest not: CouldNotDetermineMessageSource";
    assert!(output.out.contains(expected), "{output:?}");
}
