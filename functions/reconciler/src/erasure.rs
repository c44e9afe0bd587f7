//! Scheduled erasure of the recordings of Zoom users without a link.

use reelay_domain::erasure::ErasureTotals;
use reelay_domain::ids::ZoomUser;
use reelay_domain::message::{Job, JobMessage};
use reelay_runtime::AwsError;
use reelay_runtime::metrics::{self, Metric};
use reelay_store::erasure::{ErasurePass, SWEEP_DELAY_SECONDS};

use crate::Reconciler;

impl Reconciler {
    /// Enqueues the erasure of a Zoom user's recordings, if one is due. A job of its own: it may take many passes.
    pub(crate) async fn enqueue_due_erasure(&self, zoom_user: &ZoomUser) -> Result<(), AwsError> {
        let erasure = self.grants.links().erasure(zoom_user).await?;
        if !erasure.is_some_and(|erasure| erasure.is_due(self.clock.now())) {
            return Ok(());
        }
        let job =
            Job::EraseRecordings { zoom_user: zoom_user.clone(), erased: ErasureTotals::default() };
        let message = JobMessage::new(job);
        self.jobs.send(&message, zoom_user.account_id.as_str()).await
    }

    /// Runs one pass, and enqueues the next pass or the removal of leftovers.
    pub(crate) async fn erase_recordings(
        &self,
        zoom_user: ZoomUser,
        mut erased: ErasureTotals,
    ) -> Result<(), AwsError> {
        let before = erased.recordings;
        let pass = self.eraser.run_pass(&zoom_user, self.clock.now(), &mut erased).await?;
        metrics::count_many(Metric::RecordingsErased, "scheduled", erased.recordings - before);
        match pass {
            ErasurePass::Continue => {
                let tenant = zoom_user.account_id.clone();
                let send = async |job: Job, delay_seconds: i32| {
                    let message = JobMessage::new(job);
                    self.jobs.send_delayed(&message, tenant.as_str(), delay_seconds).await
                };
                let sweep = Job::SweepErased { zoom_user: zoom_user.clone(), recording: None };
                send(sweep, SWEEP_DELAY_SECONDS).await?;
                send(Job::EraseRecordings { zoom_user, erased }, 0).await
            }
            ErasurePass::OnlyCopies(kept) => {
                metrics::count_many(Metric::OnlyCopiesKept, "trashed_at_zoom", kept as u64);
                let (account, user) = (&zoom_user.account_id, &zoom_user.user_id);
                tracing::warn!(%account, %user, kept, "only copies kept");
                Ok(())
            }
            ErasurePass::Complete | ErasurePass::Waiting | ErasurePass::Cancelled => Ok(()),
        }
    }
}
