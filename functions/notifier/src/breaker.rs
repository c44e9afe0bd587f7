//! The breaker of the app's webhook. An instance reads and writes the shared state only once a delivery of its own has
//! failed, or for a probe: as long as everything works, the breaker costs nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use reelay_domain::delivery::Breaker;
use reelay_domain::ids::AppUserId;
use reelay_runtime::AwsError;
use reelay_store::notifications::NotificationTable;

/// Age after which the state of a failing webhook is read again.
const MAX_AGE: SignedDuration = SignedDuration::from_secs(5);

/// The state as this instance knows it.
#[derive(Debug, Default)]
pub(crate) struct WebhookBreaker {
    host: String,
    state: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    shared: Breaker,
    read_at: Option<Timestamp>,
    /// App users whom this instance has notified.
    own: Breaker,
}

impl WebhookBreaker {
    pub(crate) fn new(host: String) -> Self {
        Self { host, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether notifications wait, as far as this instance knows.
    pub(crate) async fn is_open(
        &self,
        table: &NotificationTable,
        now: Timestamp,
    ) -> Result<bool, AwsError> {
        {
            let state = self.state();
            let is_fresh = |read_at: Timestamp| now.duration_since(read_at) < MAX_AGE;
            if state.shared.failing_since.is_none() || state.read_at.is_some_and(is_fresh) {
                return Ok(state.shared.is_open());
            }
        }
        self.read(table, now).await
    }

    /// Reads whether notifications wait.
    pub(crate) async fn read(
        &self,
        table: &NotificationTable,
        now: Timestamp,
    ) -> Result<bool, AwsError> {
        let shared = table.breaker(Some(&self.host)).await?;
        let is_open = shared.is_open();
        self.keep(shared, now);
        Ok(is_open)
    }

    /// Records that the webhook is up.
    pub(crate) async fn record_success(
        &self,
        table: &NotificationTable,
        app_user: &AppUserId,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        {
            let mut state = self.state();
            state.own.record_success(app_user);
            if state.shared.failing_since.is_none() {
                return Ok(());
            }
        }
        let shared = table.change_breaker(&self.host, |it| it.record_success(app_user)).await?;
        tracing::info!("the app's webhook is up again");
        self.keep(shared, now);
        Ok(())
    }

    /// Records that the webhook seems to be down.
    pub(crate) async fn record_failure(
        &self,
        table: &NotificationTable,
        app_user: &AppUserId,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let own = self.state().own.known.clone();
        let change = |shared: &mut Breaker| {
            shared.merge_known(&own);
            shared.record_failure(app_user, now);
        };
        let shared = table.change_breaker(&self.host, change).await?;
        if shared.opened_at == Some(now) {
            tracing::warn!("the app's webhook is down; notifications wait");
        }
        self.keep(shared, now);
        Ok(())
    }

    fn keep(&self, shared: Breaker, now: Timestamp) {
        let mut state = self.state();
        state.shared = shared;
        state.read_at = Some(now);
    }
}
