//! The breaker of the app's webhook. An instance reads the shared state before an attempt, every five seconds at most,
//! and writes it only if the attempt changes it. A success of an app user changes it at most once in twelve hours.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use reelay_domain::delivery::{Breaker, MAX_BREAKER_AGE};
use reelay_domain::ids::AppUserId;
use reelay_runtime::AwsError;
use reelay_store::notifications::NotificationTable;

/// The state as this instance knows it.
#[derive(Debug, Default)]
pub(crate) struct WebhookBreaker {
    host: String,
    known: Mutex<Option<(Breaker, Timestamp)>>,
}

impl WebhookBreaker {
    pub(crate) fn new(host: String) -> Self {
        Self { host, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Option<(Breaker, Timestamp)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the instance read the state again.
    pub(crate) fn forget(&self) {
        *self.known() = None;
    }

    /// Whether notifications wait, as far as this instance knows.
    pub(crate) async fn is_open(
        &self,
        table: &NotificationTable,
        now: Timestamp,
    ) -> Result<bool, AwsError> {
        Ok(self.current(table, now).await?.is_open())
    }

    async fn current(
        &self,
        table: &NotificationTable,
        now: Timestamp,
    ) -> Result<Breaker, AwsError> {
        if let Some((breaker, read_at)) = &*self.known()
            && now.duration_since(*read_at) < MAX_BREAKER_AGE
        {
            return Ok(breaker.clone());
        }
        let breaker = table.breaker(Some(&self.host)).await?;
        *self.known() = Some((breaker.clone(), now));
        Ok(breaker)
    }

    /// Records that the webhook is up.
    pub(crate) async fn record_success(
        &self,
        table: &NotificationTable,
        app_user: &AppUserId,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let before = self.current(table, now).await?;
        let mut after = before.clone();
        after.record_success(app_user, now);
        if after == before {
            return Ok(());
        }
        let changed = table.change_breaker(&self.host, |it| it.record_success(app_user, now)).await;
        *self.known() = Some((changed?, now));
        if before.is_open() {
            tracing::info!("the app's webhook is up again");
        }
        Ok(())
    }

    /// Records that the webhook seems to be down.
    pub(crate) async fn record_failure(
        &self,
        table: &NotificationTable,
        app_user: &AppUserId,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let was_open = self.current(table, now).await?.is_open();
        let changed = table.change_breaker(&self.host, |it| it.record_failure(app_user, now)).await;
        let changed = changed?;
        if changed.is_open() && !was_open {
            tracing::warn!("the app's webhook is down; notifications wait");
        }
        *self.known() = Some((changed, now));
        Ok(())
    }
}
