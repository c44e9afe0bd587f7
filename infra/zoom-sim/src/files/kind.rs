//! Kinds of files.

/// Content of a file; decides its bytes and its `Content-Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentKind {
    /// A playable MP4 (H.264 and AAC), padded with a `free` box.
    Mp4,
    /// A playable M4A (AAC), padded with a `free` box.
    M4a,
    /// WebVTT cues.
    Vtt,
    /// A chat log.
    Txt,
    /// A poll report.
    Csv,
    /// A timeline.
    Json,
    /// Noise, for thumbnails and unknown types.
    Binary,
}

impl ContentKind {
    /// Returns the kind for Zoom's `file_extension`.
    pub(crate) fn from_extension(extension: &str) -> Self {
        match extension.to_ascii_uppercase().as_str() {
            "MP4" => Self::Mp4,
            "M4A" => Self::M4a,
            "VTT" => Self::Vtt,
            "TXT" => Self::Txt,
            "CSV" => Self::Csv,
            "JSON" => Self::Json,
            _ => Self::Binary,
        }
    }

    /// Returns the `Content-Type` of downloads.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::M4a => "audio/mp4",
            Self::Vtt => "text/vtt",
            Self::Txt => "text/plain",
            Self::Csv => "text/csv",
            Self::Json => "application/json",
            Self::Binary => "application/octet-stream",
        }
    }
}
