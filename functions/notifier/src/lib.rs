//! Notifications queue: telling the app.
//!
//! Each notification goes to the event bus and to the app's webhook, as far as they are configured. The
//! two fail separately: when the webhook does not answer, what remains is a message for the webhook
//! alone, repeated by the queue's own count, and the bus is not told twice.

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

/// `source` of our events on the bus.
const SOURCE: &str = "reelay";

/// How long the app may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

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

/// Its address may hold a credential of the app's, so `Debug` shows the host only.
struct AppWebhook {
    http: Client,
    url: Url,
}

impl fmt::Debug for AppWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppWebhook")
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
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
    #[error("PutEvents did not take the event: {0}")]
    Bus(String),
    #[error("the app's webhook answered {0}")]
    Status(StatusCode),
    #[error("the app's webhook can't be reached: {0}")]
    Unreachable(&'static str),
    #[error(transparent)]
    Secret(#[from] notification::InvalidSecret),
}

impl NotifyError {
    fn unreachable(error: &reqwest::Error) -> Self {
        // The error itself repeats the URL, which may hold a credential of the app's.
        Self::Unreachable(if error.is_timeout() {
            "no answer in time"
        } else if error.is_connect() {
            "no connection"
        } else {
            "the connection broke off"
        })
    }
}

impl Notifier {
    /// Reads the configuration and makes the clients, once per instance.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        let variables = &environment.variables;
        let webhook = variables
            .optional("APP_WEBHOOK_URL")
            .map(AppWebhook::new)
            .transpose()?;
        let bus = variables.optional("EVENT_BUS_NAME").map(|name| EventBus {
            client: environment.eventbridge(),
            name: name.to_owned(),
        });
        Ok(Self {
            consumer: Consumer::new(environment)?,
            own_queue: Queue::from_env(environment, "QUEUE_URL")?,
            secret: Secret::from_env(environment, "NOTIFICATION_SECRET")?,
            webhook,
            bus,
            clock: environment.clock.clone(),
        })
    }

    /// Works off a batch of notifications.
    pub async fn handle(&self, batch: SqsEvent) -> SqsBatchResponse {
        self.consumer
            .process(batch, |delivery| self.notify(delivery))
            .await
    }

    async fn notify(&self, delivery: Delivery<NotificationMessage>) -> Result<(), Retry> {
        let NotificationMessage {
            notification,
            destination,
            ..
        } = delivery.message;
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
                tracing::warn!(id = notification.id, error = %error, "webhook not delivered, to be repeated");
                let rest = NotificationMessage {
                    v: SchemaV1,
                    notification,
                    destination: Destination::Webhook,
                };
                self.own_queue.send(&rest, SOURCE).await.map_err(Retry::new)
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
        let answer = webhook
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
        // Redirects are not followed: what is signed goes to the configured address and nowhere else.
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(NotifyError::Status(answer.status()))
        }
    }
}

impl AppWebhook {
    fn new(url: &str) -> Result<Self, ConfigError> {
        let unusable = |reason: &str| ConfigError::Invalid {
            name: "APP_WEBHOOK_URL".to_owned(),
            reason: reason.to_owned(),
        };
        let url = operator_url::parse(url).map_err(|error| unusable(&error.to_string()))?;
        let http = Client::builder()
            .redirect(Policy::none())
            .timeout(ANSWER_WITHIN)
            .user_agent(concat!("Reelay/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| unusable("no HTTP client can be made"))?;
        Ok(Self { http, url })
    }
}

impl EventBus {
    async fn put(&self, notification: &Notification) -> Result<(), NotifyError> {
        // `detail` is the webhook's body with the id that the webhook has in a header.
        let detail = notification.body_with_id();
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(&self.name)
            .source(SOURCE)
            .detail_type(&notification.event_type)
            .detail(detail)
            .build();
        let answer = self
            .client
            .put_events()
            .entries(entry)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("PutEvents", &error))?;
        // The call succeeds even if the event was refused.
        match answer.entries().iter().find_map(|entry| entry.error_code()) {
            None => Ok(()),
            Some(code) => Err(NotifyError::Bus(code.to_owned())),
        }
    }
}
