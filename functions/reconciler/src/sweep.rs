//! By the clock: what no order came for. A lost message, a queue's dead letter, or a grant that nobody
//! uses would otherwise be nobody's business.

use jiff::{SignedDuration, Timestamp};
use reelay_domain::message::{Job, JobMessage, SchemaV1};
use reelay_runtime::metrics::{self, Metric};

use crate::{OrderError, Reconciler};

/// An exchange that is older than this was not finished by the order that was sent ahead of it, which
/// comes after a quarter of an hour.
const OVERDUE: SignedDuration = SignedDuration::from_mins(20);

impl Reconciler {
    /// Looks after files and uploads, and sends an order for whatever else is due. Orders that are under way already are sent once more; whoever
    /// comes second finds nothing to do.
    pub(crate) async fn sweep(&self) -> Result<(), OrderError> {
        let now = self.clock.now();
        // None of them waits for another's failure to pass.
        let (orders, files, uploads) = (
            self.order_what_is_due(now).await,
            self.look_after_files(now).await,
            self.abort_stray_uploads(now).await,
        );
        orders?;
        Ok(files.and(uploads)?)
    }

    async fn order_what_is_due(&self, now: Timestamp) -> Result<(), OrderError> {
        let mut jobs: Vec<Job> = Vec::new();
        for zoom_user in self.grants.links().due_checks(now).await? {
            jobs.push(Job::MaintainGrant { zoom_user });
        }
        let before = (now - OVERDUE).as_millisecond();
        for open in self.sessions.open_exchanges().await? {
            if open.item.begun_at < before {
                jobs.push(Job::FinishConnect { exchange: open.key });
            }
        }
        let messages: Vec<JobMessage> = jobs
            .into_iter()
            .map(|job| {
                let kind = match &job {
                    Job::MaintainGrant { .. } => "maintain_grant",
                    _ => "finish_connect",
                };
                metrics::count(Metric::JobsEnqueuedByMaintenance, kind);
                JobMessage { v: SchemaV1, job }
            })
            .collect();
        Ok(self.orders.send_all(&messages, "sweep").await?)
    }
}
