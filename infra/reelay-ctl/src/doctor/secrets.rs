//! Checks that the secrets exist and are plausible. Values are never printed.

use reelay_runtime::secrets::Secret;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::finding::Finding;
use crate::deployment::Deployment;

/// Length of a secret that the template generates: letters and digits.
const GENERATED_LENGTH: usize = 44;
/// Minimum length of an HMAC-SHA256 key (RFC 2104).
const MIN_LENGTH: usize = 32;

/// Credentials of the Zoom app.
pub(super) struct ZoomApp {
    pub(super) client_id: String,
    pub(super) client_secret: SecretString,
    pub(super) webhook_secret: SecretString,
}

#[derive(Deserialize)]
struct StoredZoomApp {
    client_id: String,
    client_secret: String,
    webhook_secret: String,
}

/// Checks the five secrets; returns the Zoom app's credentials if they are plausible.
pub(super) async fn check(
    deployment: &Deployment,
) -> anyhow::Result<(Vec<Finding>, Option<ZoomApp>)> {
    let mut findings = Vec::new();
    let zoom = match read(deployment, "ZOOM_SECRET", "ZoomSecret").await? {
        Ok(value) => check_zoom(deployment, &value, &mut findings)?,
        Err(error) => {
            findings.push(unreadable(deployment, "secret.zoom", "ZoomSecret", error)?);
            None
        }
    };
    for (check, variable, logical) in [
        ("secret.app", "APP_SECRET", "AppSecret"),
        ("secret.state_key", "STATE_KEY", "StateKey"),
        ("secret.queue_key", "QUEUE_KEY", "QueueKey"),
        ("secret.notification", "NOTIFICATION_SECRET", "NotificationSecret"),
    ] {
        findings.push(match read(deployment, variable, logical).await? {
            Ok(value) => check_generated(deployment, check, logical, &value)?,
            Err(error) => unreadable(deployment, check, logical, error)?,
        });
    }
    Ok((findings, zoom))
}

async fn read(
    deployment: &Deployment,
    variable: &str,
    logical: &str,
) -> anyhow::Result<Result<SecretString, String>> {
    // Fails if the stack was not deployed from Reelay's template.
    deployment.resource(logical)?;
    let secret = Secret::from_env(&deployment.environment, variable)?;
    let versions = secret.versions().await;
    Ok(versions.map(|versions| versions.current).map_err(|error| error.to_string()))
}

fn unreadable(
    deployment: &Deployment,
    check: &str,
    logical: &str,
    error: String,
) -> anyhow::Result<Finding> {
    let id = deployment.resource(logical)?;
    Ok(Finding::fail(
        check,
        format!("{logical} cannot be read: {error}"),
        "your AWS identity lacks access, or the secret was deleted. Without it the functions fail.",
        format!(
            "check whether it exists: {}\nif it is scheduled for deletion: {}",
            deployment.aws_command("secretsmanager", &format!("describe-secret --secret-id {id}")),
            deployment.aws_command("secretsmanager", &format!("restore-secret --secret-id {id}")),
        ),
    ))
}

fn check_zoom(
    deployment: &Deployment,
    value: &SecretString,
    findings: &mut Vec<Finding>,
) -> anyhow::Result<Option<ZoomApp>> {
    let id = deployment.resource("ZoomSecret")?;
    let put = deployment.aws_command(
        "secretsmanager",
        &format!(
            "put-secret-value --secret-id {id} --secret-string \
             '{{\"client_id\":\"…\",\"client_secret\":\"…\",\"webhook_secret\":\"…\"}}'"
        ),
    );
    let fix = format!(
        "copy client id and client secret (Basic Information > App credentials) and the secret token (Features > \
         Access) from Zoom:\n{put}"
    );
    let fail = |observed: &str, impact: &str| Finding::fail("secret.zoom", observed, impact, &*fix);
    let Ok(stored) = serde_json::from_str::<StoredZoomApp>(value.expose_secret()) else {
        findings.push(fail(
            "ZoomSecret is not JSON with client_id, client_secret and webhook_secret",
            "Reelay rejects Zoom's events with 503, and users cannot connect.",
        ));
        return Ok(None);
    };
    let fields = [
        ("client_id", &stored.client_id),
        ("client_secret", &stored.client_secret),
        ("webhook_secret", &stored.webhook_secret),
    ];
    let fields_where = |matches: fn(&str) -> bool| {
        let names = fields.iter().filter(|(_, value)| matches(value));
        names.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    };
    let empty = fields_where(str::is_empty);
    if !empty.is_empty() {
        findings.push(fail(
            &format!("ZoomSecret has empty fields: {empty}"),
            "a new stack starts with empty fields. Until they are set, Reelay rejects Zoom's events with 503, and users cannot \
             connect.",
        ));
        return Ok(None);
    }
    let malformed = fields_where(|value| {
        value.bytes().any(|byte| !byte.is_ascii_graphic() || b"\"'<>".contains(&byte))
            || value.contains("…")
    });
    if !malformed.is_empty() {
        findings.push(fail(
            &format!("ZoomSecret has characters that Zoom never uses (spaces, quotes, ellipses): {malformed}"),
            "the values were not copied exactly; Zoom rejects the client, or Reelay rejects Zoom's events.",
        ));
        return Ok(None);
    }
    if stored.client_id == stored.client_secret || stored.client_secret == stored.webhook_secret {
        findings.push(fail(
            "ZoomSecret has the same value in two fields",
            "one of the three values was pasted into the wrong field.",
        ));
        return Ok(None);
    }
    findings
        .push(Finding::ok("secret.zoom", "client id, client secret and webhook secret are set"));
    Ok(Some(ZoomApp {
        client_id: stored.client_id,
        client_secret: stored.client_secret.into(),
        webhook_secret: stored.webhook_secret.into(),
    }))
}

fn check_generated(
    deployment: &Deployment,
    check: &str,
    logical: &str,
    value: &SecretString,
) -> anyhow::Result<Finding> {
    let id = deployment.resource(logical)?;
    let value = value.expose_secret();
    let length = value.len();
    let put = deployment.aws_command(
        "secretsmanager",
        &format!(
            "put-secret-value --secret-id {id} --secret-string \"$({})\"",
            deployment.aws_command(
                "secretsmanager",
                "get-random-password --password-length 44 --exclude-punctuation --query RandomPassword --output text"
            )
        ),
    );
    let fix =
        format!("rotate it (SECURITY.md has the steps for the app and the waiting time):\n{put}");
    if length < MIN_LENGTH {
        return Ok(Finding::fail(
            check,
            format!("{logical} has {length} bytes"),
            "an attacker can guess such a short key from a signature.",
            fix,
        ));
    }
    if value.trim() != value {
        return Ok(Finding::fail(
            check,
            format!("{logical} starts or ends with whitespace"),
            "the other side probably uses it without the whitespace, so signatures do not match.",
            fix,
        ));
    }
    let is_generated =
        length == GENERATED_LENGTH && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_generated {
        return Ok(Finding::ok(check, format!("{logical} has {length} letters and digits")));
    }
    Ok(Finding::warn(
        check,
        format!(
            "{logical} has {length} bytes, not {GENERATED_LENGTH} generated letters and digits"
        ),
        if logical == "NotificationSecret" {
            "it was not generated. It must be valid base64, because the app decodes it."
        } else {
            "it was not generated. This is safe only if it is random."
        },
        fix,
    ))
}
