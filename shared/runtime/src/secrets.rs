//! Secrets Manager: each secret fetched once per instance, kept for five minutes, and turned over by
//! version stage. AWSCURRENT signs, AWSPREVIOUS still verifies.

use aws_sdk_secretsmanager::Client;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::keys::SecretVersions;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::AwsError;
use crate::environment::{Clock, ConfigError, Environment};

/// A secret read so long ago is read again, if it can be.
const KEPT: SignedDuration = SignedDuration::from_mins(5);

/// However often verification fails, it makes us read a secret again only once within this time:
/// forgeries are free for those who send them, and must be nearly free for us.
const AT_MOST_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// Why there is no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Secrets Manager did not give it.
    #[error(transparent)]
    Unavailable(#[from] AwsError),
    /// It was read, and is not what it should be: not filled in yet, as a rule.
    #[error("the secret {0} is not configured")]
    NotConfigured(&'static str),
}

/// One secret of Secrets Manager.
#[derive(Debug)]
pub struct Secret {
    client: Client,
    id: String,
    clock: Clock,
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug, Clone)]
struct Kept {
    versions: SecretVersions,
    read_at: Timestamp,
    /// When something that did not verify last made us read.
    forced_at: Option<Timestamp>,
}

impl Secret {
    /// The secret whose name or ARN the variable holds.
    pub fn from_env(environment: &Environment, variable: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            client: environment.secretsmanager(),
            id: environment.variables.required(variable)?.to_owned(),
            clock: environment.clock.clone(),
            kept: Mutex::new(None),
        })
    }

    /// The live versions. What was read within five minutes is not read again; if a later read
    /// fails, what was read before still serves.
    pub async fn versions(&self) -> Result<SecretVersions, AwsError> {
        let mut kept = self.kept.lock().await;
        let now = self.clock.now();
        match kept.as_ref() {
            Some(known) if now.duration_since(known.read_at) < KEPT => Ok(known.versions.clone()),
            known => match self.read().await {
                Ok(versions) => {
                    let forced_at = known.and_then(|known| known.forced_at);
                    *kept = Some(Kept {
                        versions: versions.clone(),
                        read_at: now,
                        forced_at,
                    });
                    Ok(versions)
                }
                Err(failure) => match known {
                    Some(known) => {
                        tracing::warn!(error = %failure, "secret not refreshed, the one read before serves on");
                        Ok(known.versions.clone())
                    }
                    None => Err(failure),
                },
            },
        }
    }

    /// Reads the secret again because something did not verify with it. `None` if that was done within
    /// the last 60 s: then what did not verify is simply wrong.
    pub async fn reread(&self) -> Result<Option<SecretVersions>, AwsError> {
        let mut kept = self.kept.lock().await;
        let now = self.clock.now();
        let forced_at = kept.as_ref().and_then(|known| known.forced_at);
        if forced_at.is_some_and(|at| now.duration_since(at) < AT_MOST_EVERY) {
            return Ok(None);
        }
        let versions = self.read().await?;
        *kept = Some(Kept {
            versions: versions.clone(),
            read_at: now,
            forced_at: Some(now),
        });
        Ok(Some(versions))
    }

    async fn read(&self) -> Result<SecretVersions, AwsError> {
        let (current, previous) = tokio::join!(self.stage("AWSCURRENT"), self.stage("AWSPREVIOUS"));
        let current = current?.ok_or_else(|| {
            AwsError::unexpected_response("GetSecretValue", "no version is AWSCURRENT")
        })?;
        Ok(SecretVersions {
            current,
            previous: previous?,
        })
    }

    async fn stage(&self, stage: &str) -> Result<Option<SecretString>, AwsError> {
        let answer = self
            .client
            .get_secret_value()
            .secret_id(&self.id)
            .version_stage(stage)
            .send()
            .await;
        match answer {
            Ok(value) => Ok(value.secret_string.map(SecretString::from)),
            // Before the first turn-over there is no previous version.
            Err(error)
                if stage == "AWSPREVIOUS"
                    && error
                        .as_service_error()
                        .is_some_and(|e| e.is_resource_not_found_exception()) =>
            {
                Ok(None)
            }
            Err(error) => Err(AwsError::from_sdk("GetSecretValue", &error)),
        }
    }
}

