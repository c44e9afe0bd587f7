//! What lies in the bucket, the tables and the queues.

use std::collections::BTreeMap;

use aws_sdk_sqs::types::QueueAttributeName;
use devstack::Stack;

/// All objects below a prefix, by key.
pub async fn objects(stack: &Stack, prefix: &str) -> BTreeMap<String, Vec<u8>> {
    let client = stack.sdk().s3();
    let bucket = &stack.config().bucket;
    let mut pages = client.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
    let mut found = BTreeMap::new();
    while let Some(page) = pages.next().await {
        for object in page.unwrap().contents() {
            let key = object.key().unwrap().to_owned();
            let body = client.get_object().bucket(bucket).key(&key).send().await.unwrap().body;
            found.insert(key, body.collect().await.unwrap().to_vec());
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
    let mut pages = client.scan().table_name(table).into_paginator().items().send();
    let mut found = Vec::new();
    while let Some(item) = pages.next().await {
        found.push(format!("{:?}", item.unwrap()));
    }
    found
}
