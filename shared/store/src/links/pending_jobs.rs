//! Jobs that follow from a change of links. The change's transaction writes them, and they are deleted once they are
//! enqueued. After a crash in between, the grant's maintenance enqueues them.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::{AppUserId, ZoomUser};
use reelay_domain::listing::{Backfill, MIN_ACTIVATION_WINDOW};
use reelay_domain::message::{Job, JobMessage};
use reelay_domain::time::utc_date;
use reelay_runtime::AwsError;
use reelay_runtime::environment::{ConfigError, Variables};
use serde::{Deserialize, Serialize};

use super::{LinkTable, entry_item};
use crate::item::{Item, text};
use crate::queue::Queue;

/// First part of the sort key.
pub(super) const ENTRY: &str = "job";

/// The jobs of one change that are not enqueued yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingJobs {
    entry: String,
    jobs: Vec<Job>,
    next_check_day: Date,
}

impl PendingJobs {
    /// Jobs after links became active: the backfill of what completed since a time, and the notifications about
    /// known recordings. `is_moved`: the links came from another account. `generation` is the change's, so entries
    /// never overwrite each other. A check is due at once, in case enqueuing fails.
    pub(super) fn new(
        zoom_user: &ZoomUser,
        completed_since: Timestamp,
        notified: Vec<AppUserId>,
        is_moved: bool,
        generation: u64,
        now: Timestamp,
    ) -> Self {
        let backfill = Job::Backfill(Backfill::since(zoom_user.clone(), completed_since, now));
        let notified = notified.into_iter().map(|app_user| Job::NotifyActivation {
            zoom_user: zoom_user.clone(),
            app_user,
            activated_at: now,
            completed_since,
            is_repeated: false,
            is_moved,
            after: None,
        });
        Self {
            entry: format!("{ENTRY}#{generation}"),
            jobs: std::iter::once(backfill).chain(notified).collect(),
            next_check_day: utc_date(now),
        }
    }

    pub(super) fn item(&self, zoom_user: &ZoomUser) -> Result<Item, AwsError> {
        entry_item(zoom_user, &self.entry, self)
    }
}

/// Reads `BACKFILL_DAYS`, which is set for the function that confirms links.
pub(super) fn activation_window(variables: &Variables) -> Result<SignedDuration, ConfigError> {
    let name = "BACKFILL_DAYS";
    let days = variables.optional(name).map(|_| variables.parsed::<u16>(name)).transpose()?;
    let window = SignedDuration::from_hours(24 * i64::from(days.unwrap_or(0)));
    Ok(window.max(MIN_ACTIVATION_WINDOW))
}

impl LinkTable {
    /// Enqueues jobs, then deletes their entries. A crash in between enqueues them again.
    ///
    /// # Errors
    /// If an SQS or DynamoDB call fails. The entries are kept.
    pub async fn enqueue_pending_jobs(
        &self,
        queue: &Queue<JobMessage>,
        zoom_user: &ZoomUser,
        jobs: &[PendingJobs],
    ) -> Result<(), AwsError> {
        for pending in jobs {
            let messages: Vec<_> = pending.jobs.iter().cloned().map(JobMessage::new).collect();
            queue.send_all(&messages, zoom_user.account_id.as_str()).await?;
            self.client
                .delete_item()
                .table_name(&self.table)
                .key("zoom_user", text(zoom_user.key()))
                .key("entry", text(pending.entry.clone()))
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("DeleteItem Links", &error))?;
        }
        Ok(())
    }
}
