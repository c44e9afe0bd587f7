//! What happens to recordings, and the events that tell of it.

use serde::{Deserialize, Serialize};

use super::{Control, ControlError};
use crate::events::{self, Disposal, Progress};
use crate::files::FileSpec;
use crate::lock;
use crate::recordings::{NewFile, NewRecording, Presence, Recording, RecordingFile};
use crate::sim::Sim;
use crate::tokens::{DownloadToken, Meeting};
use crate::users::User;
use crate::world::{Urls, World};

/// A recording as it is after a call, and the deliveries that the call began.
#[derive(Debug, Clone, Serialize)]
pub struct Created {
    /// The recording.
    pub recording: Recording,
    /// Numbers of deliveries.
    pub deliveries: Vec<u64>,
}

/// Which files, and who does it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// File ids; all if left out.
    pub files: Option<Vec<String>>,
    /// The user who does it; the host if left out.
    pub operator_id: Option<String>,
    /// Change the state without an event.
    pub silent: bool,
}

/// What can be known of a file's bytes without downloading them.
#[derive(Debug, Clone, Serialize)]
pub struct FileView {
    /// The file.
    #[serde(flatten)]
    pub file: RecordingFile,
    /// The meeting it belongs to.
    pub uuid: String,
    /// SHA-256 in hex.
    pub sha256: String,
    /// CRC-64/NVME in hex.
    pub crc64_nvme: String,
}

impl Selection {
    fn has(&self, file: &RecordingFile) -> bool {
        self.files.as_ref().is_none_or(|ids| ids.contains(&file.id))
    }
}

/// Borrowed apart, so that URLs can be made while a recording is read.
fn parts<'a>(
    world: &'a mut World,
    name: &str,
) -> Result<(&'a mut Recording, &'a mut Urls, &'a [User]), ControlError> {
    let place = world
        .place(name)
        .ok_or_else(|| ControlError::UnknownRecording(name.into()))?;
    Ok((&mut world.recordings[place], &mut world.urls, &world.users))
}

fn token(sim: &Sim, recording: &Recording) -> String {
    let meeting = Meeting {
        account_id: &recording.account_id,
        user_id: &recording.host_id,
        uuid: &recording.uuid,
    };
    sim.signer.download(
        DownloadToken::Webhook,
        meeting,
        sim.clock.now(),
        sim.config().download_token_seconds,
    )
}

fn with_urls<'a>(
    sim: &Sim,
    urls: &mut Urls,
    recording: &Recording,
    files: impl Iterator<Item = &'a RecordingFile>,
) -> Vec<(&'a RecordingFile, String)> {
    files
        .map(|file| (file, urls.for_event(&sim.base, &sim.ids, recording, file)))
        .collect()
}

/// `recording.completed`, for one segment or for all.
fn completed(sim: &Sim, urls: &mut Urls, recording: &Recording, segment: Option<u32>) -> String {
    let wanted = |file: &&RecordingFile| {
        file.is_present() && segment.is_none_or(|segment| file.segment == segment)
    };
    let files = with_urls(sim, urls, recording, recording.files.iter().filter(wanted));
    let audio = with_urls(
        sim,
        urls,
        recording,
        recording.participant_audio.iter().filter(wanted),
    );
    events::completed(
        recording,
        &files,
        &audio,
        &token(sim, recording),
        sim.clock.now(),
    )
}

fn operator(users: &[User], id: Option<&str>, recording: &Recording) -> Result<User, ControlError> {
    let id = id.unwrap_or(&recording.host_id);
    users
        .iter()
        .find(|user| user.id == id)
        .cloned()
        .ok_or_else(|| ControlError::UnknownUser(id.into()))
}

fn dispose(file: &mut RecordingFile, disposal: Disposal, now: jiff::Timestamp) {
    file.presence = match (disposal, file.presence) {
        (_, Presence::Deleted) | (Disposal::Delete, _) => Presence::Deleted,
        (Disposal::Trash, _) => Presence::Trashed(now),
        (Disposal::Recover, _) => Presence::Present,
    };
}

impl Control {
    /// All recordings, oldest first.
    #[must_use]
    pub fn recordings(&self) -> Vec<Recording> {
        lock(&self.sim.world).recordings.clone()
    }

    /// One recording, by handle, meeting UUID or meeting number.
    #[must_use]
    pub fn recording(&self, name: &str) -> Option<Recording> {
        lock(&self.sim.world).recording(name).cloned()
    }

