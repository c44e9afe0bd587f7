//! The list of recordings, and the page of one recording.

use std::slice;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;

use super::components::{
    facts, file_name, file_row, recording_progress, recording_status, segment, time, topic, version,
};
use super::error::PageError;
use super::layout::{hint, page, record_hint};
use crate::app::App;
use crate::reelay::{File, FileStatus, Recording, RecordingStatus};
use crate::session::{Flash, SignedIn};

const PATH: &str = "/recordings";
const PAGE_SIZE: u8 = 20;

#[derive(Deserialize)]
pub(crate) struct ListQuery {
    cursor: Option<String>,
}

/// A page of the user's recordings.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    SignedIn { user, session }: SignedIn,
    Query(ListQuery { cursor }): Query<ListQuery>,
) -> Result<Markup, PageError> {
    let list = app.reelay.recordings(&user, PAGE_SIZE, cursor.as_deref()).await?;
    let flash = Flash::take(&session).await?;
    let recordings = &list.recordings;
    let stored = recordings.iter().filter(|recording| recording.status == RecordingStatus::Stored);
    let summary = format!("{} of {} recordings stored", stored.count(), recordings.len());
    let body = html! {
        h1 { "Recordings" }
        div data-live=(summary) data-version=(version(recordings)) {
            @for recording in recordings { (card(recording)) }
            @if recordings.is_empty() { p.empty { "No recordings. This page updates by itself." } }
            nav.pages aria-label="Pages" {
                @if cursor.is_some() { a href=(PATH) rel="first" { "← Newest" } }
                @if let Some(next) = &list.next_cursor {
                    a href={ (PATH) "?cursor=" (segment(next)) } rel="next" { "Older →" }
                }
            }
            (hint(html! {
                @if recordings.is_empty() {
                    "Connect Zoom under " a href="/settings/integrations" { "Integrations" } ". "
                    (record_hint(app.simulator_url.as_ref()))
                } @else {
                    "Open a recording to play it, or to download its files again."
                }
            }))
        }
    };
    Ok(page("Recordings", Some((&user, PATH)), flash, &body))
}

fn card(recording: &Recording) -> Markup {
    html! {
        article.card {
            .head {
                div {
                    h2 { a href={ (PATH) "/" (segment(&recording.id)) } { (topic(recording)) } }
                    (facts(recording))
                }
                (recording_status(recording.status))
            }
            (recording_progress(recording))
            details id={ "files-" (recording.id) } {
                summary { (recording.files.len()) @if recording.files.len() == 1 { " file" } @else { " files" } }
                ul.rows { @for file in &recording.files { (file_row(file)) } }
            }
        }
    }
}

/// One recording with its players and files.
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    SignedIn { user, session }: SignedIn,
    Path(recording_id): Path<String>,
) -> Result<Markup, PageError> {
    let recording = app.reelay.recording(&user, &recording_id).await?;
    let flash = Flash::take(&session).await?;
    let topic = topic(&recording);
    let can_download =
        matches!(recording.status, RecordingStatus::Detected | RecordingStatus::Failed);
    let body = html! {
        p.back { a href=(PATH) { "← Recordings" } }
        div data-live={ "Recording updated: " (topic) } data-version=(version(slice::from_ref(&recording))) {
            .head {
                div { h1 { (topic) } (facts(&recording)) }
                (recording_status(recording.status))
            }
            (recording_progress(&recording))
            @for file in &recording.files { (player(file)) }
            section.card aria-labelledby="files" {
                .head {
                    h2 id="files" { "Files" }
                    @if can_download {
                        form method="post" action={ (PATH) "/" (segment(&recording.id)) "/download" } {
                            button.primary type="submit" { "Download from Zoom" }
                        }
                    }
                }
                ul.rows { @for file in &recording.files { (file_row(file)) } }
                @if let Some(expiry) = recording.files.iter().filter_map(|file| file.url_expires_at).min() {
                    p.muted { "The links expire at " (time(expiry)) ". Reload the page for new links." }
                }
            }
            (hint(html! { "See what Reelay sent to this app under " a href="/notifications" { "Notifications" } "." }))
        }
    };
    Ok(page(topic, Some((&user, PATH)), flash, &body))
}

/// Player for a stored video or audio file.
fn player(file: &File) -> Markup {
    let name = file_name(file);
    html! {
        @if let (FileStatus::Stored, Some(url)) = (file.status, &file.url) {
            @let kind = file.file_type.as_deref();
            @if matches!(kind, Some("MP4" | "M4A")) {
                figure {
                    @if kind == Some("MP4") { video controls preload="metadata" src=(url) aria-label=(name) {} }
                    @else { audio controls preload="metadata" src=(url) aria-label=(name) {} }
                    figcaption.muted { (name) }
                }
            }
        }
    }
}

/// Requests the download of the recording's files.
pub(crate) async fn download(
    State(app): State<Arc<App>>,
    SignedIn { user, session }: SignedIn,
    Path(recording_id): Path<String>,
) -> Result<Redirect, PageError> {
    app.reelay.download(&user, &recording_id).await?;
    let flash = Flash::Info("The files are being downloaded from Zoom.".into());
    flash.store(&session).await?;
    Ok(Redirect::to(&format!("{PATH}/{}", segment(&recording_id))))
}
