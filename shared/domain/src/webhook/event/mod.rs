//! Parsing of Zoom's events from their redacted bodies: name, time, and the user that they are about.
//!
//! Zoom's JSON varies (numbers as strings, absent fields, unknown fields), so parsing is lenient and ignores
//! fields that Reelay does not use.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::lenient;
use super::value::{integer, timestamp};
use crate::ids::ZoomUser;
use crate::observation::{ObservationSource, ObservedAt};
use crate::time::saturating_add;

/// Name of the event that announces completed files.
pub const RECORDING_COMPLETED: &str = "recording.completed";

/// Name of the event that announces a transcript.
pub const TRANSCRIPT_COMPLETED: &str = "recording.transcript_completed";

/// Recording events that the Zoom app must subscribe to. `endpoint.url_validation` needs no subscription, and
/// `app_deauthorized` has its own endpoint.
pub const SUBSCRIBED_EVENTS: [&str; 9] = [
    RECORDING_COMPLETED,
    TRANSCRIPT_COMPLETED,
    "recording.renamed",
    "recording.trashed",
    "recording.recovered",
    "recording.deleted",
    "recording.batch_trashed",
    "recording.batch_recovered",
    "recording.batch_deleted",
];

/// Kind of an event, determined by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// `endpoint.url_validation`.
    EndpointValidation,
    /// `recording.completed` or `recording.transcript_completed`.
    FilesCompleted,
    /// `recording.renamed`, `.trashed`, `.recovered`, `.deleted`, and the batch events.
    RecordingsChanged,
    /// `app_deauthorized`: the Zoom user removed the app.
    Deauthorized,
    /// Any other event: acknowledged and counted; the body is dropped.
    Other,
}

impl EventKind {
    /// Returns the kind of the event with this name.
    pub fn from_name(name: &str) -> Self {
        match name {
            "endpoint.url_validation" => Self::EndpointValidation,
            RECORDING_COMPLETED | TRANSCRIPT_COMPLETED => Self::FilesCompleted,
            "recording.renamed"
            | "recording.trashed"
            | "recording.recovered"
            | "recording.deleted"
            | "recording.batch_trashed"
            | "recording.batch_recovered"
            | "recording.batch_deleted" => Self::RecordingsChanged,
            "app_deauthorized" => Self::Deauthorized,
            _ => Self::Other,
        }
    }
}

/// A parsed `app_deauthorized` event. It may concern an earlier grant: Reelay verifies the current one at Zoom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deauthorized {
    /// The Zoom user who removed the app.
    pub zoom_user: ZoomUser,
    /// Client id of the removed Zoom app, if the event contains it.
    pub client_id: Option<String>,
    /// When the user removed the app, if the event says so.
    pub at: Option<Timestamp>,
}

impl Deauthorized {
    /// Parses a redacted event.
    ///
    /// # Errors
    /// [`EventError`], with the field that is missing or malformed.
    pub fn parse(event: &Value) -> Result<Self, EventError> {
        let text = |pointer| event.pointer(pointer).and_then(Value::as_str);
        let account = text("/payload/account_id").ok_or(EventError::Field("payload.account_id"))?;
        let user = text("/payload/user_id").ok_or(EventError::Field("payload.user_id"))?;
        Ok(Self {
            zoom_user: ZoomUser {
                account_id: account.parse().map_err(|_| EventError::Field("payload.account_id"))?,
                user_id: user.parse().map_err(|_| EventError::Field("payload.user_id"))?,
            },
            client_id: text("/payload/client_id").map(str::to_owned),
            at: event.pointer("/payload/deauthorization_time").and_then(parse_time),
        })
    }
}

/// The body is not a JSON object with a string `event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not a JSON object with a string \"event\"")]
pub struct InvalidEnvelope;

/// Parses a body into the event's name and the whole event.
///
/// # Errors
/// [`InvalidEnvelope`] if the body is not a JSON object with a string `event`.
pub fn parse_envelope(body: &[u8]) -> Result<(String, Value), InvalidEnvelope> {
    let strict = serde_json::from_slice(body).ok();
    let event = strict.or_else(|| lenient::parse_event(body)).ok_or(InvalidEnvelope)?;
    let name = event.as_object().and_then(|fields| fields.get("event")).and_then(Value::as_str);
    let name = name.ok_or(InvalidEnvelope)?.to_owned();
    Ok((name, event))
}

/// Why an event could not be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A required field is missing or malformed.
    #[error("the event's {0} is missing or malformed")]
    Field(&'static str),
}

/// How far an event's time may be after its receipt. A later time is ignored: it would outrank every observation
/// until then.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_hours(24);

/// Returns the time of a redacted event: `event_ts`, else `payload.time_stamp`, else the time of its receipt. Each may
/// be a number or a text, in epoch milliseconds or seconds, or an RFC 3339 text.
pub fn event_time(event: &Value, received_at: Timestamp) -> ObservedAt {
    let fields = ["/event_ts", "/payload/event_ts", "/payload/time_stamp"];
    let latest = saturating_add(received_at, MAX_CLOCK_SKEW);
    let own = fields
        .iter()
        .find_map(|field| parse_time(event.pointer(field)?))
        .filter(|at| *at <= latest);
    let source = ObservationSource::Event;
    ObservedAt { at: own.unwrap_or(received_at), is_own: own.is_some(), source }
}

fn parse_time(value: &Value) -> Option<Timestamp> {
    /// Epoch seconds stay below this until the year 5138; milliseconds are above it since 1973.
    const MAX_SECONDS: i64 = 100_000_000_000;
    match integer(value) {
        Some(seconds @ 1..MAX_SECONDS) => Timestamp::from_second(seconds).ok(),
        Some(milliseconds @ MAX_SECONDS..) => Timestamp::from_millisecond(milliseconds).ok(),
        Some(_) => None,
        None => timestamp(value),
    }
}

#[cfg(test)]
pub(crate) mod tests;
