//! One delivery of one message: take the file, have it transferred, and settle what came of it.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use reelay_domain::message::DownloadMessage;
use reelay_domain::object_key;
use reelay_domain::recording::{FileStatus, ZoomState};
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::sqs::{Delivery, Retry};
use reelay_runtime::{AwsError, random};
use reelay_store::recordings::{
    FileItem, FileKey, LeaseError, LeaseOutcome, RecordingItem, StoredObject, UploadState,
};

use crate::RecordingDownloader;
use crate::host::FileHost;
use crate::ladder::Ladder;
use crate::object;
use crate::transfer::{Order, Outcome, Transfer, TransferError};
use crate::verdict::{self, Circumstances, Refusal, Verdict};
use crate::waiting;

/// A lease outlives the function by so much, and no more: so a transfer whose owner lives is never taken
/// over, and one whose owner was killed is free when SQS delivers its message again.
const LEASE_BEYOND_DEADLINE: Duration = Duration::from_secs(20);

/// What an attempt came to.
enum Ended {
    Stored(Box<FileItem>),
    HandOver { moved: u64, stream: bool },
    Refused(Verdict),
}

/// A file whose transfer is ours.
struct Owned<'a> {
    key: &'a FileKey,
    owner: &'a str,
    item: FileItem,
}

impl RecordingDownloader {
    pub(crate) async fn fetch(
        &self,
        delivery: Delivery<DownloadMessage>,
        deadline: Instant,
    ) -> Result<(), Retry> {
        let message = &delivery.message;
        let key = FileKey {
            zoom_user: message.zoom_user.clone(),
            recording: message.recording_id.clone(),
            file: message.file_id.clone(),
        };
        // Names the message as well, so that another message for the same file knows whether it is needed.
        let owner = format!(
            "{}#{:032x}",
            delivery.message_id,
            u128::from_be_bytes(random::bytes())
        );
        if let Some(until) = self.must_wait(&key).await.map_err(Retry::new)? {
            return self.postpone(&delivery, until).await.map_err(Retry::new);
        }
        let now = self.clock.now();
        let lease = deadline.saturating_duration_since(Instant::now()) + LEASE_BEYOND_DEADLINE;
        let lease = SignedDuration::try_from(lease).unwrap_or(SignedDuration::MAX);
        match self
            .recordings
            .acquire_lease(&key, &owner, now, lease)
            .await
            .map_err(Retry::new)?
        {
            LeaseOutcome::Acquired(item) => {
                let owned = Owned {
                    key: &key,
                    owner: &owner,
                    item,
                };
                self.transfer(owned, &delivery, deadline).await
            }
            // Its message comes again, or has led to another: this one is not needed.
            LeaseOutcome::HeldByOther { owner, .. }
                if !owner.starts_with(&format!("{}#", delivery.message_id)) =>
            {
                metrics::count(
                    Metric::DownloadsIgnored,
                    "another_message_works_on_the_file",
                );
                Ok(())
            }
            LeaseOutcome::HeldByOther { until, .. } => {
                let wait = u64::try_from(until - now.as_millisecond()).unwrap_or(0) / 1000 + 1;
                Err(Retry {
                    reason: "an earlier delivery works on the file".to_owned(),
                    after: Some(Duration::from_secs(wait)),
                })
            }
            // An earlier delivery ended the file, and perhaps died before it had told so.
            LeaseOutcome::AlreadyFinished(item) => {
                self.tell(&key, &item).await.map_err(Retry::new)?;
                if item.status == FileStatus::Failed && waiting::is_given_up(&delivery) {
                    return Err(waiting::until_sqs_gives_up());
                }
                Ok(())
            }
            LeaseOutcome::FileNotFound => {
                metrics::count(Metric::FilesIgnored, "unknown_file");
                Ok(())
            }
        }
    }

    async fn transfer(
        &self,
        owned: Owned<'_>,
        delivery: &Delivery<DownloadMessage>,
        deadline: Instant,
    ) -> Result<(), Retry> {
        let (key, owner) = (owned.key, owned.owner);
        let recording = match self.recordings.item(&key.zoom_user, &key.recording).await {
            Ok(Some(recording)) => recording,
            Ok(None) => return Err(Retry::new("the recording of the file is gone")),
            Err(failure) => return Err(Retry::new(failure)),
        };
        let order = self.order(&owned, &recording);
        let ladder = Ladder::new(
            self,
            &key.zoom_user,
            &recording.metadata.meeting_uuid,
            &key.file,
            owned.item.source.as_ref(),
        );
        let kept = owned.item.upload.clone();
        let host = FileHost::new(&self.recordings, key, owner, ladder, kept);
        let transfer = Transfer {
            zoom: self.grants.zoom(),
            hosts: &self.hosts,
            bucket: &self.bucket,
            settings: &self.settings,
            order: &order,
            host: &host,
        };
        let deliveries = waiting::tries(delivery);
        let zoom_state = recording.zoom_state;
        let ended = match self
            .attempt(&transfer, &owned, deliveries, zoom_state, deadline)
            .await
        {
            Ok(ended) => ended,
            // Somebody else took over, or it was ours and the answer was lost: the table knows, and the
            // redelivery asks it.
            Err(TransferError::Lost) => return Err(Retry::new(TransferError::Lost)),
            Err(error) => Ended::Refused(Verdict::Retry(Refusal::new("internal", error))),
        };
        let ended = match ended {
            Ended::HandOver { moved: 0, stream } => {
                Ended::Refused(Verdict::Retry(verdict::no_progress(stream)))
            }
            ended => ended,
        };
        match ended {
            Ended::Stored(item) => {
                metrics::count(Metric::FilesStored, "ok");
                if let Some(seconds) = item.seconds_since_received(self.clock.now()) {
                    metrics::seconds(Metric::WebhookToBucketSeconds, seconds);
                }
                self.tell(key, &item).await.map_err(Retry::new)
            }
            Ended::HandOver { moved, .. } => self
                .hand_over(key, owner, delivery, moved)
                .await
                .map_err(Retry::new),
            Ended::Refused(Verdict::Retry(refusal)) if !waiting::is_last_try(delivery) => {
                metrics::count(Metric::DownloadsRetried, refusal.reason);
                let released = self.recordings.release_for_retry(key, owner).await;
                Err(released.map_or_else(Retry::new, |()| refusal.retry()))
            }
            // SQS moves the message to the dead-letter queue, where a person sees it; the app is told here.
            Ended::Refused(Verdict::Retry(refusal)) => {
                let told = self.fail(&transfer, host.kept(), &owned, &refusal).await;
                Err(told.map_or_else(Retry::new, |()| refusal.retry()))
            }
            Ended::Refused(Verdict::Fail(refusal)) => self
                .fail(&transfer, host.kept(), &owned, &refusal)
                .await
                .map_err(Retry::new),
        }
    }

