use std::time::{Duration, Instant};

use aws_sdk_sqs::{
    Client,
    types::{
        Message, MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
    },
};

use crate::cloud::{Cloud, code, fresh};

pub(crate) async fn queue(sqs: &Client, attributes: &[(QueueAttributeName, &str)]) -> String {
    let mut create = sqs.create_queue().queue_name(fresh("queue"));
    for (name, value) in attributes {
        create = create.attributes(name.clone(), *value);
    }
    create.send().await.unwrap().queue_url.unwrap()
}

pub(crate) async fn arn(sqs: &Client, url: &str) -> String {
    let get = sqs.get_queue_attributes().queue_url(url);
    let attributes = get
        .attribute_names(QueueAttributeName::QueueArn)
        .send()
        .await
        .unwrap();
    attributes.attributes().unwrap()[&QueueAttributeName::QueueArn].clone()
}

pub(crate) async fn receive(sqs: &Client, url: &str, wait: i32) -> Vec<Message> {
    let receive = sqs.receive_message().queue_url(url).wait_time_seconds(wait);
    let receive = receive
        .max_number_of_messages(10)
        .message_system_attribute_names(MessageSystemAttributeName::All);
    receive.send().await.unwrap().messages.unwrap_or_default()
}

#[tokio::test]
async fn a_received_message_is_hidden_until_its_time_is_up() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let url = queue(&sqs, &[(QueueAttributeName::VisibilityTimeout, "1")]).await;
    sqs.send_message()
        .queue_url(&url)
        .message_body("hello")
        .send()
        .await
        .unwrap();
    let first = receive(&sqs, &url, 1).await;
    assert_eq!(first[0].body(), Some("hello"));
    assert!(receive(&sqs, &url, 0).await.is_empty());
    let second = receive(&sqs, &url, 5).await;
    assert_eq!(second[0].message_id(), first[0].message_id());
    let count =
        &second[0].attributes().unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount];
    assert_eq!(count, "2");
    let delete = sqs.delete_message().queue_url(&url);
    delete
        .receipt_handle(second[0].receipt_handle().unwrap())
        .send()
        .await
        .unwrap();
    assert!(receive(&sqs, &url, 3).await.is_empty());
}

#[tokio::test]
async fn visibility_can_be_given_back_and_extended() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let url = queue(&sqs, &[]).await;
    sqs.send_message()
        .queue_url(&url)
        .message_body("m")
        .send()
        .await
        .unwrap();
    let message = receive(&sqs, &url, 1).await.remove(0);
    let change = sqs
        .change_message_visibility()
        .queue_url(&url)
        .visibility_timeout(0);
    change
        .receipt_handle(message.receipt_handle().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(receive(&sqs, &url, 2).await.len(), 1);
}

