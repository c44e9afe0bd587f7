//! What lies beside an object's bytes.

use reelay_domain::ids::MeetingUuid;
use reelay_domain::recording::FileMetadata;

/// Object metadata is sent in headers: what is not plain ASCII is left out of it.
pub(crate) fn metadata(file: &FileMetadata, meeting: &MeetingUuid) -> Vec<(String, String)> {
    let mut metadata = vec![
        ("zoom-meeting-uuid", meeting.as_str().to_owned()),
        ("zoom-file-id", file.id.as_str().to_owned()),
    ];
    if let Some(recording_type) = &file.recording_type {
        metadata.push(("zoom-recording-type", recording_type.clone()));
    }
    if let Some(size) = file.size {
        metadata.push(("zoom-file-size", size.to_string()));
    }
    metadata.retain(|(_, value)| value.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
    metadata
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// By the extension, never by what Zoom's answer says: the bucket must not serve pages.
pub(crate) fn content_type(extension: &str) -> &'static str {
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
    fn no_extension_makes_the_bucket_serve_a_page() {
        for extension in ["html", "htm", "svg", "xml", "bin", ""] {
            assert_eq!(content_type(extension), "application/octet-stream");
        }
    }
}
