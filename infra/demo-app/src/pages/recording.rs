//! The page of one recording: a player with a chapter for each segment, the transcript beside it, and all files.

use std::slice;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;
use url::Url;

use super::components::{file_name, file_row, segment, summary, time, topic, version};
use super::error::PageError;
use super::layout::page;
use super::recordings::PATH;
use crate::app::App;
use crate::reelay::{File, Status};
use crate::session::{Flash, SignedIn};
use crate::transcript::{self, Cue};

#[derive(Deserialize)]
pub(crate) struct ShowQuery {
    /// Number of the chapter, from 1.
    part: Option<usize>,
    /// Second at which the player starts.
    t: Option<u32>,
}

/// One recording, with a player, its transcript and its files.
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    SignedIn { user, session }: SignedIn,
    Path(recording_id): Path<String>,
    Query(query): Query<ShowQuery>,
) -> Result<Markup, PageError> {
    let recording = app.reelay.recording(&user, &recording_id).await?;
    let flash = Flash::take(&session).await?;
    // Reelay sorts files by segment.
    let parts = recording.files.chunk_by(|one, other| one.recording_start == other.recording_start);
    let parts: Vec<_> = parts.collect();
    let chapters: Vec<_> = (1..).zip(&parts).filter_map(|(n, part)| chapter(n, part)).collect();
    let selected = chapters.iter().find(|chapter| Some(chapter.number) == query.part);
    let current = selected.or(chapters.first());
    let vtt = match current.and_then(|chapter| chapter.transcript) {
        Some(url) => app.reelay.text(url).await,
        None => Ok(String::new()),
    };
    let vtt = vtt.inspect_err(|error| tracing::warn!(?error, "transcript not read"));
    let cues = transcript::parse(&vtt.unwrap_or_default());
    let topic = topic(&recording);
    // A stored recording hardly changes, and a poll reads the transcript again.
    let is_final = recording.status == Status::Stored;
    let body = html! {
        p.back { a href=(PATH) { "← Recordings" } }
        div data-live=[(!is_final).then(|| format!("Recording updated: {topic}"))]
            data-version=(version(slice::from_ref(&recording))) {
            (summary(html! { h1 { (topic) } }, &recording))
            @if let Some(current) = current {
                .watch {
                    .stage {
                        (player(current, query.t.unwrap_or(0)))
                        @if chapters.len() > 1 { (chapter_links(&chapters, current.number)) }
                    }
                    section.transcript aria-labelledby="transcript" {
                        h2 id="transcript" { "Transcript" }
                        @if cues.is_empty() { p.muted { "There is none, or it is not ready." } }
                        @else { (cue_links(&cues, current.number)) }
                    }
                }
            }
            section.card aria-labelledby="files" {
                .head {
                    h2 id="files" { "Files" }
                    @if matches!(recording.status, Status::Detected | Status::Failed) {
                        form method="post" action={ (PATH) "/" (segment(&recording.id)) "/download" } {
                            button.primary type="submit" { "Download from Zoom" }
                        }
                    }
                }
                @for (index, part) in parts.iter().enumerate() {
                    @if parts.len() > 1 { h3 { "Part " (index + 1) } }
                    ul.rows { @for file in *part { (file_row(file, current.map(|chapter| &*chapter.media.id))) } }
                }
                @if let Some(expiry) = recording.files.iter().filter_map(|file| file.url_expires_at).min() {
                    p.muted { "The links expire at " (time(expiry)) ". Reload the page for new links." }
                }
            }
        }
    };
    Ok(page(topic, Some((&user, PATH)), flash, &body))
}

/// A segment that can be played, now or when its file is stored.
struct Chapter<'a> {
    number: usize,
    media: &'a File,
    transcript: Option<&'a Url>,
}

/// Prefers video to audio, everyone to one participant, and the transcript to live captions.
fn chapter(number: usize, part: &[File]) -> Option<Chapter<'_>> {
    let of_type = |kind: &str| {
        let files = part.iter().filter(move |file| file.file_type.as_deref() == Some(kind));
        files.min_by_key(|file| (file.participant.is_some(), file.status != Status::Stored))
    };
    let media = of_type("MP4").or_else(|| of_type("M4A"))?;
    // Only stored files have a URL.
    let transcript = ["TRANSCRIPT", "CC"].into_iter().find_map(|kind| of_type(kind)?.url.as_ref());
    Some(Chapter { number, media, transcript })
}

fn player(Chapter { media, .. }: &Chapter<'_>, from: u32) -> Markup {
    let name = file_name(media);
    // A media fragment starts the player there, without a script too.
    let source = media
        .url
        .as_ref()
        .map(|url| if from > 0 { format!("{url}#t={from}") } else { url.to_string() });
    let is_video = media.file_type.as_deref() == Some("MP4");
    html! {
        @if let Some(source) = source {
            @if is_video { video controls preload="metadata" src=(source) data-player=(media.id) aria-label=(name) {} }
            @else { audio controls preload="metadata" src=(source) data-player=(media.id) aria-label=(name) {} }
        } @else if media.status == Status::Failed { p.pending { "It could not be fetched from Zoom." } }
        @else { p.pending { "It can be played here as soon as it is stored." } }
    }
}

fn chapter_links(chapters: &[Chapter<'_>], current: usize) -> Markup {
    html! {
        nav aria-label="Chapters" {
            ol.chapters {
                @for Chapter { number, media, .. } in chapters {
                    li {
                        a href={ "?part=" (number) } aria-current=[(*number == current).then_some("true")] {
                            strong { "Part " (number) }
                            @if let (Some(start), Some(end)) = (media.recording_start, media.recording_end) {
                                span.muted { (time(start)) " · " (clock(end.duration_since(start).as_secs_f64())) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Each cue links to its moment. The script seeks instead, and marks the cue that is heard.
fn cue_links(cues: &[Cue], part: usize) -> Markup {
    html! {
        ol.cues {
            @for cue in cues {
                li {
                    a href={ "?part=" (part) "&t=" (cue.start.floor()) } data-start=(cue.start) data-end=(cue.end) {
                        span.at { (clock(cue.start)) }
                        span { @if let Some(speaker) = &cue.speaker { strong { (speaker) } " " } (cue.text) }
                    }
                }
            }
        }
    }
}

/// `1:02:03`, or `2:03` below an hour.
fn clock(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
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
