//! The operator's choice of files.

use std::collections::BTreeSet;

use super::FileMetadata;

/// The operator's file filter: `FileTypes` and `MinimumMinutes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFilter {
    /// File types in upper case; empty means all.
    types: BTreeSet<String>,
    minimum_minutes: u64,
}

impl FileFilter {
    /// Creates a filter. `file_types` is comma-separated; empty or `all` includes every type.
    pub fn new(file_types: &str, minimum_minutes: u64) -> Self {
        let types: BTreeSet<String> = file_types
            .split(',')
            .map(|name| name.trim().to_ascii_uppercase())
            .filter(|name| !name.is_empty())
            .collect();
        let all = types.contains("ALL");
        Self { types: if all { BTreeSet::new() } else { types }, minimum_minutes }
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
        duration_minutes
            .filter(|minutes| *minutes < self.minimum_minutes)
            .map(|_| "shorter_than_minimum")
    }
}

#[cfg(test)]
mod tests {
    use super::super::FileStatus;
    use super::super::tests::file;
    use super::*;

    #[test]
    fn filter_gives_the_skip_reason() {
        let mp4 = file("a", FileStatus::Queued).metadata;
        for (types, minimum, minutes, expected) in [
            ("", 0, Some(5), None),
            ("all", 5, Some(5), None),
            (" mp4 , M4A", 0, Some(5), None),
            ("M4A", 0, Some(5), Some("file_type_not_wanted")),
            ("", 6, Some(5), Some("shorter_than_minimum")),
            ("", 6, None, None),
        ] {
            let filter = FileFilter::new(types, minimum);
            assert_eq!(filter.skip_reason(minutes, &mp4), expected, "{types} {minimum}");
        }
    }
}
