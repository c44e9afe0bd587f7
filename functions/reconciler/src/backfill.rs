//! Backfill: reads recordings from Zoom's list and queues them like events.

use jiff::ToSpan as _;
use jiff::civil::Date;
use reelay_domain::ids::ZoomUser;
use reelay_domain::message::{EventMessage, SchemaV1};
use reelay_domain::webhook::event;
use reelay_domain::webhook::redact;
use reelay_grants::GrantError;
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::random;
use reelay_zoom::{ApiError, RecordingsPage};
use serde_json::{Value, json};

use crate::{JobError, Reconciler};

/// Days per list request. Zoom lists one month at most and silently truncates wider windows.
const WINDOW_DAYS: i32 = 28;

impl Reconciler {
    /// Reads all pages of all windows. Safe to repeat: known files are not downloaded again.
    pub(crate) async fn backfill(
        &self,
        zoom_user: &ZoomUser,
        from: Date,
        to: Date,
    ) -> Result<(), JobError> {
        let mut first = from;
        while first <= to {
            let last = first.saturating_add((WINDOW_DAYS - 1).days()).min(to);
            match self.window(zoom_user, first, last).await {
                // The grant ended meanwhile.
                Err(JobError::Grant(
                    GrantError::NotFound
                    | GrantError::Revoking
                    | GrantError::ReauthorizationRequired,
                )) => {
                    metrics::count(Metric::BackfillsIgnored, "no_grant");
                    return Ok(());
                }
                done => done?,
            }
            first = last.saturating_add(1.day());
        }
        Ok(())
    }

    async fn window(&self, zoom_user: &ZoomUser, from: Date, to: Date) -> Result<(), JobError> {
        let mut next = None;
        loop {
            let page = self.page(zoom_user, from, to, next.as_deref()).await?;
            for meeting in page.meetings {
                self.queue(zoom_user, meeting).await?;
            }
            next = page.next_page_token;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    async fn page(
        &self,
        zoom_user: &ZoomUser,
        from: Date,
        to: Date,
        next: Option<&str>,
    ) -> Result<RecordingsPage, JobError> {
        let token = self.grants.access_token(zoom_user).await?;
        match self.grants.zoom().list_recordings(&token.token, from, to, next).await {
            Err(ApiError::Unauthorized) => {
                let token = self.grants.replace_token(zoom_user, &token).await?;
                Ok(self.grants.zoom().list_recordings(&token.token, from, to, next).await?)
            }
            page => Ok(page?),
        }
    }

    /// Queues a meeting of the list as an event. It has no event time, so any real event takes precedence.
    async fn queue(&self, zoom_user: &ZoomUser, mut meeting: Value) -> Result<(), JobError> {
        // The list is the user's own, but its meetings may omit the host.
        meeting["host_id"] = json!(zoom_user.user_id);
        let event = json!({
            "event": event::RECORDING_COMPLETED,
            "payload": {"account_id": zoom_user.account_id, "object": meeting},
        });
        let keys = self.queue_key.versions().await?;
        let event = redact::redact(event, &keys, random::bytes);
        let body = self.bucket.event_body(event).await?;
        let message = EventMessage { v: SchemaV1, received_at: self.clock.now(), body };
        self.events.send(&message, zoom_user.account_id.as_str()).await?;
        metrics::count(Metric::EventsAccepted, "backfill");
        Ok(())
    }
}
