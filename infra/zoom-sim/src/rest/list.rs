//! `GET /v2/users/me/recordings`.

use std::cmp::Reverse;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::{authorize, ok, recording_json, user_id};
use crate::call::Call;
use crate::clock::later;
use crate::faults::{Fault, Point};
use crate::json::object;
use crate::recordings::{Recording, RecordingFile};
use crate::responses::{ApiError, RateLimit};
use crate::sync::lock;
use crate::world::Page;

const PAGE_TOKEN_SECONDS: i64 = 15 * 60;
const SCOPES: [&str; 2] = ["cloud_recording:read:list_user_recordings", "recording:read"];

/// Selection of the list by `trash` and `trash_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Present,
    /// Recordings whose files are all in the trash.
    Trash,
    /// Trashed files of recordings that have other files.
    TrashedFiles,
}

impl View {
    fn includes(self, recording: &Recording) -> bool {
        let present = recording.all_files().any(RecordingFile::is_present);
        let trashed = recording.all_files().any(RecordingFile::is_trashed);
        let is_included = match self {
            Self::Present => present,
            Self::Trash => trashed && !present,
            Self::TrashedFiles => trashed && present,
        };
        is_included && !recording.processing
    }

    fn shows(self, file: &RecordingFile) -> bool {
        match self {
            Self::Present => file.is_present(),
            Self::Trash | Self::TrashedFiles => file.is_trashed(),
        }
    }
}

/// Lists the user's recordings, newest first, in pages.
pub(crate) async fn list(call: Call) -> Response {
    let subject = user_id(&call);
    let handler = |fault: Option<Fault>| page(&call, fault.as_ref()).into_response();
    call.respond(Point::ListRecordings, &[&subject], "", handler).await
}

/// Whether the list includes a recording of this source. Assumed: without the parameter it includes both.
fn includes_source(parameter: Option<&str>, recording: &Recording) -> bool {
    match parameter {
        Some("cloud_recording_only") => !recording.is_note,
        Some("my_notes_recording_only") => recording.is_note,
        _ => true,
    }
}

fn page(call: &Call, fault: Option<&Fault>) -> Result<Response, ApiError> {
    let user = authorize(call, SCOPES)?;
    let sim = &call.sim;
    let now = sim.clock.now();
    let invalid = |message: &str| ApiError::new(StatusCode::BAD_REQUEST, 300, message);
    let (from, to) = window(call.param("from"), call.param("to"), day(now))
        .ok_or_else(|| invalid("The date format must be yyyy-MM-dd."))?;
    let view = match (call.param("trash"), call.param("trash_type")) {
        (Some("true"), Some("recording_file")) => View::TrashedFiles,
        (Some("true"), _) => View::Trash,
        _ => View::Present,
    };
    let page_size = call.param("page_size").and_then(|size| size.parse().ok());
    let max_page_size = lock(&sim.config).max_page_size.max(1);
    let page_size = page_size.unwrap_or(30_usize).clamp(1, max_page_size);
    let meeting = call.param("meeting_id");

    let mut world = lock(&sim.world);
    let world = &mut *world;
    let token = call.param("next_page_token").filter(|token| !token.is_empty());
    let mut offset = match token.map(|token| world.pages.get(token)) {
        None => 0,
        Some(Some(page)) if page.expires_at > now && page.user_id == user.id => page.offset,
        Some(_) => return Err(invalid("The next page token is invalid or expired.")),
    };
    let last = if fault == Some(&Fault::ExclusiveTo) { to.saturating_sub(1.day()) } else { to };
    let matches = |recording: &&Recording| {
        recording.host_id == user.id
            && includes_source(call.param("recording_source_type"), recording)
            && view.includes(recording)
            && (view != View::Present || (from..=last).contains(&day(recording.start_time)))
            && meeting
                .is_none_or(|id| recording.meeting_id.to_string() == id || recording.uuid == id)
    };
    let mut found: Vec<&Recording> = world.recordings.iter().filter(matches).collect();
    found.sort_by_key(|recording| Reverse(recording.start_time));

    let is_repeating = fault == Some(&Fault::RepeatPageToken);
    if is_repeating {
        offset = 0;
    }
    let omitted = match fault {
        Some(Fault::OmitMeetings { count }) => *count,
        _ => 0,
    };
    let page_end = found.len().min(offset + page_size);
    let end = page_end.saturating_sub(omitted).max(offset);
    let mut next_page_token = String::new();
    if is_repeating || (omitted == 0 && end < found.len()) {
        let repeated = token.filter(|_| is_repeating).map(str::to_owned);
        next_page_token = repeated.unwrap_or_else(|| sim.ids.opaque::<24>());
        let page = Page {
            user_id: user.id.clone(),
            offset: if is_repeating { 0 } else { end },
            expires_at: later(now, PAGE_TOKEN_SECONDS),
        };
        world.pages.insert(next_page_token.clone(), page);
    }
    let shown = found.get(offset..end).unwrap_or_default().iter();
    let meetings: Vec<_> = shown
        .map(|recording| recording_json(sim, &mut world.urls, recording, |file| view.shows(file)))
        .collect();
    let body = object! {
        "from": from.to_string(), "to": to.to_string(), "page_count": found.len().div_ceil(page_size),
        "page_size": page_size, "total_records": found.len(), "next_page_token": next_page_token,
        "meetings": meetings,
    };
    Ok(ok(sim, RateLimit::Medium, body))
}

fn day(at: Timestamp) -> Date {
    at.to_zoned_datetime(TimeZone::UTC).date()
}

/// The window of the list: both days default to today. More than a month is cut silently at `from`.
fn window(from: Option<&str>, to: Option<&str>, today: Date) -> Option<(Date, Date)> {
    let date = |text: Option<&str>| match text.filter(|text| !text.is_empty()) {
        None => Some(today),
        Some(text) => text.parse::<Date>().ok(),
    };
    let (from, to) = (date(from)?, date(to)?);
    Some((from.max(to.saturating_sub(1.month())), to))
}
