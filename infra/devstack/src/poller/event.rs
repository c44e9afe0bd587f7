//! Builds the event that Lambda's event source mapping passes to a function.

use std::collections::BTreeMap;

use aws_lambda_events::sqs::SqsEvent;
use aws_sdk_sqs::types::{Message, MessageAttributeValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Builds the event of a batch.
pub(super) fn build(
    messages: &[Message],
    queue_arn: &str,
    region: &str,
) -> serde_json::Result<SqsEvent> {
    let records: Vec<Value> =
        messages.iter().map(|message| record(message, queue_arn, region)).collect();
    serde_json::from_value(json!({ "Records": records }))
}

fn record(message: &Message, queue_arn: &str, region: &str) -> Value {
    let attributes: BTreeMap<&str, &str> = message
        .attributes()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let message_attributes: BTreeMap<&str, Value> = message
        .message_attributes()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), attribute(value)))
        .collect();
    json!({
        "messageId": message.message_id(),
        "receiptHandle": message.receipt_handle(),
        "body": message.body(),
        "attributes": attributes,
        "messageAttributes": message_attributes,
        "md5OfMessageAttributes": message.md5_of_message_attributes(),
        "md5OfBody": message.md5_of_body(),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": region,
    })
}

fn attribute(value: &MessageAttributeValue) -> Value {
    let mut attribute = json!({
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": value.data_type(),
    });
    if let Some(text) = value.string_value() {
        attribute["stringValue"] = json!(text);
    }
    if let Some(binary) = value.binary_value() {
        attribute["binaryValue"] = json!(STANDARD.encode(binary.as_ref()));
    }
    attribute
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::types::MessageSystemAttributeName;

    use super::*;

    #[test]
    fn record_has_lambdas_fields() {
        let message = Message::builder()
            .message_id("id")
            .receipt_handle("handle")
            .body("{}")
            .md5_of_body("99914b932bd37a50b983c5e7c90ae93b")
            .attributes(MessageSystemAttributeName::ApproximateReceiveCount, "2")
            .message_attributes(
                "kind",
                MessageAttributeValue::builder()
                    .data_type("String")
                    .string_value("x")
                    .build()
                    .unwrap(),
            )
            .build();
        let record = record(&message, "arn:aws:sqs:us-east-1:000000000000:q", "us-east-1");
        assert_eq!(
            record,
            json!({
                "messageId": "id", "receiptHandle": "handle", "body": "{}",
                "attributes": {"ApproximateReceiveCount": "2"},
                "messageAttributes": {"kind": {"stringValue": "x", "stringListValues": [], "binaryListValues": [], "dataType": "String"}},
                "md5OfMessageAttributes": null,
                "md5OfBody": "99914b932bd37a50b983c5e7c90ae93b",
                "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:q", "awsRegion": "us-east-1",
            })
        );
        let event = build(&[message], "arn", "us-east-1").unwrap();
        assert_eq!(event.records[0].attributes["ApproximateReceiveCount"], "2");
    }
}
