//! Changes of recordings, and the events about them.

use super::{Control, ControlError, Created, FileView, Selection};
use crate::events::{self, FileUrl, RecordingChange};
use crate::files::FileSpec;
use crate::recordings::{NewFile, NewRecording, Presence, Recording, RecordingFile};
use crate::state::Sim;
use crate::sync::lock;
use crate::tokens::DownloadToken;
use crate::users::User;
use crate::world::{Urls, World};

impl Selection {
    fn includes(&self, file: &RecordingFile) -> bool {
        self.files.as_ref().is_none_or(|ids| ids.contains(&file.id))
    }
}

/// The recording `name`, with the state that its events are made from.
fn find<'a>(
    world: &'a mut World,
    name: &str,
) -> Result<(&'a mut Recording, &'a mut Urls, &'a [User]), ControlError> {
    let index = world.recording_index(name).ok_or_else(|| unknown(name))?;
    Ok((&mut world.recordings[index], &mut world.urls, &world.users))
}

fn unknown(name: &str) -> ControlError {
    ControlError::UnknownRecording(name.into())
}

fn download_token(sim: &Sim, recording: &Recording) -> String {
    let (now, seconds) = (sim.clock.now(), sim.config().download_token_seconds);
    sim.signer.download(DownloadToken::Webhook, recording, now, seconds)
}

fn with_urls<'a>(
    sim: &Sim,
    urls: &mut Urls,
    recording: &Recording,
    files: impl Iterator<Item = &'a RecordingFile>,
) -> Vec<FileUrl<'a>> {
    files.map(|file| (file, urls.for_event(&sim.base, &sim.ids, recording, file))).collect()
}

/// The body of `recording.completed`, for one segment or for all.
fn completed(sim: &Sim, urls: &mut Urls, recording: &Recording, segment: Option<u32>) -> String {
    let is_included = |file: &&RecordingFile| {
        file.is_present() && segment.is_none_or(|segment| file.segment == segment)
    };
    let files = recording.files.iter().filter(is_included);
    let files = with_urls(sim, urls, recording, files);
    let audio = recording.participant_audio.iter().filter(is_included);
    let audio = with_urls(sim, urls, recording, audio);
    let token = download_token(sim, recording);
    events::completed(recording, &files, &audio, &token, sim.clock.now())
}

fn operator(users: &[User], id: Option<&str>, recording: &Recording) -> Result<User, ControlError> {
    let id = id.unwrap_or(&recording.host_id);
    let user = users.iter().find(|user| user.id == id);
    user.cloned().ok_or_else(|| ControlError::UnknownUser(id.into()))
}

fn change_file(file: &mut RecordingFile, change: RecordingChange, now: jiff::Timestamp) {
    file.presence = match (change, file.presence) {
        (_, Presence::Deleted) | (RecordingChange::Delete, _) => Presence::Deleted,
        (RecordingChange::Trash, _) => Presence::Trashed(now),
        (RecordingChange::Recover, _) => Presence::Present,
    };
}

impl Control {
    /// Returns all recordings, oldest first.
    #[must_use]
    pub fn recordings(&self) -> Vec<Recording> {
        lock(&self.sim.world).recordings.clone()
    }

    /// Returns a recording by key, meeting UUID or meeting number.
    #[must_use]
    pub fn recording(&self, name: &str) -> Option<Recording> {
        lock(&self.sim.world).recording(name).cloned()
    }

