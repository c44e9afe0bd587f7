//! Reads and changes the contents of the bucket, the tables, the queues and the secrets.

use std::collections::BTreeMap;

use aws_sdk_s3::types::ChecksumMode;
use aws_sdk_sqs::types::{Message, QueueAttributeName};

use crate::System;

impl System {
    /// All objects whose key begins with `prefix`.
    pub async fn objects(&self, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        let (s3, bucket) = (self.sdk().s3(), &self.config().bucket);
        let mut found = BTreeMap::new();
        for (key, _) in self.list_objects().await {
            if key.starts_with(prefix) {
                let object = s3.get_object().bucket(bucket).key(&key).send().await;
                let bytes = object.unwrap().body.collect().await.unwrap();
                found.insert(key, bytes.into_bytes().into());
            }
        }
        found
    }

    /// Keys and ETags of all objects.
    pub async fn list_objects(&self) -> Vec<(String, String)> {
        let list = self.sdk().s3().list_objects_v2();
        let list = list.bucket(&self.config().bucket);
        let mut pages = list.into_paginator().send();
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
    pub async fn stored_files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = self.objects("recordings/").await;
        found.retain(|key, _| !key.ends_with("/manifest.json"));
        found
    }

    /// Number of multipart uploads that are neither completed nor aborted.
    pub async fn open_uploads(&self) -> usize {
        let list = self.sdk().s3().list_multipart_uploads();
        let list = list.bucket(&self.config().bucket).send().await;
        list.unwrap().uploads.map_or(0, |uploads| uploads.len())
    }

    /// An object's metadata, content type, and CRC-64/NVME.
    pub async fn head_object(&self, key: &str) -> (BTreeMap<String, String>, String, String) {
        let head = self.sdk().s3().head_object();
        let head = head.bucket(&self.config().bucket).key(key);
        let head = head.checksum_mode(ChecksumMode::Enabled).send().await;
        let head = head.unwrap();
        (
            head.metadata.unwrap_or_default().into_iter().collect(),
            head.content_type.unwrap_or_default(),
            head.checksum_crc64_nvme.unwrap_or_default(),
        )
    }

    /// All items of a table in `Debug` form.
    pub async fn table_items(&self, table: &str) -> Vec<String> {
        let scan = self.sdk().dynamodb().scan().table_name(table);
        let mut items = scan.into_paginator().items().send();
        let mut found = Vec::new();
        while let Some(item) = items.next().await {
            found.push(format!("{:?}", item.unwrap()));
        }
        found
    }

    /// The items of all tables in `Debug` form, each after its table's name. Markers, which have no attribute but their key,
    /// `link.removed`, and expired items are left out.
    pub async fn lasting_items(&self) -> Vec<String> {
        let (tables, now) = (self.tables(), self.app.now().as_second());
        let mut found = Vec::new();
        for table in [&tables.links, &tables.sessions, &tables.recordings, &tables.notifications] {
            let scan = self.sdk().dynamodb().scan().table_name(table);
            let mut items = scan.into_paginator().items().send();
            while let Some(item) = items.next().await {
                let item = item.unwrap();
                let is_marker = item.len() == 3 && item.contains_key("erased");
                let expires_at = item.get("expires_at").and_then(|at| at.as_n().ok());
                let is_expired = expires_at.is_some_and(|at| at.parse::<i64>().unwrap() <= now);
                let is_end = item.contains_key("is_link_removed")
                    || item.get("type").is_some_and(|kind| kind.as_s().unwrap() == "link.removed");
                if !is_marker && !is_expired && !is_end {
                    found.push(format!("{table}: {item:?}"));
                }
            }
        }
        found
    }

    /// Number of messages in a queue: visible, in flight and delayed.
    pub async fn queue_depth(&self, queue_url: &str) -> usize {
        let request = self.sdk().sqs().get_queue_attributes().queue_url(queue_url);
        let response = request.attribute_names(QueueAttributeName::All).send().await;
        let attributes = response.unwrap().attributes.unwrap_or_default();
        [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ]
        .iter()
        .filter_map(|name| attributes.get(name)?.parse::<usize>().ok())
        .sum()
    }

    async fn receive(&self, queue_url: &str) -> Vec<Message> {
        let receive = self.sdk().sqs().receive_message().queue_url(queue_url);
        let receive = receive.max_number_of_messages(10).visibility_timeout(60);
        receive.send().await.unwrap().messages.unwrap_or_default()
    }

