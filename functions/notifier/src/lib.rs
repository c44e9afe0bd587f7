//! Processes the notifications queue: delivers notifications to the event bus and the app's webhook.
//!
//! The two destinations fail separately. A message makes a few attempts within ten minutes; after that the
//! notification's guard carries the time of the next attempt, and maintenance enqueues it. A notification about a
//! recording is delivered only while a link covers the recording.

mod breaker;
mod bus;
mod webhook;

use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use jiff::{SignedDuration, Timestamp};
use reelay_domain::delivery::{self, Attempt, MESSAGE_TTL};
use reelay_domain::message::{MessageAttempts, Notification, NotificationMessage};
use reelay_domain::notification;
use reelay_domain::time::whole_seconds_until;
use reelay_runtime::AwsError;
use reelay_runtime::environment::{Clock, ConfigError, Environment};
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::secrets::Secret;
use reelay_runtime::sqs::{Consumer, Delivery, Retry};
use reelay_store::links::LinkTable;
use reelay_store::notifications::{Guard, GuardKey, LeaseOutcome, NotificationTable};

use crate::breaker::WebhookBreaker;
use crate::bus::EventBus;
use crate::webhook::{AppWebhook, Rejection};

/// Reasons of metrics.
const WEBHOOK: &str = "webhook";
const EVENT_BUS: &str = "event_bus";

/// Maximum `Retry-After` for which a message waits in the queue.
const MAX_MESSAGE_DELAY: SignedDuration = SignedDuration::from_mins(10);

/// Delay until a message is retried whose earlier delivery was interrupted during an attempt.
const INTERRUPTED_DELAY: Duration = Duration::from_secs(60);

/// The `notifier` function.
#[derive(Debug)]
pub struct Notifier {
    consumer: Consumer,
    table: NotificationTable,
    links: LinkTable,
    secret: Secret,
    webhook: Option<AppWebhook>,
    breaker: WebhookBreaker,
    bus: Option<EventBus>,
    /// Time after which Reelay gives up (`NOTIFICATION_RETRY_DAYS`).
    give_up_after: SignedDuration,
    clock: Clock,
}

/// Why a notification could not be signed.
#[derive(Debug, thiserror::Error)]
enum SignError {
    #[error("failed to read the notification secret: {0}")]
    SecretUnavailable(String),
    #[error(transparent)]
    InvalidSecret(#[from] notification::InvalidSecret),
}

impl Notifier {
    /// Reads the configuration and creates the clients, once per instance.
    ///
    /// # Errors
    /// If a variable is absent or invalid.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        let variables = &environment.variables;
        let webhook = variables.optional("APP_WEBHOOK_URL").map(AppWebhook::new).transpose()?;
        let bus = variables.optional("EVENT_BUS_NAME");
        let days: u8 = variables.parsed("NOTIFICATION_RETRY_DAYS")?;
        Ok(Self {
            consumer: Consumer::new("notifications", environment)?,
            table: NotificationTable::new(environment)?,
            links: LinkTable::new(environment)?,
            secret: Secret::from_env(environment, "NOTIFICATION_SECRET")?,
            breaker: WebhookBreaker::new(
                webhook.as_ref().map(AppWebhook::host).unwrap_or_default(),
            ),
            webhook,
            bus: bus.map(|name| EventBus::new(environment, name)),
            give_up_after: SignedDuration::from_hours(24 * i64::from(days)),
            clock: environment.clock.clone(),
        })
    }

    /// Processes a batch of notifications.
    pub async fn handle(&self, batch: SqsEvent) -> SqsBatchResponse {
        self.consumer.process(batch, |delivery| self.notify(delivery)).await
    }

