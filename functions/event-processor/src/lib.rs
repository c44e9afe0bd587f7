//! Processes the events queue: writes recordings and files from Zoom's events, and enqueues downloads.
//!
//! Events are routed by (account, host). State is written before messages are sent, so a redelivery finds
//! the state and sends the missing messages. Events may arrive twice, with other URLs and tokens, and in any
//! order; meeting UUID and file id identify a file.

mod changes;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use reelay_domain::ids::{AppUserId, FileId, RecordingId, ZoomUser};
use reelay_domain::message::{DownloadMessage, EventBody, EventMessage, Job, JobMessage};
use reelay_domain::notification::RecordingNotification;
use reelay_domain::recording::{FileFilter, FileStatus};
use reelay_domain::webhook::event::{Deauthorized, EventError, EventKind, FilesCompleted};
use reelay_runtime::AwsError;
use reelay_runtime::environment::{Clock, ConfigError, Environment};
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::sqs::{Consumer, Delivery, Retry};
use reelay_store::bucket::Bucket;
use reelay_store::links::LinkTable;
use reelay_store::outbox::NotificationOutbox;
use reelay_store::queue::Queue;
use reelay_store::recordings::{
    AddOutcome, FileItem, FileKey, NextCheck, RecordingItem, RecordingTable,
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
            consumer: Consumer::new(environment)?,
            links: LinkTable::new(environment)?,
            recordings: RecordingTable::new(environment)?,
            downloads: Queue::from_env(environment, "DOWNLOADS_QUEUE_URL")?,
            jobs: Queue::from_env(environment, "JOBS_QUEUE_URL")?,
            outbox: NotificationOutbox::new(environment)?,
            bucket: Bucket::new(environment)?,
            filter: FileFilter::new(
                variables.optional("FILE_TYPES").unwrap_or_default(),
                variables.parsed("MINIMUM_MINUTES")?,
            ),
            is_automatic,
            clock: environment.clock.clone(),
        })
    }

    /// Processes a batch of events.
    pub async fn handle(&self, batch: SqsEvent) -> SqsBatchResponse {
        self.consumer
            .process(batch, |delivery: Delivery<EventMessage>| async move {
                let EventMessage { body, received_at, .. } = delivery.message;
                self.process(&body, received_at).await.map_err(Retry::new)
            })
            .await
    }

    async fn process(&self, body: &EventBody, received_at: Timestamp) -> Result<(), ProcessError> {
        match body {
            EventBody::Event(event) => self.process_event(event, received_at).await,
            EventBody::ObjectKey(key) => {
                // Processing deletes the object last: if it is missing, an earlier delivery processed the event.
                let Some(bytes) = self.bucket.read(key).await? else {
                    return Ok(());
                };
                let event: Value =
                    serde_json::from_slice(&bytes).map_err(|_| ProcessError::NotJson)?;
                self.process_event(&event, received_at).await?;
                // If this fails, the bucket's lifecycle rule deletes the object.
                if let Err(failure) = self.bucket.delete(key).await {
                    tracing::warn!(error = %failure, "processed event not deleted from the bucket");
                }
                Ok(())
            }
        }
    }

    async fn process_event(
        &self,
        event: &Value,
        received_at: Timestamp,
    ) -> Result<(), ProcessError> {
        let name = event.get("event").and_then(Value::as_str).unwrap_or_default();
        match EventKind::from_name(name) {
            EventKind::FilesCompleted => {
                let event = FilesCompleted::parse(event)?;
                self.files_completed(event, received_at).await
            }
            EventKind::RecordingsChanged => self.recordings_changed(event, received_at).await,
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
        let job =
            Job::VerifyDeauthorization { zoom_user: event.zoom_user, client_id: event.client_id };
        Ok(self.jobs.send(&JobMessage::new(job), tenant.as_str()).await?)
    }

    async fn files_completed(
        &self,
        event: FilesCompleted,
        received_at: Timestamp,
    ) -> Result<(), ProcessError> {
        let snapshot = self.links.snapshot(&event.host).await?;
        let app_users: Vec<AppUserId> = snapshot.receivers().cloned().collect();
        if app_users.is_empty() {
            // The host is not linked. Nothing is stored; if the host links later, a backfill reads the
            // recordings missed until then.
            metrics::count(Metric::EventsIgnored, "unknown_host");
            return self.check_account_move(&event.host).await;
        }

        let recording_id = RecordingId::from_uuid(&event.recording.meeting_uuid);
        let files: Vec<FileId> = event.files.iter().map(|(file, _)| file.id.clone()).collect();
        let known = match self.write_recording(&event).await? {
            AddOutcome::AddOutcome => None,
            AddOutcome::AlreadyExists(item) => Some(item),
            AddOutcome::Erased => return self.ignore(&event.host, &recording_id, &files).await,
        };
        // Only automatic downloads of webhook events are measured for latency: a backfill has no event time,
        // and an on-demand file waits for the app's request.
        let is_measured = self.is_automatic && event.event_ts != 0;
        let received_at = is_measured.then(|| received_at.as_millisecond());
        let to_fetch: Vec<FileKey> = stream::iter(event.files)
            .map(|(metadata, source)| {
                let skip = self.filter.skip_reason(&event.recording, &metadata);
                let key = FileKey {
                    zoom_user: event.host.clone(),
                    recording: recording_id.clone(),
                    file: metadata.id.clone(),
                };
                let item = FileItem {
                    metadata,
                    status: if skip.is_some() { FileStatus::Skipped } else { FileStatus::Queued },
                    reason: skip.map(str::to_owned),
                    bytes_stored: 0,
                    key: None,
                    crc64nvme: None,
                    stored_at: None,
                    source,
                    source_saved_at: None,
                    next_check: None,
                    last_event_ts: event.event_ts,
                    received_at,
                    lease_owner: None,
                    lease_until: None,
                    attempt: 0,
                    upload: None,
                    recognised: None,
                };
                self.write_file(key, item)
            })
            .buffer_unordered(CONCURRENCY)
            .try_filter_map(|key| async move { Ok(key) })
            .try_collect()
            .await?;
        // An erasure reads the files after it has marked the recording, so one of the two deletes them.
        if self.recordings.item(&event.host, &recording_id).await?.is_none() {
            return self.ignore(&event.host, &recording_id, &files).await;
        }

        // Downloads are enqueued and recorded in `sent` only after this notification was published, so a
        // non-empty `sent` proves that it was.
        if known.as_ref().is_none_or(|item| item.sent.is_empty()) {
            self.outbox
                .publish(
                    &self.recordings,
                    &event.host,
                    &recording_id,
                    &RecordingNotification::Detected,
                    &app_users,
                )
                .await?;
        }
        if self.is_automatic || known.as_ref().is_some_and(|item| item.requested) {
            let sent = known.map(|item| item.sent).unwrap_or_default();
            let unsent: Vec<FileKey> =
                to_fetch.into_iter().filter(|key| !sent.contains(&key.file)).collect();
            self.enqueue_downloads(&event.host, &recording_id, &unsent).await?;
        }
        Ok(())
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

    /// Deletes what this event, perhaps in an earlier delivery, has written of an erased recording.
    async fn ignore(
        &self,
        host: &ZoomUser,
        recording: &RecordingId,
        files: &[FileId],
    ) -> Result<(), ProcessError> {
        metrics::count(Metric::EventsIgnored, "erased_recording");
        Ok(self.recordings.delete_files(host, recording, files.iter()).await?)
    }

    /// Writes the recording. Returns its item as it was before this event, if it is known.
    async fn write_recording(
        &self,
        event: &FilesCompleted,
    ) -> Result<AddOutcome<RecordingItem>, AwsError> {
        let added = self
            .recordings
            .add_recording(&event.host, &event.recording, event.event_ts, self.is_automatic)
            .await?;
        if let AddOutcome::AlreadyExists(item) = &added
            && item.last_event_ts < event.event_ts
        {
            self.recordings
                .refresh_recording(&event.host, &event.recording, event.event_ts)
                .await?;
        }
        Ok(added)
    }

    /// Writes a file. Returns its key if the file is queued for download.
    async fn write_file(
        &self,
        key: FileKey,
        mut item: FileItem,
    ) -> Result<Option<FileKey>, AwsError> {
        let now = self.clock.now();
        let event_ts = item.last_event_ts;
        let source = item.source.clone();
        let is_wanted = item.status != FileStatus::Skipped;
        // A skipped file needs neither a source nor maintenance.
        if is_wanted {
            item.source_saved_at = source.as_ref().map(|_| now.as_millisecond());
            item.next_check = Some(NextCheck::first(now));
        } else {
            item.source = None;
        }
        let known = match self.recordings.add_file(&key, &item).await? {
            AddOutcome::AddOutcome => return Ok(is_wanted.then_some(key)),
            AddOutcome::AlreadyExists(known) => known,
            AddOutcome::Erased => return Ok(None),
        };
        let newer_source = source.as_ref().filter(|_| known.last_event_ts < event_ts);
        match (known.status, newer_source) {
            (FileStatus::Queued, _) => {
                if let Some(source) = newer_source {
                    self.recordings.update_source(&key, source, event_ts, now).await?;
                }
                Ok(Some(key))
            }
            (FileStatus::Transferring, Some(source)) => {
                self.recordings.update_source(&key, source, event_ts, now).await?;
                Ok(None)
            }
            // A newer event or a backfill, which has no event time, grants a failed file another attempt.
            (FileStatus::Failed, newer) if newer.is_some() || event_ts == 0 => {
                let newer = newer.map(|source| (source, event_ts));
                let queued = self.recordings.requeue_failed(&key, newer, now).await?;
                if queued {
                    // The file is already listed in `sent`, so the caller would skip it.
                    self.enqueue_downloads(
                        &key.zoom_user,
                        &key.recording,
                        std::slice::from_ref(&key),
                    )
                    .await?;
                }
                Ok(None)
            }
            (
                FileStatus::Stored
                | FileStatus::Skipped
                | FileStatus::Transferring
                | FileStatus::Failed,
                _,
            ) => Ok(None),
        }
    }

    async fn enqueue_downloads(
        &self,
        host: &ZoomUser,
        recording: &RecordingId,
        keys: &[FileKey],
    ) -> Result<(), AwsError> {
        let messages: Vec<DownloadMessage> = keys
            .iter()
            .map(|key| DownloadMessage::new(host.clone(), recording.clone(), key.file.clone()))
            .collect();
        self.downloads.send_all(&messages, host.account_id.as_str()).await?;
        self.recordings.mark_sent(host, recording, keys.iter().map(|key| &key.file)).await
    }
}
