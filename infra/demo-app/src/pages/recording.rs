//! One recording: play it, read it, fetch it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};

use super::integrations::segment;
use super::layout::{Frame, Section, hint, page};
use super::recordings::{facts, file_row, live, name, overall, version};
use super::{Failure, format, words};
use crate::App;
use crate::reelay::{
    File, FileStatus, MeetingId, ProblemCode, Recording, RecordingPage, RecordingStatus,
};
use crate::session::{Flash, SignedIn};

pub(super) async fn show(
    State(app): State<Arc<App>>,
    SignedIn { user, session }: SignedIn,
    Path(recording_id): Path<String>,
) -> Result<Markup, Failure> {
    let recording = app.reelay.recording(&user, &recording_id).await?;
    let flash = Flash::take(&session).await?;
    let topic = format::topic(recording.topic.as_deref());
    let here = format!("/recordings/{}", segment(&recording.id));
    let shown = std::slice::from_ref(&recording);
    let body = html! {
        p.back { a href="/recordings" { "← Recordings" } }
        div data-live={ (here) "/state.json" } data-version=(version(shown)) data-summary={ "Recording: " (topic) } {
            .head {
                div { h1 { (topic) } (facts(&recording)) }
                .badges { (words::recording_status(recording.status)) (words::zoom_state(recording.zoom_state)) }
            }
            (overall(&recording))
            (players(&recording))
            section.card aria-labelledby="files" {
                .head {
                    h2 id="files" { "Files" }
                    @if can_download(&recording) {
                        form method="post" action={ (here) "/download" } {
                            button.primary type="submit" {
                                @if recording.status == RecordingStatus::Detected { "Download" } @else { "Download again" }
                            }
                        }
                    }
                }
                @if recording.files.is_empty() {
                    p.muted { "No files yet." }
                } @else {
                    ul.rows { @for file in &recording.files { (file_row(&recording, file)) } }
                }
                @if let Some(until) = recording.files.iter().filter_map(|file| file.url_expires_at).min() {
                    p.muted { "The links above work until " (format::moment(until)) ". Reload the page for new ones." }
                }
            }
            (details(&recording))
            (next_step(&recording))
        }
    };
    Ok(page(
        &Frame::signed_in(&topic, Section::Recordings, &user, flash),
        body,
    ))
}

fn can_download(recording: &Recording) -> bool {
    matches!(
        recording.status,
        RecordingStatus::Failed | RecordingStatus::Detected
    ) || recording
        .files
        .iter()
        .any(|file| file.status == FileStatus::Failed)
}

fn is(file: &File, kind: &str) -> bool {
    let of = |text: &Option<String>| {
        text.as_deref()
            .is_some_and(|text| text.eq_ignore_ascii_case(kind))
    };
    of(&file.file_type) || of(&file.extension)
}

/// Whether a file can be read on a page.
pub(super) fn is_text(file: &File) -> bool {
    ["vtt", "txt", "json", "csv"]
        .iter()
        .any(|kind| is(file, kind))
}

fn players(recording: &Recording) -> Markup {
    let stored = |kind: &'static str| {
        recording.files.iter().filter_map(move |file| {
            (file.status == FileStatus::Stored && is(file, kind))
                .then_some(file.url.as_ref().map(|url| (file, url)))
                .flatten()
        })
    };
    let captions = stored("vtt").next().map(|(file, _)| {
        format!(
            "/recordings/{}/files/{}/captions",
            segment(&recording.id),
            segment(&file.id)
        )
    });
    html! {
        @for (file, url) in stored("mp4") {
            figure {
                video controls preload="metadata" src=(url) aria-label=(name(file)) {
                    @if let Some(captions) = &captions {
                        track kind="captions" label="Transcript" src=(captions);
                    }
                }
                figcaption.muted { (name(file)) }
            }
        }
        @for (file, url) in stored("m4a") {
            figure {
                audio controls preload="metadata" src=(url) aria-label=(name(file)) {}
                figcaption.muted { (name(file)) }
            }
        }
    }
}