    async fn notify(&self, delivery: Delivery<NotificationMessage>) -> Result<(), Retry> {
        let receive_count = delivery.receive_count;
        let NotificationMessage { notification, attempts, .. } = delivery.message;
        let key = GuardKey::of(&notification);
        let now = self.clock.now();
        let mut guard = match self.table.acquire_lease(&key, now).await.map_err(Retry::new)? {
            LeaseOutcome::Acquired(guard) => *guard,
            // Another message has the lease, or an interrupted delivery of this one.
            LeaseOutcome::Leased if receive_count > 1 => {
                let reason = "another delivery of the notification has the lease".to_owned();
                return Err(Retry { reason, after: Some(INTERRUPTED_DELAY) });
            }
            LeaseOutcome::Leased | LeaseOutcome::Settled | LeaseOutcome::Erased => return Ok(()),
        };
        let delay = match attempts {
            MessageAttempts::Several => delivery::message_delay_seconds(receive_count),
            MessageAttempts::One | MessageAttempts::Probe => None,
        };
        let attempted =
            self.attempt(&notification, &mut guard, delay.is_some(), attempts, now).await;
        let retry_at = match attempted {
            Ok(retry_at) => retry_at,
            Err(error) => {
                // What a destination accepted before the error is kept.
                let due_at = self.due_at(&guard, true);
                if let Err(error) = self.table.save_attempt(&key, &guard, due_at).await {
                    tracing::warn!(%error, "attempt not saved; its lease expires");
                }
                return Err(Retry::new(error));
            }
        };
        let after = delay.zip(retry_at).map(|(delay, retry_at)| {
            // An early message makes no attempt.
            Duration::from_secs(delay.max(whole_seconds_until(retry_at, self.clock.now())))
        });
        let due_at = self.due_at(&guard, after.is_some());
        self.table.save_attempt(&key, &guard, due_at).await.map_err(Retry::new)?;
        match after {
            None => Ok(()),
            Some(after) => {
                let reason = "a destination did not accept the notification".to_owned();
                Err(Retry { reason, after: Some(after) })
            }
        }
    }

