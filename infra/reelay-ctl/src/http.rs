//! Requests of this tool: notifications to an app's endpoint, and failures in words.

use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use reelay_domain::keys::SecretVersions;
use reelay_domain::message::Notification;
use reelay_domain::{notification, operator_url};
use reelay_runtime::secrets::Secret;
use reqwest::Client;
use url::Url;

use crate::deployment::Deployment;

/// Timeout of a notification, as the notifier has it.
const NOTIFICATION_TIMEOUT: Duration = Duration::from_secs(15);

/// Describes a failed request without its URL, which may contain a token.
pub(crate) fn connection_failure(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "no connection"
    } else {
        "invalid response"
    }
}

/// An app's endpoint for notifications, with the secrets that sign them.
pub(crate) struct AppEndpoint {
    http: Client,
    url: Url,
    secrets: SecretVersions,
}

impl AppEndpoint {
    pub(crate) fn new(deployment: &Deployment, url: Url, secrets: SecretVersions) -> Self {
        Self { http: deployment.http.clone(), url, secrets }
    }

    /// The endpoint at `AppWebhookUrl`, with the stack's notification secret. `None` without that parameter.
    ///
    /// # Errors
    /// When the URL is invalid or the secret cannot be read.
    pub(crate) async fn of_stack(deployment: &Deployment) -> anyhow::Result<Option<Self>> {
        let url = deployment.parameter("AppWebhookUrl");
        if url.is_empty() {
            return Ok(None);
        }
        let url = operator_url::parse(url).context("invalid AppWebhookUrl")?;
        Ok(Some(Self::new(deployment, url, notification_secrets(deployment).await?)))
    }

    /// The same endpoint, with other secrets.
    pub(crate) fn signing_with(&self, secrets: SecretVersions) -> Self {
        Self { http: self.http.clone(), url: self.url.clone(), secrets }
    }

    /// Posts a notification as the notifier does. Returns the status of the response, or why there is none.
    ///
    /// # Errors
    /// When the secret is not base64.
    pub(crate) async fn post(
        &self,
        notification: &Notification,
        now: Timestamp,
    ) -> anyhow::Result<Result<u16, &'static str>> {
        let Notification { id, body, .. } = notification;
        let seconds = now.as_second();
        let request = self
            .http
            .post(self.url.clone())
            .timeout(NOTIFICATION_TIMEOUT)
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", notification::signature(&self.secrets, id, seconds, body)?)
            .body(body.clone());
        let response = request.send().await;
        Ok(response
            .map(|response| response.status().as_u16())
            .map_err(|error| connection_failure(&error)))
    }
}

/// The live secrets that sign a stack's notifications.
///
/// # Errors
/// When Secrets Manager rejects the request.
pub(crate) async fn notification_secrets(
    deployment: &Deployment,
) -> anyhow::Result<SecretVersions> {
    let secret = Secret::from_env(&deployment.environment, "NOTIFICATION_SECRET")?;
    secret.versions().await.context("failed to read the notification secret")
}

/// Whether a response accepts a notification.
pub(crate) fn is_accepted(answer: Result<u16, &'static str>) -> bool {
    matches!(answer, Ok(200..=299))
}

/// The response in words.
pub(crate) fn describe(answer: Result<u16, &'static str>) -> String {
    answer.map_or_else(str::to_owned, |status| status.to_string())
}
