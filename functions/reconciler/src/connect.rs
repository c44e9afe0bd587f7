//! Completion of an interrupted authorization: when its claim has expired, or right after its failure.

use jiff::Timestamp;
use reelay_domain::message::{Job, JobMessage};

use crate::{JobError, Reconciler};

/// Seconds from the start of an authorization until its claim has certainly expired: ten minutes after an exchange of at most
/// 25 s.
const CLAIM_EXPIRED_SECONDS: i64 = 660;

impl Reconciler {
    pub(crate) async fn finish_connect(&self, exchange: &str) -> Result<(), JobError> {
        // There is no exchange: Zoom rejected the code, or another job completed it.
        let Some(item) = self.sessions.exchange(exchange).await? else {
            return Ok(());
        };
        let app_user = item.app_user.clone();
        let begun_at = Timestamp::from_millisecond(item.begun_at).unwrap_or(Timestamp::MIN);
        if let Some(zoom_user) = self.grants.finish_exchange(exchange, item).await? {
            let is_pending = self.grants.expire_pending_link(&zoom_user, app_user).await?;
            let elapsed = self.clock.now().duration_since(begun_at).as_secs();
            // The claim is still valid: the job follows a failure, or the exchange took some seconds.
            if is_pending && elapsed < CLAIM_EXPIRED_SECONDS {
                let job = Job::FinishConnect { exchange: exchange.to_owned() };
                let delay = i32::try_from(CLAIM_EXPIRED_SECONDS - elapsed).unwrap_or(1);
                return Ok(self.jobs.send_delayed(&JobMessage::new(job), "connect", delay).await?);
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