    /// Makes one attempt at each destination that is due, and records it in the guard. Returns the earliest time of
    /// the message's next attempt, if it makes one.
    async fn attempt(
        &self,
        notification: &Notification,
        guard: &mut Guard,
        is_message_retried: bool,
        attempts: MessageAttempts,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, AwsError> {
        if !self.is_covered(notification, guard.stamp).await? {
            metrics::count(Metric::NotificationsDropped, "no_link");
            guard.webhook.end("no_link", now);
            guard.bus.end("no_link", now);
            return Ok(None);
        }
        let since = guard.pending_since;
        let give_up_at = since.checked_add(self.give_up_after).unwrap_or(Timestamp::MAX);
        let mut retry_at: Option<Timestamp> = None;
        if let Some(bus) = self.bus.as_ref().filter(|_| guard.bus.is_due(now)) {
            let attempt = match bus.put(notification).await {
                Ok(()) => Attempt::Delivered("accepted".to_owned()),
                Err(error) => {
                    tracing::warn!(id = notification.id, %error, "event bus delivery failed");
                    let answer = error.to_string();
                    Attempt::Failed { answer, retry_after: None, is_message_retried }
                }
            };
            retry_at = retry_at.max(log_attempt(&attempt, EVENT_BUS, now));
            guard.bus.record(attempt, since, give_up_at, self.clock.now());
            count_given_up(&guard.bus, EVENT_BUS);
        }
        let is_probe = attempts == MessageAttempts::Probe;
        if let Some(webhook) = self
            .webhook
            .as_ref()
            .filter(|_| guard.webhook.is_due(now) || is_probe && guard.webhook.is_pending())
        {
            if is_probe {
                // Reads the breaker again, so that a success closes it even if this instance's copy is stale.
                self.breaker.forget();
            }
            let attempt = if !is_probe && self.breaker.is_open(&self.table, now).await? {
                Attempt::Held
            } else {
                let at = self.clock.now();
                match self.sign(notification, at).await {
                    Ok(signature) => {
                        self.post(webhook, notification, &signature, at, is_message_retried).await
                    }
                    Err(error) => {
                        tracing::error!(id = notification.id, %error, "notification not signed");
                        let answer = error.to_string();
                        Attempt::Failed { answer, retry_after: None, is_message_retried }
                    }
                }
            };
            retry_at = retry_at.max(log_attempt(&attempt, WEBHOOK, now));
            let is_still_down = is_probe
                && !matches!(attempt, Attempt::Delivered(_))
                && self.breaker.is_open(&self.table, now).await?;
            let attempt = if is_still_down { Attempt::Held } else { attempt };
            guard.webhook.record(attempt, since, give_up_at, self.clock.now());
            count_given_up(&guard.webhook, WEBHOOK);
        }
        Ok(retry_at)
    }

    async fn sign(&self, notification: &Notification, at: Timestamp) -> Result<String, SignError> {
        let secrets = self.secret.versions().await;
        let secrets = secrets.map_err(|error| SignError::SecretUnavailable(error.to_string()))?;
        let (id, body) = (&notification.id, &notification.body);
        Ok(notification::signature(&secrets, id, at.as_second(), body)?)
    }

    async fn post(
        &self,
        webhook: &AppWebhook,
        notification: &Notification,
        signature: &str,
        at: Timestamp,
        is_message_retried: bool,
    ) -> Attempt {
        let (id, app_user) = (&notification.id, &notification.app_user_id);
        let posted = webhook.post(notification, signature, at).await;
        let now = self.clock.now();
        let is_up = posted.as_ref().err().is_none_or(|rejection| !rejection.is_outage);
        let recorded = match is_up {
            true => self.breaker.record_success(&self.table, app_user, now).await,
            false => self.breaker.record_failure(&self.table, app_user, now).await,
        };
        // A failure here must not hide the attempt's result: an accepted notification is not sent again.
        if let Err(error) = recorded {
            tracing::warn!(%error, "state of the app's webhook not recorded");
        }
        match posted {
            Ok(answer) => Attempt::Delivered(answer),
            Err(Rejection { answer, retry_after, .. }) => {
                tracing::warn!(id, answer, "webhook delivery failed");
                let is_soon = retry_after.is_none_or(|at| at <= now + MAX_MESSAGE_DELAY);
                let is_message_retried = is_message_retried && is_soon;
                Attempt::Failed { answer, retry_after, is_message_retried }
            }
        }
    }

    /// Whether the app user may be notified, by a consistent read.
    async fn is_covered(
        &self,
        notification: &Notification,
        stamp: Timestamp,
    ) -> Result<bool, AwsError> {
        if notification.recording_id.is_none() {
            return Ok(true);
        }
        let Notification { app_user_id, zoom_user, .. } = notification;
        let link = self.links.covering_link(app_user_id, zoom_user).await?;
        Ok(link.is_some_and(|link| link.covers_notification(zoom_user, stamp)))
    }

    /// When maintenance enqueues the notification; `None` if every configured destination is settled.
    fn due_at(&self, guard: &Guard, is_message_retried: bool) -> Option<Timestamp> {
        let now = self.clock.now();
        let webhook = self.webhook.as_ref().map(|_| &guard.webhook);
        let bus = self.bus.as_ref().map(|_| &guard.bus);
        let pending = webhook.into_iter().chain(bus).filter(|delivery| delivery.is_pending());
        let due_at = pending.map(|delivery| delivery.next_attempt_at.unwrap_or(now)).min()?;
        if is_message_retried {
            return Some(now + MESSAGE_TTL);
        }
        let reason = if guard.webhook.is_held { "webhook_down" } else { "not_accepted" };
        metrics::count(Metric::NotificationsDeferred, reason);
        Some(due_at)
    }
}

/// Counts an attempt. Returns the earliest time of the message's next attempt, if it makes one.
fn log_attempt(attempt: &Attempt, destination: &str, now: Timestamp) -> Option<Timestamp> {
    match attempt {
        Attempt::Delivered(_) => metrics::count(Metric::NotificationsDelivered, destination),
        Attempt::Failed { .. } => metrics::count(Metric::NotificationsFailed, destination),
        Attempt::Held => {}
    }
    match attempt {
        Attempt::Failed { retry_after, is_message_retried: true, .. } => {
            Some(retry_after.unwrap_or(now))
        }
        _ => None,
    }
}

fn count_given_up(delivery: &delivery::Delivery, destination: &str) {
    if delivery.gave_up_at.is_some() {
        metrics::count(Metric::NotificationsGivenUp, destination);
    }
}
