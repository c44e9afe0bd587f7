//! One delivery of one message: acquires the file's lease, transfers the file, and settles the result.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use reelay_domain::message::DownloadMessage;
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::random;
use reelay_runtime::sqs::{Delivery, Retry};
use reelay_runtime::traces;
use reelay_store::recordings::{FileKey, LINK_ENDED, LeaseOutcome, RecordingItem};

use crate::context::Context;
use crate::lease::Lease;
use crate::transfer::{ObjectSpec, Outcome, Transfer, TransferError};
use crate::{candidates, consent, deferral, object, publish, settle};

/// Time by which a lease outlasts the invocation. A running transfer keeps its lease, and the lease of a killed
/// one has expired when SQS redelivers the message.
const LEASE_MARGIN: Duration = Duration::from_secs(20);

/// Processes one delivery.
///
/// # Errors
/// Returns when and why SQS redelivers the message.
pub(crate) async fn process(
    context: &Context,
    delivery: Delivery<DownloadMessage>,
    deadline: Instant,
) -> Result<(), Retry> {
    let message = &delivery.message;
    traces::annotate(&message.recording_id, Some(&message.file_id));
    let key = FileKey {
        zoom_user: message.zoom_user.clone(),
        recording: message.recording_id.clone(),
        file: message.file_id.clone(),
    };
    if let Some(limited) = deferral::limited(context, &key).await.map_err(Retry::new)? {
        return deferral::defer(context, message, &key, limited).await.map_err(Retry::new);
    }
    // The owner begins with the message id, so that a redelivery recognises the lease of its own earlier delivery.
    let message_prefix = format!("{}#", delivery.message_id);
    let owner = format!("{message_prefix}{}", random::hex_id());
    let now = context.clock.now();
    let duration = deadline.saturating_duration_since(Instant::now()) + LEASE_MARGIN;
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    match context.recordings.acquire_lease(&key, &owner, now, duration).await.map_err(Retry::new)? {
        LeaseOutcome::Acquired(item) => {
            let lease = Lease::new(&context.recordings, key, owner, item);
            transfer(context, &delivery, &lease, deadline).await
        }
        // The other message is redelivered or was continued, so this one is redundant.
        LeaseOutcome::HeldByOther { owner, .. } if !owner.starts_with(&message_prefix) => {
            metrics::count(Metric::DownloadsIgnored, "leased_by_other_message");
            Ok(())
        }
        LeaseOutcome::HeldByOther { until, .. } => {
            let wait = u64::try_from(until - now.as_millisecond()).unwrap_or(0) / 1000 + 1;
            Err(Retry {
                reason: "file is leased by an earlier delivery".to_owned(),
                after: Some(Duration::from_secs(wait)),
            })
        }
        // An earlier delivery or the job that ends transfers ended the transfer, perhaps without what follows.
        LeaseOutcome::AlreadyFinished(item) if item.reason.as_deref() == Some(LINK_ENDED) => {
            consent::requeue_if_wanted(context, &key).await.map_err(Retry::new)
        }
        // The invocation that finished the file may have ended before it published the notification.
        LeaseOutcome::AlreadyFinished(item) => {
            publish::publish(context, &key, &item).await.map_err(Retry::new)
        }
        LeaseOutcome::FileNotFound => {
            metrics::count(Metric::FilesIgnored, "unknown_file");
            Ok(())
        }
    }
}

async fn transfer(
    context: &Context,
    delivery: &Delivery<DownloadMessage>,
    lease: &Lease<'_>,
    deadline: Instant,
) -> Result<(), Retry> {
    let key = &lease.key;
    let recording = context.recordings.item(&key.zoom_user, &key.recording);
    let recording = recording
        .await
        .map_err(Retry::new)?
        .ok_or_else(|| Retry::new("recording of the file not found"))?;
    let object = object::spec(context, key, &lease.item, &recording);
    let run = run(context, lease, &recording, &object, deadline);
    let result = consent::guard(context, key, run).await;
    let zoom_state = recording.observed.zoom_state.unwrap_or_default();
    settle::settle(context, &delivery.message, lease, zoom_state, &object, result).await
}

async fn run(
    context: &Context,
    lease: &Lease<'_>,
    recording: &RecordingItem,
    object: &ObjectSpec,
    deadline: Instant,
) -> Result<Outcome, TransferError> {
    let meeting = &recording.observed.metadata.meeting_uuid;
    let transfer = Transfer {
        source: Arc::new(candidates::resolver(context, &lease.key, &lease.item, meeting).await?),
        bucket: &context.bucket,
        object,
        settings: &context.settings,
        journal: lease,
    };
    transfer.run(lease.upload(), Some(deadline)).await
}
