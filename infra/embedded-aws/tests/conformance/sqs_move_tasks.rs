//! Dead-letter queue redrive. The error codes of invalid calls are those that AWS returns in practice.

use std::time::Duration;

use aws_sdk_sqs::{
    Client,
    types::{ListMessageMoveTasksResultEntry, MessageAttributeValue, QueueAttributeName},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    cloud::{Cloud, code},
    sqs::{arn, attribute, queue, receive},
};

/// A queue and its dead-letter queue: URL and ARN each.
struct Pair {
    queue: String,
    queue_arn: String,
    dead: String,
    dead_arn: String,
}

async fn pair(sqs: &Client) -> Pair {
    let dead = queue(sqs, &[]).await;
    let dead_arn = arn(sqs, &dead).await;
    let policy = format!(r#"{{"deadLetterTargetArn":"{dead_arn}","maxReceiveCount":1}}"#);
    let attributes = [
        (QueueAttributeName::VisibilityTimeout, "0"),
        (QueueAttributeName::RedrivePolicy, policy.as_str()),
    ];
    let queue = queue(sqs, &attributes).await;
    Pair { queue_arn: arn(sqs, &queue).await, queue, dead, dead_arn }
}

/// Sends messages `0`, `1`, … and receives them until SQS has moved them to the dead-letter queue.
async fn dead_letters(sqs: &Client, pair: &Pair, count: usize) {
    let trace = MessageAttributeValue::builder().data_type("String");
    let trace = trace.string_value("1-2-3").build().unwrap();
    for number in 0..count {
        let send = sqs.send_message().queue_url(&pair.queue);
        let send = send.message_attributes("trace", trace.clone());
        send.message_body(number.to_string()).send().await.unwrap();
    }
    while visible(sqs, &pair.dead).await < count {
        receive(sqs, &pair.queue, 0).await;
    }
    assert_eq!(visible(sqs, &pair.queue).await, 0);
}

async fn visible(sqs: &Client, url: &str) -> usize {
    let name = QueueAttributeName::ApproximateNumberOfMessages;
    attribute(sqs, url, name).await.parse().unwrap()
}

async fn latest(sqs: &Client, arn: &str) -> ListMessageMoveTasksResultEntry {
    let listed = sqs.list_message_move_tasks().source_arn(arn).send().await;
    listed.unwrap().results.unwrap().remove(0)
}

/// The newest task, once it has ended.
async fn ended(sqs: &Client, arn: &str) -> ListMessageMoveTasksResultEntry {
    for _ in 0..200 {
        let task = latest(sqs, arn).await;
        if !matches!(task.status(), Some("RUNNING" | "CANCELLING")) {
            return task;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the task does not end");
}

#[tokio::test]
async fn task_moves_dead_letters_to_their_source() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let pair = pair(&sqs).await;
    dead_letters(&sqs, &pair, 12).await;
    let start = sqs.start_message_move_task().source_arn(&pair.dead_arn);
    start.send().await.unwrap();
    let task = ended(&sqs, &pair.dead_arn).await;
    assert_eq!(task.status(), Some("COMPLETED"));
    assert_eq!(task.task_handle(), None, "shown while running only");
    assert_eq!(task.approximate_number_of_messages_moved(), 12);
    assert_eq!(task.approximate_number_of_messages_to_move(), Some(12));
    assert_eq!(task.source_arn(), Some(&*pair.dead_arn));
    assert_eq!(task.destination_arn(), None);
    assert!(task.started_timestamp() > 1_600_000_000_000, "milliseconds");
    assert_eq!(visible(&sqs, &pair.dead).await, 0);
    assert_eq!(visible(&sqs, &pair.queue).await, 12);
    let receive = sqs.receive_message().queue_url(&pair.queue);
    let received = receive.message_attribute_names("All").send().await.unwrap();
    let attributes = received.messages()[0].message_attributes().unwrap();
    assert_eq!(attributes["trace"].string_value(), Some("1-2-3"));
}

#[tokio::test]
async fn task_moves_dead_letters_to_a_given_destination() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let pair = pair(&sqs).await;
    dead_letters(&sqs, &pair, 1).await;
    // Unlike the other, this message has no source queue.
    let send = sqs.send_message().queue_url(&pair.dead);
    send.message_body("direct").send().await.unwrap();
    let other = queue(&sqs, &[]).await;
    let other_arn = arn(&sqs, &other).await;
    let start = sqs.start_message_move_task().source_arn(&pair.dead_arn);
    let start = start.destination_arn(&other_arn);
    start.send().await.unwrap();
    let task = ended(&sqs, &pair.dead_arn).await;
    assert_eq!(task.status(), Some("COMPLETED"));
    assert_eq!(task.destination_arn(), Some(&*other_arn));
    assert_eq!(visible(&sqs, &other).await, 2);
}

#[tokio::test]
async fn task_fails_on_a_message_without_source() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let pair = pair(&sqs).await;
    let send = sqs.send_message().queue_url(&pair.dead);
    send.message_body("direct").send().await.unwrap();
    let start = || sqs.start_message_move_task().source_arn(&pair.dead_arn);
    start().send().await.unwrap();
    let task = ended(&sqs, &pair.dead_arn).await;
    assert_eq!(task.status(), Some("FAILED"));
    let reason = task.failure_reason();
    assert_eq!(reason, Some("CouldNotDetermineMessageSource"));
    assert_eq!(task.approximate_number_of_messages_moved(), 0);
    assert_eq!(visible(&sqs, &pair.dead).await, 1);
}

