//! Downloads queue: one file from Zoom to the bucket.
//!
//! Takes the file's transfer under a lease, streams the bytes to S3 in bounded memory, proves what was
//! stored, and tells the app. A message is about state that lies in the table, so it may come twice or
//! late: whoever comes second finds the file leased, or ended, and tells again what was to be told.

mod ladder;
mod manifest;
mod stream;
mod verdict;

use aws::AwsFailure;
use aws::announce::Announcer;
use aws::bucket::Bucket;
use aws::environment::{Clock, ConfigError, Environment};
use aws::recordings::{Claimed, FenceError, FileItem, FileKey, Loaded, RecordingTable};
use aws::secrets::Secret;
use aws::{metrics, random};
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use domain::ids::AppUserId;
use domain::message::DownloadMessage;
use domain::notification::RecordingFact;
use domain::object_key;
use domain::recording::{FileStatus, RecordingStatus};
use grants::Grants;
use jiff::SignedDuration;
use worker::{Consumer, Delivery, Retry};
use zoom::{DownloadHosts, Endpoints, Zoom};

use crate::stream::Proven;
use crate::verdict::{Refusal, Verdict};

/// A lease outlives the function's timeout (300 s), so that a transfer whose owner was killed is taken
/// over, and one whose owner lives never is.
const LEASE: SignedDuration = SignedDuration::from_secs(330);

/// The function.
#[derive(Debug)]
pub struct RecordingDownloader {
    consumer: Consumer,
    recordings: RecordingTable,
    announcer: Announcer,
    bucket: Bucket,
    queue_key: Secret,
    grants: Grants,
    hosts: DownloadHosts,
    clock: Clock,
}