    /// Creates a recording and, by default, sends `recording.completed`.
    ///
    /// # Errors
    /// If the host does not exist or the UUID is in use.
    pub fn create_recording(&self, new: NewRecording) -> Result<Created, ControlError> {
        let sim = &self.sim;
        let send = !new.silent && !new.processing && !new.is_note;
        let per_segment = new.event_per_segment;
        let recording = {
            let mut guard = lock(&sim.world);
            let world = &mut *guard;
            let host = world.user(&new.host_id).cloned();
            let host = host.ok_or_else(|| ControlError::UnknownUser(new.host_id.clone()))?;
            let mut taken = world.recordings.iter().map(|recording| &recording.uuid);
            if let Some(uuid) = taken.find(|uuid| new.uuid.as_ref() == Some(uuid)) {
                return Err(ControlError::Exists(uuid.clone()));
            }
            let number = world.next_recording_number();
            let next_key = || world.next_file_key();
            let recording = Recording::new(new, number, &host, &sim.ids, sim.clock.now(), next_key);
            world.recordings.push(recording.clone());
            recording
        };
        let deliveries =
            if send { self.send_completed(&recording.key, per_segment)? } else { Vec::new() };
        Ok(Created { recording, deliveries })
    }

    fn send_completed(&self, name: &str, per_segment: bool) -> Result<Vec<u64>, ControlError> {
        let bodies: Vec<String> = {
            let mut world = lock(&self.sim.world);
            let (recording, urls, _) = find(&mut world, name)?;
            let last = recording.files.last().map_or(0, |file| file.segment);
            let segments: Vec<_> =
                if per_segment { (0..=last).map(Some).collect() } else { vec![None] };
            segments
                .into_iter()
                .map(|segment| completed(&self.sim, urls, recording, segment))
                .collect()
        };
        let sent = bodies.into_iter().map(|body| self.send_event(body));
        Ok(sent.collect())
    }

    /// Ends processing and sends `recording.completed`. A second call sends a second event about the same
    /// files, with other URLs and another token.
    ///
    /// # Errors
    /// If the recording does not exist.
    pub fn complete(&self, name: &str) -> Result<u64, ControlError> {
        find(&mut lock(&self.sim.world), name)?.0.processing = false;
        let mut sent = self.send_completed(name, false)?;
        sent.pop().ok_or_else(|| unknown(name))
    }

    /// Adds a file, by default a transcript, and sends `recording.transcript_completed`.
    ///
    /// # Errors
    /// If the recording does not exist.
    pub fn add_transcript(
        &self,
        name: &str,
        file: Option<NewFile>,
    ) -> Result<Created, ControlError> {
        let sim = &self.sim;
        let (recording, body) = {
            let mut world = lock(&sim.world);
            let key = world.next_file_key();
            let (recording, urls, _) = find(&mut world, name)?;
            let new = file.unwrap_or_else(|| NewFile {
                file_type: "TRANSCRIPT".into(),
                ..NewFile::default()
            });
            let file = RecordingFile::new(new, key, &sim.ids, recording);
            recording.files.push(file.clone());
            let files = with_urls(sim, urls, recording, std::iter::once(&file));
            let (token, now) = (download_token(sim, recording), sim.clock.now());
            let body = events::transcript_completed(recording, &files, &token, now);
            (recording.clone(), body)
        };
        Ok(self.publish(recording, body, false))
    }

    /// Sends the event about a change of `recording`, unless the change is silent.
    fn publish(&self, recording: Recording, body: String, silent: bool) -> Created {
        let deliveries = if silent { Vec::new() } else { vec![self.send_event(body)] };
        Created { recording, deliveries }
    }

    /// Renames the meeting and sends `recording.renamed`.
    ///
    /// # Errors
    /// If the recording or the operator does not exist.
    pub fn rename(
        &self,
        name: &str,
        topic: &str,
        selection: &Selection,
    ) -> Result<Created, ControlError> {
        let (recording, body) = {
            let mut world = lock(&self.sim.world);
            let (recording, _, users) = find(&mut world, name)?;
            let operator = operator(users, selection.operator_id.as_deref(), recording)?;
            let old = std::mem::replace(&mut recording.topic, topic.into());
            let body = events::renamed(recording, &old, &operator, self.sim.clock.now());
            (recording.clone(), body)
        };
        Ok(self.publish(recording, body, selection.silent))
    }