/// `ZoomSecret`: what the operator fills in after registering the app at Zoom.
#[derive(Debug)]
pub struct ZoomSecret(Secret);

/// The Zoom app's credentials, current version.
#[derive(Debug, Clone)]
pub struct ZoomCredentials {
    /// `client_id`.
    pub client_id: String,
    /// `client_secret`.
    pub client_secret: SecretString,
}

#[derive(Deserialize)]
struct ZoomSecretJson {
    #[serde(default)]
    client_id: String,
    #[serde(default)]
    client_secret: String,
    #[serde(default)]
    webhook_secret: String,
}

impl ZoomSecret {
    /// The secret whose name or ARN the variable holds.
    pub fn from_env(environment: &Environment, variable: &str) -> Result<Self, ConfigError> {
        Secret::from_env(environment, variable).map(Self)
    }

    /// The client credentials.
    pub async fn credentials(&self) -> Result<ZoomCredentials, SecretError> {
        credentials(&self.0.versions().await?)
    }

    /// The client credentials, read anew, unless that was done within the last 60 s: for whoever was told
    /// that those at hand are wrong.
    pub async fn credentials_reread(&self) -> Result<Option<ZoomCredentials>, SecretError> {
        self.0
            .reread()
            .await?
            .map(|versions| credentials(&versions))
            .transpose()
    }

    /// The live webhook secrets.
    pub async fn webhook_secrets(&self) -> Result<SecretVersions, SecretError> {
        webhook_secrets(&self.0.versions().await?)
    }

    /// The live webhook secrets, read anew, unless that was done within the last 60 s.
    pub async fn webhook_secrets_reread(&self) -> Result<Option<SecretVersions>, SecretError> {
        self.0
            .reread()
            .await?
            .map(|versions| webhook_secrets(&versions))
            .transpose()
    }
}

fn parse(version: &SecretString) -> Option<ZoomSecretJson> {
    serde_json::from_str(version.expose_secret()).ok()
}

/// Zoom has one client secret, or for an hour two; ours is the current one.
fn credentials(versions: &SecretVersions) -> Result<ZoomCredentials, SecretError> {
    parse(&versions.current)
        .filter(|secret| !secret.client_id.is_empty() && !secret.client_secret.is_empty())
        .map(|secret| ZoomCredentials {
            client_id: secret.client_id,
            client_secret: SecretString::from(secret.client_secret),
        })
        .ok_or(SecretError::NotConfigured("ZoomSecret"))
}

/// The versions that hold a webhook secret. The placeholder that a deployment begins with holds none,
/// and must never verify anything.
fn webhook_secrets(versions: &SecretVersions) -> Result<SecretVersions, SecretError> {
    let mut found = versions
        .iter()
        .filter_map(parse)
        .map(|secret| secret.webhook_secret)
        .filter(|secret| !secret.is_empty())
        .map(SecretString::from);
    let current = found
        .next()
        .ok_or(SecretError::NotConfigured("ZoomSecret"))?;
    Ok(SecretVersions {
        current,
        previous: found.next(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_placeholder_of_a_deployment_never_becomes_a_webhook_secret() {
        let placeholder = r#"{"client_id":"","client_secret":"","webhook_secret":""}"#;
        assert!(webhook_secrets(&SecretVersions::single(placeholder)).is_err());
        assert!(webhook_secrets(&SecretVersions::single("not json")).is_err());
        let filled = SecretVersions {
            current: r#"{"client_id":"a","client_secret":"b","webhook_secret":"c"}"#.into(),
            previous: Some(placeholder.into()),
        };
        let secrets = webhook_secrets(&filled).unwrap();
        assert_eq!(secrets.iter().count(), 1);
        assert_eq!(secrets.current.expose_secret(), "c");
    }
}
