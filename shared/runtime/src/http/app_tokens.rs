//! Verification of the app's tokens: `reelay_domain::jwt` with the app's current keys.

use http::header::AUTHORIZATION;
use jsonwebtoken::jwk::JwkSet;
use lambda_http::Request;
use reelay_domain::jwt::{self, AppKeys, AppToken, Audience, TokenError};
use reelay_domain::keys::SecretVersions;
use secrecy::ExposeSecret as _;

use super::key_set::KeySet;
use crate::AwsError;
use crate::cache::verify_with_reread;
use crate::environment::{Clock, ConfigError, Environment};
use crate::secrets::Secret;

/// Error of a token verification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppTokenError {
    /// The token is invalid.
    #[error(transparent)]
    Rejected(#[from] TokenError),
    /// The app's keys are unavailable.
    #[error("the app's keys are unavailable: {0}")]
    Unavailable(String),
}

impl From<AwsError> for AppTokenError {
    fn from(error: AwsError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Verifies tokens that the app signed.
#[derive(Debug)]
pub struct AppTokens {
    keys: Keys,
    clock: Clock,
}

#[derive(Debug)]
enum Keys {
    Secret(Box<Secret>),
    KeySet(Box<KeySet>),
}

impl AppTokens {
    /// Uses the key set at `APP_JWKS_URL`, and rejects HS256 then. Without that variable, uses the secret
    /// that `APP_SECRET` names.
    ///
    /// # Errors
    /// If the variables are absent or invalid.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        let clock = environment.clock.clone();
        let keys = match environment.variables.optional("APP_JWKS_URL") {
            Some(url) => Keys::KeySet(Box::new(KeySet::new(url, clock.clone())?)),
            None => Keys::Secret(Box::new(Secret::from_env(environment, "APP_SECRET")?)),
        };
        Ok(Self { keys, clock })
    }

    /// Verifies a token. A failure that a rotation explains is final only under keys that were read within the
    /// last 60 s.
    ///
    /// # Errors
    /// [`AppTokenError`].
    pub async fn verify(&self, token: &str, audience: Audience) -> Result<AppToken, AppTokenError> {
        let now = self.clock.now();
        let verified = verify_with_reread(
            self.keys().await?,
            |keys| jwt::verify(keys, token, audience, now),
            |error| match self.keys {
                Keys::Secret(_) => matches!(error, TokenError::Unverified(_)),
                Keys::KeySet(_) => *error == TokenError::UnknownKey,
            },
            self.fresh_keys(),
        );
        Ok(verified.await??)
    }

    async fn keys(&self) -> Result<AppKeys, AppTokenError> {
        match &self.keys {
            Keys::Secret(secret) => require_nonempty(secret.versions().await?),
            Keys::KeySet(set) => key_set(set.get().await),
        }
    }

    async fn fresh_keys(&self) -> Result<AppKeys, AppTokenError> {
        match &self.keys {
            Keys::Secret(secret) => require_nonempty(secret.fresh_versions().await?),
            Keys::KeySet(set) => key_set(set.fresh().await),
        }
    }
}

fn key_set(read: Result<JwkSet, &'static str>) -> Result<AppKeys, AppTokenError> {
    match read {
        Ok(set) => Ok(AppKeys::KeySet(set)),
        Err(reason) => Err(AppTokenError::Unavailable(reason.to_owned())),
    }
}

/// Rejects an empty secret, with which any sender could sign.
fn require_nonempty(versions: SecretVersions) -> Result<AppKeys, AppTokenError> {
    if versions.iter().any(|secret| secret.expose_secret().is_empty()) {
        return Err(AppTokenError::Unavailable("the app secret is empty".to_owned()));
    }
    Ok(AppKeys::Secret(versions))
}

/// Returns the bearer token of a request (RFC 6750 §2.1), or `None` without an `Authorization` header. A
/// repeated header yields an empty token, which no key verifies.
pub fn bearer(request: &Request) -> Option<&str> {
    let mut headers = request.headers().get_all(AUTHORIZATION).iter();
    let header = headers.next()?;
    if headers.next().is_some() {
        return Some("");
    }
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
