//! What lies in the bucket, the tables and the queues.

use std::collections::BTreeMap;

use aws_sdk_sqs::types::{Message, QueueAttributeName};
use reelay_devstack::Stack;

/// All objects below a prefix, by key.
pub async fn objects(stack: &Stack, prefix: &str) -> BTreeMap<String, Vec<u8>> {
    let client = stack.sdk().s3();
    let bucket = &stack.config().bucket;
    let mut pages = client
        .list_objects_v2()
        .bucket(bucket)
        .prefix(prefix)
        .into_paginator()
        .send();
    let mut found = BTreeMap::new();
    while let Some(page) = pages.next().await {
        for object in page.unwrap().contents() {
            let key = object.key().unwrap().to_owned();
            let body = client
                .get_object()
                .bucket(bucket)
                .key(&key)
                .send()
                .await
                .unwrap()
                .body;
            found.insert(key, body.collect().await.unwrap().to_vec());
        }
    }
    found
}

/// All objects' keys and ETags.
pub async fn listed(stack: &Stack) -> Vec<(String, String)> {
    let mut pages = stack
        .sdk()
        .s3()
        .list_objects_v2()
        .bucket(&stack.config().bucket)
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        for object in page.unwrap().contents() {
            let text = |value: Option<&str>| value.unwrap().to_owned();
            found.push((text(object.key()), text(object.e_tag())));
        }
    }
    found
}

/// The recordings' files, without manifests.
pub async fn files(stack: &Stack) -> BTreeMap<String, Vec<u8>> {
    let mut found = objects(stack, "recordings/").await;
    found.retain(|key, _| !key.ends_with("/manifest.json"));
    found
}

/// Messages in a queue: visible, hidden and delayed.
pub async fn depth(stack: &Stack, queue_url: &str) -> usize {
    let attributes = stack
        .sdk()
        .sqs()
        .get_queue_attributes()
        .queue_url(queue_url)
        .attribute_names(QueueAttributeName::All)
        .send()
        .await
        .unwrap()
        .attributes
        .unwrap_or_default();
    [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        QueueAttributeName::ApproximateNumberOfMessagesDelayed,
    ]
    .iter()
    .filter_map(|name| attributes.get(name)?.parse::<usize>().ok())
    .sum()
}

/// All items of a table, written out.
pub async fn items(stack: &Stack, table: &str) -> Vec<String> {
    let client = stack.sdk().dynamodb();
    let mut pages = client
        .scan()
        .table_name(table)
        .into_paginator()
        .items()
        .send();
    let mut found = Vec::new();
    while let Some(item) = pages.next().await {
        found.push(format!("{:?}", item.unwrap()));
    }
    found
}

/// The bodies of all messages in a queue, which stay there.
pub async fn peek(stack: &Stack, queue_url: &str) -> Vec<String> {
    let sqs = stack.sdk().sqs();
    let mut seen: Vec<Message> = Vec::new();
    loop {
        let receive = sqs
            .receive_message()
            .queue_url(queue_url)
            .max_number_of_messages(10)
            .visibility_timeout(60);
        let Some(messages) = receive
            .send()
            .await
            .unwrap()
            .messages
            .filter(|messages| !messages.is_empty())
        else {
            break;
        };
        seen.extend(messages);
    }
    for message in &seen {
        let show = sqs
            .change_message_visibility()
            .queue_url(queue_url)
            .visibility_timeout(0);
        show.receipt_handle(message.receipt_handle().unwrap())
            .send()
            .await
            .unwrap();
    }
    seen.iter()
        .map(|message| message.body().unwrap().to_owned())
        .collect()
}

/// Takes all messages out of a queue.
pub async fn take(stack: &Stack, queue_url: &str) -> Vec<String> {
    let sqs = stack.sdk().sqs();
    let mut taken = Vec::new();
    loop {
        let receive = sqs
            .receive_message()
            .queue_url(queue_url)
            .max_number_of_messages(10);
        let messages = receive.send().await.unwrap().messages.unwrap_or_default();
        if messages.is_empty() {
            return taken;
        }
        for message in messages {
            let delete = sqs.delete_message().queue_url(queue_url);
            let delete = delete.receipt_handle(message.receipt_handle().unwrap());
            delete.send().await.unwrap();
            taken.push(message.body().unwrap().to_owned());
        }
    }
}

