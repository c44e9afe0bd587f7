//! What Lambda does: messages delivered, and again if they were not done. And what the clock does.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_lambda_events::sqs::SqsEvent;
use jiff::SignedDuration;
use reelay_domain::ids::ZoomUser;
use reelay_grants::{AccessToken, GrantError, Grants};
use reelay_zoom::ApiError;
use serde_json::json;

use crate::instances::Instances;
use crate::journal::{Message, To};
use crate::world::{LEASES_END, World};

/// SQS gives a message up after so many deliveries in vain.
const MOST_DELIVERIES: u32 = 12;

/// The pause before a message is delivered again; it doubles each time.
const FIRST_WAIT: SignedDuration = SignedDuration::from_secs(5);

/// What the downloader has of time.
pub(crate) const DOWNLOADER_TIME: Duration = Duration::from_secs(300);

/// More than this many messages in a row, and they breed.
const MOST_MESSAGES: usize = 2_000;

/// What came of using a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Used {
    /// Zoom took the token.
    Works,
    /// There is no grant, or none that is honoured, and whoever uses it is told so.
    Over(&'static str),
    /// Not now.
    Later(String),
    /// There is a token, said to be good, that Zoom refuses.
    Refused,
}

/// Uses a grant as the functions do: if Zoom refuses the token, another one is asked for, once.
pub(crate) async fn use_grant(grants: &Grants, zoom_user: &ZoomUser) -> Used {
    let token = match grants.access_token(zoom_user).await {
        Ok(token) => token,
        Err(error) => return because(&error),
    };
    match grants.zoom().get_current_user(&token.token).await {
        Ok(_) => Used::Works,
        Err(ApiError::Unauthorized) => use_another(grants, zoom_user, &token).await,
        Err(error) => Used::Later(error.to_string()),
    }
}

/// Uses another token than one that is no good any more.
pub(crate) async fn use_another(
    grants: &Grants,
    zoom_user: &ZoomUser,
    refused: &AccessToken,
) -> Used {
    let token = match grants.replace_token(zoom_user, refused).await {
        Ok(token) => token,
        Err(error) => return because(&error),
    };
    match grants.zoom().get_current_user(&token.token).await {
        Ok(_) => Used::Works,
        Err(ApiError::Unauthorized) => Used::Refused,
        Err(error) => Used::Later(error.to_string()),
    }
}

fn because(error: &GrantError) -> Used {
    match error {
        GrantError::NotFound => Used::Over("none"),
        GrantError::ReauthorizationRequired => Used::Over("reauthorization required"),
        GrantError::Revoking => Used::Over("ending"),
        error => Used::Later(error.to_string()),
    }
}

/// Calls the function whose message it is. Whether the message is done.
pub(crate) async fn deliver(instances: &Instances, message: &Message) -> anyhow::Result<bool> {
    let batch = batch(message)?;
    let answer = match message.to {
        To::Events => instances.event_processor()?.handle(batch).await,
        To::Jobs => instances.reconciler()?.handle(batch).await,
        To::Downloads => {
            let deadline = Instant::now() + DOWNLOADER_TIME;
            let downloader = instances.recording_downloader()?;
            downloader.handle(batch, deadline).await
        }
    };
    Ok(answer.batch_item_failures.is_empty())
}

impl World {
    /// Works off whatever is due, and what follows from it. What is not done is tried again a little later.
    /// Gives what SQS would give up.
    ///
    /// # Errors
    /// If a function does not start, or there is no end to it.
    pub(crate) async fn work(&self) -> anyhow::Result<Vec<String>> {
        let mut dead = Vec::new();
        for _ in 0..MOST_MESSAGES {
            let Some(mut message) = self.journal.take_due(0) else {
                return Ok(dead);
            };
            if deliver(&self.warm, &message).await? {
                continue;
            }
            message.failures += 1;
            if message.failures >= MOST_DELIVERIES {
                dead.push(message.body);
                continue;
            }
            // As the functions have it: from seconds to hours.
            let wait = FIRST_WAIT * (1 << message.failures);
            self.journal.put_back(message);
            self.advance(wait.max(LEASES_END));
        }
        anyhow::bail!("{MOST_MESSAGES} messages worked off, and there are more")
    }

    /// The hour strikes.
    ///
    /// # Errors
    /// If SQS does not take the order.
    pub(crate) async fn strike(&self) -> anyhow::Result<()> {
        let fired = self.stack().fire_schedules().await;
        fired.map_err(anyhow::Error::msg)
    }

    /// Lets so much time pass that whatever was sent ahead is delivered.
    pub(crate) fn wait_for_what_was_sent_ahead(&self) {
        self.advance(SignedDuration::from_mins(16));
    }

    /// The user removes the app at Zoom, which tells of it, or does not for now.
    ///
    /// # Errors
    /// If there is no such user.
    pub(crate) async fn remove_at_zoom(&self, zoom_user: &str, told: bool) -> anyhow::Result<()> {
        let zoom = self.zoom()?;
        let address = zoom.settings().deauthorize_url;
        if !told {
            zoom.change_settings(|config| config.deauthorize_url = None);
        }
        let delivery = zoom.deauthorize(zoom_user)?;
        zoom.wait_for_attempts(delivery, 1)
            .await
            .context("no delivery")?;
        zoom.change_settings(|config| config.deauthorize_url = address);
        Ok(())
    }

    /// Zoom says that the user has removed the app, whether it is so or not.
    ///
    /// # Errors
    /// If there is no such user.
    pub(crate) async fn tell_of_removal(&self, zoom_user: &str) -> anyhow::Result<()> {
        let zoom = self.zoom()?;
        let delivery = zoom.send_deauthorized_event(zoom_user)?;
        zoom.wait_for_attempts(delivery, 1)
            .await
            .context("no delivery")?;
        Ok(())
    }
}

pub(crate) fn batch(message: &Message) -> serde_json::Result<SqsEvent> {
    // Without a receipt: what the function would ask of SQS for its message is done here.
    serde_json::from_value(json!({"Records": [{
        "messageId": message.id.to_string(),
        "body": message.body,
        "attributes": {"ApproximateReceiveCount": (message.failures + 1).to_string()},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    }]}))
}
