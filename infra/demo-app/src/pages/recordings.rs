//! The list of recordings.

use std::sync::Arc;

use axum::extract::{Query, State};
use maud::{Markup, html};
use serde::Deserialize;

use super::components::{file_row, segment, summary, topic, version};
use super::error::PageError;
use super::layout::{page, record_hint};
use crate::app::App;
use crate::reelay::{Recording, Status};
use crate::session::{Flash, SignedIn};

pub(super) const PATH: &str = "/recordings";
const PAGE_SIZE: u8 = 20;

#[derive(Deserialize)]
pub(crate) struct ListQuery {
    cursor: Option<String>,
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    SignedIn { user, session }: SignedIn,
    Query(ListQuery { cursor }): Query<ListQuery>,
) -> Result<Markup, PageError> {
    let list = app.reelay.recordings(&user, PAGE_SIZE, cursor.as_deref()).await?;
    let flash = Flash::take(&session).await?;
    let recordings = &list.recordings;
    let stored = recordings.iter().filter(|recording| recording.status == Status::Stored);
    let announcement = format!("{} of {} recordings stored", stored.count(), recordings.len());
    let body = html! {
        h1 { "Recordings" }
        div data-live=(announcement) data-version=(version(recordings)) {
            @for recording in recordings { (card(recording)) }
            @if recordings.is_empty() {
                p.empty { "No recordings yet. Connect Zoom under " a href="/settings/integrations" { "Integrations" } "." }
                (record_hint(app.simulator_url.as_ref()))
            }
            @if cursor.is_some() || list.next_cursor.is_some() {
                nav.pages aria-label="Pages" {
                    @if cursor.is_some() { a href=(PATH) rel="first" { "← Newest" } }
                    @if let Some(next) = &list.next_cursor {
                        a href={ (PATH) "?cursor=" (segment(next)) } rel="next" { "Older →" }
                    }
                }
            }
        }
    };
    Ok(page("Recordings", Some((&user, PATH)), flash, &body))
}

fn card(recording: &Recording) -> Markup {
    let path = format!("{PATH}/{}", segment(&recording.id));
    html! {
        article.card {
            (summary(html! { h2 { a href=(path) { (topic(recording)) } } }, recording))
            details id={ "files-" (recording.id) } {
                summary { (recording.files.len()) @if recording.files.len() == 1 { " file" } @else { " files" } }
                ul.rows { @for file in &recording.files { (file_row(file, None)) } }
            }
        }
    }
}
