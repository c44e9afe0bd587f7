//! The end of a link: the jobs that follow from it, and when a Zoom user's recordings lost their last receiver.

use jiff::Timestamp;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{GrantChange, GrantStatus, Link};
use reelay_domain::message::{Job, JobMessage};
use reelay_runtime::AwsError;

use super::{Changed, LinkError, LinkTable};
use crate::outbox::NotificationPublisher;
use crate::queue::Queue;

/// Delay of the revocation job that is enqueued before a link is removed.
const REVOKE_DELAY_SECONDS: i32 = 60;

impl LinkTable {
    /// Removes a link by the given change, publishes the removal, and enqueues the jobs that revoke an unused grant
    /// and end transfers. Delayed jobs are enqueued first, so that a crash in between leaves nothing behind.
    ///
    /// # Errors
    /// [`LinkError`]. Safe to repeat.
    pub async fn end_link(
        &self,
        link: &Link,
        change: &GrantChange,
        jobs: &Queue<JobMessage>,
        notifications: &NotificationPublisher,
        now: Timestamp,
    ) -> Result<Changed, LinkError> {
        let zoom_user = &link.zoom_user;
        let tenant = zoom_user.account_id.as_str();
        let revoke = JobMessage::new(Job::RevokeGrant { zoom_user: zoom_user.clone() });
        jobs.send_delayed(&revoke, tenant, REVOKE_DELAY_SECONDS).await?;
        let end_transfers: Vec<_> = link.zoom_users().flat_map(JobMessage::end_transfers).collect();
        for (message, delay_seconds) in end_transfers.iter().filter(|(_, delay)| *delay > 0) {
            jobs.send_delayed(message, tenant, *delay_seconds).await?;
        }
        let changed = self.change(zoom_user, change, now).await?;
        for (message, _) in end_transfers.iter().filter(|(_, delay)| *delay == 0) {
            jobs.send(message, tenant).await?;
        }
        if changed.after.grant == Some(GrantStatus::Revoking) {
            jobs.send(&revoke, tenant).await?;
        }
        self.publish_outbox(notifications, zoom_user, &changed.outbox).await?;
        Ok(changed)
    }

    /// Reads consistently when the last link ended that received the recordings stored under a key. `None` while a
    /// link receives them, or if no link is known.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn receiving_ended_at(
        &self,
        zoom_user: &ZoomUser,
    ) -> Result<Option<Timestamp>, AwsError> {
        let mut ended_at = None;
        for (key, snapshot) in self.snapshots_along_moves(zoom_user).await? {
            for link in snapshot.links {
                if link.zoom_users().any(|covered| covered == zoom_user) {
                    if link.is_receiving() {
                        return Ok(None);
                    }
                    ended_at = ended_at.max(link.cut_off_at);
                }
            }
            for removed in snapshot.removed {
                if key == *zoom_user || removed.previous_zoom_users.contains(zoom_user) {
                    ended_at = ended_at.max(Some(removed.removed_at));
                }
            }
        }
        Ok(ended_at)
    }
}