    /// Returns the bodies of all visible messages in a queue without removing them.
    pub async fn peek_messages(&self, queue_url: &str) -> Vec<String> {
        let mut bodies = Vec::new();
        let mut handles = Vec::new();
        loop {
            let messages = self.receive(queue_url).await;
            if messages.is_empty() {
                break;
            }
            for message in messages {
                bodies.push(message.body.unwrap());
                handles.push(message.receipt_handle.unwrap());
            }
        }
        for handle in handles {
            let change = self.sdk().sqs().change_message_visibility();
            let change = change.queue_url(queue_url).receipt_handle(handle);
            change.visibility_timeout(0).send().await.unwrap();
        }
        bodies
    }

    /// Removes all visible messages from a queue and returns their bodies.
    pub async fn take_messages(&self, queue_url: &str) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            let messages = self.receive(queue_url).await;
            if messages.is_empty() {
                return bodies;
            }
            for message in messages {
                let delete = self.sdk().sqs().delete_message().queue_url(queue_url);
                let delete = delete.receipt_handle(message.receipt_handle.unwrap());
                delete.send().await.unwrap();
                bodies.push(message.body.unwrap());
            }
        }
    }

    /// Sends a message to a queue.
    pub async fn send_message(&self, queue_url: &str, body: &str) {
        let send = self.sdk().sqs().send_message().queue_url(queue_url);
        send.message_body(body).send().await.unwrap();
    }

    /// Removes all messages from a queue, including those in flight and delayed.
    pub async fn purge_queue(&self, queue_url: &str) {
        let purge = self.sdk().sqs().purge_queue().queue_url(queue_url);
        purge.send().await.unwrap();
    }

    /// Bodies of the messages in the dead-letter queues of events, downloads and notifications.
    pub async fn dead_letters(&self) -> Vec<String> {
        let queues = self.queues();
        let mut found = Vec::new();
        for queue in [&queues.events_dlq, &queues.downloads_dlq, &queues.notifications_dlq] {
            found.extend(self.peek_messages(queue).await);
        }
        found
    }

    /// Routes everything on the event bus to a new queue, and returns its URL.
    pub async fn subscribe_to_bus(&self) -> String {
        let (sqs, events) = (self.sdk().sqs(), self.sdk().eventbridge());
        let bus = &self.config().event_bus;
        let queue = sqs.create_queue().queue_name("bus-subscriber").send().await;
        let url = queue.unwrap().queue_url.unwrap();
        let arn = QueueAttributeName::QueueArn;
        let attributes = sqs.get_queue_attributes().queue_url(&url);
        let attributes = attributes.attribute_names(arn.clone()).send().await;
        let arn = attributes.unwrap().attributes.unwrap()[&arn].clone();
        let rule = events.put_rule().name("all").event_bus_name(bus);
        let rule = rule.event_pattern(r#"{"source":["reelay"]}"#);
        rule.send().await.unwrap();
        let target = aws_sdk_eventbridge::types::Target::builder().id("queue");
        let put = events.put_targets().rule("all").event_bus_name(bus);
        let put = put.targets(target.arn(arn).build().unwrap()).send().await;
        assert_eq!(put.unwrap().failed_entry_count(), 0);
        url
    }

    /// Name or ARN of a secret, from the function's environment variable.
    fn secret_id(&self, function: &str, variable: &str) -> String {
        let environment = self.stack.function_environment(function).unwrap();
        environment.variables.required(variable).unwrap().to_owned()
    }

    /// The current value of a secret that a function reads.
    pub async fn secret_value(&self, function: &str, variable: &str) -> String {
        let get = self.sdk().secretsmanager().get_secret_value();
        let get = get.secret_id(self.secret_id(function, variable));
        get.send().await.unwrap().secret_string.unwrap()
    }

    /// Rotates a secret that a function reads: the current version becomes the previous one.
    pub async fn rotate_function_secret(&self, function: &str, variable: &str, value: &str) {
        let put = self.sdk().secretsmanager().put_secret_value();
        let put = put.secret_id(self.secret_id(function, variable));
        put.secret_string(value).send().await.unwrap();
    }

    /// Rotates the secret that the stack's output names.
    pub async fn rotate_secret(&self, output: &str, value: &str) {
        let put = self.sdk().secretsmanager().put_secret_value();
        let put = put.secret_id(&self.stack.outputs()[output]);
        put.secret_string(value).send().await.unwrap();
    }

    /// Removes the stage AWSPREVIOUS from a secret.
    pub async fn remove_previous_secret(&self, output: &str) {
        const PREVIOUS: &str = "AWSPREVIOUS";
        let (secrets, id) = (self.sdk().secretsmanager(), &self.stack.outputs()[output]);
        let previous = secrets.get_secret_value().secret_id(id);
        let previous = previous.version_stage(PREVIOUS).send().await.unwrap();
        let update = secrets.update_secret_version_stage().secret_id(id);
        let update = update.version_stage(PREVIOUS);
        let update = update.remove_from_version_id(previous.version_id.unwrap());
        update.send().await.unwrap();
    }
}
