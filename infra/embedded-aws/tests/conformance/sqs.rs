use std::time::{Duration, Instant};

use aws_sdk_sqs::{
    Client,
    operation::send_message::builders::SendMessageFluentBuilder,
    types::{
        Message, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName,
        SendMessageBatchRequestEntry,
    },
};

use jiff::SignedDuration;

use crate::cloud::{Cloud, code, fresh};

pub(crate) async fn queue(sqs: &Client, attributes: &[(QueueAttributeName, &str)]) -> String {
    named_queue(sqs, &fresh("queue"), attributes).await
}

async fn named_queue(
    sqs: &Client,
    name: &str,
    attributes: &[(QueueAttributeName, &str)],
) -> String {
    let mut create = sqs.create_queue().queue_name(name);
    for (name, value) in attributes {
        create = create.attributes(name.clone(), *value);
    }
    create.send().await.unwrap().queue_url.unwrap()
}

pub(crate) async fn attribute(sqs: &Client, url: &str, name: QueueAttributeName) -> String {
    let get = sqs.get_queue_attributes().queue_url(url);
    let response = get.attribute_names(name.clone()).send().await.unwrap();
    response.attributes().unwrap()[&name].clone()
}

pub(crate) async fn arn(sqs: &Client, url: &str) -> String {
    attribute(sqs, url, QueueAttributeName::QueueArn).await
}

fn send(sqs: &Client, url: &str, body: &str) -> SendMessageFluentBuilder {
    sqs.send_message().queue_url(url).message_body(body)
}

pub(crate) async fn receive(sqs: &Client, url: &str, wait_seconds: i32) -> Vec<Message> {
    let receive = sqs
        .receive_message()
        .queue_url(url)
        .wait_time_seconds(wait_seconds)
        .max_number_of_messages(10)
        .message_attribute_names("All")
        .message_system_attribute_names(MessageSystemAttributeName::All);
    receive.send().await.unwrap().messages.unwrap_or_default()
}

#[tokio::test]
async fn received_message_is_hidden_until_its_visibility_timeout() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let url = queue(&sqs, &[(QueueAttributeName::VisibilityTimeout, "1")]).await;
    send(&sqs, &url, "hello").send().await.unwrap();
    let first = receive(&sqs, &url, 1).await;
    assert_eq!(first[0].body(), Some("hello"));
    assert!(receive(&sqs, &url, 0).await.is_empty());
    let second = receive(&sqs, &url, 5).await;
    assert_eq!(second[0].message_id(), first[0].message_id());
    let attributes = second[0].attributes().unwrap();
    let count = &attributes[&MessageSystemAttributeName::ApproximateReceiveCount];
    assert_eq!(count, "2");
    let delete = sqs.delete_message().queue_url(&url);
    let delete = delete.receipt_handle(second[0].receipt_handle().unwrap());
    delete.send().await.unwrap();
    assert!(receive(&sqs, &url, 3).await.is_empty());
}

#[tokio::test]
async fn noncharacters_are_rejected() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let url = queue(&sqs, &[]).await;
    for body in ["a\u{fffe}", "a\u{ffff}"] {
        assert_eq!(code(send(&sqs, &url, body).send().await), "InvalidMessageContents");
    }
    send(&sqs, &url, "a\u{fffd}\u{10ffff}").send().await.unwrap();
}

#[tokio::test]
async fn visibility_timeout_of_zero_shows_a_message() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let url = queue(&sqs, &[]).await;
    send(&sqs, &url, "m").send().await.unwrap();
    let message = receive(&sqs, &url, 1).await.remove(0);
    let change = sqs
        .change_message_visibility()
        .queue_url(&url)
        .receipt_handle(message.receipt_handle().unwrap())
        .visibility_timeout(0);
    change.send().await.unwrap();
    assert_eq!(receive(&sqs, &url, 2).await.len(), 1);
}

