//! Parts that several pages share.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::Timestamp;
use maud::{Markup, html};

use crate::reelay::{File, FileStatus, LinkStatus, Recording, RecordingStatus};

/// Size in kilobytes or megabytes.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
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

/// Name of a file, such as `MP4 (shared screen with speaker view)`.
pub(super) fn file_name(file: &File) -> String {
    let kind = file.file_type.as_deref().unwrap_or("File");
    match file.recording_type.as_deref() {
        Some(view) => format!("{kind} ({})", view.replace('_', " ")),
        None => kind.to_owned(),
    }
}

/// Start, length and size of a recording.
pub(super) fn facts(recording: &Recording) -> Markup {
    html! {
        p.muted.facts {
            @if let Some(start) = recording.start_time { span { (time(start)) } }
            @if let Some(minutes) = recording.duration_minutes { span { (minutes) " min" } }
            @if let Some(bytes) = recording.size { span { (size(bytes)) } }
        }
    }
}

/// Progress of all files, until all are stored.
pub(super) fn recording_progress(recording: &Recording) -> Markup {
    html! {
        @if matches!(recording.status, RecordingStatus::Transferring | RecordingStatus::Failed) {
            (progress("Stored so far", recording.bytes_stored, recording.size))
        }
    }
}

/// A file with its status and, on the page of its recording, its links.
pub(super) fn file_row(file: &File) -> Markup {
    let name = file_name(file);
    html! {
        li {
            .grow {
                p { (name) " " (file_status(file.status)) }
                @match file.status {
                    FileStatus::Transferring => {
                        (progress(&format!("{name}: stored so far"), file.bytes_stored, file.size))
                    },
                    FileStatus::Failed | FileStatus::Skipped => {
                        @if let Some(reason) = &file.reason { p.muted { (reason.replace('_', " ")) } }
                    },
                    FileStatus::Queued if file.reason.is_some() => {
                        p.muted {
                            "Waits: " (file.reason.as_deref().unwrap_or_default().replace('_', " "))
                            @if let Some(at) = file.next_attempt_at { ". Next attempt " (time(at)) }
                        }
                    },
                    _ => {
                        @if let Some(bytes) = file.size { p.muted { (size(bytes)) } }
                    },
                }
            }
            // Reelay includes URLs in the response for one recording, not in the list.
            @if let (FileStatus::Stored, Some(url)) = (file.status, &file.url) {
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
        (&recording.id, &recording.topic, recording.size).hash(&mut hasher);
        recording.status.hash(&mut hasher);
        for file in &recording.files {
            (&file.id, file.status, file.size, &file.reason).hash(&mut hasher);
        }
    }
    format!("{:016x}", hasher.finish())
}

pub(super) fn link_status(status: LinkStatus) -> Markup {
    match status {
        LinkStatus::Active => badge("good", "Connected"),
        LinkStatus::ReauthorizationRequired => badge("warn", "Needs reconnecting"),
        LinkStatus::Unknown => badge("plain", "Unknown"),
    }
}

pub(super) fn recording_status(status: RecordingStatus) -> Markup {
    match status {
        RecordingStatus::Detected => badge("plain", "Found at Zoom"),
        RecordingStatus::Transferring => badge("busy", "Transferring"),
        RecordingStatus::Stored => badge("good", "Stored"),
        RecordingStatus::Failed => badge("bad", "Failed"),
        RecordingStatus::Empty => badge("plain", "No files yet"),
        RecordingStatus::Expired => badge("plain", "Expired"),
        RecordingStatus::Unknown => badge("plain", "Unknown"),
    }
}

fn file_status(status: FileStatus) -> Markup {
    match status {
        FileStatus::Queued => badge("plain", "Queued"),
        FileStatus::Transferring => badge("busy", "Transferring"),
        FileStatus::Stored => badge("good", "Stored"),
        FileStatus::Failed => badge("bad", "Failed"),
        FileStatus::Skipped => badge("plain", "Skipped"),
        FileStatus::Expired => badge("plain", "Expired"),
        FileStatus::Unknown => badge("plain", "Unknown"),
    }
}

fn badge(class: &str, text: &str) -> Markup {
    html! { span.badge.(class) { (text) } }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn recording(change: impl Fn(&mut Value)) -> Recording {
        let mut recording = json!({
            "id": "r", "zoom": {"account_id": "a", "user_id": "u"}, "meeting_uuid": "m==", "status": "transferring",
            "size": 1_000_000, "bytes_stored": 250_000, "files": [{
                "id": "f", "file_type": "MP4", "recording_type": "speaker_view", "status": "transferring",
                "size": 1_000_000, "bytes_stored": 250_000,
            }],
        });
        change(&mut recording);
        serde_json::from_value(recording).expect("a recording")
    }

    #[test]
    fn transferring_file_shows_progress() {
        let recording = recording(|_| ());
        let row = file_row(&recording.files[0]).into_string();
        assert!(row.contains(r#"max="1000000" value="250000""#), "{row}");
        assert!(row.contains("250.0 kB of 1.0 MB"), "{row}");
        assert!(row.contains("MP4 (speaker view)"), "{row}");
    }

    #[test]
    fn version_ignores_progress_alone() {
        let version = |change: fn(&mut Value)| version(&[recording(change)]);
        let original = version(|_| ());
        let progressed = version(|recording| {
            recording["bytes_stored"] = json!(700);
            recording["files"][0]["bytes_stored"] = json!(700);
        });
        assert_eq!(progressed, original);
        for changed in [
            version(|recording| recording["status"] = json!("stored")),
            version(|recording| recording["topic"] = json!("new")),
            version(|recording| recording["files"][0]["status"] = json!("a new status")),
        ] {
            assert_ne!(changed, original);
        }
    }
}
