//! The list of recordings, and its state for the script that keeps it alive.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;

use super::integrations::segment;
use super::layout::{Frame, Section, hint, page, record_something};
use super::{Failure, format, words};
use crate::App;
use crate::app_user::AppUser;
use crate::reelay::{
    File, FileStatus, ProblemCode, Recording, RecordingPage, RecordingStatus, ReelayError,
};
use crate::session::{Flash, SignedIn};

const HERE: &str = "/recordings";
const PAGE_SIZE: u8 = 20;

#[derive(Deserialize)]
pub(super) struct Position {
    cursor: Option<String>,
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    SignedIn { user, session }: SignedIn,
    Query(Position { cursor }): Query<Position>,
) -> Result<Response, Failure> {
    let list = match app
        .reelay
        .recordings(&user, PAGE_SIZE, cursor.as_deref())
        .await
    {
        Ok(list) => list,
        // A bookmark of long ago, or of somebody else.
        Err(error) if cursor.is_some() && error.code() == Some(ProblemCode::CursorInvalid) => {
            Flash::neutral(words::reelay_error(&error))
                .leave(&session)
                .await?;
            return Ok(Redirect::to(HERE).into_response());
        }
        Err(error) => return Err(error.into()),
    };
    let first_page = cursor.is_none();
    // Only an empty list needs to know why it is empty.
    let unlinked =
        first_page && list.recordings.is_empty() && app.reelay.links(&user).await?.is_empty();
    let live = match &cursor {
        Some(cursor) => format!("/recordings.json?{}", query(cursor)),
        None => "/recordings.json".to_owned(),
    };
    let flash = Flash::take(&session).await?;
    let body = html! {
        h1 { "Recordings" }
        div data-live=(live) data-version=(version(&list.recordings)) data-summary=(summary(&list.recordings)) {
            @for recording in &list.recordings { (card(recording)) }
            @if list.recordings.is_empty() {
                p.empty {
                    @if first_page { "No recordings yet. This page updates by itself." }
                    @else { "No older recordings." }
                }
            }
            @if !first_page || list.next_cursor.is_some() {
                nav.pages aria-label="Pages" {
                    @if !first_page { a href=(HERE) rel="first" { "← Newest" } }
                    @if let Some(next) = &list.next_cursor {
                        a href={ (HERE) "?" (query(next)) } rel="next" { "Older →" }
                    }
                }
            }
            (next_step(&app, &list, unlinked))
        }
        @if !unlinked { (backfill_form()) }
    };
    let frame = Frame::signed_in("Recordings", Section::Recordings, &user, flash);
    Ok(page(&frame, body).into_response())
}

fn query(cursor: &str) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("cursor", cursor)
        .finish()
}

fn next_step(app: &App, list: &RecordingPage, unlinked: bool) -> Markup {
    let any = |status| list.recordings.iter().any(|r| r.status == status);
    hint(html! {
        @if unlinked {
            "First connect Zoom under " a href="/settings/integrations" { "Integrations" } "."
        } @else if list.recordings.is_empty() {
            (record_something(app.simulator_url.as_ref()))
        } @else if any(RecordingStatus::Transferring) {
            "Watch the bars fill: each file is copied from Zoom in parts and proven byte by byte."
        } @else if any(RecordingStatus::Failed) {
            "Open a recording that failed to see which file it was, and download it again."
        } @else if any(RecordingStatus::Stored) {
            "Open a recording to play it, then see what this app was told under "
            a href="/notifications" { "Notifications" } "."
        } @else {
            "Open a recording and ask for it to be downloaded."
        }
    })
}

fn summary(recordings: &[Recording]) -> String {
    let stored = recordings
        .iter()
        .filter(|recording| recording.status == RecordingStatus::Stored)
        .count();
    format!("{stored} of {} recordings stored", recordings.len())
}

fn card(recording: &Recording) -> Markup {
    let path = format!("{HERE}/{}", segment(&recording.id));
    html! {
        article.card {
            .head {
                div {
                    h2 { a href=(path) { (format::topic(recording.topic.as_deref())) } }
                    (facts(recording))
                }
                .badges { (words::recording_status(recording.status)) (words::zoom_state(recording.zoom_state)) }
            }
            (overall(recording))
            @if !recording.files.is_empty() {
                details id={ "files-" (recording.id) } {
                    summary { (recording.files.len()) @if recording.files.len() == 1 { " file" } @else { " files" } }
                    ul.rows { @for file in &recording.files { (file_row(recording, file)) } }
                }
            }
        }
    }
}

/// When, how long and how large.
pub(super) fn facts(recording: &Recording) -> Markup {
    html! {
        p.muted.facts {
            @if let Some(start) = recording.start_time { span { (format::moment(start)) } }
            @if let Some(minutes) = recording.duration_minutes { span { (minutes) " min" } }
            @if let Some(size) = recording.size { span { (format::size(size)) } }
        }
    }
}

/// The bar of all files together, as long as there is something to come.
pub(super) fn overall(recording: &Recording) -> Markup {
    html! {
        @if matches!(recording.status, RecordingStatus::Transferring | RecordingStatus::Failed) {
            (format::progress(&recording.id, "Stored so far", recording.bytes_stored, recording.size))
        }
    }
}

