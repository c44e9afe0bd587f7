//! Key, content type and metadata of a file's object.

use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::MeetingUuid;
use reelay_domain::object_key;
use reelay_domain::recording::FileMetadata;
use reelay_store::recordings::{FileItem, FileKey, RecordingItem, ServedSize};

use crate::context::Context;
use crate::disposition;
use crate::transfer::ObjectSpec;

/// Minimum time between two responses with the same undeclared size before that size is accepted.
const SERVED_SIZE_INTERVAL: SignedDuration = SignedDuration::from_hours(1);

/// Tag of objects that the bucket's lifecycle rule deletes after `RetentionDays`. S3 bills tags, so other objects
/// have none.
const EXPIRES: &str = "expires=true";

/// Describes the object that a file is stored as.
pub(crate) fn spec(
    context: &Context,
    key: &FileKey,
    item: &FileItem,
    recording: &RecordingItem,
) -> ObjectSpec {
    let file = &item.observed.metadata;
    let recording = &recording.observed;
    let now = context.clock.now();
    let is_old = |served: &ServedSize| {
        let since = Timestamp::from_millisecond(served.since).unwrap_or(now);
        now.duration_since(since) >= SERVED_SIZE_INTERVAL
    };
    ObjectSpec {
        key: object_key::file(
            &key.zoom_user,
            &key.recording,
            recording.key_start(),
            &key.file,
            file.extension(),
        ),
        now,
        content_type: content_type(file.extension()).to_owned(),
        metadata: metadata(file, &recording.metadata.meeting_uuid),
        tagging: (context.retention_days > 0).then_some(EXPIRES),
        extension: file.extension().to_owned(),
        declared_size: file.size,
        is_size_exact: file.size_is_exact(),
        accepted_size: item.served_size.filter(is_old).map(|served| served.bytes),
        is_retry: item.attempt > 1,
        is_slow: item.reason.as_deref() == Some(disposition::NO_PROGRESS),
        is_range_ignored: item.reason.as_deref() == Some(disposition::UNEXPECTED_ANSWER),
    }
}

/// User-defined metadata. S3 sends it in headers, so values that are not printable ASCII are omitted.
fn metadata(file: &FileMetadata, meeting: &MeetingUuid) -> Vec<(String, String)> {
    [
        ("zoom-meeting-uuid", Some(meeting.as_str().to_owned())),
        ("zoom-file-id", Some(file.id.as_str().to_owned())),
        ("zoom-recording-type", file.recording_type.clone()),
        ("zoom-file-size", file.size.map(|size| size.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .filter(|(_, value)| value.bytes().all(|b| b.is_ascii_graphic() || b == b' '))
    .collect()
}

/// Content type by extension, never from Zoom's response: the bucket must not serve HTML.
fn content_type(extension: &str) -> &'static str {
    match extension {
        "mp4" => "video/mp4",
        "m4a" => "audio/mp4",
        "vtt" => "text/vtt",
        "txt" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "json" => "application/json",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_content_is_served_as_bytes() {
        for extension in ["html", "htm", "svg", "xml", "bin", ""] {
            assert_eq!(content_type(extension), "application/octet-stream");
        }
    }
}