#[tokio::test]
async fn a_long_poll_wakes_when_a_message_comes() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let url = queue(&sqs, &[]).await;
    let waiting = tokio::spawn({
        let (sqs, url) = (sqs.clone(), url.clone());
        async move { receive(&sqs, &url, 10).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let sent = Instant::now();
    sqs.send_message()
        .queue_url(&url)
        .message_body("m")
        .send()
        .await
        .unwrap();
    assert_eq!(waiting.await.unwrap().len(), 1);
    assert!(sent.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_message_that_fails_too_often_goes_to_the_dead_letter_queue() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let dead = queue(&sqs, &[]).await;
    let policy = format!(
        r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":2}}"#,
        arn(&sqs, &dead).await
    );
    let url = queue(
        &sqs,
        &[
            (QueueAttributeName::VisibilityTimeout, "0"),
            (QueueAttributeName::RedrivePolicy, &policy),
        ],
    )
    .await;
    sqs.send_message()
        .queue_url(&url)
        .message_body("poison")
        .send()
        .await
        .unwrap();
    let mut received = 0;
    for _ in 0..5 {
        received += receive(&sqs, &url, 1).await.len();
    }
    assert_eq!(received, 2);
    let dead = receive(&sqs, &dead, 2).await;
    assert_eq!(dead[0].body(), Some("poison"));
}

#[tokio::test]
async fn batches_answer_for_each_entry() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let url = queue(&sqs, &[]).await;
    let entry = |id: &str| {
        let entry = SendMessageBatchRequestEntry::builder()
            .id(id)
            .message_body(id);
        entry
            .message_group_id(format!("group-{id}"))
            .build()
            .unwrap()
    };
    let entries = ["a", "b", "c"].map(entry);
    let sent = sqs
        .send_message_batch()
        .queue_url(&url)
        .set_entries(Some(entries.to_vec()));
    let sent = sent.send().await.unwrap();
    assert_eq!(sent.successful().len(), 3);
    assert!(sent.failed().is_empty());
    let mut bodies: Vec<_> = receive(&sqs, &url, 1)
        .await
        .into_iter()
        .filter_map(|m| m.body)
        .collect();
    bodies.sort();
    assert_eq!(bodies, ["a", "b", "c"]);
    let twice = sqs.send_message_batch().queue_url(&url);
    let twice = twice.entries(entry("x")).entries(entry("x"));
    assert!(code(twice.send().await).contains("BatchEntryIdsNotDistinct"));
}

#[tokio::test]
async fn a_standard_queue_takes_a_message_group() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let url = queue(&sqs, &[]).await;
    let send = sqs
        .send_message()
        .queue_url(&url)
        .message_body("m")
        .message_group_id("account");
    send.send().await.unwrap();
    assert_eq!(receive(&sqs, &url, 1).await.len(), 1);
}

#[tokio::test]
async fn a_fifo_queue_demands_a_group_and_forgets_doubles() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let create = sqs.create_queue().queue_name(fresh("q") + ".fifo");
    let create = create.attributes(QueueAttributeName::FifoQueue, "true");
    let url = create.send().await.unwrap().queue_url.unwrap();
    let send = || {
        sqs.send_message()
            .queue_url(&url)
            .message_deduplication_id("d")
    };
    assert_eq!(
        code(send().message_body("m").send().await),
        "MissingParameter"
    );
    for body in ["one", "two"] {
        send()
            .message_body(body)
            .message_group_id("g")
            .send()
            .await
            .unwrap();
    }
    let received = receive(&sqs, &url, 1).await;
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].body(), Some("one"));
}

#[tokio::test]
async fn a_queue_is_found_by_name_and_its_url_works() {
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let name = fresh("queue");
    assert!(code(sqs.get_queue_url().queue_name(&name).send().await).contains("NonExistentQueue"));
    let created = sqs.create_queue().queue_name(&name).send().await.unwrap();
    let found = sqs.get_queue_url().queue_name(&name).send().await.unwrap();
    assert_eq!(created.queue_url(), found.queue_url());
    if std::env::var_os("EMBEDDED_AWS_TEST_SQS_ENDPOINT").is_none() {
        assert!(
            found
                .queue_url()
                .unwrap()
                .starts_with(&cloud.engines.endpoints().sqs)
        );
    }
}

#[tokio::test]
async fn attributes_travel_with_a_message() {
    use aws_sdk_sqs::types::MessageAttributeValue;
    let cloud = Cloud::start().await;
    let sqs = cloud.sqs();
    let url = queue(&sqs, &[]).await;
    let value = MessageAttributeValue::builder()
        .data_type("String")
        .string_value("1-2-3");
    let send = sqs.send_message().queue_url(&url).message_body("m");
    send.message_attributes("trace", value.build().unwrap())
        .send()
        .await
        .unwrap();
    let receive = sqs
        .receive_message()
        .queue_url(&url)
        .message_attribute_names("All");
    let received = receive.send().await.unwrap().messages.unwrap();
    assert_eq!(
        received[0].message_attributes().unwrap()["trace"].string_value(),
        Some("1-2-3")
    );
}
