//! Notifications for an app user whose link became active: every recording in the activation window, with its stored and
//! failed files, is published to them as if it were new. The app user of a link that moved with its
//! Zoom user to another account is notified of the recordings of the last two days that were stored there for others.

use jiff::Timestamp;
use reelay_domain::cursor::Position;
use reelay_domain::ids::{AppUserId, RecordingId, ZoomUser};
use reelay_domain::link::Link;
use reelay_domain::listing;
use reelay_domain::message::{Job, JobMessage};
use reelay_domain::notification::RecordingNotification;
use reelay_domain::recording::{FileStatus, RecordingStatus};
use reelay_runtime::AwsError;
use reelay_store::notifications::{Guard, GuardKey};
use reelay_store::recordings::{LINK_ENDED, ListBounds, RecordingWithFiles};

use crate::Reconciler;

/// Delay of the second run in seconds.
const REPETITION_SECONDS: i32 = 900;

/// Recordings per read of the index.
const PAGE: usize = 100;

impl Reconciler {
    /// Notifies an app user of a page of the recordings in the activation window, and continues in a new message. Safe
    /// to repeat: the ids depend on `activated_at`.
    pub(crate) async fn notify_activation(
        &self,
        zoom_user: &ZoomUser,
        after: Option<Position>,
        activation: Activation,
    ) -> Result<(), AwsError> {
        let links = self.grants.links();
        let link = links.covering_link(&activation.app_user, zoom_user).await?;
        // A later activation has a job of its own.
        let link = link.filter(|link| {
            link.is_receiving() && link.activated_at.is_none_or(|at| at <= activation.activated_at)
        });
        let Some(link) = link else {
            return Ok(());
        };
        let since = listing::earliest_start(activation.completed_since);
        let mut after = after;
        for key in link.zoom_users() {
            let was_read_before = after.as_ref().is_some_and(|after| after.zoom_user != key.key());
            if was_read_before || (activation.is_moved && key != zoom_user) {
                continue;
            }
            let bounds = ListBounds { after: after.as_ref(), ..ListBounds::default() };
            let page = self.recordings.newest(key, &bounds, PAGE).await?;
            let is_full = page.len() == PAGE;
            let last = page.last().map(|listed| listed.position(key));
            let mut is_end = false;
            for listed in page {
                is_end = listed.start_time < since;
                if is_end {
                    break;
                }
                if let Some(id) = listed.position(key).recording() {
                    self.notify_known(key, &id, &link, &activation).await?;
                }
            }
            if is_full && !is_end {
                return self.send_activation(zoom_user, &activation, last, 0).await;
            }
            after = None;
        }
        if activation.is_repeated {
            return Ok(());
        }
        // Run once more, when the index `by-start` has caught up and every notification that was in progress at the
        // activation has been published.
        let repeated = Activation { is_repeated: true, ..activation };
        self.send_activation(zoom_user, &repeated, None, REPETITION_SECONDS).await
    }

    async fn send_activation(
        &self,
        zoom_user: &ZoomUser,
        activation: &Activation,
        after: Option<Position>,
        delay_seconds: i32,
    ) -> Result<(), AwsError> {
        let job = Job::NotifyActivation {
            zoom_user: zoom_user.clone(),
            app_user: activation.app_user.clone(),
            activated_at: activation.activated_at,
            completed_since: activation.completed_since,
            is_repeated: activation.is_repeated,
            is_moved: activation.is_moved,
            after,
        };
        let tenant = zoom_user.account_id.as_str();
        self.jobs.send_delayed(&JobMessage::new(job), tenant, delay_seconds).await
    }

