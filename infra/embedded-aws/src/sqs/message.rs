//! A message: validation, digests, and its form in a receiver's response.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use md5::{Digest as _, Md5};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::SqsError;

/// SQS's maximum number of attributes of a message.
const MAX_ATTRIBUTES: usize = 10;

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: String,
    pub(super) body_md5: String,
    attributes: Map<String, Value>,
    pub(super) attributes_md5: Option<String>,
    group: Option<String>,
    pub(super) sent_at: Timestamp,
    pub(super) visible_at: Timestamp,
    pub(super) receive_count: u32,
    first_received_at: Option<Timestamp>,
    /// The last receipt in this queue.
    pub(super) receipt: Option<Receipt>,
    /// ARN of the queue from which it was moved to this dead-letter queue.
    pub(super) source_arn: Option<String>,
}

/// A receipt handle: the message's number in its queue and the count of its receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) number: u64,
    pub(super) receive: u32,
    message_id: String,
}

/// The attributes that a receiver requests.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Selection {
    attribute_names: Vec<String>,
    message_system_attribute_names: Vec<String>,
    message_attribute_names: Vec<String>,
}

impl Receipt {
    pub(super) fn parse(handle: &str) -> Result<Self, SqsError> {
        let parse = || {
            let text = String::from_utf8(STANDARD.decode(handle).ok()?).ok()?;
            let mut parts = text.splitn(3, '.');
            let (number, receive) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            Some(Self { number, receive, message_id: parts.next()?.to_owned() })
        };
        parse().ok_or_else(|| {
            SqsError::client("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
        })
    }

    fn handle(&self) -> String {
        STANDARD.encode(format!("{}.{}.{}", self.number, self.receive, self.message_id))
    }

    /// Whether it is of this message, by any receive.
    pub(super) fn is_of(&self, message: &Message) -> bool {
        self.message_id == message.id
    }
}

impl Message {
    pub(super) fn new(
        body: String,
        attributes: Map<String, Value>,
        group: Option<String>,
        now: Timestamp,
    ) -> Result<Self, SqsError> {
        if body.is_empty() {
            return Err(SqsError::client("MissingParameter", "MessageBody is empty"));
        }
        if !body.chars().all(is_allowed) {
            return Err(SqsError::client(
                "InvalidMessageContents",
                "the message contains characters outside the allowed set",
            ));
        }
        if attributes.len() > MAX_ATTRIBUTES {
            return Err(SqsError::invalid("the message has more than 10 attributes"));
        }
        let attributes_md5 = match attributes.is_empty() {
            true => None,
            false => Some(attributes_md5(&attributes)?),
        };
        Ok(Self {
            id: uuid::Uuid::new_v4().to_string(),
            body_md5: hex::encode(Md5::digest(&body)),
            body,
            attributes,
            attributes_md5,
            group,
            sent_at: now,
            visible_at: now,
            receive_count: 0,
            first_received_at: None,
            receipt: None,
            source_arn: None,
        })
    }

    /// Bytes that count towards the maximum size.
    pub(super) fn size(&self) -> usize {
        let attribute = |(name, value): (&String, &Value)| {
            let fields = ["DataType", "StringValue", "BinaryValue"];
            let fields = fields.iter().filter_map(|field| value[field].as_str());
            name.len() + fields.map(str::len).sum::<usize>()
        };
        self.body.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }

    /// Hides the message for a receiver.
    pub(super) fn receive(&mut self, number: u64, hidden_for: SignedDuration, now: Timestamp) {
        self.receive_count += 1;
        self.first_received_at.get_or_insert(now);
        self.visible_at = later(now, hidden_for);
        let message_id = self.id.clone();
        self.receipt = Some(Receipt { number, receive: self.receive_count, message_id });
    }

