//! `GET /v2/users/me/recordings`.

use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::{Category, api_error, caller, me, ok, recording_json};
use crate::clock::later;
use crate::conn::Conn;
use crate::faults::Point;
use crate::guard::guarded;
use crate::lock;
use crate::oauth::{Params, param};
use crate::ordered::Object;
use crate::recordings::{Recording, RecordingFile};
use crate::sim::{Shared, Sim};
use crate::users::User;
use crate::world::Page;

const PAGE_TOKEN_SECONDS: i64 = 15 * 60;

/// What part of the recordings is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Present,
    /// Recordings that are in the trash as a whole.
    Trash,
    /// Single files in the trash of recordings that are not.
    TrashedFiles,
}

impl View {
    fn has(self, recording: &Recording) -> bool {
        if recording.processing {
            return false;
        }
        let present = recording.all_files().any(RecordingFile::is_present);
        let trashed = recording.all_files().any(RecordingFile::is_trashed);
        match self {
            Self::Present => present,
            Self::Trash => trashed && !present,
            Self::TrashedFiles => trashed && present,
        }
    }

    fn shows(self, file: &RecordingFile) -> bool {
        match self {
            Self::Present => file.is_present(),
            Self::Trash | Self::TrashedFiles => file.is_trashed(),
        }
    }
}

/// The user's recordings, newest first, a page at a time.
pub(crate) async fn list(
    State(sim): State<Shared>,
    ConnectInfo(conn): ConnectInfo<Conn>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Response {
    let subject = me::subject(&sim, &headers);
    let scopes = [
        "cloud_recording:read:list_user_recordings",
        "recording:read",
    ];
    guarded(
        &sim,
        &conn,
        Point::ListRecordings,
        &[&subject],
        |_| match caller(&sim, &headers, scopes) {
            Ok(user) => answer(&sim, &user, &params),
            Err(refusal) => *refusal,
        },
    )
    .await
}

fn answer(sim: &Sim, user: &User, params: &Params) -> Response {
    let now = sim.clock.now();
    let Some((from, to)) = window(params, day(now)) else {
        return api_error(
            StatusCode::BAD_REQUEST,
            300,
            "The date format must be yyyy-MM-dd.",
        );
    };
    let view = match (param(params, "trash"), param(params, "trash_type")) {
        (Some("true"), Some("recording_file")) => View::TrashedFiles,
        (Some("true"), _) => View::Trash,
        _ => View::Present,
    };
    let page_size = param(params, "page_size")
        .and_then(|size| size.parse().ok())
        .unwrap_or(30_usize)
        .clamp(1, 300);

    let mut world = lock(&sim.world);
    let world = &mut *world;
    let offset = match param(params, "next_page_token").filter(|token| !token.is_empty()) {
        None => 0,
        Some(token) => match world.pages.get(token) {
            Some(page) if page.expires_at > now && page.user_id == user.id => page.offset,
            _ => {
                return api_error(
                    StatusCode::BAD_REQUEST,
                    300,
                    "The next page token is invalid or expired.",
                );
            }
        },
    };
    let in_window = |recording: &&Recording| {
        view != View::Present || (from..=to).contains(&day(recording.start_time))
    };
    let wanted_meeting = param(params, "meeting_id");
    let mut found: Vec<&Recording> = world
        .recordings
        .iter()
        .filter(|recording| recording.host_id == user.id && view.has(recording))
        .filter(in_window)
        .filter(|recording| {
            wanted_meeting
                .is_none_or(|id| recording.meeting_id.to_string() == id || recording.uuid == id)
        })
        .collect();
    found.sort_by_key(|recording| std::cmp::Reverse(recording.start_time));

    let end = found.len().min(offset + page_size);
    let next = if end < found.len() {
        let token = sim.ids.opaque::<24>();
        let page = Page {
            user_id: user.id.clone(),
            offset: end,
            expires_at: later(now, PAGE_TOKEN_SECONDS),
        };
        world.pages.insert(token.clone(), page);
        token
    } else {
        String::new()
    };
    let meetings = found
        .get(offset..end)
        .unwrap_or_default()
        .iter()
        .map(|recording| {
            recording_json(&mut world.urls, &sim.base, &sim.ids, recording, |file| {
                view.shows(file)
            })
        })
        .collect();
    let body = Object::new()
        .put("from", from.to_string())
        .put("to", to.to_string())
        .put("page_count", found.len().div_ceil(page_size))
        .put("page_size", page_size)
        .put("total_records", found.len())
        .put("next_page_token", next)
        .list("meetings", meetings);
    ok(sim, Category::Medium, &body)
}

fn day(at: Timestamp) -> Date {
    at.to_zoned_datetime(TimeZone::UTC).date()
}

/// `from` and `to`, both today if left out. A span above a month is trimmed without a word: `to` stays.
fn window(params: &Params, today: Date) -> Option<(Date, Date)> {
    let date = |name| match param(params, name).filter(|text| !text.is_empty()) {
        None => Some(today),
        Some(text) => text.parse::<Date>().ok(),
    };
    let (from, to) = (date("from")?, date("to")?);
    Some((from.max(to.saturating_sub(1.month())), to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_trimmed_to_a_month() {
        let date = |text: &str| text.parse::<Date>().expect("date");
        let today = date("2026-03-31");
        let ask = |from: &str, to: &str| {
            window(
                &vec![("from".into(), from.into()), ("to".into(), to.into())],
                today,
            )
        };
        assert_eq!(
            ask("2026-01-01", "2026-01-31"),
            Some((date("2026-01-01"), date("2026-01-31")))
        );
        assert_eq!(
            ask("2025-01-01", "2026-01-31"),
            Some((date("2025-12-31"), date("2026-01-31")))
        );
        assert_eq!(ask("", ""), Some((today, today)));
        assert_eq!(ask("yesterday", ""), None);
    }
}
