//! Secrets in Secrets Manager, cached and rotated by version stage: AWSCURRENT signs, AWSPREVIOUS still
//! verifies.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_secretsmanager::Client;
use jiff::SignedDuration;
use reelay_domain::keys::SecretVersions;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::AwsError;
use crate::cache::{Cache, verify_with_reread};
use crate::environment::{ConfigError, Environment};

/// Error of reading a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Secrets Manager did not return the secret.
    #[error(transparent)]
    Unavailable(#[from] AwsError),
    /// The secret has no usable value. Usually the operator has not filled it in yet.
    #[error("the secret {0} is not configured")]
    NotConfigured(&'static str),
}

/// Age from which a secret without a usable value is read again.
const UNFILLED_MAX_AGE: SignedDuration = SignedDuration::from_secs(5);

/// One secret, cached per instance. It is refreshed in the background from an age of four minutes.
#[derive(Debug)]
pub struct Secret {
    client: Client,
    id: String,
    cache: Cache<SecretVersions, AwsError>,
    /// Id of the current version, if there was no previous version. While it stays current, there is none.
    unrotated: Arc<Mutex<Option<String>>>,
}

impl Secret {
    /// The secret whose name or ARN is in the given variable.
    ///
    /// # Errors
    /// If the variable is absent.
    pub fn from_env(environment: &Environment, variable: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            client: environment.secretsmanager(),
            id: environment.variables.required(variable)?.to_owned(),
            // Errors are not held: a delivery that fails because of the first read is retried, and its next read must
            // not return the same error.
            cache: Cache::new("secret", environment.clock.clone(), SignedDuration::ZERO),
            unrotated: Arc::default(),
        })
    }

    /// Returns the live versions, at most five minutes old; up to 24 hours while reads fail or hang.
    ///
    /// # Errors
    /// If there is no such value and the read fails.
    pub async fn versions(&self) -> Result<SecretVersions, AwsError> {
        self.cache.get(|| self.read()).await
    }

    /// Reads the secret again after a failed verification. `None` if that happened within the last 60 s;
    /// then the verification failed for another reason than a rotation.
    ///
    /// # Errors
    /// If the read fails, or one within the last 60 s failed.
    pub async fn reread(&self) -> Result<Option<SecretVersions>, AwsError> {
        self.cache.reread(|| self.read()).await
    }

    /// Returns versions that were read within the last 60 s. Reads the secret at most once in this time.
    ///
    /// # Errors
    /// If that read fails.
    pub(crate) async fn fresh_versions(&self) -> Result<SecretVersions, AwsError> {
        self.cache.fresh(|| self.read()).await
    }

    /// Reads a secret that has no usable value again, at most once in [`UNFILLED_MAX_AGE`]: the operator may have filled
    /// it in since.
    async fn filled_versions(&self) -> Result<SecretVersions, AwsError> {
        self.cache.younger_than(UNFILLED_MAX_AGE, || self.read()).await
    }

    /// Verifies something with the live versions. An error that a rotation explains is final only if the versions
    /// were read within the last 60 s.
    ///
    /// # Errors
    /// The outer error is a failed read, the inner one the verification's.
    pub async fn verify_with_reread<T, E>(
        &self,
        verify: impl Fn(&SecretVersions) -> Result<T, E>,
        is_explained_by_rotation: impl Fn(&E) -> bool,
    ) -> Result<Result<T, E>, AwsError> {
        let known = self.versions().await?;
        verify_with_reread(known, verify, is_explained_by_rotation, self.fresh_versions()).await
    }

    fn read(&self) -> impl Future<Output = Result<SecretVersions, AwsError>> + use<> {
        let (client, id) = (self.client.clone(), self.id.clone());
        let unrotated = Arc::clone(&self.unrotated);
        async move {
            let current = read_stage(&client, &id, "AWSCURRENT");
            // Each read is billed, and one of a missing version is an error in CloudTrail.
            let known = lock(&unrotated).clone();
            let (current, previous) = if known.is_some() {
                let current = current.await?;
                let is_unrotated =
                    current.as_ref().is_some_and(|it| Some(&it.id) == known.as_ref());
                let previous = if is_unrotated {
                    None
                } else {
                    read_stage(&client, &id, "AWSPREVIOUS").await?
                };
                (current, previous)
            } else {
                // Read one after the other: a rotation in between must not hide the previous version.
                (current.await?, read_stage(&client, &id, "AWSPREVIOUS").await?)
            };
            let current = current.ok_or_else(|| {
                AwsError::unexpected_response("GetSecretValue", "no version is AWSCURRENT")
            })?;
            *lock(&unrotated) = previous.is_none().then_some(current.id);
            Ok(SecretVersions { current: current.value, previous: previous.map(|it| it.value) })
        }
    }
}

struct Version {
    id: String,
    value: SecretString,
}

