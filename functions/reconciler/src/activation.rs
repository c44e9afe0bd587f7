//! Notifications for an app user whose link became active: every recording in the activation window is published to
//! them as if it were new, even if it is already stored for other app users. The app user of a link that moved with its
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
use reelay_store::recordings::{ListBounds, RecordingWithFiles};

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
        let item = self.recordings.item(zoom_user, id).await?;
        let Some(item) = item.filter(|item| !item.observed.is_only_changed()) else {
            return Ok(());
        };
        // No download has been enqueued: the event may still be in progress, and its notification then reaches the new
        // link as well.
        let is_in_progress = item.requested && item.sent.is_empty();
        if is_in_progress && !is_repeated {
            return Ok(());
        }
        let known = RecordingWithFiles { zoom_user: zoom_user.clone(), item, files: Vec::new() };
        let publish = async |notification: RecordingNotification| {
            let links = std::slice::from_ref(link);
            let (table, outbox) = (&self.recordings, &self.outbox);
            outbox.publish(table, zoom_user, id, &notification, links).await
        };
        let ordinary = self.guard(&known, &RecordingNotification::Detected, activation).await?;
        let is_unused = ordinary.is_none();
        if !activation.is_notified(ordinary) {
            // An event that is still in progress publishes the ordinary notification. Using its id avoids a second
            // one. A moved link, which was active all along, gets the ordinary ones.
            publish(match is_moved || (is_in_progress && is_unused) {
                true => RecordingNotification::Detected,
                false => RecordingNotification::DetectedAtActivation { activated_at },
            })
            .await?;
        }
        let Some(loaded) = self.recordings.overview(zoom_user, id, None).await? else {
            return Ok(());
        };
        let is_stored = loaded.recording().status() == RecordingStatus::Stored;
        let mut stored = loaded.files.iter().filter(|file| file.status == FileStatus::Stored);
        // Files that were stored after the activation: the downloader has notified the new link, or just missed it.
        let is_earlier = stored
            .clone()
            .all(|file| file.stored_at.is_some_and(|at| at < activated_at.as_millisecond()));
        if is_stored
            && stored.next().is_some()
            && (is_repeated || is_earlier)
            && !activation
                .is_notified(self.guard(&loaded, &RecordingNotification::Stored, activation).await?)
        {
            publish(match is_earlier && !is_moved {
                true => RecordingNotification::StoredAtActivation { activated_at },
                false => RecordingNotification::Stored,
            })
            .await?;
        }
        Ok(())
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
