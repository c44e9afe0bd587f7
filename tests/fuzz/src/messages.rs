//! Queue messages, which may outlive the version that wrote them.

use std::fmt::Debug;

use jiff::civil::Date;
use reelay_domain::listing::Backfill;
use reelay_domain::message::{
    DownloadMessage, EventBody, EventMessage, Job, JobMessage, NotificationMessage,
};
use reelay_domain::webhook::meeting;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::oracle::{self, text};
use crate::webhooks::assert_parsed;

/// An accepted message round-trips through JSON and has version 1.
pub fn messages(input: &[u8]) {
    let text = text(input);
    if let Some(message) = parse::<EventMessage>(text)
        && let EventBody::Event(event) = &message.body
        && let Ok(parsed) = meeting::parse_event(event, oracle::observed_at())
    {
        assert_parsed(event, &parsed);
    }
    if let Some(message) = parse::<DownloadMessage>(text) {
        let user = message.zoom_user.key();
        assert_eq!(user.matches('#').count(), 1);
    }
    if let Some(message) = parse::<JobMessage>(text)
        && let Job::Backfill(Backfill { from, to, .. }) = message.job
    {
        for day in [from, to] {
            assert_eq!(day.to_string().parse::<Date>().ok(), Some(day));
        }
    }
    if let Some(message) = parse::<NotificationMessage>(text) {
        let notification = message.notification;
        let with_id = notification.body_with_id();
        // Reelay writes a base64url id and an object that is not empty.
        let is_own_id = oracle::is_base64url(&notification.id, 64);
        let body = serde_json::from_str::<Value>(&notification.body);
        if let Ok(Value::Object(mut body)) = body
            && is_own_id
            && notification.body.starts_with('{')
            && !body.is_empty()
            && !body.contains_key("id")
        {
            body.insert("id".to_owned(), notification.id.into());
            assert_eq!(serde_json::from_str::<Value>(&with_id).ok(), Some(body.into()));
        }
    }
}

fn parse<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &str) -> Option<T> {
    let message: T = serde_json::from_str(text).ok()?;
    let json: Value = serde_json::from_str(text).ok()?;
    assert_eq!(json["v"], 1, "unsupported version");
    let serialized = serde_json::to_string(&message).unwrap();
    let parsed_again: T = serde_json::from_str(&serialized).unwrap();
    if !has_fractions(&json) {
        assert_eq!(parsed_again, message);
    }
    Some(message)
}

/// Whether a value contains floating-point numbers, which may change in their last bit.
fn has_fractions(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fractions),
        Value::Object(members) => members.values().any(has_fractions),
        _ => false,
    }
}
