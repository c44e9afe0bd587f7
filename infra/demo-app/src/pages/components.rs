//! Parts that several pages share.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::Timestamp;
use maud::{Markup, html};

use crate::reelay::{File, Link, LinkStatus, Recording, Status};

/// Size in kilobytes or megabytes.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Time in UTC. The page's script changes it to the browser's time zone.
pub(super) fn time(at: Timestamp) -> Markup {
    let text = at.strftime("%-d %b %Y, %H:%M UTC").to_string();
    html! { time datetime=(at) { (text) } }
}

/// Id as one escaped path segment.
pub(super) fn segment(id: &str) -> String {
    let escaped: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
    escaped.replace('+', "%20")
}

/// Title of the recording's meeting.
pub(super) fn topic(recording: &Recording) -> &str {
    match recording.topic.as_deref().map(str::trim) {
        Some(topic) if !topic.is_empty() => topic,
        _ => "Untitled meeting",
    }
}

/// What a file shows, or whose voice: `shared screen with speaker view`.
pub(super) fn file_name(file: &File) -> String {
    let name = file.participant.as_ref().or(file.recording_type.as_ref());
    name.or(file.file_type.as_ref()).map_or("file".to_owned(), |name| name.replace('_', " "))
}

/// Status, start, length and size of a recording, under its heading, and the progress of all files.
pub(super) fn summary(heading: Markup, recording: &Recording) -> Markup {
    html! {
        .head { div { (heading) p.muted.facts {
            @if let Some(start) = recording.start_time { span { (time(start)) } }
            @if let Some(minutes) = recording.duration_minutes { span { (minutes) " min" } }
            @if let Some(bytes) = recording.size { span { (size(bytes)) } }
        } } (status(recording.status)) }
        @if recording.status == Status::Transferring {
            (progress("Stored so far", recording.bytes_stored, recording.size))
        }
    }
}

/// A file with its status and, on the page of its recording, its links. `played` is the id of the file in the player.
pub(super) fn file_row(file: &File, played: Option<&str>) -> Markup {
    let name = file_name(file);
    let reason = file.reason.as_deref().map(|reason| reason.replace('_', " "));
    html! {
        li {
            .grow {
                p.name { span { (name) } (status(file.status)) }
                @match (file.status, &reason) {
                    (Status::Transferring, _) => {
                        (progress(&format!("{name}: stored so far"), file.bytes_stored, file.size))
                    },
                    (Status::Failed | Status::Skipped, Some(reason)) => p.muted { (reason) },
                    (Status::Queued, Some(reason)) => p.muted {
                        "Waits: " (reason)
                        @if let Some(at) = file.next_attempt_at { ". Next attempt " (time(at)) }
                    },
                    _ => p.muted.facts {
                        @if let Some(kind) = &file.file_type { span { (kind) } }
                        @if let Some(bytes) = file.size { span { (size(bytes)) } }
                    },
                }
            }
            // Reelay includes URLs in the response for one recording, not in the list.
            @if let Some(url) = &file.url {
                @if file.file_type.as_deref() == Some("M4A") && played != Some(&*file.id) {
                    audio controls preload="none" src=(url) aria-label={ "Listen to " (name) } {}
                }
                a.button href=(url) target="_blank" rel="noopener noreferrer" download
                    aria-label={ "Download " (name) } { "Download" }
            }
        }
    }
}

fn progress(label: &str, stored: u64, total: Option<u64>) -> Markup {
    let total = total.filter(|total| *total > 0);
    html! {
        .progress {
            @match total {
                Some(total) => progress aria-label=(label) max=(total) value=(stored.min(total)) {},
                // A bar without a value shows that the size is unknown.
                None => progress aria-label=(label) {},
            }
            span.muted { (size(stored)) @if let Some(total) = total { " of " (size(total)) } }
        }
    }
}

/// A value that changes with everything that the page shows, except progress and presigned URLs.
///
/// While it is equal, the script moves the progress bars only, so that players keep playing.
pub(super) fn version(recordings: &[Recording]) -> String {
    let mut hasher = DefaultHasher::new();
    for recording in recordings {
        (&recording.id, &recording.topic, recording.size, recording.status).hash(&mut hasher);
        for file in &recording.files {
            (&file.id, file.status, file.size, &file.reason).hash(&mut hasher);
        }
    }
    format!("{:016x}", hasher.finish())
}

pub(super) fn link_status(link: &Link) -> Markup {
    match (link.status, &link.issue) {
        (LinkStatus::Active, None) => badge("good", "Connected"),
        (LinkStatus::Active, Some(_)) => badge("warn", "Connected, with a problem"),
        (LinkStatus::ReauthorizationRequired, _) => badge("warn", "Needs reconnecting"),
        (LinkStatus::Unknown, _) => badge("plain", "Unknown"),
    }
}

pub(super) fn status(status: Status) -> Markup {
    match status {
        Status::Detected => badge("plain", "Found at Zoom"),
        Status::Queued => badge("plain", "Queued"),
        Status::Transferring => badge("busy", "Transferring"),
        Status::Stored => badge("good", "Stored"),
        Status::Failed => badge("bad", "Failed"),
        Status::Skipped => badge("plain", "Skipped"),
        Status::Empty => badge("plain", "No files yet"),
        Status::Expired => badge("plain", "Expired"),
        Status::Unknown => badge("plain", "Unknown"),
    }
}

pub(super) fn badge(class: &str, text: &str) -> Markup {
    html! { span.badge.(class) { (text) } }
}

/// The first letter of a name, as decoration.
pub(super) fn avatar(name: &str) -> Markup {
    html! { span.avatar aria-hidden="true" { (name.chars().take(1).flat_map(char::to_uppercase).collect::<String>()) } }
}
