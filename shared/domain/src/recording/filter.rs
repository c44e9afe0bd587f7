//! The operator's choice of files.

use std::collections::BTreeSet;

use super::FileMetadata;

/// The operator's file filter: `FileTypes`, `RecordingTypes` and `MinimumMinutes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFilter {
    /// File types in upper case; empty means all.
    types: BTreeSet<String>,
    /// Recording types in lower case; empty means all. Files without one, such as chats, are not filtered by it.
    recording_types: BTreeSet<String>,
    minimum_minutes: u64,
}

impl FileFilter {
    /// Creates a filter. `file_types` and `recording_types` are comma-separated; empty or `all` includes every type.
    pub fn new(file_types: &str, recording_types: &str, minimum_minutes: u64) -> Self {
        Self {
            types: names(file_types, str::to_ascii_uppercase),
            recording_types: names(recording_types, str::to_ascii_lowercase),
            minimum_minutes,
        }
    }

    /// Returns why the filter excludes a file, or `None` if it includes it. An unknown duration excludes nothing.
    pub fn skip_reason(
        &self,
        duration_minutes: Option<u64>,
        file: &FileMetadata,
    ) -> Option<&'static str> {
        if !self.types.is_empty() && !self.types.contains(file.file_type()) {
            return Some("file_type_not_wanted");
        }
        let is_unwanted = |recording_type: &String| {
            !self.recording_types.is_empty()
                && !self.recording_types.contains(&recording_type.to_ascii_lowercase())
        };
        if file.recording_type.as_ref().is_some_and(is_unwanted) {
            return Some("recording_type_not_wanted");
        }
        duration_minutes
            .filter(|minutes| *minutes < self.minimum_minutes)
            .map(|_| "shorter_than_minimum")
    }
}

/// The names of a comma-separated list; none if one of them is `all`.
fn names(list: &str, normalize: impl Fn(&str) -> String) -> BTreeSet<String> {
    let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
    let is_all = names.clone().any(|name| name.eq_ignore_ascii_case("all"));
    names.filter(|_| !is_all).map(normalize).collect()
}

#[cfg(test)]
mod tests {
    use super::super::FileStatus;
    use super::super::tests::file;
    use super::*;

    #[test]
    fn filter_gives_the_skip_reason() {
        let mut mp4 = file("a", FileStatus::Queued).metadata;
        for (types, recording_types, minimum, minutes, expected) in [
            ("", "", 0, Some(5), None),
            ("all", "all, audio_only", 5, Some(5), None),
            (" mp4 , M4A", "", 0, Some(5), None),
            ("M4A", "", 0, Some(5), Some("file_type_not_wanted")),
            ("", "audio_only, Speaker_View", 0, Some(5), None),
            ("", "audio_only", 0, Some(5), Some("recording_type_not_wanted")),
            ("", "", 6, Some(5), Some("shorter_than_minimum")),
            ("", "", 6, None, None),
        ] {
            mp4.recording_type = Some("speaker_view".into());
            let filter = FileFilter::new(types, recording_types, minimum);
            let case = format!("{types} {recording_types} {minimum}");
            assert_eq!(filter.skip_reason(minutes, &mp4), expected, "{case}");
        }
        mp4.recording_type = None;
        assert_eq!(FileFilter::new("", "audio_only", 0).skip_reason(None, &mp4), None);
    }
}