fn lock(unrotated: &Mutex<Option<String>>) -> MutexGuard<'_, Option<String>> {
    unrotated.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read_stage(client: &Client, id: &str, stage: &str) -> Result<Option<Version>, AwsError> {
    let response = client.get_secret_value().secret_id(id).version_stage(stage).send().await;
    match response {
        Ok(response) => {
            let id = response.version_id.unwrap_or_default();
            let value = response.secret_string.map(SecretString::from);
            Ok(value.map(|value| Version { id, value }))
        }
        // Before the first rotation there is no previous version.
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

/// `ZoomSecret`, which the operator fills in after the registration of the Zoom app.
#[derive(Debug)]
pub struct ZoomSecret(Secret);

/// The client credentials of the Zoom app.
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
    /// The secret whose name or ARN is in the given variable.
    ///
    /// # Errors
    /// If the variable is absent.
    pub fn from_env(environment: &Environment, variable: &str) -> Result<Self, ConfigError> {
        Secret::from_env(environment, variable).map(Self)
    }

    /// Returns the client credentials.
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn credentials(&self) -> Result<ZoomCredentials, SecretError> {
        self.parsed(credentials).await
    }

    /// Parses the live versions; if the operator has not filled in the secret, after another read.
    async fn parsed<T>(
        &self,
        parse: impl Fn(&SecretVersions) -> Result<T, SecretError>,
    ) -> Result<T, SecretError> {
        match parse(&self.0.versions().await?) {
            Err(SecretError::NotConfigured(_)) => parse(&self.0.filled_versions().await?),
            parsed => parsed,
        }
    }

    /// Returns the credentials of one client: the current ones, or the previous ones if another client has
    /// replaced it. `None` if neither are this client's.
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn credentials_of(
        &self,
        client_id: &str,
    ) -> Result<Option<ZoomCredentials>, SecretError> {
        self.parsed(|versions| credentials_of(versions, client_id)).await
    }

    /// Reads the credentials of one client again. `None` also if that happened within the last 60 s.
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn credentials_of_reread(
        &self,
        client_id: &str,
    ) -> Result<Option<ZoomCredentials>, SecretError> {
        match self.0.reread().await? {
            Some(versions) => credentials_of(&versions, client_id),
            None => Ok(None),
        }
    }

    /// Reads the client credentials again, after Zoom rejected the client. `None` if that happened within
    /// the last 60 s.
    ///
    /// # Errors
    /// [`SecretError`], also if a read within the last 60 s failed.
    pub async fn credentials_reread(&self) -> Result<Option<ZoomCredentials>, SecretError> {
        self.0.reread().await?.map(|versions| credentials(&versions)).transpose()
    }

    /// Returns the live webhook secrets.
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn webhook_secrets(&self) -> Result<SecretVersions, SecretError> {
        self.parsed(webhook_secrets).await
    }

    /// Verifies something with the live webhook secrets. An error that a rotation explains is final only if the
    /// secrets were read within the last 60 s.
    ///
    /// # Errors
    /// The outer error is a failed read, the inner one the verification's.
    pub async fn verify_webhook_with_reread<T, E>(
        &self,
        verify: impl Fn(&SecretVersions) -> Result<T, E>,
        is_explained_by_rotation: impl Fn(&E) -> bool,
    ) -> Result<Result<T, E>, SecretError> {
        let known = self.webhook_secrets().await?;
        let fresh = async { webhook_secrets(&self.0.fresh_versions().await?) };
        verify_with_reread(known, verify, is_explained_by_rotation, fresh).await
    }
}

fn parse(version: &SecretString) -> Option<ZoomSecretJson> {
    serde_json::from_str(version.expose_secret()).ok()
}

/// Always the current version: an old client secret works at Zoom for one hour after its rotation.
fn credentials(versions: &SecretVersions) -> Result<ZoomCredentials, SecretError> {
    filled_credentials(&versions.current).ok_or(SecretError::NotConfigured("ZoomSecret"))
}

fn credentials_of(
    versions: &SecretVersions,
    client_id: &str,
) -> Result<Option<ZoomCredentials>, SecretError> {
    let current = credentials(versions)?;
    let previous = versions.previous.as_ref().and_then(filled_credentials);
    let mut known = std::iter::once(current).chain(previous);
    Ok(known.find(|credentials| credentials.client_id == client_id))
}

fn filled_credentials(version: &SecretString) -> Option<ZoomCredentials> {
    let secret = parse(version)?;
    let is_filled = !secret.client_id.is_empty() && !secret.client_secret.is_empty();
    is_filled.then(|| ZoomCredentials {
        client_id: secret.client_id,
        client_secret: SecretString::from(secret.client_secret),
    })
}

/// The versions that contain a webhook secret. A deployment begins with an empty placeholder, which must
/// never verify anything.
fn webhook_secrets(versions: &SecretVersions) -> Result<SecretVersions, SecretError> {
    let mut found = versions
        .iter()
        .filter_map(parse)
        .map(|secret| secret.webhook_secret)
        .filter(|secret| !secret.is_empty())
        .map(SecretString::from);
    let current = found.next().ok_or(SecretError::NotConfigured("ZoomSecret"))?;
    Ok(SecretVersions { current, previous: found.next() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn previous_version_has_credentials_of_the_replaced_client() {
        let secret = |id: &str, secret: &str| {
            let value = format!(r#"{{"client_id":"{id}","client_secret":"{secret}"}}"#);
            SecretString::from(value)
        };
        let versions =
            SecretVersions { current: secret("new", "n"), previous: Some(secret("old", "o")) };
        for (id, expected) in [("new", Some("n")), ("old", Some("o")), ("older", None)] {
            let found = credentials_of(&versions, id).unwrap();
            let found = found.as_ref().map(|found| found.client_secret.expose_secret());
            assert_eq!(found, expected, "{id}");
        }
        assert_eq!(credentials(&versions).unwrap().client_id, "new");
    }

    #[test]
    fn placeholder_is_not_a_webhook_secret() {
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