    /// Creates a recording and, unless told not to, sends `recording.completed`.
    ///
    /// # Errors
    /// If the host is unknown or the UUID is taken.
    pub fn create_recording(&self, new: NewRecording) -> Result<Created, ControlError> {
        let sim = &self.sim;
        let (send, per_segment) = (new.send && !new.processing, new.event_per_segment);
        let mut guard = lock(&sim.world);
        let world = &mut *guard;
        let host = world
            .user(&new.host_id)
            .cloned()
            .ok_or_else(|| ControlError::UnknownUser(new.host_id.clone()))?;
        if let Some(uuid) = new.uuid.as_ref().filter(|uuid| {
            world
                .recordings
                .iter()
                .any(|recording| recording.uuid == **uuid)
        }) {
            return Err(ControlError::Exists(uuid.clone()));
        }
        let number = world.recordings.len() as u64 + 1;
        let recording = Recording::new(new, number, &host, &sim.ids, sim.clock.now(), || {
            world.next_file_key()
        });
        let key = recording.key.clone();
        world.recordings.push(recording.clone());
        drop(guard);
        let deliveries = if send {
            self.send_completed(&key, per_segment)?
        } else {
            Vec::new()
        };
        Ok(Created {
            recording,
            deliveries,
        })
    }

    fn send_completed(&self, name: &str, per_segment: bool) -> Result<Vec<u64>, ControlError> {
        let bodies: Vec<String> = {
            let mut world = lock(&self.sim.world);
            let (recording, urls, _) = parts(&mut world, name)?;
            let last = recording.files.last().map_or(0, |file| file.segment);
            if per_segment {
                (0..=last)
                    .map(|segment| completed(&self.sim, urls, recording, Some(segment)))
                    .collect()
            } else {
                vec![completed(&self.sim, urls, recording, None)]
            }
        };
        Ok(bodies
            .into_iter()
            .map(|body| self.send_body(body))
            .collect())
    }

    /// Ends processing and sends `recording.completed`. Once more on a finished recording it sends a twin:
    /// the same files under other URLs and with another token.
    ///
    /// # Errors
    /// If there is no such recording.
    pub fn complete(&self, name: &str) -> Result<u64, ControlError> {
        parts(&mut lock(&self.sim.world), name)?.0.processing = false;
        self.send_completed(name, false)?
            .pop()
            .ok_or_else(|| ControlError::UnknownRecording(name.into()))
    }

    /// Sends `recording.started`, `.paused`, `.resumed` or `.stopped`.
    ///
    /// # Errors
    /// If there is no such recording.
    pub fn progress(&self, name: &str, progress: Progress) -> Result<u64, ControlError> {
        let body = {
            let mut world = lock(&self.sim.world);
            events::progress(parts(&mut world, name)?.0, progress, self.sim.clock.now())
        };
        Ok(self.send_body(body))
    }

    /// Adds a file later, by default a transcript, and sends `recording.transcript_completed`.
    ///
    /// # Errors
    /// If there is no such recording.
    pub fn add_transcript(
        &self,
        name: &str,
        file: Option<NewFile>,
    ) -> Result<Created, ControlError> {
        let sim = &self.sim;
        let (recording, body) = {
            let mut world = lock(&sim.world);
            let key = world.next_file_key();
            let (recording, urls, _) = parts(&mut world, name)?;
            let new = file.unwrap_or_else(|| NewFile {
                file_type: "TRANSCRIPT".into(),
                ..NewFile::default()
            });
            let file = RecordingFile::new(new, key, &sim.ids, recording);
            recording.files.push(file.clone());
            let files = with_urls(sim, urls, recording, std::iter::once(&file));
            let body = events::transcript_completed(
                recording,
                &files,
                &token(sim, recording),
                sim.clock.now(),
            );
            (recording.clone(), body)
        };
        Ok(Created {
            recording,
            deliveries: vec![self.send_body(body)],
        })
    }

    /// Renames the meeting and sends `recording.renamed`.
    ///
    /// # Errors
    /// If there is no such recording or operator.
    pub fn rename(
        &self,
        name: &str,
        topic: &str,
        selection: &Selection,
    ) -> Result<Created, ControlError> {
        let (recording, body) = {
            let mut world = lock(&self.sim.world);
            let (recording, _, users) = parts(&mut world, name)?;
            let operator = operator(users, selection.operator_id.as_deref(), recording)?;
            let old = std::mem::replace(&mut recording.topic, topic.into());
            (
                recording.clone(),
                events::renamed(recording, &old, &operator, self.sim.clock.now()),
            )
        };
        let deliveries = if selection.silent {
            Vec::new()
        } else {
            vec![self.send_body(body)]
        };
        Ok(Created {
            recording,
            deliveries,
        })
    }

