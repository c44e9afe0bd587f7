//! Events queue: from an event of Zoom's to files that are to be fetched.
//!
//! Routes by (account, host), writes what is new, and sends one message for each wanted file. State
//! first, then send: a redelivery finds the state and sends what was not sent. Events may come twice,
//! as twins with other URLs and tokens, and in any order; what counts is meeting UUID and file id.

mod changes;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use reelay_domain::ids::{AppUserId, RecordingId, ZoomUser};
use reelay_domain::message::{DownloadMessage, EventBody, EventMessage, Job, JobMessage, SchemaV1};
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

/// Files of one event that are written side by side: an event may hold a thousand.
const AT_ONCE: usize = 16;

/// The function.
#[derive(Debug)]
pub struct EventProcessor {
    consumer: Consumer,
    links: LinkTable,
    recordings: RecordingTable,
    downloads: Queue<DownloadMessage>,
    orders: Queue<JobMessage>,
    outbox: NotificationOutbox,
    bucket: Bucket,
    filter: FileFilter,
    automatic: bool,
    clock: Clock,
}

#[derive(Debug, thiserror::Error)]
enum ProcessError {
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error(transparent)]
    Event(#[from] EventError),
    #[error("the stored event is not JSON")]
    NotJson,
}

impl EventProcessor {
    /// Reads the configuration and makes the clients, once per instance.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        let variables = &environment.variables;
        let automatic = match variables.required("DOWNLOAD_MODE")? {
            "automatic" => true,
            "on-demand" => false,
            _ => {
                return Err(ConfigError::Invalid {
                    name: "DOWNLOAD_MODE".to_owned(),
                    reason: "neither automatic nor on-demand".to_owned(),
                });
            }
        };
        Ok(Self {
            consumer: Consumer::new(environment)?,
            links: LinkTable::new(environment)?,
            recordings: RecordingTable::new(environment)?,
            downloads: Queue::from_env(environment, "DOWNLOADS_QUEUE_URL")?,
            orders: Queue::from_env(environment, "JOBS_QUEUE_URL")?,
            outbox: NotificationOutbox::new(environment)?,
            bucket: Bucket::new(environment)?,
            filter: FileFilter::new(
                variables.optional("FILE_TYPES").unwrap_or_default(),
                variables.parsed("MINIMUM_MINUTES")?,
            ),
            automatic,
            clock: environment.clock.clone(),
        })
    }

    /// Works off a batch of events.
    pub async fn handle(&self, batch: SqsEvent) -> SqsBatchResponse {
        self.consumer
            .process(batch, |delivery: Delivery<EventMessage>| async move {
                let EventMessage {
                    body, received_at, ..
                } = delivery.message;
                self.process(&body, received_at).await.map_err(Retry::new)
            })
            .await
    }

    async fn process(&self, body: &EventBody, received_at: Timestamp) -> Result<(), ProcessError> {
        match body {
            EventBody::Event(event) => self.process_event(event, received_at).await,
            EventBody::ObjectKey(key) => {
                // It is removed once processed: a redelivery that finds it gone has nothing to do.
                let Some(bytes) = self.bucket.read(key).await? else {
                    return Ok(());
                };
                let event: Value =
                    serde_json::from_slice(&bytes).map_err(|_| ProcessError::NotJson)?;
                self.process_event(&event, received_at).await?;
                // If this fails the lifecycle rule removes it.
                if let Err(failure) = self.bucket.delete(key).await {
                    tracing::warn!(error = %failure, "processed event not removed from the bucket");
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
        let name = event
            .get("event")
            .and_then(Value::as_str)
            .unwrap_or_default();
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

    /// An order to check, no more: a deauthorization may be late, and concern an earlier grant. Who holds
    /// the tokens asks Zoom.
    async fn deauthorized(&self, event: Deauthorized) -> Result<(), ProcessError> {
        let tenant = event.zoom_user.account_id.clone();
        let job = Job::VerifyDeauthorization {
            zoom_user: event.zoom_user,
            client_id: event.client_id,
        };
        Ok(self
            .orders
            .send(&JobMessage { v: SchemaV1, job }, tenant.as_str())
            .await?)
    }

    async fn files_completed(
        &self,
        event: FilesCompleted,
        received_at: Timestamp,
    ) -> Result<(), ProcessError> {
        let holding = self.links.snapshot(&event.host).await?;
        let app_users: Vec<AppUserId> = holding.app_users().cloned().collect();
        if app_users.is_empty() {
            // Somebody of the same company who never linked, or has not been confirmed yet. When a
            // link becomes active, what was missed is read from Zoom; nothing of it is kept here.
            metrics::count(Metric::EventsIgnored, "unknown_host");
            return self.look_elsewhere(&event.host).await;
        }

        let recording_id = RecordingId::from_uuid(&event.recording.meeting_uuid);
        let known = self.write_recording(&event).await?;
        // A list that is read has no time of its own, and a year of recordings takes what it takes; what waits
        // for the app's call waits for the app. Neither says how fast we are.
        let is_measured = self.automatic && event.event_ts != 0;
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
                    status: if skip.is_some() {
                        FileStatus::Skipped
                    } else {
                        FileStatus::Queued
                    },
                    reason: skip.map(str::to_owned),
                    bytes_stored: 0,
                    key: None,
                    crc64nvme: None,
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
            .buffer_unordered(AT_ONCE)
            .try_filter_map(|key| async move { Ok(key) })
            .try_collect()
            .await?;

        // Files are sent for after this, so where some were, it was told.
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
        if self.automatic || known.as_ref().is_some_and(|item| item.requested) {
            let sent = known.map(|item| item.sent).unwrap_or_default();
            let unsent: Vec<FileKey> = to_fetch
                .into_iter()
                .filter(|key| !sent.contains(&key.file))
                .collect();
            self.send(&event.host, &recording_id, &unsent).await?;
        }
        Ok(())
    }

    /// Somebody whom we know may have changed accounts. An event is no proof of that: whoever holds their
    /// tokens asks Zoom, and if it is so, what is missed here is read from Zoom's list.
    async fn look_elsewhere(&self, host: &ZoomUser) -> Result<(), ProcessError> {
        for zoom_user in self.links.with_same_user_id(host).await? {
            let tenant = zoom_user.account_id.clone();
            let job = Job::MaintainGrant { zoom_user };
            self.orders
                .send(&JobMessage { v: SchemaV1, job }, tenant.as_str())
                .await?;
        }
        Ok(())
    }

    /// What was known of the recording before this event.
    async fn write_recording(
        &self,
        event: &FilesCompleted,
    ) -> Result<Option<RecordingItem>, AwsError> {
        let added = self
            .recordings
            .add_recording(
                &event.host,
                &event.recording,
                event.event_ts,
                self.automatic,
            )
            .await?;
        match added {
            AddOutcome::AddOutcome => Ok(None),
            AddOutcome::AlreadyExists(item) => {
                if item.last_event_ts < event.event_ts {
                    self.recordings
                        .refresh_recording(&event.host, &event.recording, event.event_ts)
                        .await?;
                }
                Ok(Some(item))
            }
        }
    }

    /// The file's key, if it is still to be fetched.
    async fn write_file(
        &self,
        key: FileKey,
        mut item: FileItem,
    ) -> Result<Option<FileKey>, AwsError> {
        let now = self.clock.now();
        let event_ts = item.last_event_ts;
        let source = item.source.clone();
        let is_wanted = item.status != FileStatus::Skipped;
        // What is not fetched needs no address, and nobody to look after it. Should it be known as one that
        // is, the fresher address serves.
        if is_wanted {
            item.source_saved_at = source.as_ref().map(|_| now.as_millisecond());
            item.next_check = Some(NextCheck::first(now));
        } else {
            item.source = None;
        }
        let known = match self.recordings.add_file(&key, &item).await? {
            AddOutcome::AddOutcome => return Ok(is_wanted.then_some(key)),
            AddOutcome::AlreadyExists(known) => known,
        };
        let fresher = source.as_ref().filter(|_| known.last_event_ts < event_ts);
        match (known.status, fresher) {
            (FileStatus::Queued, _) => {
                if let Some(source) = fresher {
                    self.recordings
                        .update_source(&key, source, event_ts, now)
                        .await?;
                }
                Ok(Some(key))
            }
            (FileStatus::Transferring, Some(source)) => {
                self.recordings
                    .update_source(&key, source, event_ts, now)
                    .await?;
                Ok(None)
            }
            (FileStatus::Failed, Some(source)) => {
                let queued = self
                    .recordings
                    .requeue_failed(&key, Some((source, event_ts)), now)
                    .await?;
                if queued {
                    // It was sent before it failed, so this time it is sent here and now.
                    self.send(&key.zoom_user, &key.recording, std::slice::from_ref(&key))
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

    async fn send(
        &self,
        host: &ZoomUser,
        recording: &RecordingId,
        keys: &[FileKey],
    ) -> Result<(), AwsError> {
        let messages: Vec<DownloadMessage> = keys
            .iter()
            .map(|key| DownloadMessage::new(host.clone(), recording.clone(), key.file.clone()))
            .collect();
        self.downloads
            .send_all(&messages, host.account_id.as_str())
            .await?;
        self.recordings
            .mark_sent(host, recording, keys.iter().map(|key| &key.file))
            .await
    }
}