/// One file: what it is and how far.
pub(super) fn file_row(recording: &Recording, file: &File) -> Markup {
    html! {
        li {
            .grow {
                p { (name(file)) " " (words::file_status(file.status)) }
                @match file.status {
                    FileStatus::Transferring => {
                        (format::progress(
                            &format!("{}/{}", recording.id, file.id),
                            &format!("{}: stored so far", name(file)),
                            file.bytes_stored,
                            file.size,
                        ))
                    },
                    FileStatus::Failed | FileStatus::Skipped => {
                        @if let Some(reason) = &file.reason { p.muted { (format::phrase(reason)) } }
                    },
                    _ => {
                        @if let Some(size) = file.size { p.muted { (format::size(size)) } }
                    },
                }
            }
            (actions(recording, file))
        }
    }
}

/// Files have addresses on the page of one recording only; the list has none and shows no actions.
fn actions(recording: &Recording, file: &File) -> Markup {
    html! {
        @if let (FileStatus::Stored, Some(url)) = (file.status, &file.url) {
            @if super::recording::is_text(file) {
                a.button href={ (HERE) "/" (segment(&recording.id)) "/files/" (segment(&file.id)) }
                    aria-label={ "Read " (name(file)) } { "Read" }
            }
            a.button href=(url) target="_blank" rel="noopener noreferrer" download aria-label={ "Download " (name(file)) } { "Download" }
        }
    }
}

/// What a file is called: `Shared screen with speaker view (MP4)`.
pub(super) fn name(file: &File) -> String {
    let kind = file.file_type.as_deref().unwrap_or("file").to_uppercase();
    match file.recording_type.as_deref().map(format::phrase) {
        Some(view) if !view.is_empty() && !view.eq_ignore_ascii_case(&kind) => {
            format!("{view} ({kind})")
        }
        _ => kind,
    }
}

fn backfill_form() -> Markup {
    let today = Timestamp::now().to_zoned_datetime(TimeZone::UTC).date();
    let month_ago = today.checked_sub(30.days()).unwrap_or(today);
    html! {
        details.card.older {
            summary { "Fetch older recordings" }
            form.inline method="post" action="/recordings/backfill" {
                label for="from" { "From" }
                input id="from" name="from" type="date" required value=(month_ago);
                label for="to" { "to" }
                input id="to" name="to" type="date" required value=(today);
                button type="submit" { "Fetch" }
            }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Days {
    from: Date,
    to: Date,
}

pub(super) async fn backfill(
    State(app): State<Arc<App>>,
    SignedIn { user, session }: SignedIn,
    days: Result<Form<Days>, FormRejection>,
) -> Result<Redirect, Failure> {
    let flash = match days {
        Ok(Form(Days { from, to })) if from <= to => {
            match app.reelay.backfill(&user, from, to).await {
                Ok(()) => Flash::good(format!(
                    "Recordings from {from} to {to} are being looked up at Zoom. They appear here one by one."
                )),
                Err(error) => Flash::bad(words::reelay_error(&error)),
            }
        }
        _ => Flash::bad("Please give two days, the earlier one first."),
    };
    flash.leave(&session).await?;
    Ok(Redirect::to(HERE))
}

/// What the script asks for: Reelay's answer, and a version of everything but bytes and addresses. While the
/// version stays, moving the bars is enough; when it changes, the script fetches the page anew.
#[derive(Serialize)]
pub(super) struct Live {
    recordings: Vec<Recording>,
    next_cursor: Option<String>,
    version: String,
}

impl From<RecordingPage> for Live {
    fn from(page: RecordingPage) -> Self {
        Self {
            version: version(&page.recordings),
            recordings: page.recordings,
            next_cursor: page.next_cursor,
        }
    }
}

pub(super) async fn state(
    State(app): State<Arc<App>>,
    signed_in: Option<SignedIn>,
    Query(Position { cursor }): Query<Position>,
) -> Response {
    let Some(SignedIn { user, .. }) = signed_in else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    live(
        app.reelay
            .recordings(&user, PAGE_SIZE, cursor.as_deref())
            .await,
        &user,
    )
}

pub(super) fn live(answer: Result<RecordingPage, ReelayError>, user: &AppUser) -> Response {
    match answer {
        Ok(page) => Json(Live::from(page)).into_response(),
        Err(error) => {
            tracing::warn!(?error, %user, "no state for the page");
            match error.code() {
                Some(ProblemCode::RecordingNotFound) => StatusCode::NOT_FOUND,
                Some(ProblemCode::CursorInvalid) => StatusCode::BAD_REQUEST,
                _ => StatusCode::BAD_GATEWAY,
            }
            .into_response()
        }
    }
}

/// Changes whenever the page would look different, the bars excepted.
pub(super) fn version(recordings: &[Recording]) -> String {
    let mut hash = Sha256::new();
    for recording in recordings {
        let mut recording = recording.clone();
        recording.bytes_stored = 0;
        for file in &mut recording.files {
            file.bytes_stored = 0;
            file.url = None;
            file.url_expires_at = None;
        }
        // These types have neither maps with odd keys nor failing serializers.
        hash.update(serde_json::to_vec(&recording).unwrap_or_default());
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..12])
}