    /// The message in the receiver's response.
    pub(super) fn shown(&self, selection: &Selection) -> Value {
        let milliseconds = |at: Timestamp| at.as_millisecond().to_string();
        let system = [
            ("SenderId", Some("AIDAEMBEDDED".to_owned())),
            ("SentTimestamp", Some(milliseconds(self.sent_at))),
            ("ApproximateReceiveCount", Some(self.receive_count.to_string())),
            ("ApproximateFirstReceiveTimestamp", self.first_received_at.map(milliseconds)),
            ("DeadLetterQueueSourceArn", self.source_arn.clone()),
            ("MessageGroupId", self.group.clone()),
        ];
        let wanted: Vec<_> =
            [&selection.attribute_names[..], &selection.message_system_attribute_names].concat();
        let is_wanted = |name: &str| wanted.iter().any(|it| it == "All" || it == name);
        let system: BTreeMap<_, _> = system
            .into_iter()
            .filter(|(name, _)| is_wanted(name))
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        let is_wanted = |name: &str| {
            selection.message_attribute_names.iter().any(|it| match it.strip_suffix(".*") {
                Some(prefix) => name.starts_with(prefix),
                None => it == "All" || it == name,
            })
        };
        let attributes = self.attributes.iter().filter(|(name, _)| is_wanted(name));
        let attributes: Map<_, _> =
            attributes.map(|(name, value)| (name.clone(), value.clone())).collect();
        let mut shown = json!({
            "MessageId": self.id,
            "ReceiptHandle": self.receipt.as_ref().map(Receipt::handle),
            "MD5OfBody": self.body_md5,
            "Body": self.body,
        });
        if !system.is_empty() {
            shown["Attributes"] = json!(system);
        }
        if let (false, Ok(md5)) = (attributes.is_empty(), attributes_md5(&attributes)) {
            shown["MD5OfMessageAttributes"] = json!(md5);
            shown["MessageAttributes"] = Value::Object(attributes);
        }
        shown
    }
}

/// `at` plus a duration, or `at` at the end of the range of timestamps.
pub(super) fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(at)
}

/// Whether SQS accepts a character in a body.
fn is_allowed(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        other => other >= ' ',
    }
}

/// The digest that SDKs compare with their own: lengths and values of all attributes in the order of their names.
fn attributes_md5(attributes: &Map<String, Value>) -> Result<String, SqsError> {
    let sorted: BTreeMap<_, _> = attributes.iter().collect();
    let mut digest = Md5::new();
    let mut add = |bytes: &[u8], kind: Option<u8>| {
        digest.update(kind.as_slice());
        digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        digest.update(bytes);
    };
    for (name, value) in sorted {
        let invalid = || SqsError::invalid(format!("the message attribute {name} is not valid"));
        let data_type = value["DataType"].as_str().ok_or_else(invalid)?;
        add(name.as_bytes(), None);
        add(data_type.as_bytes(), None);
        let (text, binary) = (value["StringValue"].as_str(), value["BinaryValue"].as_str());
        match (data_type.split('.').next(), text, binary) {
            (Some("String" | "Number"), Some(text), _) => add(text.as_bytes(), Some(1)),
            (Some("Binary"), _, Some(binary)) => {
                add(&STANDARD.decode(binary).map_err(|_| invalid())?, Some(2));
            }
            _ => return Err(invalid()),
        }
    }
    Ok(hex::encode(digest.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_digest_has_lengths_and_kinds() {
        let attributes = json!({"b": {"DataType": "Binary", "BinaryValue": "AQI="},
            "a": {"DataType": "String", "StringValue": "x"}});
        let mut expected = Md5::new();
        expected.update(b"\0\0\0\x01a\0\0\0\x06String\x01\0\0\0\x01x");
        expected.update(b"\0\0\0\x01b\0\0\0\x06Binary\x02\0\0\0\x02\x01\x02");
        let digest = attributes_md5(attributes.as_object().unwrap()).unwrap();
        assert_eq!(digest, hex::encode(expected.finalize()));
        for invalid in [
            json!({"a": {"StringValue": "x"}}),
            json!({"a": {"DataType": "String"}}),
            json!({"a": {"DataType": "Binary", "BinaryValue": "?"}}),
        ] {
            assert!(attributes_md5(invalid.as_object().unwrap()).is_err(), "{invalid}");
        }
    }
}
