//! Processes the events queue: writes recordings and files from Zoom's events, and enqueues downloads.
//!
//! Events are routed by (account, host). State is written before messages are sent: a
//! redelivery sends those that are missing for new files, and maintenance those for files that were queued again.
//! Events may arrive twice, with other URLs and tokens, and in any order; meeting UUID and file id identify a file.

mod changes;
mod unparsed;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::{FileId, RecordingId, ZoomUser};
use reelay_domain::link::{Link, LinkIssue};
use reelay_domain::message::{DownloadMessage, EventBody, EventMessage, Job, JobMessage};
use reelay_domain::notification::RecordingNotification;
use reelay_domain::observation::{FileObservation, Observation, ObservationSource, ObservedAt};
use reelay_domain::recording::{
    FileFilter, FileStatus, RecordingChange, ZoomState, minutes_covered,
};
use reelay_domain::time::saturating_add;
use reelay_domain::webhook::event::{self, Deauthorized, EventError, EventKind};
use reelay_domain::webhook::meeting::{self, ParsedMeeting};
use reelay_runtime::AwsError;
use reelay_runtime::environment::{Clock, ConfigError, Environment};
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::secrets::Secret;
use reelay_runtime::sqs::{Consumer, Delivery, Retry};
use reelay_runtime::traces;
use reelay_store::bucket::Bucket;
use reelay_store::links::{GrantSnapshot, LinkTable};
use reelay_store::manifest;
use reelay_store::outbox::NotificationOutbox;
use reelay_store::queue::Queue;
use reelay_store::recordings::{
    Correction, FileItem, FileKey, ObserveOutcome, RecordingItem, RecordingTable,
};
use serde_json::Value;

/// Number of files of one event that are written concurrently. An event may contain a thousand files.
const CONCURRENCY: usize = 16;

/// The `event-processor` function.
#[derive(Debug)]
pub struct EventProcessor {
    consumer: Consumer,
    links: LinkTable,
    recordings: RecordingTable,
    downloads: Queue<DownloadMessage>,
    jobs: Queue<JobMessage>,
    outbox: NotificationOutbox,
    bucket: Bucket,
    filter: FileFilter,
    /// Whether files are downloaded without a request from the app (`DOWNLOAD_MODE`).
    is_automatic: bool,
    queue_key: Secret,
    clock: Clock,
}

#[derive(Debug, thiserror::Error)]
enum ProcessError {
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error(transparent)]
    Event(#[from] EventError),
    #[error("failed to deserialize the stored event")]
    NotJson,
    #[error("failed to decrypt the stored body")]
    NotDecrypted,
    #[error("the meeting of a batch event is not known yet")]
    UnknownMeeting,
}

/// Result of observing a file: whether it needs a download message.
enum FileEvent {
    /// The file is queued; its message may have been sent.
    Queued(FileKey),
    /// The file is queued again and needs a new message.
    QueuedAgain(FileKey),
    /// The file is finished, in transfer, or waits for its next attempt.
    Nothing,
}

/// Whether a recording may have been known under another account: a link has followed its user, or may be newer than it.
fn may_be_of_another_account(observation: &Observation, links: &[Link]) -> bool {
    let details = &observation.details;
    let minutes = details.duration_minutes.and_then(|minutes| i32::try_from(minutes).ok());
    // Zoom rounds the minutes.
    let duration = SignedDuration::from_mins(2 + i64::from(minutes.unwrap_or(0)));
    let ended_at = details.start_time.map(|start| saturating_add(start, duration));
    let is_newer = |activated_at| ended_at.is_none_or(|ended_at| ended_at < activated_at);
    links
        .iter()
        .any(|link| !link.previous_zoom_users.is_empty() || link.activated_at.is_some_and(is_newer))
}

