//! The app's webhook.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use reelay_domain::delivery::parse_retry_after;
use reelay_domain::message::Notification;
use reelay_domain::operator_url;
use reelay_runtime::environment::ConfigError;
use reqwest::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

/// Timeout of one request.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The app's webhook. `Debug` shows only the host of the URL, which may contain a credential.
pub(crate) struct AppWebhook {
    http: Client,
    url: Url,
}

impl fmt::Debug for AppWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppWebhook").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

/// A request that the app did not accept.
#[derive(Debug)]
pub(crate) struct Rejection {
    /// A status or a kind of failure.
    pub(crate) answer: String,
    /// `Retry-After` of the response.
    pub(crate) retry_after: Option<Timestamp>,
    /// Whether the webhook seems to be down: a timeout, a failed connection, or a 5xx response.
    pub(crate) is_outage: bool,
}

impl AppWebhook {
    pub(crate) fn new(url: &str) -> Result<Self, ConfigError> {
        let invalid = |reason: &dyn fmt::Display| ConfigError::invalid("APP_WEBHOOK_URL", reason);
        let url = operator_url::parse(url).map_err(|error| invalid(&error))?;
        let http = Client::builder()
            .redirect(Policy::none())
            .timeout(TIMEOUT)
            .user_agent(concat!("Reelay/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| invalid(&"failed to build the HTTP client"))?;
        Ok(Self { http, url })
    }

    /// Host and port.
    pub(crate) fn host(&self) -> String {
        let port = self.url.port_or_known_default().unwrap_or_default();
        format!("{}:{port}", self.url.host_str().unwrap_or_default())
    }

    /// Posts a notification; returns the status with which the app accepted it.
    pub(crate) async fn post(
        &self,
        notification: &Notification,
        signature: &str,
        now: Timestamp,
    ) -> Result<String, Rejection> {
        let response = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(HeaderName::from_static("webhook-id"), &notification.id)
            .header(HeaderName::from_static("webhook-timestamp"), now.as_second())
            .header(HeaderName::from_static("webhook-signature"), signature)
            .body(notification.body.clone())
            .send()
            .await
            .map_err(|error| Rejection::unreachable(&error))?;
        // Redirects are not followed, so signed bodies go only to the configured URL.
        let status = response.status();
        if status.is_success() {
            return Ok(status.as_u16().to_string());
        }
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        Err(Rejection {
            answer: status.as_u16().to_string(),
            retry_after: retry_after.and_then(|text| parse_retry_after(text, now)),
            is_outage: status.is_server_error(),
        })
    }
}

impl Rejection {
    fn unreachable(error: &reqwest::Error) -> Self {
        // reqwest's own message repeats the URL, which may contain a credential.
        let answer = if error.is_timeout() {
            "timeout"
        } else if error.is_connect() {
            "connection failed"
        } else {
            "connection interrupted"
        };
        Self { answer: answer.to_owned(), retry_after: None, is_outage: true }
    }
}