    /// Trashes, deletes or recovers files and sends the event.
    ///
    /// # Errors
    /// If the recording, a file or the operator does not exist.
    pub fn change_recording(
        &self,
        name: &str,
        change: RecordingChange,
        selection: &Selection,
    ) -> Result<Created, ControlError> {
        let sim = &self.sim;
        let now = sim.clock.now();
        let (recording, body) = {
            let mut world = lock(&sim.world);
            let (recording, urls, users) = find(&mut world, name)?;
            let mut ids = selection.files.iter().flatten();
            if let Some(id) = ids.find(|id| recording.all_files().all(|file| file.id != **id)) {
                return Err(ControlError::UnknownFile(id.clone()));
            }
            let operator = operator(users, selection.operator_id.as_deref(), recording)?;
            let selected = recording.all_files_mut();
            selected
                .filter(|file| selection.includes(file))
                .for_each(|file| change_file(file, change, now));
            let changed = recording.files.iter();
            let changed = changed.filter(|file| selection.includes(file));
            let files = with_urls(sim, urls, recording, changed);
            let token = download_token(sim, recording);
            let body = events::changed(recording, change, &files, &token, &operator, now);
            (recording.clone(), body)
        };
        Ok(self.publish(recording, body, selection.silent))
    }

    /// Trashes, deletes or recovers recordings of one account and sends one event, which names no host.
    ///
    /// # Errors
    /// If `names` is empty, a recording does not exist, or the recordings belong to different accounts.
    pub fn change_recordings(
        &self,
        names: &[String],
        change: RecordingChange,
    ) -> Result<u64, ControlError> {
        let now = self.sim.clock.now();
        let body = {
            let mut world = lock(&self.sim.world);
            let first = names
                .first()
                .ok_or_else(|| ControlError::Invalid("a batch needs a recording".into()))?;
            let (recording, _, users) = find(&mut world, first)?;
            let account = recording.account_id.clone();
            let operator = operator(users, None, recording)?;
            for name in names {
                if find(&mut world, name)?.0.account_id != account {
                    let reason = "the recordings belong to different accounts";
                    return Err(ControlError::Invalid(reason.into()));
                }
            }
            let mut meetings = Vec::new();
            for name in names {
                let recording = find(&mut world, name)?.0;
                let files = recording.all_files_mut();
                files.for_each(|file| change_file(file, change, now));
                let ids = recording.files.iter().map(|file| file.id.clone());
                meetings.push((recording.uuid.clone(), ids.collect()));
            }
            events::batch_changed(change, &account, &meetings, &operator, now)
        };
        Ok(self.send_event(body))
    }

    /// Returns the rule for the bytes of a file, by its id; of several files the first.
    #[must_use]
    pub fn file(&self, id: &str) -> Option<FileSpec> {
        self.find_file(id).map(|(_, file)| file.spec())
    }

    /// Returns a file with its checksum. The cost grows with its size.
    #[must_use]
    pub fn file_view(&self, id: &str) -> Option<FileView> {
        let (uuid, file) = self.find_file(id)?;
        let sha256 = file.spec().sha256();
        Some(FileView { file, uuid, sha256 })
    }

    fn find_file(&self, id: &str) -> Option<(String, RecordingFile)> {
        let world = lock(&self.sim.world);
        world.recordings.iter().find_map(|recording| {
            let file = recording.all_files().find(|file| file.id == id)?;
            Some((recording.uuid.clone(), file.clone()))
        })
    }

    /// Replaces the bytes of a file: other content, another `ETag`, and another size if one is given.
    ///
    /// # Errors
    /// If the file does not exist.
    pub fn replace_file(&self, id: &str, size: Option<u64>) -> Result<FileSpec, ControlError> {
        let mut world = lock(&self.sim.world);
        let recordings = world.recordings.iter_mut();
        let mut files = recordings.flat_map(Recording::all_files_mut);
        let file =
            files.find(|file| file.id == id).ok_or_else(|| ControlError::UnknownFile(id.into()))?;
        file.version += 1;
        if let Some(size) = size {
            (file.size, file.declared_size) = (size, size);
        }
        Ok(file.spec())
    }
}
