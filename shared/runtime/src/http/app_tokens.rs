//! The app's tokens at the door: `reelay_domain::jwt` with the app secret as it is now.

use crate::AwsError;
use crate::environment::{Clock, ConfigError, Environment};
use crate::secrets::Secret;
use http::header::AUTHORIZATION;
use lambda_http::Request;
use reelay_domain::jwt::{self, AppKeys, AppToken, Audience, TokenError};
use reelay_domain::keys::SecretVersions;
use secrecy::ExposeSecret as _;

use crate::http::key_set::KeySet;

/// Why a token does not open the door.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppTokenError {
    /// The token is at fault.
    #[error(transparent)]
    Rejected(#[from] TokenError),
    /// We are: there is no secret to check it with.
    #[error("the app's keys can't be read: {0}")]
    Unavailable(String),
}

impl From<AwsError> for AppTokenError {
    fn from(failure: AwsError) -> Self {
        Self::Unavailable(failure.to_string())
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
    /// Uses `APP_JWKS_URL` if it is set, and then refuses what is signed with a shared secret; else
    /// `APP_SECRET`.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        let keys = match environment.variables.optional("APP_JWKS_URL") {
            Some(url) => Keys::KeySet(Box::new(KeySet::new(url, environment.clock.clone())?)),
            None => Keys::Secret(Box::new(Secret::from_env(environment, "APP_SECRET")?)),
        };
        Ok(Self {
            keys,
            clock: environment.clock.clone(),
        })
    }

    /// Checks a token. If it does not verify, the keys may have been turned over since they were read:
    /// they are read again, at most once a minute.
    pub async fn verify(&self, token: &str, audience: Audience) -> Result<AppToken, AppTokenError> {
        match self.check(self.known().await?, token, audience) {
            Err(error) if self.may_be_outdated(error) => {
                let keys = match self.reread().await? {
                    Some(keys) => keys,
                    None => self.known().await?,
                };
                Ok(self.check(keys, token, audience)?)
            }
            checked => Ok(checked?),
        }
    }

    fn may_be_outdated(&self, error: TokenError) -> bool {
        match self.keys {
            Keys::Secret(_) => matches!(error, TokenError::Invalid(_)),
            Keys::KeySet(_) => error == TokenError::UnknownKey,
        }
    }

    async fn known(&self) -> Result<AppKeys, AppTokenError> {
        match &self.keys {
            Keys::Secret(secret) => usable(secret.versions().await?),
            Keys::KeySet(set) => match set.known().await {
                Ok(set) => Ok(AppKeys::KeySet(set)),
                Err(reason) => Err(AppTokenError::Unavailable(reason.to_owned())),
            },
        }
    }

    async fn reread(&self) -> Result<Option<AppKeys>, AppTokenError> {
        match &self.keys {
            Keys::Secret(secret) => secret.reread().await?.map(usable).transpose(),
            Keys::KeySet(set) => Ok(set.reread().await.map(AppKeys::KeySet)),
        }
    }

    fn check(
        &self,
        keys: AppKeys,
        token: &str,
        audience: Audience,
    ) -> Result<AppToken, TokenError> {
        jwt::verify(&keys, token, audience, self.clock.now())
    }
}

/// An empty secret would let anybody sign.
fn usable(versions: SecretVersions) -> Result<AppKeys, AppTokenError> {
    if versions
        .iter()
        .any(|secret| secret.expose_secret().is_empty())
    {
        return Err(AppTokenError::Unavailable(
            "the app secret is empty".to_owned(),
        ));
    }
    Ok(AppKeys::Secret(versions))
}

/// The bearer token of a request (RFC 6750 §2.1). `None` if there is no such header; a header that
/// makes no sense gives a token that verifies nothing.
pub fn bearer(request: &Request) -> Option<&str> {
    let mut headers = request.headers().get_all(AUTHORIZATION).iter();
    let header = headers.next()?;
    if headers.next().is_some() {
        return Some("");
    }
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
