//! `POST /zoom/webhook` and `POST /zoom/deauthorize`: accepts Zoom's events.
//!
//! Verifies the signature over the raw bytes, stores the event in the events queue, and responds. Zoom
//! waits three seconds, never repeats a delivery after 3xx or 4xx, and repeats it at most three times
//! after 5xx. The function therefore reads no table, and acknowledges an event only when SQS has it.

use std::time::Duration;

use http::StatusCode;
use reelay_domain::ids::AccountId;
use reelay_domain::message::{EventBody, EventMessage, SchemaV1};
use reelay_domain::observation::ObservationSource;
use reelay_domain::webhook::event::{self, EventKind};
use reelay_domain::webhook::signature::{self, SignatureError, SignatureHeaders};
use reelay_domain::webhook::{endpoint_validation, redact};
use reelay_domain::{object_key, source_cipher};
use reelay_runtime::environment::{Clock, ConfigError, Environment};
use reelay_runtime::http::{Body, Request, Response, response};
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::random;
use reelay_runtime::secrets::{Secret, SecretError, ZoomSecret};
use reelay_runtime::{AwsError, Chain};
use reelay_store::bucket::Bucket;
use reelay_store::queue::Queue;
use serde_json::Value;

/// Timeout of a response: Zoom's three seconds minus network time.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(2500);

/// Message group of events that name no account.
const UNKNOWN_TENANT: &str = "unknown";

/// The `webhook` function.
#[derive(Debug)]
pub struct Webhook {
    zoom_secret: ZoomSecret,
    queue_key: Secret,
    events: Queue<EventMessage>,
    bucket: Bucket,
    clock: Clock,
}

#[derive(Debug, thiserror::Error)]
enum WebhookError {
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("the webhook secret is unavailable")]
    Secret(#[from] SecretError),
    #[error("failed to store the event")]
    Store(#[from] AwsError),
    #[error("the response timed out")]
    Timeout,
}

impl WebhookError {
    /// All signature errors have the same status, so that a sender learns nothing from it.
    fn status(&self) -> StatusCode {
        match self {
            Self::Signature(_) => StatusCode::UNAUTHORIZED,
            Self::Secret(_) | Self::Store(_) | Self::Timeout => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn metric(&self) -> &'static str {
        match self {
            Self::Signature(SignatureError::Absent) => "signature_absent",
            Self::Signature(SignatureError::Malformed) => "signature_malformed",
            Self::Signature(SignatureError::Stale) => "signature_stale",
            Self::Signature(SignatureError::Mismatch) => "signature_mismatch",
            Self::Secret(_) => "secret_unavailable",
            Self::Store(_) => "not_stored",
            Self::Timeout => "timeout",
        }
    }
}

impl Webhook {
    /// Reads the configuration and creates the clients, once per instance.
    ///
    /// # Errors
    /// If a variable is absent or invalid.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            zoom_secret: ZoomSecret::from_env(environment, "ZOOM_SECRET")?,
            queue_key: Secret::from_env(environment, "QUEUE_KEY")?,
            events: Queue::from_env(environment, "EVENTS_QUEUE_URL")?,
            bucket: Bucket::new(environment)?,
            clock: environment.clock.clone(),
        })
    }

    /// Reads both secrets while the runtime fetches the first event. A failure is reported with the event
    /// that needs the secret.
    pub async fn preload_secrets(&self) {
        let _ = tokio::join!(self.zoom_secret.webhook_secrets(), self.queue_key.versions());
    }

    /// Responds to a delivery.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        let received = tokio::time::timeout(RESPONSE_TIMEOUT, self.receive(&request)).await;
        match received.unwrap_or(Err(WebhookError::Timeout)) {
            Ok(response) => response,
            Err(error) => {
                metrics::count(Metric::WebhooksRejected, error.metric());
                tracing::warn!(
                    status = error.status().as_u16(),
                    error = %Chain(&error),
                    "webhook rejected"
                );
                response::empty(error.status())
            }
        }
    }

    async fn receive(&self, request: &Request) -> Result<Response<Body>, WebhookError> {
        // These are the bytes that Zoom signed: `lambda_http` has decoded base64.
        let body: &[u8] = request.body().as_ref();
        let headers = SignatureHeaders {
            timestamp: single(request, "x-zm-request-timestamp")?,
            signature: single(request, "x-zm-signature")?,
        };
        let now = self.clock.now();
        let signed_by = self
            .zoom_secret
            .verify_webhook_with_reread(
                |secrets| signature::verify(secrets, headers, body, now).cloned(),
                |error| *error == SignatureError::Mismatch,
            )
            .await??;

        // Zoom signed this body and would not send it again, so it is stored.
        let Ok((name, event)) = event::parse_envelope(body) else {
            self.store_unparsed(body).await?;
            metrics::count(Metric::EventsAccepted, "not_an_event");
            return Ok(response::empty(StatusCode::OK));
        };
        match EventKind::from_name(&name) {
            EventKind::EndpointValidation => {
                let plain_token = event
                    .pointer("/payload/plainToken")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                if !plain_token.starts_with(endpoint_validation::DOCTOR_TOKEN_PREFIX) {
                    metrics::count(Metric::UrlValidations, "ok");
                }
                Ok(response::json(
                    StatusCode::OK,
                    &endpoint_validation::respond(&signed_by, plain_token),
                ))
            }
            EventKind::FilesCompleted | EventKind::RecordingsChanged | EventKind::Deauthorized => {
                self.store(event).await?;
                metrics::count(Metric::EventsAccepted, "webhook");
                Ok(response::empty(StatusCode::OK))
            }
            EventKind::Other => {
                metrics::count(Metric::EventsIgnored, "unknown_event");
                Ok(response::empty(StatusCode::OK))
            }
        }
    }

    /// Sends the event to the events queue, with its credentials encrypted.
    async fn store(&self, event: Value) -> Result<(), AwsError> {
        let keys = self.queue_key.versions().await?;
        let event = redact::redact(event, &keys, random::bytes);
        let account = event.pointer("/payload/account_id").and_then(Value::as_str);
        let tenant = account
            .and_then(|account| account.parse::<AccountId>().ok())
            .map_or_else(|| UNKNOWN_TENANT.to_owned(), String::from);
        self.send(self.bucket.event_body(event).await?, &tenant).await
    }

    /// Stores a body that is no event. It is encrypted as a whole, because it may contain credentials anywhere.
    async fn store_unparsed(&self, body: &[u8]) -> Result<(), AwsError> {
        let keys = self.queue_key.versions().await?;
        let encrypted = source_cipher::encrypt_body(&keys, body, random::bytes());
        let key = object_key::encrypted_event(None, &encrypted);
        self.bucket.put(&key, "application/octet-stream", encrypted).await?;
        self.send(EventBody::EncryptedObjectKey(key), UNKNOWN_TENANT).await
    }

    async fn send(&self, body: EventBody, tenant: &str) -> Result<(), AwsError> {
        let message = EventMessage {
            v: SchemaV1,
            received_at: self.clock.now(),
            source: ObservationSource::Event,
            body,
        };
        self.events.send(&message, tenant).await
    }
}

/// Returns a header that must be present exactly once.
fn single<'a>(request: &'a Request, name: &str) -> Result<&'a str, SignatureError> {
    let mut values = request.headers().get_all(name).iter();
    let value = values.next().ok_or(SignatureError::Absent)?;
    let value = value.to_str().map_err(|_| SignatureError::Malformed)?;
    if values.next().is_some() {
        return Err(SignatureError::Malformed);
    }
    Ok(value)
}
