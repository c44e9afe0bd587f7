//! Work that AWS and Zoom trigger (message deliveries with retries, schedules, webhooks), and uses of a grant.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use jiff::SignedDuration;
use reelay_domain::ids::ZoomUser;
use reelay_grants::{AccessToken, GrantError, Grants};
use reelay_zoom::ApiError;
use serde_json::json;

use crate::instances::Instances;
use crate::journal::{Message, Queue};
use crate::world::{LEASE_EXPIRY, World};

/// Failed deliveries after which SQS moves a message to the dead-letter queue.
const MAX_DELIVERIES: u32 = 12;

/// Delay before the first redelivery; each further one doubles it.
const REDELIVERY_DELAY: SignedDuration = SignedDuration::from_secs(5);

/// Lambda timeout of the downloader.
pub(crate) const DOWNLOADER_TIMEOUT: Duration = Duration::from_secs(300);

/// Lambda timeout of the reconciler.
const RECONCILER_TIMEOUT: Duration = Duration::from_secs(120);

/// Messages after which [`World::process_messages`] assumes an endless loop.
const MAX_MESSAGES: usize = 2_000;

/// Result of using a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GrantUse {
    /// Zoom accepted the access token.
    Succeeded,
    NotFound,
    ReauthorizationRequired,
    Revoking,
    /// A temporary error.
    Failed(String),
    /// Zoom rejected an access token that Reelay considers valid.
    Unauthorized,
}

impl From<GrantError> for GrantUse {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::NotFound | GrantError::Moved => Self::NotFound,
            GrantError::ReauthorizationRequired => Self::ReauthorizationRequired,
            GrantError::Revoking => Self::Revoking,
            error => Self::Failed(error.to_string()),
        }
    }
}

/// Uses a grant as the functions do: replaces the access token once if Zoom rejects it.
pub(crate) async fn use_grant(grants: &Grants, zoom_user: &ZoomUser) -> GrantUse {
    match Box::pin(grants.access_token(zoom_user)).await {
        Ok(token) => match use_token(grants, &token).await {
            GrantUse::Unauthorized => use_replaced_token(grants, zoom_user, &token).await,
            other => other,
        },
        Err(error) => error.into(),
    }
}

/// Uses a grant after Zoom has rejected one of its access tokens.
pub(crate) async fn use_replaced_token(
    grants: &Grants,
    zoom_user: &ZoomUser,
    rejected: &AccessToken,
) -> GrantUse {
    match Box::pin(grants.replace_token(zoom_user, rejected)).await {
        Ok(token) => use_token(grants, &token).await,
        Err(error) => error.into(),
    }
}

async fn use_token(grants: &Grants, token: &AccessToken) -> GrantUse {
    match grants.zoom().get_current_user(&token.token).await {
        Ok(_) => GrantUse::Succeeded,
        Err(ApiError::Unauthorized) => GrantUse::Unauthorized,
        Err(error) => GrantUse::Failed(error.to_string()),
    }
}

/// Result of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Processed,
    Failed,
    Killed,
}

impl From<SqsBatchResponse> for Delivery {
    fn from(response: SqsBatchResponse) -> Self {
        if response.batch_item_failures.is_empty() { Self::Processed } else { Self::Failed }
    }
}

/// Delivers a message to the function that consumes its queue.
pub(crate) async fn deliver(instances: &Instances, message: &Message) -> anyhow::Result<Delivery> {
    let event = sqs_event(message)?;
    // Boxed: the handlers' futures would overflow the stack of a test thread in debug builds.
    let response = match message.queue {
        Queue::Events => Box::pin(instances.event_processor()?.handle(event)).await,
        Queue::Jobs => {
            let deadline = Instant::now() + RECONCILER_TIMEOUT;
            Box::pin(instances.reconciler()?.handle(event, deadline)).await
        }
        Queue::Downloads => {
            let deadline = Instant::now() + DOWNLOADER_TIMEOUT;
            let downloader = instances.recording_downloader()?;
            Box::pin(downloader.handle(event, deadline)).await
        }
    };
    Ok(response.into())
}

impl World {
    /// Delivers all visible messages and the messages that follow, with retries. Returns the bodies of dead
    /// letters.
    pub(crate) async fn process_messages(&self) -> anyhow::Result<Vec<String>> {
        let mut dead_letters = Vec::new();
        for _ in 0..MAX_MESSAGES {
            let Some(mut message) = self.journal.receive() else {
                return Ok(dead_letters);
            };
            if deliver(&self.warm, &message).await? == Delivery::Processed {
                continue;
            }
            message.failures += 1;
            if message.failures >= MAX_DELIVERIES {
                dead_letters.push(message.body);
                continue;
            }
            let delay = REDELIVERY_DELAY * (1 << message.failures);
            self.journal.put_back(message);
            self.advance(delay.max(LEASE_EXPIRY));
        }
        anyhow::bail!("queues not empty after {MAX_MESSAGES} messages")
    }

    /// Fires the schedule.
    pub(crate) async fn run_schedules(&self) -> anyhow::Result<()> {
        let fired = self.stack().fire_schedules().await;
        fired.map_err(anyhow::Error::msg)
    }

    /// Enqueues the maintenance of a Zoom user's grant.
    pub(crate) fn maintain(&self, zoom_user: &ZoomUser) {
        let job = json!({"v": 1, "job": "maintain_grant", "zoom_user": zoom_user});
        self.journal.enqueue(Queue::Jobs, job.to_string(), SignedDuration::ZERO);
    }

    /// Advances the clock beyond SQS's maximum delay of 15 minutes.
    pub(crate) fn advance_past_delays(&self) {
        self.advance(SignedDuration::from_mins(16));
    }

    /// Removes the app at Zoom; Zoom sends the deauthorization event only if `sends_event`.
    pub(crate) async fn deauthorize(
        &self,
        zoom_user: &str,
        sends_event: bool,
    ) -> anyhow::Result<()> {
        let zoom = self.zoom()?;
        let url = zoom.settings().deauthorize_url;
        if !sends_event {
            zoom.change_settings(|config| config.deauthorize_url = None);
        }
        let delivery = zoom.deauthorize(zoom_user)?;
        self.wait_for_delivery(delivery).await?;
        zoom.change_settings(|config| config.deauthorize_url = url);
        Ok(())
    }

    /// Makes Zoom send a deauthorization event, regardless of the grant's state.
    pub(crate) async fn send_deauthorization(&self, zoom_user: &str) -> anyhow::Result<()> {
        let delivery = self.zoom()?.send_deauthorized_event(zoom_user)?;
        self.wait_for_delivery(delivery).await
    }

    /// Waits until Zoom has attempted a webhook delivery.
    pub(crate) async fn wait_for_delivery(&self, delivery: u64) -> anyhow::Result<()> {
        let attempts = self.zoom()?.wait_for_attempts(delivery, 1).await;
        attempts.context("Zoom attempted no delivery")?;
        Ok(())
    }
}

/// Builds the event of a delivery. It has no receipt handle, because the simulation owns the queues.
pub(crate) fn sqs_event(message: &Message) -> serde_json::Result<SqsEvent> {
    serde_json::from_value(json!({"Records": [{
        "messageId": message.id.to_string(),
        "body": message.body,
        "attributes": {"ApproximateReceiveCount": (message.failures + 1).to_string()},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    }]}))
}
