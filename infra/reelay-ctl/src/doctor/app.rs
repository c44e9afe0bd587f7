//! Checks the app's endpoint: it accepts a signed notification, and rejects one with another signature.

use reelay_domain::keys::SecretVersions;
use reelay_runtime::random;
use secrecy::SecretString;

use super::finding::Finding;
use crate::deployment::Deployment;
use crate::http::{AppEndpoint, describe, is_accepted};
use crate::send_test::samples;

/// Sends test notifications (`"test": true`), which the app may ignore.
pub(super) async fn check(deployment: &Deployment) -> anyhow::Result<Vec<Finding>> {
    const SIGNED: &str = "app.signed";
    const FORGED: &str = "app.forged";
    let Ok(endpoint) = AppEndpoint::of_stack(deployment).await else {
        return Ok(vec![Finding::fail(
            SIGNED,
            "AppWebhookUrl or the notification secret is not usable",
            "the app receives no notifications.",
            "fix secret.notification first, or correct AppWebhookUrl (https).",
        )]);
    };
    let Some(endpoint) = endpoint else {
        let observed = "no AppWebhookUrl: notifications go to the event bus and the feed only";
        return Ok(vec![Finding::ok(SIGNED, observed)]);
    };
    let now = deployment.environment.clock.now();
    let samples = samples(deployment.resource("RecordingsBucket")?, now)?;
    let Some(notification) = samples.first() else {
        return Ok(Vec::new());
    };
    let signed = endpoint.post(notification, now).await?;
    if !is_accepted(signed) {
        let fix = match signed {
            Ok(401 | 403) => {
                "let the app verify `webhook-signature` with `whsec_` + the value of the secret that the output \
                 NotificationSecretName names"
            }
            _ => "make the endpoint answer 2xx to signed notifications, also of unknown app users",
        };
        return Ok(vec![Finding::fail(
            SIGNED,
            format!("the app answers a signed test notification with {}", describe(signed)),
            "notifications are not accepted; Reelay retries them for NotificationRetryDays.",
            format!("{fix}, then run `{}`.", deployment.reelay_command("send-test --to webhook")),
        )]);
    }
    let mut findings = vec![Finding::ok(
        SIGNED,
        format!("the app answers a signed test notification with {}", describe(signed)),
    )];
    let secret = SecretString::from(random::hex_id());
    let forged = endpoint.signing_with(SecretVersions { current: secret, previous: None });
    let answer = forged.post(notification, now).await?;
    let observed = format!("the app answers a forged notification with {}", describe(answer));
    findings.push(match is_accepted(answer) {
        false => Finding::ok(FORGED, observed),
        true => Finding::warn(
            FORGED,
            observed,
            "anybody who knows the URL can send notifications, unless the app verifies them after its answer.",
            "verify `webhook-signature` with the notification secret before the answer, and reject with 401.",
        ),
    });
    Ok(findings)
}
