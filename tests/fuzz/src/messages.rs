//! Queue messages, which may be older or newer than the code that reads them.

use std::fmt::Debug;

use jiff::civil::Date;
use reelay_domain::message::{
    DownloadMessage, EventBody, EventMessage, Job, JobMessage, NotificationMessage,
};
use reelay_domain::webhook::event::FilesCompleted;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::by_hand::text;
use crate::webhooks::assert_completed;

/// Every deserialized message round-trips and has schema version 1.
pub fn messages(input: &[u8]) {
    let text = text(input);
    if let Some(message) = read::<EventMessage>(text)
        && let EventBody::Event(event) = &message.body
        && let Ok(completed) = FilesCompleted::parse(event)
    {
        assert_completed(event, &completed);
    }
    if let Some(message) = read::<DownloadMessage>(text) {
        let user = message.zoom_user.key();
        assert_eq!(user.matches('#').count(), 1);
    }
    if let Some(message) = read::<JobMessage>(text)
        && let Job::Backfill { from, to, .. } = message.job
    {
        for day in [from, to] {
            assert_eq!(day.to_string().parse::<Date>().ok(), Some(day));
        }
    }
    if let Some(message) = read::<NotificationMessage>(text) {
        let notification = message.notification;
        let with_id = notification.body_with_id();
        // `body_with_id` requires a plain id and a non-empty object.
        let is_plain_id = crate::by_hand::is_base64url(&notification.id, 64);
        let body = serde_json::from_str::<Value>(&notification.body);
        if let Ok(Value::Object(mut body)) = body
            && is_plain_id
            && notification.body.starts_with('{')
            && !body.is_empty()
            && !body.contains_key("id")
        {
            body.insert("id".to_owned(), notification.id.into());
            assert_eq!(
                serde_json::from_str::<Value>(&with_id).ok(),
                Some(body.into())
            );
        }
    }
}

fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &str) -> Option<T> {
    let message: T = serde_json::from_str(text).ok()?;
    let json: Value = serde_json::from_str(text).ok()?;
    assert_eq!(json["v"], 1, "unsupported schema version");
    let printed = serde_json::to_string(&message).unwrap();
    let again: T = serde_json::from_str(&printed).unwrap();
    if !has_fractions(&json) {
        assert_eq!(again, message);
    }
    Some(message)
}

/// Returns whether the JSON has fractional numbers, whose last bit may change in a round trip.
fn has_fractions(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fractions),
        Value::Object(members) => members.values().any(has_fractions),
        _ => false,
    }
}
