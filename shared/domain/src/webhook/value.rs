//! Lenient conversions of the values in Zoom's JSON. A value of an unexpected kind counts as absent.

use jiff::Timestamp;
use serde_json::{Number, Value};

/// Maximum length of a text, such as a recording type, which the metadata of an S3 object (2 KB in all) contain. Zoom's are
/// much shorter.
const MAX_TEXT_BYTES: usize = 256;

/// Maximum length of a topic. Zoom's have at most 200 characters, and a character has at most four bytes.
const MAX_TOPIC_BYTES: usize = 1_024;

/// Converts a number or a numeric text.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => {
            number.as_i64().or_else(|| number.as_f64().filter(|n| n.abs() < 9e15).map(|n| n as i64))
        }
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Converts a count or size. Zoom's 0 means unknown.
pub(super) fn positive(value: &Value) -> Option<u64> {
    integer(value).and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0)
}

/// Converts a text that is neither empty nor longer than [`MAX_TEXT_BYTES`], or the digits of a number.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(Number::to_string(number)),
        Value::String(text) if (1..=MAX_TEXT_BYTES).contains(&text.len()) => Some(text.clone()),
        _ => None,
    }
}

/// Converts a topic, which may be empty, up to a whole character within [`MAX_TOPIC_BYTES`].
pub(super) fn topic(value: &Value) -> Option<String> {
    match value {
        Value::String(topic) => {
            Some(topic[..topic.floor_char_boundary(MAX_TOPIC_BYTES)].to_owned())
        }
        _ => text(value),
    }
}

/// Parses a time. Times before 1970 are ignored, because a negative year would break the object key.
pub(super) fn timestamp(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok().filter(|at| *at >= Timestamp::UNIX_EPOCH)
}
