//! Secrets: there, and plausible. Their values are looked at, never shown.

use reelay_runtime::secrets::Secret;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::finding::Finding;
use crate::deployment::Deployment;

/// What the deployment generates: so many letters and digits.
const GENERATED_LENGTH: usize = 44;
/// Fewer bytes are no key for HMAC-SHA256 (RFC 2104).
const SHORTEST: usize = 32;

/// The Zoom app's credentials, as they are stored.
pub(super) struct ZoomApp {
    pub(super) client_id: String,
    pub(super) client_secret: SecretString,
    pub(super) webhook_secret: SecretString,
}

#[derive(Deserialize)]
struct Stored {
    client_id: String,
    client_secret: String,
    webhook_secret: String,
}

/// Checks all five, and gives Zoom's if they can be used.
pub(super) async fn examine(
    deployment: &Deployment,
) -> anyhow::Result<(Vec<Finding>, Option<ZoomApp>)> {
    let mut findings = Vec::new();
    let zoom = match read(deployment, "ZOOM_SECRET", "ZoomSecret").await? {
        Ok(value) => zoom(deployment, &value, &mut findings)?,
        Err(found) => {
            findings.push(unreadable(deployment, "secret.zoom", "ZoomSecret", found)?);
            None
        }
    };
    for (check, variable, logical) in [
        ("secret.app", "APP_SECRET", "AppSecret"),
        ("secret.state_key", "STATE_KEY", "StateKey"),
        ("secret.queue_key", "QUEUE_KEY", "QueueKey"),
        (
            "secret.notification",
            "NOTIFICATION_SECRET",
            "NotificationSecret",
        ),
    ] {
        findings.push(match read(deployment, variable, logical).await? {
            Ok(value) => generated(deployment, check, logical, &value)?,
            Err(found) => unreadable(deployment, check, logical, found)?,
        });
    }
    Ok((findings, zoom))
}

async fn read(
    deployment: &Deployment,
    variable: &str,
    logical: &str,
) -> anyhow::Result<Result<SecretString, String>> {
    // A stack without it is none of ours.
    deployment.resource(logical)?;
    let secret = Secret::from_env(&deployment.environment, variable)?;
    let versions = secret.versions().await;
    Ok(versions
        .map(|versions| versions.current)
        .map_err(|failure| failure.to_string()))
}

fn unreadable(
    deployment: &Deployment,
    check: &str,
    logical: &str,
    found: String,
) -> anyhow::Result<Finding> {
    let id = deployment.resource(logical)?;
    Ok(Finding::fail(
        check,
        format!("{logical} can't be read: {found}"),
        "either you may not read it, or it was deleted; without it the functions that need it fail.",
        format!(
            "see whether it is there: {}\nif it is to be deleted: {}",
            deployment.aws(
                "secretsmanager",
                &format!("describe-secret --secret-id {id}")
            ),
            deployment.aws(
                "secretsmanager",
                &format!("restore-secret --secret-id {id}")
            ),
        ),
    ))
}

fn zoom(
    deployment: &Deployment,
    value: &SecretString,
    findings: &mut Vec<Finding>,
) -> anyhow::Result<Option<ZoomApp>> {
    let id = deployment.resource("ZoomSecret")?;
    let put = deployment.aws(
        "secretsmanager",
        &format!(
            "put-secret-value --secret-id {id} --secret-string \
             '{{\"client_id\":\"…\",\"client_secret\":\"…\",\"webhook_secret\":\"…\"}}'"
        ),
    );
    let mend = format!(
        "copy client id and client secret (Basic Information > App credentials) and the secret token (Features > \
         Access) from Zoom:\n{put}"
    );
    let wrong = |found: &str, means: &str| {
        Finding::fail("secret.zoom", found.to_owned(), means.to_owned(), &*mend)
    };
    let Ok(stored) = serde_json::from_str::<Stored>(value.expose_secret()) else {
        findings.push(wrong(
            "ZoomSecret is not JSON with client_id, client_secret and webhook_secret",
            "Zoom's events are answered 503, and nobody can connect.",
        ));
        return Ok(None);
    };
    let fields = [
        ("client_id", &stored.client_id),
        ("client_secret", &stored.client_secret),
        ("webhook_secret", &stored.webhook_secret),
    ];
    let named = |matches: fn(&str) -> bool| {
        let names = fields.iter().filter(|(_, value)| matches(value));
        names.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    };
    let empty = named(str::is_empty);
    if !empty.is_empty() {
        findings.push(wrong(
            &format!("ZoomSecret is not filled in: {empty}"),
            "a stack begins so. Until it is filled in Zoom's events are answered 503, and nobody can connect.",
        ));
        return Ok(None);
    }
    let damaged = named(|value| {
        value
            .bytes()
            .any(|byte| !byte.is_ascii_graphic() || b"\"'<>".contains(&byte))
            || value.contains("…")
    });
    if !damaged.is_empty() {
        findings.push(wrong(
            &format!("ZoomSecret holds what Zoom never gives (spaces, quotes, dots): {damaged}"),
            "it was copied with something around it; Zoom will refuse it, or we Zoom's events.",
        ));
        return Ok(None);
    }
    if stored.client_id == stored.client_secret || stored.client_secret == stored.webhook_secret {
        findings.push(wrong(
            "ZoomSecret holds the same value twice",
            "one of the three was copied into the place of another.",
        ));
        return Ok(None);
    }
    findings.push(Finding::ok(
        "secret.zoom",
        "client id, client secret and webhook secret are filled in",
    ));
    Ok(Some(ZoomApp {
        client_id: stored.client_id,
        client_secret: stored.client_secret.into(),
        webhook_secret: stored.webhook_secret.into(),
    }))
}

fn generated(
    deployment: &Deployment,
    check: &str,
    logical: &str,
    value: &SecretString,
) -> anyhow::Result<Finding> {
    let id = deployment.resource(logical)?;
    let value = value.expose_secret();
    let length = value.len();
    let put = deployment.aws(
        "secretsmanager",
        &format!(
            "put-secret-value --secret-id {id} --secret-string \"$({})\"",
            deployment.aws(
                "secretsmanager",
                "get-random-password --password-length 44 --exclude-punctuation --query RandomPassword --output text"
            )
        ),
    );
    let mend = format!(
        "put a new one (SECURITY.md, \"Turning secrets over\", says how long to wait and who else must know):\n{put}"
    );
    if length < SHORTEST {
        return Ok(Finding::fail(
            check,
            format!("{logical} has {length} bytes"),
            "so few can be guessed by whoever has seen something signed with it.",
            mend,
        ));
    }
    if value.trim() != value {
        return Ok(Finding::fail(
            check,
            format!("{logical} begins or ends with a space or a line break"),
            "whoever else knows it has it without, and what one side signs the other refuses.",
            mend,
        ));
    }
    let is_generated =
        length == GENERATED_LENGTH && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_generated {
        return Ok(Finding::ok(
            check,
            format!("{logical} has {length} letters and digits"),
        ));
    }
    Ok(Finding::warn(
        check,
        format!(
            "{logical} has {length} bytes, not the {GENERATED_LENGTH} letters and digits of a generated one"
        ),
        if logical == "NotificationSecret" {
            "somebody chose it. The app reads it as base64, and must have the same bytes."
        } else {
            "somebody chose it. That is in order if it is random."
        },
        mend,
    ))
}
