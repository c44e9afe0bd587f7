//! The app's tokens at the door: `domain::jwt` with the app secret as it is now.

use aws::AwsFailure;
use aws::environment::{Clock, ConfigError, Environment};
use aws::secrets::Secret;
use domain::jwt::{self, AppKeys, AppToken, Audience, TokenError};
use domain::keys::Versions;
use http::header::AUTHORIZATION;
use lambda_http::Request;
use secrecy::ExposeSecret as _;

/// Why a token does not open the door.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppTokenError {
    /// The token is at fault.
    #[error(transparent)]
    Refused(#[from] TokenError),
    /// We are: there is no secret to check it with.
    #[error("the app secret can't be read: {0}")]
    Unavailable(String),
}

impl From<AwsFailure> for AppTokenError {
    fn from(failure: AwsFailure) -> Self {
        Self::Unavailable(failure.to_string())
    }
}

/// Verifies tokens that the app signed.
#[derive(Debug)]
pub struct AppTokens {
    secret: Secret,
    clock: Clock,
}

impl AppTokens {
    /// Uses `APP_SECRET`. Key sets (`APP_JWKS_URL`) are refused until they are supported, so that
    /// nobody who sets one is served by HS256 instead.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        if environment.variables.optional("APP_JWKS_URL").is_some() {
            return Err(ConfigError::Unusable {
                name: "APP_JWKS_URL".to_owned(),
                reason: "key sets are not supported by this version; leave AppJwksUrl empty"
                    .to_owned(),
            });
        }
        Ok(Self {
            secret: Secret::named_by(environment, "APP_SECRET")?,
            clock: environment.clock.clone(),
        })
    }

    /// Checks a token. If it does not verify, the secret may have been turned over since it was read:
    /// it is read again, at most once a minute.
    pub async fn verify(&self, token: &str, audience: Audience) -> Result<AppToken, AppTokenError> {
        let versions = usable(self.secret.versions().await?)?;
        match self.check(versions, token, audience) {
            Err(TokenError::Invalid(_)) => match self.secret.read_again().await? {
                Some(versions) => Ok(self.check(usable(versions)?, token, audience)?),
                None => Ok(self.check(usable(self.secret.versions().await?)?, token, audience)?),
            },
            checked => Ok(checked?),
        }
    }

    fn check(
        &self,
        versions: Versions,
        token: &str,
        audience: Audience,
    ) -> Result<AppToken, TokenError> {
        jwt::verify(
            &AppKeys::Secret(versions),
            token,
            audience,
            self.clock.now(),
        )
    }
}

/// An empty secret would let anybody sign.
fn usable(versions: Versions) -> Result<Versions, AppTokenError> {
    if versions
        .iter()
        .any(|secret| secret.expose_secret().is_empty())
    {
        return Err(AppTokenError::Unavailable(
            "the app secret is empty".to_owned(),
        ));
    }
    Ok(versions)
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