    /// Trashes, deletes or recovers files and sends the event.
    ///
    /// # Errors
    /// If there is no such recording, file or operator.
    pub fn dispose(
        &self,
        name: &str,
        disposal: Disposal,
        selection: &Selection,
    ) -> Result<Created, ControlError> {
        let sim = &self.sim;
        let now = sim.clock.now();
        let (recording, body) = {
            let mut world = lock(&sim.world);
            let (recording, urls, users) = parts(&mut world, name)?;
            if let Some(id) = selection
                .files
                .iter()
                .flatten()
                .find(|id| recording.all_files().all(|file| file.id != **id))
            {
                return Err(ControlError::UnknownFile(id.clone()));
            }
            let operator = operator(users, selection.operator_id.as_deref(), recording)?;
            for file in recording.all_files_mut().filter(|file| selection.has(file)) {
                dispose(file, disposal, now);
            }
            let files = with_urls(
                sim,
                urls,
                recording,
                recording.files.iter().filter(|file| selection.has(file)),
            );
            (
                recording.clone(),
                events::disposed(
                    recording,
                    disposal,
                    &files,
                    &token(sim, recording),
                    &operator,
                    now,
                ),
            )
        };
        let deliveries = if selection.silent {
            Vec::new()
        } else {
            vec![self.send_body(body)]
        };
        Ok(Created {
            recording,
            deliveries,
        })
    }

    /// Trashes, deletes or recovers several recordings of one account with one event, which names no host.
    ///
    /// # Errors
    /// If a recording is unknown, there is none, or they belong to different accounts.
    pub fn dispose_batch(&self, names: &[String], disposal: Disposal) -> Result<u64, ControlError> {
        let now = self.sim.clock.now();
        let body = {
            let mut world = lock(&self.sim.world);
            let first = names
                .first()
                .ok_or_else(|| ControlError::Invalid("name at least one recording".into()))?;
            let (recording, _, users) = parts(&mut world, first)?;
            let account = recording.account_id.clone();
            let operator = operator(users, None, recording)?;
            for name in names {
                if parts(&mut world, name)?.0.account_id != account {
                    return Err(ControlError::Invalid("a batch is about one account".into()));
                }
            }
            let mut meetings = Vec::new();
            for name in names {
                let recording = parts(&mut world, name)?.0;
                recording
                    .all_files_mut()
                    .for_each(|file| dispose(file, disposal, now));
                meetings.push((
                    recording.uuid.clone(),
                    recording.files.iter().map(|file| file.id.clone()).collect(),
                ));
            }
            events::batch(disposal, &account, &meetings, &operator, now)
        };
        Ok(self.send_body(body))
    }

    /// The rule for the bytes of a file, by its id; of several the first.
    #[must_use]
    pub fn file(&self, id: &str) -> Option<FileSpec> {
        self.find_file(id).map(|(_, file)| file.spec())
    }

    /// A file with its checksums. Computes the whole file: think twice for a huge one.
    #[must_use]
    pub fn file_view(&self, id: &str) -> Option<FileView> {
        let (uuid, file) = self.find_file(id)?;
        let spec = file.spec();
        Some(FileView {
            sha256: spec.sha256(),
            crc64_nvme: format!("{:016x}", spec.crc64_nvme()),
            uuid,
            file,
        })
    }

    fn find_file(&self, id: &str) -> Option<(String, RecordingFile)> {
        let world = lock(&self.sim.world);
        world.recordings.iter().find_map(|recording| {
            let file = recording.all_files().find(|file| file.id == id)?;
            Some((recording.uuid.clone(), file.clone()))
        })
    }

    /// Replaces the bytes of a file: other content, another `ETag`, the same size unless one is given.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn replace_file(&self, id: &str, size: Option<u64>) -> Result<FileSpec, ControlError> {
        let mut world = lock(&self.sim.world);
        let mut files = world
            .recordings
            .iter_mut()
            .flat_map(Recording::all_files_mut);
        let file = files
            .find(|file| file.id == id)
            .ok_or_else(|| ControlError::UnknownFile(id.into()))?;
        file.version += 1;
        if let Some(size) = size {
            (file.size, file.declared_size) = (size, size);
        }
        Ok(file.spec())
    }

    /// A token for a recording's `webhook_download` URLs that lives as long as told; negative: expired.
    ///
    /// # Errors
    /// If there is no such recording.
    pub fn download_token(&self, name: &str, seconds: i64) -> Result<String, ControlError> {
        let mut world = lock(&self.sim.world);
        let recording = parts(&mut world, name)?.0;
        let meeting = Meeting {
            account_id: &recording.account_id,
            user_id: &recording.host_id,
            uuid: &recording.uuid,
        };
        Ok(self.sim.signer.download(
            DownloadToken::Webhook,
            meeting,
            self.sim.clock.now(),
            seconds,
        ))
    }
}
