//! Parsing of JSON that a strict parser rejects: lone surrogate escapes anywhere, and, in fields that Reelay does
//! not read, deep nesting and numbers out of range. Zoom never repeats an event that was rejected.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::known_fields::{EVENT, Shape};

/// Parses an event. Its unknown fields may be missing from the result. `None` if it is no JSON object.
pub(super) fn parse_event(body: &[u8]) -> Option<Value> {
    let text = String::from_utf8_lossy(body);
    let text = replace_lone_surrogates(&text);
    match serde_json::from_str(&text) {
        Ok(event) => Some(event),
        Err(_) => parse(serde_json::from_str(&text).ok()?, &EVENT),
    }
    .filter(Value::is_object)
}

/// Parses the known fields of a value, and its credentials. A raw value is skipped without recursion or conversion.
fn parse(raw: &RawValue, shape: &Shape) -> Option<Value> {
    match shape {
        Shape::Scalar => serde_json::from_str(raw.get()).ok(),
        Shape::Object(fields) | Shape::File(fields) => {
            let object: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(raw.get()).ok()?;
            let credentials = ["download_token", "download_url"].map(|name| (name, Shape::Scalar));
            let fields = fields.iter().chain(&credentials).filter_map(|(name, shape)| {
                Some(((*name).to_owned(), parse(object.get(*name)?, shape)?))
            });
            Some(Value::Object(fields.collect::<Map<_, _>>()))
        }
        Shape::List(item) => {
            let items: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
            // An item of another shape becomes null, so that it is still counted.
            Some(items.into_iter().map(|raw| parse(raw, item).unwrap_or_default()).collect())
        }
    }
}

/// Replaces `\u` escapes of surrogates without a partner by U+FFFD.
fn replace_lone_surrogates(text: &str) -> Cow<'_, str> {
    let mut replaced = String::new();
    let (mut copied, mut at) = (0, 0);
    let bytes = text.as_bytes();
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'\\') {
        at += found;
        let (length, is_lone) = match (surrogate(bytes, at), surrogate(bytes, at + 6)) {
            (Some(0xd800..0xdc00), Some(0xdc00..)) => (12, false),
            (Some(_), _) => (6, true),
            // Any other escape, a backslash among them.
            (None, _) => (2, false),
        };
        if is_lone {
            replaced.push_str(&text[copied..at]);
            replaced.push_str("\\ufffd");
            copied = at + length;
        }
        at = (at + length).min(bytes.len());
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    replaced.push_str(&text[copied..]);
    Cow::Owned(replaced)
}

/// The surrogate whose escape begins here.
fn surrogate(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let digits = std::str::from_utf8(digits).ok()?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let unit = u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    (0xd800..0xe000).contains(&unit).then_some(unit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn odd_json_costs_only_the_odd_value() {
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        for (body, expected) in [
            (
                r#"{"event":"x","topic":"\ud83d"}"#.to_owned(),
                json!({"event": "x", "topic": "\u{fffd}"}),
            ),
            (r#"{"event":"\udc00\ud800a"}"#.to_owned(), json!({"event": "\u{fffd}\u{fffd}a"})),
            (r#"{"event":"\ud83d\ude00"}"#.to_owned(), json!({"event": "\u{1f600}"})),
            (r#"{"event":"\\ud800"}"#.to_owned(), json!({"event": "\\ud800"})),
            (
                r#"{"event":"x","n":1e999,"event_ts":1}"#.to_owned(),
                json!({"event": "x", "event_ts": 1}),
            ),
            (r#"{"event":"x","event_ts":1e999}"#.to_owned(), json!({"event": "x"})),
            (format!(r#"{{"event":"x","n":{deep}}}"#), json!({"event": "x"})),
            (
                format!(
                    r#"{{"event":"x","download_token":"t","payload":{{"object":
                    {{"n":{deep},"recording_files":[{{"id":"f","download_url":"u"}},1]}}}}}}"#
                ),
                json!({"event": "x", "download_token": "t", "payload": {"object":
                    {"recording_files": [{"id": "f", "download_url": "u"}, null]}}}),
            ),
        ] {
            assert_eq!(parse_event(body.as_bytes()), Some(expected), "{:.80}", body);
        }
        assert!(parse_event(b"{\"event\":\"\xff\"}").is_some());
        for no_object in ["", "[]", "null", "{\"event\":", r#""\ud800"#, "\\", r"\u"] {
            assert_eq!(parse_event(no_object.as_bytes()), None, "{no_object}");
        }
    }
}
