//! Processes the notifications queue: delivers notifications to the event bus and the app's webhook.
//!
//! The two destinations fail separately: after a failed webhook delivery, a message for the webhook alone
//! is enqueued and retried, and the event bus does not receive the notification again.

use std::fmt;
use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use reelay_domain::message::{Destination, Notification, NotificationMessage, SchemaV1};
use reelay_domain::notification;
use reelay_domain::operator_url;
use reelay_runtime::AwsError;
use reelay_runtime::environment::{Clock, ConfigError, Environment};
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::secrets::Secret;
use reelay_runtime::sqs::{Consumer, Delivery, Retry};
use reelay_store::queue::Queue;
use reqwest::header::{CONTENT_TYPE, HeaderName};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};

/// `source` of the events on the bus.
const SOURCE: &str = "reelay";

/// Timeout of one webhook request.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(15);

/// The function.
#[derive(Debug)]
pub struct Notifier {
    consumer: Consumer,
    own_queue: Queue<NotificationMessage>,
    secret: Secret,
    webhook: Option<AppWebhook>,
    bus: Option<EventBus>,
    clock: Clock,
}

/// The app's webhook. `Debug` shows only the host of the URL, which may contain a credential.
struct AppWebhook {
    http: Client,
    url: Url,
}

impl fmt::Debug for AppWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppWebhook").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct EventBus {
    client: aws_sdk_eventbridge::Client,
    name: String,
}

#[derive(Debug, thiserror::Error)]
enum NotifyError {
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error("PutEvents rejected the event: {0}")]
    Bus(String),
    #[error("the app's webhook responded {0}")]
    Status(StatusCode),
    #[error("the request to the app's webhook failed: {0}")]
    Unreachable(&'static str),
    #[error(transparent)]
    Secret(#[from] notification::InvalidSecret),
}

impl NotifyError {
    fn unreachable(error: &reqwest::Error) -> Self {
        // reqwest's own message repeats the URL, which may contain a credential.
        Self::Unreachable(if error.is_timeout() {
            "timeout"
        } else if error.is_connect() {
            "connection failed"
        } else {
            "connection interrupted"
        })
    }
}

impl Notifier {
    /// Reads the configuration and creates the clients, once per instance.
    ///
    /// # Errors
    /// If a variable is absent or invalid.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        let variables = &environment.variables;
        let webhook = variables.optional("APP_WEBHOOK_URL").map(AppWebhook::new).transpose()?;
        let bus = variables
            .optional("EVENT_BUS_NAME")
            .map(|name| EventBus { client: environment.eventbridge(), name: name.to_owned() });
        Ok(Self {
            consumer: Consumer::new(environment)?,
            own_queue: Queue::from_env(environment, "QUEUE_URL")?,
            secret: Secret::from_env(environment, "NOTIFICATION_SECRET")?,
            webhook,
            bus,
            clock: environment.clock.clone(),
        })
    }

    /// Processes a batch of notifications.
    pub async fn handle(&self, batch: SqsEvent) -> SqsBatchResponse {
        self.consumer.process(batch, |delivery| self.notify(delivery)).await
    }

    async fn notify(&self, delivery: Delivery<NotificationMessage>) -> Result<(), Retry> {
        let NotificationMessage { notification, destination, .. } = delivery.message;
        if let (Destination::All, Some(bus)) = (destination, &self.bus) {
            bus.put(&notification).await.map_err(Retry::new)?;
        }
        let Some(webhook) = &self.webhook else {
            return Ok(());
        };
        let Err(error) = self.post(webhook, &notification).await else {
            metrics::count(Metric::NotificationsDelivered, "webhook");
            return Ok(());
        };
        metrics::count(Metric::NotificationsFailed, "webhook");
        match (destination, &self.bus) {
            (Destination::All, Some(_)) => {
                tracing::warn!(id = notification.id, error = %error, "webhook delivery failed, retry enqueued");
                let retry = NotificationMessage {
                    v: SchemaV1,
                    notification,
                    destination: Destination::Webhook,
                };
                self.own_queue.send(&retry, SOURCE).await.map_err(Retry::new)
            }
            _ => Err(Retry::new(error)),
        }
    }

    async fn post(
        &self,
        webhook: &AppWebhook,
        notification: &Notification,
    ) -> Result<(), NotifyError> {
        let secrets = self.secret.versions().await?;
        let timestamp = self.clock.now().as_second();
        let signature =
            notification::signature(&secrets, &notification.id, timestamp, &notification.body)?;
        let response = webhook
            .http
            .post(webhook.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(HeaderName::from_static("webhook-id"), &notification.id)
            .header(HeaderName::from_static("webhook-timestamp"), timestamp)
            .header(HeaderName::from_static("webhook-signature"), signature)
            .body(notification.body.clone())
            .send()
            .await
            .map_err(|error| NotifyError::unreachable(&error))?;
        // Redirects are not followed, so signed bodies go only to the configured URL.
        if response.status().is_success() {
            Ok(())
        } else {
            Err(NotifyError::Status(response.status()))
        }
    }
}

impl AppWebhook {
    fn new(url: &str) -> Result<Self, ConfigError> {
        let invalid = |reason: &dyn fmt::Display| ConfigError::invalid("APP_WEBHOOK_URL", reason);
        let url = operator_url::parse(url).map_err(|error| invalid(&error))?;
        let http = Client::builder()
            .redirect(Policy::none())
            .timeout(WEBHOOK_TIMEOUT)
            .user_agent(concat!("Reelay/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| invalid(&"failed to build the HTTP client"))?;
        Ok(Self { http, url })
    }
}

impl EventBus {
    async fn put(&self, notification: &Notification) -> Result<(), NotifyError> {
        // `detail` is the webhook's body, plus the id that the webhook carries in a header.
        let detail = notification.body_with_id();
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(&self.name)
            .source(SOURCE)
            .detail_type(&notification.event_type)
            .detail(detail)
            .build();
        let response = self
            .client
            .put_events()
            .entries(entry)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("PutEvents", &error))?;
        // The call succeeds even if the event was rejected.
        match response.entries().iter().find_map(|entry| entry.error_code()) {
            None => Ok(()),
            Some(code) => Err(NotifyError::Bus(code.to_owned())),
        }
    }
}
