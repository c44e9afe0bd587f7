//! Completion of an interrupted authorization: 11 minutes after its start, or right after its failure.

use reelay_domain::message::{Job, JobMessage};

use crate::{JobError, Reconciler};

impl Reconciler {
    pub(crate) async fn finish_connect(&self, exchange: &str) -> Result<(), JobError> {
        // There is no exchange: Zoom rejected the code, or another job completed it.
        let Some(item) = self.sessions.exchange(exchange).await? else {
            return Ok(());
        };
        let app_user = item.app_user.clone();
        if let Some(zoom_user) = self.grants.finish_exchange(exchange, item).await? {
            let is_pending = self.grants.expire_pending_link(&zoom_user, app_user).await?;
            if is_pending {
                // This is the immediate job after a failure. The delayed one runs when the claim has expired,
                // and needs the exchange to find the link.
                return Ok(());
            }
            self.enqueue_pending_jobs(&zoom_user).await?;
            // The user may have changed accounts since an earlier consent, whose tokens this one has replaced.
            for other in self.grants.links().with_same_user_id(&zoom_user).await? {
                let tenant = other.account_id.clone();
                let job = JobMessage::new(Job::MaintainGrant { zoom_user: other });
                self.jobs.send(&job, tenant.as_str()).await?;
            }
            // The consent may have cut off the last receiving link.
            self.end_transfers(&zoom_user).await?;
        }
        Ok(self.sessions.delete_exchange(self.grants.links(), exchange).await?)
    }
}
