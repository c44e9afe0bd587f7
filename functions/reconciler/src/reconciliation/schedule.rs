//! Begins the runs that are due.

use std::collections::HashMap;

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use reelay_domain::ids::ZoomUser;
use reelay_domain::message::{Job, JobMessage};
use reelay_domain::reconciliation::{self, Reconciliation};
use reelay_runtime::AwsError;
use reelay_runtime::metrics::{self, Metric};

use crate::Reconciler;

/// Seconds between the starts of two runs of one Zoom account; a run takes about as long.
const RUN_INTERVAL_SECONDS: i32 = 5;

/// Maximum delay of a run in seconds, a little less than the five minutes until the next retry run.
const MAX_DELAY_SECONDS: i32 = 290;

/// Number of runs that are begun concurrently.
const CONCURRENCY: usize = 16;

impl Reconciler {
    /// Begins the runs that are due. Runs of one Zoom account begin one after the other, so that its list is
    /// requested once a second; those that do not fit begin in the next retry run.
    pub(crate) async fn enqueue_due_reconciliations(&self, now: Timestamp) -> Result<(), AwsError> {
        let Some(interval) = reconciliation::interval(self.reconcile_every_hours) else {
            return Ok(());
        };
        let links = self.grants.links();
        let mut delays = HashMap::new();
        let mut due = Vec::new();
        for zoom_user in links.due_reconciliations(now).await? {
            let delay = delays.entry(zoom_user.account_id.clone()).or_insert(0);
            due.push((zoom_user, *delay));
            *delay += RUN_INTERVAL_SECONDS;
        }
        let begin = |(zoom_user, delay): (ZoomUser, i32)| async move {
            let Some(item) = links.reconciliation(&zoom_user).await?.filter(|it| it.is_due(now))
            else {
                return Ok(());
            };
            if item.next_at.saturating_add(interval).is_ok_and(|latest| latest <= now) {
                metrics::count(Metric::GrantsNotReconciled, "overdue");
            }
            if delay > MAX_DELAY_SECONDS {
                return Ok(());
            }
            let Some(run) = links.begin_reconciliation(&zoom_user, &item, now).await? else {
                return Ok(());
            };
            let tenant = zoom_user.account_id.clone();
            let job = Job::Reconcile(Reconciliation { zoom_user, run, progress: None });
            self.jobs.send_delayed(&JobMessage::new(job), tenant.as_str(), delay).await
        };
        let begun = stream::iter(due).map(begin).buffer_unordered(CONCURRENCY);
        begun.fold(Ok(()), |first, begun| async move { first.and(begun) }).await
    }
}
