//! The state of this Zoom, behind one lock.

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
    recording_numbers: u64,
}

/// The page of a list to which a `next_page_token` leads.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) user_id: String,
    pub(crate) offset: usize,
    pub(crate) expires_at: Timestamp,
}

/// The file to which a download URL leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UrlTarget {
    pub(crate) uuid: String,
    pub(crate) file_key: u64,
    /// Whether the URL comes from an event instead of REST.
    pub(crate) is_from_event: bool,
}

/// Download URLs. Each event has URLs of its own, as at Zoom; those of REST stay the same.
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
        let id = url_id(ids);
        self.insert(&id, recording, file, true);
        format!("{base}/rec/webhook_download/{id}/{}", ids.opaque::<12>())
    }

    pub(crate) fn for_rest(
        &mut self,
        base: &str,
        ids: &Ids,
        recording: &Recording,
        file: &RecordingFile,
    ) -> String {
        let id = self.rest.entry(file.key).or_insert_with(|| url_id(ids));
        let id = id.clone();
        self.insert(&id, recording, file, false);
        format!("{base}/rec/download/{id}")
    }

    fn insert(
        &mut self,
        id: &str,
        recording: &Recording,
        file: &RecordingFile,
        is_from_event: bool,
    ) {
        let target = UrlTarget { uuid: recording.uuid.clone(), file_key: file.key, is_from_event };
        self.targets.insert(id.into(), target);
    }

    pub(crate) fn target(&self, id: &str) -> Option<&UrlTarget> {
        self.targets.get(id)
    }
}

fn url_id(ids: &Ids) -> String {
    format!("{}.{}", ids.opaque::<48>(), ids.opaque::<9>())
}

impl World {
    pub(crate) fn new(users: Vec<User>) -> Self {
        Self { users, ..Self::default() }
    }

    pub(crate) fn user(&self, id: &str) -> Option<&User> {
        self.users.iter().find(|user| user.id == id)
    }

    /// Finds a recording by key, meeting UUID or meeting number; a number means its latest meeting.
    pub(crate) fn recording(&self, name: &str) -> Option<&Recording> {
        self.recordings.get(self.recording_index(name)?)
    }

    /// Its index in `recordings`, for callers that borrow other fields at the same time.
    pub(crate) fn recording_index(&self, name: &str) -> Option<usize> {
        let mut all = self.recordings.iter();
        all.position(|recording| recording.key == name || recording.uuid == name).or_else(|| {
            let number: u64 = name.parse().ok()?;
            let mut all = self.recordings.iter();
            all.rposition(|recording| recording.meeting_id == number)
        })
    }

    pub(crate) fn file(&self, target: &UrlTarget) -> Option<(&Recording, &RecordingFile)> {
        let mut recordings = self.recordings.iter();
        let recording = recordings.find(|recording| recording.uuid == target.uuid)?;
        let mut files = recording.all_files();
        Some((recording, files.find(|file| file.key == target.file_key)?))
    }

    /// Removes all recordings and their URLs, and what has expired: pages, authorization codes and the tokens of ended
    /// grants.
    pub(crate) fn forget(&mut self, now: Timestamp) {
        self.recordings.clear();
        self.urls = Urls::default();
        self.pages.retain(|_, page| page.expires_at > now);
        self.grants.forget_expired(now);
    }

    pub(crate) fn next_recording_number(&mut self) -> u64 {
        self.recording_numbers += 1;
        self.recording_numbers
    }

    pub(crate) fn next_file_key(&mut self) -> u64 {
        self.file_keys += 1;
        self.file_keys
    }
}