#[tokio::test]
async fn one_task_runs_at_a_time_and_can_be_cancelled() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let pair = pair(&sqs).await;
    dead_letters(&sqs, &pair, 3).await;
    let start = || sqs.start_message_move_task().source_arn(&pair.dead_arn);
    let slow = start().max_number_of_messages_per_second(1);
    let handle = slow.send().await.unwrap().task_handle.unwrap();
    let task = latest(&sqs, &pair.dead_arn).await;
    assert_eq!(task.status(), Some("RUNNING"));
    assert_eq!(task.task_handle(), Some(&*handle));
    assert_eq!(task.max_number_of_messages_per_second(), Some(1));
    assert_eq!(code(start().send().await), "InvalidParameterValue");

    let cancel = || sqs.cancel_message_move_task().task_handle(&handle);
    let moved = cancel().send().await.unwrap();
    let moved = moved.approximate_number_of_messages_moved();
    assert!(moved < 3, "{moved}");
    let task = latest(&sqs, &pair.dead_arn).await;
    assert!(matches!(task.status(), Some("CANCELLING" | "CANCELLED")));
    assert_eq!(code(cancel().send().await), "ResourceNotFoundException");
    let task = ended(&sqs, &pair.dead_arn).await;
    assert_eq!(task.status(), Some("CANCELLED"));
    assert!(visible(&sqs, &pair.dead).await >= 1);

    start().send().await.unwrap();
    assert_eq!(ended(&sqs, &pair.dead_arn).await.status(), Some("COMPLETED"));
    assert_eq!(visible(&sqs, &pair.queue).await, 3);
    let list = sqs.list_message_move_tasks().source_arn(&pair.dead_arn);
    let listed = list.max_results(10).send().await.unwrap();
    let statuses = listed.results().iter().map(|task| task.status().unwrap());
    assert_eq!(statuses.collect::<Vec<_>>(), ["COMPLETED", "CANCELLED"]);
}

#[tokio::test]
async fn invalid_calls_are_rejected() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let pair = pair(&sqs).await;
    let absent = format!("{}-absent", pair.dead_arn);
    let same = Some(pair.dead_arn.as_str());
    for (source, destination, rate, expected) in [
        (&absent, None, None, "ResourceNotFoundException"),
        (&pair.dead_arn, Some(absent.as_str()), None, "ResourceNotFoundException"),
        (&pair.dead_arn, same, None, "InvalidParameterValue"),
        (&pair.dead_arn, None, Some(501), "InvalidParameterValue"),
        // Not a dead-letter queue.
        (&pair.queue_arn, None, None, "InvalidParameterValue"),
    ] {
        let start = sqs.start_message_move_task().source_arn(source);
        let start = start
            .set_destination_arn(destination.map(str::to_owned))
            .set_max_number_of_messages_per_second(rate);
        assert_eq!(code(start.send().await), expected, "{source} {destination:?} {rate:?}");
    }
    for (source, max_results, expected) in [
        (&absent, 1, "ResourceNotFoundException"),
        (&pair.dead_arn, 0, "InvalidParameterValue"),
        (&pair.dead_arn, 11, "InvalidParameterValue"),
    ] {
        let list = sqs.list_message_move_tasks().source_arn(source);
        assert_eq!(code(list.max_results(max_results).send().await), expected);
    }
    let cancel = sqs.cancel_message_move_task().task_handle("unknown");
    assert_eq!(code(cancel.send().await), "InvalidParameterValue");
    // A well-formed handle of a task that never was: {"taskId":"1","sourceArn":"<dead-letter queue>"}.
    let json = format!(r#"{{"taskId":"1","sourceArn":"{}"}}"#, pair.dead_arn);
    let cancel = sqs.cancel_message_move_task().task_handle(STANDARD.encode(json));
    assert_eq!(code(cancel.send().await), "ResourceNotFoundException");
}