    async fn notify_known(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        link: &Link,
        activation: &Activation,
    ) -> Result<(), AwsError> {
        let Activation { activated_at, is_repeated, is_moved, .. } = *activation;
        let Some(loaded) = self.recordings.overview(zoom_user, id, None).await? else {
            return Ok(());
        };
        let (item, recording) = (&loaded.item, loaded.recording());
        if item.observed.is_only_changed()
            || !listing::may_have_completed_since(recording.ended_at(), activation.completed_since)
        {
            return Ok(());
        }
        // The event is still in progress, and its notification will reach the new link as well.
        let is_in_progress = !item.detected;
        if is_in_progress && !is_repeated {
            return Ok(());
        }
        let detected = RecordingNotification::Detected;
        let ordinary = self.guard(&loaded, &detected, activation).await?;
        let is_unused = ordinary.is_none();
        if !activation.is_notified(ordinary) {
            // An event that is still in progress publishes the ordinary notification. Using its id avoids a second
            // one. A moved link, which was active all along, gets the ordinary ones.
            let is_ordinary = is_moved || (is_in_progress && is_unused);
            self.publish_to(link, &loaded, detected, (!is_ordinary).then_some(activated_at))
                .await?;
        }
        for file in &loaded.files {
            let id = file.observed.metadata.id.clone();
            let (notification, at) = match (file.status, file.reason.clone()) {
                (FileStatus::Stored, _) => (RecordingNotification::FileStored(id), file.stored_at),
                // The backfill queues failed files again. What Zoom does not list any more stays failed.
                (FileStatus::Failed, Some(reason)) if is_repeated && reason != LINK_ENDED => {
                    let attempt = file.attempt;
                    let failed = RecordingNotification::Failed { file: id, reason, attempt };
                    (failed, file.failed_at)
                }
                _ => continue,
            };
            self.notify_settled(link, &loaded, notification, at, activation).await?;
        }
        if recording.status() == RecordingStatus::Stored {
            let at = recording.stored_at().map(Timestamp::as_millisecond);
            self.notify_settled(link, &loaded, RecordingNotification::Stored, at, activation)
                .await?;
        }
        Ok(())
    }

    /// Publishes that a file or the recording was settled at a time, unless the app user was notified of it since the
    /// activation. What was settled after the activation, the downloader has published to the new link, or just missed it.
    async fn notify_settled(
        &self,
        link: &Link,
        loaded: &RecordingWithFiles,
        notification: RecordingNotification,
        at: Option<i64>,
        activation: &Activation,
    ) -> Result<(), AwsError> {
        let Activation { activated_at, is_repeated, is_moved, .. } = *activation;
        let Some(at) = at else { return Ok(()) };
        let is_earlier = at < activated_at.as_millisecond();
        if !is_earlier && !is_repeated {
            return Ok(());
        }
        if activation.is_notified(self.guard(loaded, &notification, activation).await?) {
            return Ok(());
        }
        let activated_at = (is_earlier && !is_moved).then_some(activated_at);
        self.publish_to(link, loaded, notification, activated_at).await
    }

    /// Publishes to one app user; with `activated_at` under an id of its own.
    async fn publish_to(
        &self,
        link: &Link,
        loaded: &RecordingWithFiles,
        notification: RecordingNotification,
        activated_at: Option<Timestamp>,
    ) -> Result<(), AwsError> {
        let notification = match activated_at {
            Some(activated_at) => notification.at_activation(activated_at),
            None => notification,
        };
        let (table, id) = (&self.recordings, loaded.recording().id());
        let links = std::slice::from_ref(link);
        self.outbox.publish(table, &loaded.zoom_user, &id, &notification, links).await.map(|_| ())
    }

    /// The guard of the ordinary notification of the app user.
    async fn guard(
        &self,
        recording: &RecordingWithFiles,
        notification: &RecordingNotification,
        activation: &Activation,
    ) -> Result<Option<Guard>, AwsError> {
        let id = notification.id(&activation.app_user, &recording.recording());
        let key = GuardKey { zoom_user: recording.zoom_user.clone(), id };
        self.notifications.table().guard(&key).await
    }
}

/// The activation of a link.
#[derive(Debug)]
pub(crate) struct Activation {
    pub(crate) app_user: AppUserId,
    pub(crate) activated_at: Timestamp,
    pub(crate) completed_since: Timestamp,
    pub(crate) is_repeated: bool,
    pub(crate) is_moved: bool,
}

impl Activation {
    /// Whether a notification was published since the activation; on a moved link, ever.
    fn is_notified(&self, guard: Option<Guard>) -> bool {
        guard.is_some_and(|guard| self.is_moved || guard.stamp >= self.activated_at)
    }
}
