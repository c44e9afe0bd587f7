//! Everything this Zoom knows, behind one lock.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::grants::Grants;
use crate::ids::Ids;
use crate::recordings::{Recording, RecordingFile};
use crate::users::User;

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) users: Vec<User>,
    pub(crate) grants: Grants,
    pub(crate) recordings: Vec<Recording>,
    pub(crate) urls: Urls,
    pub(crate) pages: HashMap<String, Page>,
    file_keys: u64,
}

/// A page of a list that was promised by `next_page_token`.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) user_id: String,
    pub(crate) offset: usize,
    pub(crate) expires_at: Timestamp,
}

/// What a download URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UrlTarget {
    pub(crate) uuid: String,
    pub(crate) file_key: u64,
    /// From an event, or from REST.
    pub(crate) from_event: bool,
}

/// Download URLs handed out. Each event gets its own, as at Zoom; REST's stay as they are.
#[derive(Debug, Default)]
pub(crate) struct Urls {
    targets: HashMap<String, UrlTarget>,
    rest: HashMap<u64, String>,
}

impl Urls {
    pub(crate) fn for_event(
        &mut self,
        base: &str,
        ids: &Ids,
        recording: &Recording,
        file: &RecordingFile,
    ) -> String {
        let id = format!("{}.{}", ids.opaque::<48>(), ids.opaque::<9>());
        let target = UrlTarget {
            uuid: recording.uuid.clone(),
            file_key: file.key,
            from_event: true,
        };
        self.targets.insert(id.clone(), target);
        format!("{base}/rec/webhook_download/{id}/{}", ids.opaque::<12>())
    }

    pub(crate) fn for_rest(
        &mut self,
        base: &str,
        ids: &Ids,
        recording: &Recording,
        file: &RecordingFile,
    ) -> String {
        let id = self
            .rest
            .entry(file.key)
            .or_insert_with(|| format!("{}.{}", ids.opaque::<48>(), ids.opaque::<9>()));
        let target = UrlTarget {
            uuid: recording.uuid.clone(),
            file_key: file.key,
            from_event: false,
        };
        self.targets.insert(id.clone(), target);
        format!("{base}/rec/download/{id}")
    }

    pub(crate) fn target(&self, id: &str) -> Option<&UrlTarget> {
        self.targets.get(id)
    }
}

impl World {
    pub(crate) fn of(users: Vec<User>) -> Self {
        Self {
            users,
            ..Self::default()
        }
    }

    pub(crate) fn user(&self, id: &str) -> Option<&User> {
        self.users.iter().find(|user| user.id == id)
    }

    /// By handle, meeting UUID or meeting number; a number means its latest meeting.
    pub(crate) fn recording(&self, name: &str) -> Option<&Recording> {
        let place = self.place(name)?;
        self.recordings.get(place)
    }

    /// Where it is in `recordings`, for callers that need other fields at the same time.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        let fits = |recording: &Recording| recording.key == name || recording.uuid == name;
        self.recordings.iter().position(fits).or_else(|| {
            let number: u64 = name.parse().ok()?;
            self.recordings
                .iter()
                .rposition(|recording| recording.meeting_id == number)
        })
    }

    pub(crate) fn file(&self, target: &UrlTarget) -> Option<(&Recording, &RecordingFile)> {
        let recording = self
            .recordings
            .iter()
            .find(|recording| recording.uuid == target.uuid)?;
        let file = recording
            .all_files()
            .find(|file| file.key == target.file_key)?;
        Some((recording, file))
    }

    pub(crate) fn next_file_key(&mut self) -> u64 {
        self.file_keys += 1;
        self.file_keys
    }
}