impl EventProcessor {
    /// Reads the configuration and creates the clients, once per instance.
    ///
    /// # Errors
    /// Returns [`ConfigError`] if a variable is missing or invalid.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        let variables = &environment.variables;
        let is_automatic = match variables.required("DOWNLOAD_MODE")? {
            "automatic" => true,
            "on-demand" => false,
            _ => {
                return Err(ConfigError::invalid(
                    "DOWNLOAD_MODE",
                    "neither automatic nor on-demand",
                ));
            }
        };
        Ok(Self {
            consumer: Consumer::new("events", environment)?,
            links: LinkTable::new(environment)?,
            recordings: RecordingTable::new(environment)?,
            downloads: Queue::from_env(environment, "DOWNLOADS_QUEUE_URL")?,
            jobs: Queue::from_env(environment, "JOBS_QUEUE_URL")?,
            outbox: NotificationOutbox::new(environment)?,
            bucket: Bucket::new(environment)?,
            filter: FileFilter::new(
                variables.optional("FILE_TYPES").unwrap_or_default(),
                variables.optional("RECORDING_TYPES").unwrap_or_default(),
                variables.parsed("MINIMUM_MINUTES")?,
            ),
            is_automatic,
            queue_key: Secret::from_env(environment, "QUEUE_KEY")?,
            clock: environment.clock.clone(),
        })
    }

    /// Processes a batch of events.
    pub async fn handle(&self, batch: SqsEvent) -> SqsBatchResponse {
        self.consumer
            .process(batch, |delivery: Delivery<EventMessage>| async move {
                self.process(&delivery.message).await.map_err(Retry::new)
            })
            .await
    }

    async fn process(&self, message: &EventMessage) -> Result<(), ProcessError> {
        match &message.body {
            EventBody::Event(event) => self.process_event(event, message).await,
            EventBody::ObjectKey(key) => {
                // Processing deletes the object last: if it is missing, an earlier delivery processed the event.
                let Some(bytes) = self.bucket.read(key).await? else {
                    tracing::warn!(key, "stored event not found: processed before, or expired");
                    return Ok(());
                };
                let event: Value =
                    serde_json::from_slice(&bytes).map_err(|_| ProcessError::NotJson)?;
                self.process_event(&event, message).await?;
                // If this fails, the bucket's lifecycle rule deletes the object.
                if let Err(failure) = self.bucket.delete(key).await {
                    tracing::warn!(error = %failure, "processed event not deleted from the bucket");
                }
                Ok(())
            }
            EventBody::EncryptedObjectKey(key) => self.file_encrypted(key).await,
        }
    }

    async fn process_event(
        &self,
        event: &Value,
        message: &EventMessage,
    ) -> Result<(), ProcessError> {
        match self.process_kind(event, message).await {
            Err(ProcessError::Event(error)) => self.file_unparsed(event, &error).await,
            processed => processed,
        }
    }

    async fn process_kind(
        &self,
        event: &Value,
        message: &EventMessage,
    ) -> Result<(), ProcessError> {
        let received_at = message.received_at;
        let name = event.get("event").and_then(Value::as_str).unwrap_or_default();
        let time = match message.source {
            ObservationSource::Event => event::event_time(event, received_at),
            source => ObservedAt { at: received_at, is_own: true, source },
        };
        match EventKind::from_name(name) {
            EventKind::FilesCompleted => {
                let mut parsed = meeting::parse_event(event, time)?;
                // Zoom lists only recordings that are present. An event may be late and says nothing about that.
                let is_listed = time.source != ObservationSource::Event;
                parsed.observation.zoom_state = is_listed.then_some(ZoomState::Present);
                self.observe(parsed, received_at, name == event::TRANSCRIPT_COMPLETED).await
            }
            EventKind::RecordingsChanged => self.recordings_changed(event, time, received_at).await,
            EventKind::Deauthorized => self.deauthorized(Deauthorized::parse(event)?).await,
            EventKind::EndpointValidation | EventKind::Other => {
                metrics::count(Metric::EventsIgnored, "unknown_event");
                Ok(())
            }
        }
    }

    /// Enqueues a job that verifies with Zoom that the grant has ended: a late event may concern an earlier
    /// grant.
    async fn deauthorized(&self, event: Deauthorized) -> Result<(), ProcessError> {
        let tenant = event.zoom_user.account_id.clone();
        let Deauthorized { zoom_user, client_id, at } = event;
        let job = Job::VerifyDeauthorization { zoom_user, client_id, at, is_repeated: false };
        Ok(self.jobs.send(&JobMessage::new(job), tenant.as_str()).await?)
    }

    /// Merges an observation of a recording with files, and enqueues the downloads that follow from it. If a
    /// transcript is the first event of a recording, the other files are read from Zoom.
    async fn observe(
        &self,
        ParsedMeeting { observation, ignored_files }: ParsedMeeting,
        received_at: Timestamp,
        is_transcript: bool,
    ) -> Result<(), ProcessError> {
        for _ in 0..ignored_files {
            metrics::count(Metric::FilesIgnored, "not_an_object");
        }
        let host = &observation.host;
        let snapshot = self.links.snapshot(host).await?;
        let links = self.receivers(host, &snapshot).await?;
        if links.is_empty() {
            // The host is not linked. Nothing is stored; if the host links later, a backfill reads the
            // recordings missed until then.
            metrics::count(Metric::EventsAboutUnknownHosts, "unlinked");
            return self.check_account_move(host).await;
        }
        if snapshot.moved_to.is_some() && observation.time.source == ObservationSource::Event {
            // The user may be back.
            self.check_account_move(host).await?;
        }

        let recording_id = observation.recording_id();
        traces::annotate(&recording_id, None);
        self.record_arrival(observation.time.source, host, &links).await?;
        // The link does not cover the other files of a meeting from before the activation window.
        let is_covered = !changes::is_before_window(observation.details.start_time, &snapshot);
        if is_transcript && is_covered && !self.knows_other_files(&observation).await? {
            let (zoom_user, meeting_uuid) = (host.clone(), observation.meeting_uuid.clone());
            self.send_job(Job::ReadDetails { zoom_user, meeting_uuid, omitted: Vec::new() }, host)
                .await?;
        }
        let files = || observation.files.iter().map(|file| &file.metadata.id);
        let (known, recording) = match self.observe_recording(&observation, &links).await? {
            ObserveOutcome::New(item) => (None, item),
            ObserveOutcome::Known { before, after } => (Some(before), after),
            ObserveOutcome::Erased => {
                return self.delete_files_of_erased(host, &recording_id, files()).await;
            }
        };
        let duration = recording
            .observed
            .metadata
            .duration_minutes
            .or_else(|| minutes_covered(observation.files.iter().map(|file| &file.metadata)));
        let file_events: Vec<FileEvent> = stream::iter(observation.files.clone())
            .map(|file| self.observe_file(&observation, file, duration, received_at))
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        // An erasure marks the recording before it reads the files, so either the erasure or this check deletes them.
        let Some(current) = self.recordings.item(host, &recording_id).await? else {
            return self.delete_files_of_erased(host, &recording_id, files()).await;
        };

        // Marked as published below, so that a redelivery repeats it after a crash in between.
        let is_new = !known.as_ref().is_some_and(|item| item.detected);
        if is_new {
            let detected = RecordingNotification::Detected;
            let table = &self.recordings;
            self.outbox.publish(table, host, &recording_id, &detected, &links).await?;
        }
        // The app's request either finds these files or is found here.
        let is_requested = self.is_automatic || current.requested;
        let is_known = known.is_some();
        let sent = known.map(|item| item.sent).unwrap_or_default();
        let to_fetch: Vec<FileKey> = file_events
            .into_iter()
            .filter_map(|event| match event {
                FileEvent::Queued(key) if is_requested && !sent.contains(&key.file) => Some(key),
                FileEvent::QueuedAgain(key) if is_requested => Some(key),
                FileEvent::Queued(_) | FileEvent::QueuedAgain(_) | FileEvent::Nothing => None,
            })
            .collect();
        self.enqueue_downloads(host, &recording_id, &to_fetch, is_new).await?;
        match recording.correction_at(observation.time) {
            Some(correction) if is_known => {
                self.publish_correction(&observation, &recording, correction, &links).await
            }
            _ => Ok(()),
        }
    }

    /// The links that receive what an event says of a host. An event may name the account that the host has left.
    pub(crate) async fn receivers(
        &self,
        host: &ZoomUser,
        snapshot: &GrantSnapshot,
    ) -> Result<Vec<Link>, AwsError> {
        match snapshot.moved_to {
            Some(_) => self.links.receivers(host).await,
            None => Ok(snapshot.receivers().cloned().collect()),
        }
    }

    /// Publishes what an observation has changed, and refreshes the manifest.
    pub(crate) async fn publish_correction(
        &self,
        observation: &Observation,
        recording: &RecordingItem,
        correction: Correction,
        links: &[Link],
    ) -> Result<(), ProcessError> {
        let (host, id, at) = (&observation.host, observation.recording_id(), observation.time.at);
        let topic = recording.observed.metadata.topic.clone().filter(|_| correction.is_renamed);
        let changes = correction.is_recovered.then_some(RecordingChange::Recovered);
        let changes =
            changes.into_iter().chain(topic.map(|topic| RecordingChange::Renamed { topic }));
        for change in changes {
            let notification = RecordingNotification::Changed { change, at };
            self.outbox.publish(&self.recordings, host, &id, &notification, links).await?;
        }
        if correction.is_recovered {
            self.recordings.forget_trash(host, &id, observation.time).await?;
        }
        if self.recordings.load(host, &id).await?.is_some_and(|loaded| loaded.has_stored()) {
            manifest::refresh(&self.recordings, &self.bucket, host, &id).await?;
        }
        Ok(())
    }

    /// Merges an observation into a recording. One that was erased under another account of the Zoom user stays erased.
    async fn observe_recording(
        &self,
        observation: &Observation,
        links: &[Link],
    ) -> Result<ObserveOutcome<RecordingItem>, AwsError> {
        let id = observation.recording_id();
        if may_be_of_another_account(observation, links)
            && self.recordings.is_erased(&observation.host.user_id, &id).await?
        {
            return Ok(ObserveOutcome::Erased);
        }
        self.recordings.observe(observation, self.is_automatic, self.clock.now()).await
    }

    /// Whether files of the recording are known besides those of the observation.
    async fn knows_other_files(&self, observation: &Observation) -> Result<bool, AwsError> {
        let loaded = self.recordings.load(&observation.host, &observation.recording_id()).await?;
        let is_observed = |id: &FileId| observation.files.iter().any(|it| it.metadata.id == *id);
        Ok(loaded.is_some_and(|loaded| {
            loaded.files.iter().any(|file| !is_observed(&file.observed.metadata.id))
        }))
    }

    /// Saves that an event of the links' host arrives, and ends the issue that none does.
    pub(crate) async fn record_arrival(
        &self,
        source: ObservationSource,
        host: &ZoomUser,
        links: &[Link],
    ) -> Result<(), AwsError> {
        if source != ObservationSource::Event {
            return Ok(());
        }
        self.links.save_event_time(links, self.clock.now()).await?;
        if links.iter().any(|link| link.issue == Some(LinkIssue::EventsNotArriving)) {
            self.send_job(Job::EventArrived { zoom_user: host.clone() }, host).await?;
        }
        Ok(())
    }

    async fn send_job(&self, job: Job, host: &ZoomUser) -> Result<(), AwsError> {
        self.jobs.send(&JobMessage::new(job), host.account_id.as_str()).await
    }

    async fn observe_file(
        &self,
        observation: &Observation,
        file: FileObservation,
        duration_minutes: Option<u64>,
        received_at: Timestamp,
    ) -> Result<FileEvent, AwsError> {
        let (time, now) = (observation.time, self.clock.now());
        let is_event = time.source == ObservationSource::Event;
        // Only automatic downloads of timed events are measured for latency: an on-demand file waits for the app.
        let is_measured = self.is_automatic && is_event && time.is_own;
        let new = FileItem::new(
            &file,
            time,
            self.filter.skip_reason(duration_minutes, &file.metadata),
            is_measured.then_some(received_at),
            now,
        );
        let key = FileKey {
            zoom_user: observation.host.clone(),
            recording: observation.recording_id(),
            file: file.metadata.id.clone(),
        };
        // A later event may mean that the file is ready or exists again, and so does its place in a list if it has failed.
        // Lists come daily: they do not restart the attempts of a file that waits.
        let requeues = |known: &FileItem| {
            known.observed.seen.is_before(time) && (is_event || known.status == FileStatus::Failed)
        };
        let observed =
            self.recordings.observe_file(&key, new, (&file, time), requeues, now).await?;
        Ok(match observed {
            ObserveOutcome::New(item) if item.status == FileStatus::Queued => {
                if item.is_waiting(now) { FileEvent::Nothing } else { FileEvent::Queued(key) }
            }
            ObserveOutcome::Known { before, after } if after.status == FileStatus::Queued => {
                let is_again = before.status != after.status
                    || before.next_attempt_at != after.next_attempt_at;
                match is_again {
                    true => FileEvent::QueuedAgain(key),
                    false if after.is_waiting(now) => FileEvent::Nothing,
                    false => FileEvent::Queued(key),
                }
            }
            ObserveOutcome::New(_) | ObserveOutcome::Known { .. } | ObserveOutcome::Erased => {
                FileEvent::Nothing
            }
        })
    }

    /// Enqueues maintenance of grants with the same user id in other accounts: the user may have moved to this
    /// account. The job verifies this with Zoom and backfills the missed recordings.
    async fn check_account_move(&self, host: &ZoomUser) -> Result<(), ProcessError> {
        for zoom_user in self.links.with_same_user_id(host).await? {
            let tenant = zoom_user.account_id.clone();
            let job = Job::MaintainGrant { zoom_user };
            self.jobs.send(&JobMessage::new(job), tenant.as_str()).await?;
        }
        Ok(())
    }

    /// Deletes the files that this event, perhaps in an earlier delivery, has written for an erased recording.
    async fn delete_files_of_erased<'a>(
        &self,
        host: &ZoomUser,
        recording: &RecordingId,
        files: impl Iterator<Item = &'a FileId>,
    ) -> Result<(), ProcessError> {
        metrics::count(Metric::EventsIgnored, "erased_recording");
        Ok(self.recordings.delete_files(host, recording, files).await?)
    }

    /// Enqueues downloads, and marks them as enqueued and, if `is_detected`, `recording.detected` as published.
    async fn enqueue_downloads(
        &self,
        host: &ZoomUser,
        recording: &RecordingId,
        keys: &[FileKey],
        is_detected: bool,
    ) -> Result<(), ProcessError> {
        let messages: Vec<DownloadMessage> = keys
            .iter()
            .map(|key| DownloadMessage::new(host.clone(), recording.clone(), key.file.clone()))
            .collect();
        self.downloads.send_all(&messages, host.account_id.as_str()).await?;
        let files = keys.iter().map(|key| &key.file);
        Ok(self.recordings.mark_sent(host, recording, files, is_detected).await?)
    }
}
