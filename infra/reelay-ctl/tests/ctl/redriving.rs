//! `redrive`: put back, listed, and nothing lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reelay_embedded_aws::{Fault, Service};
use reelay_zoom_sim::{NewFault, NewFile, NewRecording, Point};
use serde_json::{Value, json};
use support::people::ADA;
use support::{System, store, zoom};

use crate::fake::Fake;
use crate::run;

/// A file that was given up after all of its retries, because Zoom gave a page instead.
async fn given_up(system: &System) {
    system.link("alice", ADA).await;
    let page = NewFault::always(Point::Download, reelay_zoom_sim::Fault::Html);
    system.zoom().arm(page).unwrap();
    let new = NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 500)]);
    zoom::complete(system, new).await;
    system.work().await;
    system.zoom().clear_faults(None);
    let queues = &system.stack.config().queues;
    assert_eq!(store::depth(&system.stack, &queues.downloads_dlq).await, 1);
}

#[tokio::test]
async fn dead_letters_are_listed_with_the_reason_and_stay() {
    let system = System::start().await;
    given_up(&system).await;
    let said = run::on(&system, "redrive --list --json").await;
    assert_eq!(said.code, 0, "{said:?}");
    let letters = said.lines();
    assert_eq!(letters.len(), 1, "{said:?}");
    assert_eq!(letters[0]["queue"], "downloads");
    assert_eq!(letters[0]["reason"], "html_instead_of_file");
    let logs = letters[0]["logs"].as_str().unwrap();
    assert!(
        logs.contains("recording-downloader")
            && logs.contains(letters[0]["message_id"].as_str().unwrap())
    );
    let said = run::on(&system, "redrive downloads --list").await;
    assert!(said.out.contains("html_instead_of_file"), "{said:?}");
    let dead = &system.stack.config().queues.downloads_dlq;
    assert_eq!(store::peek(&system.stack, dead).await.len(), 1);
}

#[tokio::test]
async fn what_was_given_up_is_put_back_and_worked_off() {
    let system = System::start().await;
    given_up(&system).await;
    let said = run::on(&system, "redrive --json").await;
    assert_eq!(said.code, 0, "{said:?}");
    let downloads = json!({"queue": "downloads", "found": 1, "moved": 1, "how": "by_hand"});
    assert!(
        said.json()["queues"]
            .as_array()
            .unwrap()
            .contains(&downloads),
        "{said:?}"
    );
    system.work().await;
    let queues = &system.stack.config().queues;
    for queue in [&queues.downloads, &queues.downloads_dlq] {
        assert_eq!(store::depth(&system.stack, queue).await, 0);
    }
    let said = run::on(&system, "redrive").await;
    assert_eq!(said.out.matches("no dead letters").count(), 4, "{said:?}");
}

#[tokio::test]
async fn no_letter_is_lost_when_it_cannot_be_put_back() {
    let system = System::start().await;
    let queues = system.stack.config().queues.clone();
    for number in 0..25 {
        store::send(
            &system.stack,
            &queues.jobs_dlq,
            &format!("{{\"n\":{number}}}"),
        )
        .await;
    }
    let faults = system.stack.engines().faults();
    // Some go through before it breaks.
    faults.fail_until_cleared(
        Service::Sqs,
        "SendMessage",
        Fault::error(403, "AccessDenied"),
    );
    let said = run::on(&system, "redrive jobs").await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.out.contains("Nothing is lost; run it again"),
        "{said:?}"
    );
    assert_eq!(store::depth(&system.stack, &queues.jobs_dlq).await, 25);
    faults.clear_all();
    // Sent, but not deleted: one too many, never one too few.
    faults.fail_next(
        Service::Sqs,
        "DeleteMessage",
        1,
        Fault::error(403, "AccessDenied"),
    );
    assert_eq!(run::on(&system, "redrive jobs").await.code, 1);
    assert_eq!(run::on(&system, "redrive jobs --json").await.code, 0);
    let mut moved = store::take(&system.stack, &queues.jobs).await;
    assert_eq!(moved.len(), 26);
    moved.sort();
    moved.dedup();
    assert_eq!(moved.len(), 25);
    assert_eq!(store::depth(&system.stack, &queues.jobs_dlq).await, 0);
}

/// An SQS that has move tasks, behind the configuration of a devstack. `looks`: what it says of the task, one
/// after the other.
async fn with_move_tasks(looks: Vec<Value>) -> Fake {
    let asked = Arc::new(AtomicUsize::new(0));
    Fake::with(move |headers, _| {
        let json = "application/x-amz-json-1.0";
        let target = headers.get("x-amz-target").map(|it| it.to_str().unwrap());
        let answer = match target {
            Some("AmazonSQS.GetQueueAttributes") => json!({"Attributes": {
                "QueueArn": "arn:aws:sqs:us-east-1:000000000000:dead",
                "ApproximateNumberOfMessages": "7",
            }}),
            Some("AmazonSQS.StartMessageMoveTask") => json!({"TaskHandle": "handle"}),
            Some("AmazonSQS.ListMessageMoveTasks") => {
                let look = asked.fetch_add(1, Ordering::Relaxed).min(looks.len() - 1);
                json!({"Results": [looks[look]]})
            }
            Some(other) => panic!("{other} is not part of moving"),
            None => {
                let here = format!("http://{}", headers["host"].to_str().unwrap());
                let queues = ["Events", "Downloads", "Notifications", "Jobs"];
                let names = queues
                    .iter()
                    .flat_map(|it| [format!("{it}Queue"), format!("{it}Dlq")]);
                let resources: serde_json::Map<_, _> = names
                    .map(|name| (name.clone(), format!("{here}/{name}").into()))
                    .collect();
                json!({
                    "region": "us-east-1",
                    "credentials": {"access_key_id": "test", "secret_access_key": "test"},
                    "endpoints": {
                        "dynamodb": here, "s3": here, "sqs": here, "kms": here,
                        "secretsmanager": here, "events": here,
                    },
                    "stack": {"outputs": {}, "parameters": {}, "resources": resources},
                })
            }
        };
        (200, json, answer.to_string())
    })
    .await
}

#[tokio::test]
async fn sqs_moves_them_itself_where_it_can() {
    let running = json!({"Status": "RUNNING", "ApproximateNumberOfMessagesMoved": 3});
    let done = json!({"Status": "COMPLETED", "ApproximateNumberOfMessagesMoved": 7});
    let sqs = with_move_tasks(vec![running, done]).await;
    let said = run::with(&format!("--dev {} redrive events --json", sqs.url()), &[]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let expected = json!({"queues": [{"queue": "events", "found": 7, "moved": 7, "how": "task"}]});
    assert_eq!(said.json(), expected);
}

#[tokio::test]
async fn a_task_that_sqs_gives_up_is_told() {
    let failed = json!({
        "Status": "FAILED", "ApproximateNumberOfMessagesMoved": 2, "FailureReason": "CouldNotDetermineMessageSource",
    });
    let sqs = with_move_tasks(vec![failed]).await;
    let said = run::with(&format!("--dev {} redrive events", sqs.url()), &[]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.out
            .contains("2 dead letters put back, not all: CouldNotDetermineMessageSource"),
        "{said:?}"
    );
}