fn details(recording: &Recording) -> Markup {
    html! {
        details.card id="about" {
            summary { "About this recording" }
            dl {
                @if let Some(id) = &recording.meeting_id {
                    dt { "Meeting" }
                    dd { @match id { MeetingId::Number(id) => (id), MeetingId::Text(id) => (id), } }
                }
                dt { "Meeting UUID" } dd { code { (recording.meeting_uuid) } }
                dt { "Recording" } dd { code { (recording.id) } }
                dt { "Zoom user" } dd { code { (recording.zoom.user_id) } " in account " code { (recording.zoom.account_id) } }
                @for file in &recording.files {
                    @if let (Some(bucket), Some(key)) = (&file.bucket, &file.key) {
                        dt { (name(file)) }
                        dd {
                            code { "s3://" (bucket) "/" (key) }
                            @if let Some(crc) = &file.crc64nvme { br; "CRC-64/NVME " code { (crc) } }
                        }
                    }
                }
            }
        }
    }
}

fn next_step(recording: &Recording) -> Markup {
    hint(match recording.status {
        RecordingStatus::Detected => html! { "Press “Download” to have its files stored." },
        RecordingStatus::Transferring => {
            html! { "The files are on their way. Each can be played or read as soon as it is whole." }
        }
        RecordingStatus::Failed => {
            html! { "Press “Download again”. What is stored already is not fetched twice." }
        }
        RecordingStatus::Stored | RecordingStatus::Unknown => html! {
            "See what this app was told about it under " a href="/notifications" { "Notifications" } "."
        },
    })
}

pub(super) async fn state(
    State(app): State<Arc<App>>,
    signed_in: Option<SignedIn>,
    Path(recording_id): Path<String>,
) -> Response {
    let Some(SignedIn { user, .. }) = signed_in else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let answer = app.reelay.recording(&user, &recording_id).await;
    let page = answer.map(|recording| RecordingPage {
        recordings: vec![recording],
        next_cursor: None,
    });
    live(page, &user)
}

pub(super) async fn download(
    State(app): State<Arc<App>>,
    SignedIn { user, session }: SignedIn,
    Path(recording_id): Path<String>,
) -> Result<Redirect, Failure> {
    let flash = match app.reelay.download(&user, &recording_id).await {
        Ok(()) => Flash::good("The files are being fetched from Zoom."),
        Err(error) if error.code() == Some(ProblemCode::RecordingNotFound) => {
            return Err(error.into());
        }
        Err(error) => Flash::bad(words::reelay_error(&error)),
    };
    flash.leave(&session).await?;
    Ok(Redirect::to(&format!(
        "/recordings/{}",
        segment(&recording_id)
    )))
}

/// A transcript, chat or timeline as a page. It is text that strangers wrote, so it is read by this server
/// and shown escaped, whatever type the bucket would serve it with.
pub(super) async fn text(
    State(app): State<Arc<App>>,
    SignedIn { user, .. }: SignedIn,
    Path((recording_id, file_id)): Path<(String, String)>,
) -> Result<Markup, Failure> {
    let recording = app.reelay.recording(&user, &recording_id).await?;
    let (file, text) = read(&app, &recording, &file_id).await?;
    let title = name(file);
    let body = html! {
        p.back {
            a href={ "/recordings/" (segment(&recording.id)) } {
                "← " (format::topic(recording.topic.as_deref()))
            }
        }
        h1 { (title) }
        pre.text tabindex="0" { (text) }
    };
    Ok(page(
        &Frame::signed_in(&title, Section::Recordings, &user, None),
        body,
    ))
}

/// The transcript as captions: from this origin, for a bucket's would need CORS.
pub(super) async fn captions(
    State(app): State<Arc<App>>,
    SignedIn { user, .. }: SignedIn,
    Path((recording_id, file_id)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let recording = app.reelay.recording(&user, &recording_id).await?;
    let (file, text) = read(&app, &recording, &file_id).await?;
    if !is(file, "vtt") {
        return Err(Failure::NotFound);
    }
    Ok(([(CONTENT_TYPE, "text/vtt; charset=utf-8")], text).into_response())
}

async fn read<'a>(
    app: &App,
    recording: &'a Recording,
    file_id: &str,
) -> Result<(&'a File, String), Failure> {
    let file = recording
        .files
        .iter()
        .find(|file| file.id == file_id && is_text(file))
        .ok_or(Failure::NotFound)?;
    let url = file.url.as_ref().ok_or(Failure::NotFound)?;
    Ok((file, app.reelay.text(url).await?))
}
