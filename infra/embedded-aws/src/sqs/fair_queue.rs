//! Fair queues: `MessageGroupId` on a standard queue.
//!
//! AWS accepts it, rustack rejects it. It is removed from messages for queues whose name does not end in
//! `.fifo`.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;

/// The request body as rustack accepts it.
pub(super) fn without_standard_queue_group(operation: &str, body: Bytes) -> Bytes {
    const FIELD: &str = "MessageGroupId";
    let sends = matches!(operation, "SendMessage" | "SendMessageBatch");
    // Most messages have no group and need no parsing.
    if !sends || !String::from_utf8_lossy(&body).contains(FIELD) {
        return body;
    }
    let Ok(mut call) = serde_json::from_slice::<Value>(&body) else {
        return body;
    };
    let url = call.get("QueueUrl").and_then(Value::as_str).map(Cow::from);
    if url.is_none_or(|url| url.ends_with(".fifo")) {
        return body;
    }
    if let Some(call) = call.as_object_mut() {
        call.remove(FIELD);
    }
    let entries = call.get_mut("Entries").and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten() {
        if let Some(entry) = entry.as_object_mut() {
            entry.remove(FIELD);
        }
    }
    call.to_string().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stripped(operation: &str, body: &Value) -> Value {
        let body = without_standard_queue_group(operation, body.to_string().into());
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn group_is_removed_on_standard_queues_only() {
        let call =
            |queue: &str| json!({"QueueUrl": queue, "MessageBody": "b", "MessageGroupId": "g"});
        assert_eq!(
            stripped("SendMessage", &call("http://h/0/q")),
            json!({"QueueUrl": "http://h/0/q", "MessageBody": "b"})
        );
        let fifo = call("http://h/0/q.fifo");
        assert_eq!(stripped("SendMessage", &fifo), fifo);
        let batch =
            json!({"QueueUrl": "q", "Entries": [{"Id": "1", "MessageGroupId": "g"}, {"Id": "2"}]});
        assert_eq!(
            stripped("SendMessageBatch", &batch),
            json!({"QueueUrl": "q", "Entries": [{"Id": "1"}, {"Id": "2"}]})
        );
    }

    #[test]
    fn message_body_is_unchanged() {
        let call = json!({"QueueUrl": "q", "MessageBody": "{\"MessageGroupId\":1}"});
        assert_eq!(stripped("SendMessage", &call), call);
    }
}