/// What keeps a transfer from ending, one way or the other.
#[derive(Debug, thiserror::Error)]
enum TransferError {
    #[error(transparent)]
    Aws(#[from] AwsFailure),
    #[error(transparent)]
    Fence(#[from] FenceError),
    #[error("the recording of the file is gone")]
    NoRecording,
}

impl RecordingDownloader {
    /// Reads the configuration and makes the clients, once per instance.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        let variables = &environment.variables;
        let unusable = |name: &str, reason: String| ConfigError::Unusable {
            name: name.to_owned(),
            reason,
        };
        let endpoints = Endpoints::parse(
            variables.required("ZOOM_OAUTH_URL")?,
            variables.required("ZOOM_API_URL")?,
        )
        .map_err(|error| unusable("ZOOM_OAUTH_URL", error.to_string()))?;
        Ok(Self {
            consumer: Consumer::new(environment)?,
            recordings: RecordingTable::new(environment)?,
            announcer: Announcer::new(environment)?,
            bucket: Bucket::new(environment)?,
            queue_key: Secret::named_by(environment, "QUEUE_KEY")?,
            hosts: DownloadHosts::parse(variables.required("DOWNLOAD_HOSTS")?, &endpoints)
                .map_err(|error| unusable("DOWNLOAD_HOSTS", error.to_string()))?,
            grants: Grants::new(environment)?,
            clock: environment.clock.clone(),
        })
    }

    fn zoom(&self) -> &Zoom {
        self.grants.zoom()
    }

    /// Works off a batch of files.
    pub async fn handle(&self, batch: SqsEvent) -> SqsBatchResponse {
        self.consumer
            .work(batch, |delivery| self.fetch(delivery))
            .await
    }

    async fn fetch(&self, delivery: Delivery<DownloadMessage>) -> Result<(), Retry> {
        let message = &delivery.message;
        let key = FileKey {
            zoom_user: message.zoom_user.clone(),
            recording: message.recording_id.clone(),
            file: message.file_id.clone(),
        };
        let owner = format!("{:032x}", u128::from_be_bytes(random::bytes()));
        let now = self.clock.now();
        match self
            .recordings
            .claim_transfer(&key, &owner, now, LEASE)
            .await
            .map_err(Retry::because)?
        {
            Claimed::Ours(item) => {
                self.transfer(&key, &owner, item, delivery.last_chance)
                    .await
            }
            Claimed::Leased(until) => {
                let wait = u64::try_from(until - now.as_millisecond()).unwrap_or(0) / 1000 + 1;
                Err(Retry {
                    reason: "another delivery works on the file".to_owned(),
                    after: Some(std::time::Duration::from_secs(wait)),
                })
            }
            // An earlier delivery ended the file, and perhaps died before it had told so.
            Claimed::Ended(item) => self.tell(&key, &item).await.map_err(Retry::because),
            Claimed::Unknown => {
                metrics::count("FilesIgnored", "unknown_file");
                Ok(())
            }
        }
    }

    async fn transfer(
        &self,
        key: &FileKey,
        owner: &str,
        item: FileItem,
        last_chance: bool,
    ) -> Result<(), Retry> {
        let verdict = match self.attempt(key, owner, &item).await {
            Ok(verdict) => verdict,
            // Somebody else took over, or it was ours and the answer was lost: the table knows, and the
            // redelivery asks it.
            Err(TransferError::Fence(FenceError::Lost)) => {
                return Err(Retry::because(FenceError::Lost));
            }
            Err(error) => Verdict::retry("internal", error),
        };
        let ended = match verdict {
            Verdict::Stored => {
                metrics::count("FilesStored", "ok");
                let item = FileItem {
                    status: FileStatus::Stored,
                    ..item
                };
                return self.tell(key, &item).await.map_err(Retry::because);
            }
            Verdict::Retry(refusal) if !last_chance => {
                metrics::count("DownloadsRetried", refusal.reason);
                let released = self.recordings.release(key, owner).await;
                return Err(released.map_or_else(Retry::because, |()| refusal.retry()));
            }
            // SQS moves the message to the dead-letter queue, where a person sees it; the app is told here.
            Verdict::Retry(refusal) => self
                .fail(key, owner, item, &refusal)
                .await
                .map(|()| Err(refusal.retry())),
            Verdict::Fail(refusal) => self.fail(key, owner, item, &refusal).await.map(Ok),
        };
        ended.unwrap_or_else(|error| Err(Retry::because(error)))
    }

    /// One attempt, from the source to the proven object.
    async fn attempt(
        &self,
        key: &FileKey,
        owner: &str,
        item: &FileItem,
    ) -> Result<Verdict, TransferError> {
        let recording = self
            .recordings
            .item(&key.zoom_user, &key.recording)
            .await?
            .ok_or(TransferError::NoRecording)?;
        let meeting = &recording.facts.meeting_uuid;
        let wanted = ladder::Wanted {
            zoom_user: &key.zoom_user,
            meeting,
            file: &key.file,
            sealed: item.source.as_ref(),
            attempt: item.attempt,
        };
        let download = match self.begin(&wanted).await? {
            Ok(download) => download,
            Err(verdict) => return Ok(verdict),
        };
        let object_key = object_key::file(
            &key.zoom_user,
            &key.recording,
            recording.facts.start_time,
            &key.file,
            &item.facts.extension,
        );
        let target = stream::Target {
            bucket: &self.bucket,
            key: &object_key,
            facts: &item.facts,
            meeting,
            recordings: &self.recordings,
            file: key,
            owner,
        };
        match stream::store(download, &target).await? {
            Ok(Proven { bytes, crc64nvme }) => {
                self.recordings
                    .stored(key, owner, &object_key, &crc64nvme, bytes)
                    .await?;
                Ok(Verdict::Stored)
            }
            Err(verdict) => Ok(verdict),
        }
    }

    async fn fail(
        &self,
        key: &FileKey,
        owner: &str,
        item: FileItem,
        refusal: &Refusal,
    ) -> Result<(), TransferError> {
        metrics::count("FilesFailed", refusal.reason);
        tracing::error!(
            recording = %key.recording,
            file = %key.file,
            reason = refusal.reason,
            detail = refusal.detail,
            "file not stored"
        );
        self.recordings.failed(key, owner, refusal.reason).await?;
        let item = FileItem {
            status: FileStatus::Failed,
            reason: Some(refusal.reason.to_owned()),
            ..item
        };
        self.tell(key, &item).await
    }

    /// Tells the app how the file ended. If with it all wanted files are stored, writes the manifest and
    /// tells that too. Safe to repeat.
    async fn tell(&self, key: &FileKey, item: &FileItem) -> Result<(), TransferError> {
        let holding = self.grants.links().holding(&key.zoom_user).await?;
        let app_users: Vec<AppUserId> = holding.app_users().cloned().collect();
        match item.status {
            FileStatus::Stored => {
                let stored = RecordingFact::FileStored(key.file.clone());
                // What this reads is consistent and comes after our own write, so of those who store the
                // last files at the same time at least one sees them all.
                let overview = self.announce(key, &stored, &app_users).await?;
                if overview.is_some_and(|overview| {
                    overview.recording().status() == RecordingStatus::Stored
                }) {
                    self.write_manifest(key).await?;
                    self.announce(key, &RecordingFact::Stored, &app_users)
                        .await?;
                }
                Ok(())
            }
            FileStatus::Failed => {
                let fact = RecordingFact::Failed {
                    file: key.file.clone(),
                    reason: item.reason.clone().unwrap_or_default(),
                    attempt: item.attempt,
                };
                self.announce(key, &fact, &app_users).await.map(|_| ())
            }
            FileStatus::Queued | FileStatus::Transferring | FileStatus::Skipped => Ok(()),
        }
    }

    async fn announce(
        &self,
        key: &FileKey,
        fact: &RecordingFact,
        to: &[AppUserId],
    ) -> Result<Option<Loaded>, TransferError> {
        Ok(self
            .announcer
            .tell(&self.recordings, &key.zoom_user, &key.recording, fact, to)
            .await?)
    }

    /// Writes the manifest, and again while the recording has changed under our hands: a manifest that
    /// was overtaken must not be the last one written.
    async fn write_manifest(&self, key: &FileKey) -> Result<(), TransferError> {
        let mut written = None;
        while let Some(loaded) = self.recordings.load(&key.zoom_user, &key.recording).await? {
            let manifest = manifest::of(&loaded, self.bucket.name());
            if written.as_ref() == Some(&manifest) {
                break;
            }
            let first_start = loaded.item.facts.start_time;
            let name = object_key::manifest(&key.zoom_user, &key.recording, first_start);
            self.bucket.put_json(&name, manifest.clone()).await?;
            written = Some(manifest);
        }
        Ok(())
    }
}