    fn order(&self, owned: &Owned<'_>, recording: &RecordingItem) -> Order {
        let metadata = &owned.item.metadata;
        Order {
            key: object_key::file(
                &owned.key.zoom_user,
                &owned.key.recording,
                recording.metadata.start_time,
                &owned.key.file,
                &metadata.extension,
            ),
            content_type: object::content_type(&metadata.extension).to_owned(),
            metadata: object::metadata(metadata, &recording.metadata.meeting_uuid),
            extension: metadata.extension.clone(),
            declared: metadata.size,
            exact: metadata.size_is_exact(),
            strays: owned.item.attempt > 1,
        }
    }

    /// One attempt, from the source to the proven object.
    async fn attempt(
        &self,
        transfer: &Transfer<'_>,
        owned: &Owned<'_>,
        deliveries: u32,
        zoom_state: ZoomState,
        deadline: Instant,
    ) -> Result<Ended, TransferError> {
        let (key, owner, item) = (owned.key, owned.owner, &owned.item);
        match transfer.run(item.upload.clone(), Some(deadline)).await? {
            Outcome::Stored(stored) => {
                let object = StoredObject {
                    key: &transfer.order.key,
                    crc64nvme: &stored.crc64nvme,
                    bytes: stored.bytes,
                    recognised: stored.recognised,
                    declared: stored.declared.or(item.metadata.size),
                };
                if stored.recognised == Some(false) {
                    metrics::count(Metric::FilesNotRecognised, &item.metadata.file_type);
                }
                self.recordings.mark_stored(key, owner, &object).await?;
                Ok(Ended::Stored(Box::new(FileItem {
                    status: FileStatus::Stored,
                    ..item.clone()
                })))
            }
            Outcome::HandOver { moved, stream } => Ok(Ended::HandOver { moved, stream }),
            Outcome::Refused(cause) => {
                let around = Circumstances {
                    deliveries,
                    zoom_state,
                    now: self.clock.now(),
                };
                if let Some(limit) = verdict::limit(&cause) {
                    metrics::count(Metric::DownloadsRateLimited, "account");
                    let until = verdict::not_before(limit, around.now);
                    let account = &key.zoom_user.account_id;
                    self.recordings.set_not_before(account, until).await?;
                }
                Ok(Ended::Refused(verdict::on(&cause, &around)))
            }
        }
    }

    /// Lets a fresh invocation go on, with a fresh message, so that a long transfer does not use up the
    /// retries of this one. If we die in between, this message comes again and does the same.
    async fn hand_over(
        &self,
        key: &FileKey,
        owner: &str,
        delivery: &Delivery<DownloadMessage>,
        moved: u64,
    ) -> Result<(), TransferError> {
        metrics::count(Metric::DownloadsContinued, "deadline");
        tracing::info!(recording = %key.recording, file = %key.file, moved, "handed over");
        self.recordings.release_for_continuation(key, owner).await?;
        let tenant = key.zoom_user.account_id.as_str();
        let message = DownloadMessage {
            prior_attempts: 0,
            ..delivery.message.clone()
        };
        self.downloads.send(&message, tenant).await?;
        Ok(())
    }

    async fn fail(
        &self,
        transfer: &Transfer<'_>,
        kept: Option<UploadState>,
        owned: &Owned<'_>,
        refusal: &Refusal,
    ) -> Result<(), FailError> {
        let Owned { key, owner, item } = owned;
        metrics::count(Metric::FilesFailed, refusal.reason);
        tracing::error!(
            recording = %key.recording,
            file = %key.file,
            reason = refusal.reason,
            detail = refusal.detail,
            "file not stored"
        );
        if let Some(kept) = kept {
            transfer.abandon(&kept).await?;
        }
        self.recordings
            .mark_failed(key, owner, refusal.reason)
            .await?;
        let item = FileItem {
            status: FileStatus::Failed,
            reason: Some(refusal.reason.to_owned()),
            ..item.clone()
        };
        Ok(self.tell(key, &item).await?)
    }
}

/// Why a file's failure could not be written down and told.
#[derive(Debug, thiserror::Error)]
enum FailError {
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    Fence(#[from] LeaseError),
    #[error(transparent)]
    Aws(#[from] AwsError),
}