#[tokio::test]
async fn long_poll_returns_when_a_message_arrives() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let url = queue(&sqs, &[]).await;
    let (received, sent_at) = tokio::join!(receive(&sqs, &url, 10), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        send(&sqs, &url, "m").send().await.unwrap();
        Instant::now()
    });
    assert_eq!(received.len(), 1);
    assert!(sent_at.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn message_moves_to_the_dead_letter_queue_after_max_receives() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let dead = queue(&sqs, &[]).await;
    let dead_arn = arn(&sqs, &dead).await;
    let policy = format!(r#"{{"deadLetterTargetArn":"{dead_arn}","maxReceiveCount":2}}"#);
    let attributes = [
        (QueueAttributeName::VisibilityTimeout, "0"),
        (QueueAttributeName::RedrivePolicy, policy.as_str()),
    ];
    let url = queue(&sqs, &attributes).await;
    send(&sqs, &url, "poison").send().await.unwrap();
    let mut received = 0;
    for _ in 0..5 {
        received += receive(&sqs, &url, 1).await.len();
    }
    assert_eq!(received, 2);
    let dead = receive(&sqs, &dead, 2).await;
    assert_eq!(dead[0].body(), Some("poison"));
}

#[tokio::test]
async fn batch_entries_have_results_of_their_own() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let url = queue(&sqs, &[]).await;
    let batch = |ids: &[&str]| {
        let entries = ids.iter().map(|id| {
            SendMessageBatchRequestEntry::builder()
                .id(*id)
                .message_body(*id)
                .message_group_id(format!("group-{id}"))
                .build()
                .unwrap()
        });
        let batch = sqs.send_message_batch().queue_url(&url);
        batch.set_entries(Some(entries.collect())).send()
    };
    let sent = batch(&["a", "b", "c"]).await.unwrap();
    assert_eq!(sent.successful().len(), 3);
    assert!(sent.failed().is_empty());
    let received = receive(&sqs, &url, 1).await;
    let mut bodies: Vec<_> = received.iter().filter_map(Message::body).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["a", "b", "c"]);
    let duplicate = code(batch(&["x", "x"]).await);
    assert!(duplicate.contains("BatchEntryIdsNotDistinct"), "{duplicate}");
}

#[tokio::test]
async fn standard_queue_accepts_groups_and_attributes() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let url = queue(&sqs, &[]).await;
    let trace = MessageAttributeValue::builder().data_type("String");
    let trace = trace.string_value("1-2-3").build().unwrap();
    let send = send(&sqs, &url, "m").message_group_id("account");
    let send = send.message_attributes("trace", trace);
    send.send().await.unwrap();
    let received = receive(&sqs, &url, 1).await;
    let attributes = received[0].message_attributes().unwrap();
    assert_eq!(attributes["trace"].string_value(), Some("1-2-3"));
}

#[tokio::test]
async fn fifo_queues_are_rejected() {
    let cloud = Cloud::embedded(1).await;
    let create = cloud.sqs().create_queue().queue_name(fresh("queue") + ".fifo");
    assert_eq!(code(create.send().await), "InvalidParameterValue");
}

#[tokio::test]
async fn messages_follow_the_clock() {
    let cloud = Cloud::embedded(1).await;
    let sqs = cloud.sqs();
    let attributes = [
        (QueueAttributeName::VisibilityTimeout, "720"),
        (QueueAttributeName::MessageRetentionPeriod, "3600"),
    ];
    let url = queue(&sqs, &attributes).await;
    send(&sqs, &url, "delayed").delay_seconds(900).send().await.unwrap();
    let (clock, queues) = (cloud.engines.clock(), cloud.engines.queues());
    assert_eq!(queues.visible(&url), 0);
    let minutes = |minutes| SignedDuration::from_mins(minutes);
    // Waiting receivers wake when the clock is advanced.
    let (received, ()) = tokio::join!(receive(&sqs, &url, 20), async {
        while queues.next_due().is_none() {
            tokio::task::yield_now().await;
        }
        clock.advance(minutes(15));
    });
    assert_eq!(received[0].body(), Some("delayed"));
    clock.advance(minutes(11));
    assert_eq!(queues.visible(&url), 0);
    queues.postpone(minutes(1));
    clock.advance(minutes(1));
    assert_eq!(queues.visible(&url), 0, "as before");
    clock.advance(minutes(1));
    assert_eq!(queues.visible(&url), 1);
    clock.advance(minutes(60));
    assert_eq!(queues.visible(&url), 0, "not retained");
}

#[tokio::test]
async fn queue_is_found_by_name() {
    let cloud = Cloud::embedded(1).await;
    let sqs = cloud.sqs();
    let name = fresh("queue");
    let get = || sqs.get_queue_url().queue_name(&name).send();
    assert!(code(get().await).contains("NonExistentQueue"));
    let url = named_queue(&sqs, &name, &[]).await;
    assert!(url.starts_with(&cloud.engines.endpoints().sqs), "{url}");
    assert_eq!(get().await.unwrap().queue_url(), Some(&*url));
}
