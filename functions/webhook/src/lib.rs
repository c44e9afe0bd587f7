//! `POST /zoom/webhook` and `POST /zoom/deauthorize`: Zoom's events, taken in.
//!
//! Verifies the signature over the raw bytes, stores the event in the queue, and answers. Zoom gives
//! three seconds, never repeats what was answered with 3xx or 4xx, and gives up after three repeats of
//! what was answered with 5xx. So nothing else happens here: no table is touched, and an event is
//! acknowledged only once SQS has it.

use std::time::Duration;

use http::StatusCode;
use reelay_domain::ids::AccountId;
use reelay_domain::message::{EventMessage, SchemaV1};
use reelay_domain::webhook::event::{self, EventKind, InvalidEnvelope};
use reelay_domain::webhook::signature::{self, SignatureError, SignatureHeaders};
use reelay_domain::webhook::{endpoint_validation, redact};
use reelay_runtime::AwsError;
use reelay_runtime::environment::{Clock, ConfigError, Environment};
use reelay_runtime::http::{Body, Request, Response, response};
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::random;
use reelay_runtime::secrets::{Secret, SecretError, ZoomSecret};
use reelay_store::bucket::Bucket;
use reelay_store::queue::Queue;
use serde_json::Value;

/// An instance may be put to sleep right after its start, with a question under way whose answer then never
/// comes. Whoever waits for that answer asks again after this, which leaves most of Zoom's three seconds.
const READ_AHEAD_WITHIN: Duration = Duration::from_secs(1);

/// Of Zoom's three seconds, some belong to the network.
const STORE_WITHIN: Duration = Duration::from_millis(2500);

/// The function.
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
    #[error(transparent)]
    InvalidEnvelope(#[from] InvalidEnvelope),
    #[error("the webhook secret can't be had: {0}")]
    Secret(#[from] SecretError),
    #[error("the event could not be stored: {0}")]
    Store(#[from] AwsError),
    #[error("the event could not be stored in time")]
    TooSlow,
}

impl WebhookError {
    /// Every refused signature looks the same from outside.
    fn status(&self) -> StatusCode {
        match self {
            Self::Signature(_) => StatusCode::UNAUTHORIZED,
            Self::InvalidEnvelope(_) => StatusCode::BAD_REQUEST,
            Self::Secret(_) | Self::Store(_) | Self::TooSlow => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn metric(&self) -> &'static str {
        match self {
            Self::Signature(SignatureError::Malformed) => "signature_malformed",
            Self::Signature(SignatureError::Stale) => "signature_stale",
            Self::Signature(SignatureError::Mismatch) => "signature_mismatch",
            Self::InvalidEnvelope(_) => "not_an_event",
            Self::Secret(_) => "secret_unavailable",
            Self::Store(_) => "not_stored",
            Self::TooSlow => "too_slow",
        }
    }
}

impl Webhook {
    /// Reads the configuration and makes the clients, once per instance.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            zoom_secret: ZoomSecret::from_env(environment, "ZOOM_SECRET")?,
            queue_key: Secret::from_env(environment, "QUEUE_KEY")?,
            events: Queue::from_env(environment, "EVENTS_QUEUE_URL")?,
            bucket: Bucket::new(environment)?,
            clock: environment.clock.clone(),
        })
    }

    /// Reads the secrets before there is an event that needs them: both at once, while the runtime asks for the
    /// first event. What cannot be read now is read, or reported, with that event.
    pub async fn read_ahead(&self) {
        let secrets = async {
            tokio::join!(
                self.zoom_secret.webhook_secrets(),
                self.queue_key.versions()
            )
        };
        if tokio::time::timeout(READ_AHEAD_WITHIN, secrets)
            .await
            .is_err()
        {
            tracing::info!("secrets not read ahead of the first event");
        }
    }

    /// Answers a delivery.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        match self.receive(&request).await {
            Ok(response) => response,
            Err(error) => {
                metrics::count(Metric::WebhooksRejected, error.metric());
                tracing::warn!(status = error.status().as_u16(), error = %error, "webhook not accepted");
                response::empty(error.status())
            }
        }
    }

    async fn receive(&self, request: &Request) -> Result<Response<Body>, WebhookError> {
        // API Gateway may have sent the body base64-encoded; these are the bytes that Zoom signed.
        let body: &[u8] = request.body().as_ref();
        let headers = SignatureHeaders {
            timestamp: single(request, "x-zm-request-timestamp")?,
            signature: single(request, "x-zm-signature")?,
        };
        let now = self.clock.now();
        let secrets = self.zoom_secret.webhook_secrets().await?;
        let refreshed;
        let signed_by = match signature::verify(&secrets, headers, body, now) {
            Err(SignatureError::Mismatch) => {
                // The secret may have been turned over since it was read.
                refreshed = self.zoom_secret.webhook_secrets_reread().await?;
                let secrets = refreshed.as_ref().ok_or(SignatureError::Mismatch)?;
                signature::verify(secrets, headers, body, now)?
            }
            verified => verified?,
        };

        let (name, event) = event::parse_envelope(body)?;
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
                    &endpoint_validation::respond(signed_by, plain_token),
                ))
            }
            EventKind::FilesCompleted | EventKind::RecordingsChanged | EventKind::Deauthorized => {
                tokio::time::timeout(STORE_WITHIN, self.store(event))
                    .await
                    .map_err(|_| WebhookError::TooSlow)??;
                metrics::count(Metric::EventsAccepted, "webhook");
                Ok(response::empty(StatusCode::OK))
            }
            EventKind::Other => {
                metrics::count(Metric::EventsIgnored, "unknown_event");
                Ok(response::empty(StatusCode::OK))
            }
        }
    }

    /// Puts the event into the queue, without what must not rest there.
    async fn store(&self, mut event: Value) -> Result<(), AwsError> {
        let keys = self.queue_key.versions().await?;
        redact::redact(&mut event, &keys, random::bytes);
        let account = event.pointer("/payload/account_id").and_then(Value::as_str);
        let tenant = account
            .and_then(|account| account.parse::<AccountId>().ok())
            .map_or_else(|| "unknown".to_owned(), String::from);
        let body = self.bucket.event_body(event).await?;
        let message = EventMessage {
            v: SchemaV1,
            received_at: self.clock.now(),
            body,
        };
        self.events.send(&message, &tenant).await
    }
}

/// A header that must be there once.
fn single<'a>(request: &'a Request, name: &str) -> Result<&'a str, SignatureError> {
    let mut values = request.headers().get_all(name).iter();
    let value = values
        .next()
        .and_then(|value| value.to_str().ok())
        .ok_or(SignatureError::Malformed)?;
    if values.next().is_some() {
        return Err(SignatureError::Malformed);
    }
    Ok(value)
}
