//! When a recording may be moved to Zoom's trash: the stored files equal those at Zoom.

use super::{File, FileStatus, Recording, ZoomState};
use crate::observation::{FileObservation, Observation};

impl Recording {
    /// Why Zoom's copy is kept, whatever Zoom shows now. `None` if Zoom's details decide.
    pub fn reason_not_to_trash(&self) -> Option<&'static str> {
        if self.zoom_state != ZoomState::Present {
            return Some("not_present_at_zoom");
        }
        let is_stored = |file: &File| file.status == FileStatus::Stored;
        (self.files.is_empty() || !self.files.iter().all(is_stored)).then_some("not_all_stored")
    }

    /// Why Zoom's copy is kept, given the details that Zoom shows now. `None` if it may be moved to the trash. The
    /// caller must check that the objects exist.
    pub fn reason_to_keep(&self, details: &Observation) -> Option<&'static str> {
        if let Some(reason) = self.reason_not_to_trash() {
            return Some(reason);
        }
        let shown = |file: &File| details.files.iter().any(|it| it.metadata.id == file.metadata.id);
        if !self.files.iter().all(shown) {
            return Some("stored_file_not_in_details");
        }
        details.files.iter().find_map(|shown| {
            let stored = self.files.iter().find(|file| file.metadata.id == shown.metadata.id);
            match stored {
                None => Some("file_not_stored"),
                Some(_) if shown.metadata.is_processing == Some(true) => Some("still_processing"),
                Some(stored) => (!is_same_size(stored, shown)).then_some("size_differs"),
            }
        })
    }
}

/// Whether the declared size is that of the stored bytes, or was declared when they were stored. A size that Zoom
/// declared later means other bytes.
fn is_same_size(stored: &File, shown: &FileObservation) -> bool {
    let declared = shown.metadata.size;
    declared
        .is_none_or(|size| size == stored.bytes_stored || stored.declared_when_stored == Some(size))
}

#[cfg(test)]
mod tests {
    use super::super::FileMetadata;
    use super::super::tests::{at, file, recording};
    use super::*;
    use crate::observation::{ObservationSource, ObservedAt, RecordingDetails};

    fn details(recording: &Recording) -> Observation {
        let files = recording.files.iter().map(|file| FileObservation {
            metadata: FileMetadata { size: Some(12), ..file.metadata.clone() },
            source: None,
        });
        Observation {
            host: recording.zoom_user.clone(),
            meeting_uuid: recording.metadata.meeting_uuid.clone(),
            details: RecordingDetails::default(),
            zoom_state: None,
            files: files.collect(),
            time: ObservedAt {
                at: at("10:00:00"),
                is_own: true,
                source: ObservationSource::Details,
            },
        }
    }

    #[test]
    fn only_complete_copies_are_trashed() {
        let stored = || recording(["a", "b", "c"].map(|id| file(id, FileStatus::Stored)).into());
        let whole = stored();
        assert_eq!(whole.reason_to_keep(&details(&whole)), None);
        assert_eq!(recording(vec![]).reason_to_keep(&details(&whole)), Some("not_all_stored"));
        for status in [
            FileStatus::Skipped,
            FileStatus::Queued,
            FileStatus::Transferring,
            FileStatus::Failed,
            FileStatus::Expired,
        ] {
            let mut one = stored();
            one.files[1].status = status;
            assert_eq!(one.reason_to_keep(&details(&whole)), Some("not_all_stored"), "{status:?}");
        }
        for state in [ZoomState::Trashed, ZoomState::Deleted] {
            let elsewhere = Recording { zoom_state: state, ..stored() };
            assert_eq!(elsewhere.reason_to_keep(&details(&whole)), Some("not_present_at_zoom"));
        }
        let change = |change: fn(&mut Observation)| {
            let mut details = details(&whole);
            change(&mut details);
            whole.reason_to_keep(&details)
        };
        let new = |details: &mut Observation| {
            let mut file = details.files[0].clone();
            file.metadata.id = "d".parse().unwrap();
            details.files.push(file);
        };
        assert_eq!(change(new), Some("file_not_stored"));
        assert_eq!(change(|it| it.files.truncate(2)), Some("stored_file_not_in_details"));
        assert_eq!(change(|it| it.files[1].metadata.size = Some(11)), Some("size_differs"));
        // Zoom declares 10 bytes and serves 12.
        assert_eq!(change(|it| it.files[1].metadata.size = Some(10)), Some("size_differs"));
        let mut accepted = stored();
        accepted.files[1].declared_when_stored = Some(10);
        let mut declared = details(&whole);
        declared.files[1].metadata.size = Some(10);
        assert_eq!(accepted.reason_to_keep(&declared), None);
        // An event announced new bytes.
        accepted.files[1].metadata.size = Some(20);
        declared.files[1].metadata.size = Some(20);
        assert_eq!(accepted.reason_to_keep(&declared), Some("size_differs"));
        assert_eq!(change(|it| it.files[1].metadata.size = None), None);
        let processing = |it: &mut Observation| it.files[1].metadata.is_processing = Some(true);
        assert_eq!(change(processing), Some("still_processing"));
    }
}