/// Puts a message into a queue, as SQS does when it delivers one twice.
pub async fn send(stack: &Stack, queue_url: &str, body: &str) {
    stack
        .sdk()
        .sqs()
        .send_message()
        .queue_url(queue_url)
        .message_body(body)
        .send()
        .await
        .unwrap();
}

/// Messages that were given up, in all three dead-letter queues.
pub async fn dead(stack: &Stack) -> Vec<String> {
    let queues = &stack.config().queues;
    let mut found = Vec::new();
    for queue in [
        &queues.events_dlq,
        &queues.downloads_dlq,
        &queues.notifications_dlq,
    ] {
        found.extend(peek(stack, queue).await);
    }
    found
}

/// Multipart uploads that were begun and neither completed nor aborted.
pub async fn open_uploads(stack: &Stack) -> usize {
    let list = stack
        .sdk()
        .s3()
        .list_multipart_uploads()
        .bucket(&stack.config().bucket);
    list.send()
        .await
        .unwrap()
        .uploads
        .map_or(0, |uploads| uploads.len())
}

/// An object's metadata, content type, and CRC-64/NVME as the store has it.
pub async fn head(stack: &Stack, key: &str) -> (BTreeMap<String, String>, String, String) {
    let head = stack
        .sdk()
        .s3()
        .head_object()
        .bucket(&stack.config().bucket)
        .key(key);
    let head = head
        .checksum_mode(aws_sdk_s3::types::ChecksumMode::Enabled)
        .send()
        .await
        .unwrap();
    let metadata = head
        .metadata
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    (
        metadata,
        head.content_type.clone().unwrap_or_default(),
        head.checksum_crc64_nvme.unwrap_or_default(),
    )
}

/// Routes everything on the event bus to a new queue, and gives its URL.
pub async fn listen_to_bus(stack: &Stack) -> String {
    let (sqs, events, bus) = (
        stack.sdk().sqs(),
        stack.sdk().eventbridge(),
        &stack.config().event_bus,
    );
    let url = sqs
        .create_queue()
        .queue_name("bus-listener")
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    let attributes = sqs
        .get_queue_attributes()
        .queue_url(&url)
        .attribute_names(QueueAttributeName::QueueArn);
    let arn =
        attributes.send().await.unwrap().attributes.unwrap()[&QueueAttributeName::QueueArn].clone();
    let rule = events
        .put_rule()
        .name("all")
        .event_bus_name(bus)
        .event_pattern(r#"{"source":["reelay"]}"#);
    rule.send().await.unwrap();
    let target = aws_sdk_eventbridge::types::Target::builder()
        .id("queue")
        .arn(arn)
        .build()
        .unwrap();
    let put = events
        .put_targets()
        .rule("all")
        .event_bus_name(bus)
        .targets(target)
        .send()
        .await
        .unwrap();
    assert_eq!(put.failed_entry_count(), 0);
    url
}

/// Gives a secret a new current version; the one before becomes the previous.
pub async fn turn_over(stack: &Stack, output: &str, value: &str) {
    let put = stack
        .sdk()
        .secretsmanager()
        .put_secret_value()
        .secret_id(&stack.outputs()[output]);
    put.secret_string(value).send().await.unwrap();
}

/// Ends a secret's previous version before the next turn-over would.
pub async fn end_previous(stack: &Stack, output: &str) {
    let (secrets, id) = (stack.sdk().secretsmanager(), &stack.outputs()[output]);
    let previous = secrets.get_secret_value().secret_id(id);
    let previous = previous.version_stage("AWSPREVIOUS").send().await.unwrap();
    let update = secrets
        .update_secret_version_stage()
        .secret_id(id)
        .version_stage("AWSPREVIOUS");
    let update = update.remove_from_version_id(previous.version_id.unwrap());
    update.send().await.unwrap();
}
