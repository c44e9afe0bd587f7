//! Signs connect and API tokens with the app secret, as the app does.

use anyhow::{Context as _, anyhow};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reelay_domain::ids::AppUserId;
use reelay_domain::jwt::Audience;
use reelay_runtime::secrets::Secret;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use crate::deployment::Deployment;

#[derive(Debug, Serialize)]
struct Claims<'a> {
    aud: &'static str,
    sub: &'a AppUserId,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
}

/// Content of a token except its subject.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenRequest<'a> {
    pub(crate) audience: Audience,
    /// At most [`reelay_domain::jwt::MAX_LIFETIME`].
    pub(crate) lifetime: SignedDuration,
    pub(crate) return_to: Option<&'a str>,
    /// Adds a `jti`.
    pub(crate) single_use: bool,
}

impl TokenRequest<'_> {
    /// Requests a reusable token without a return URL.
    pub(crate) fn new(audience: Audience, lifetime: SignedDuration) -> Self {
        Self { audience, lifetime, return_to: None, single_use: false }
    }
}

/// Returns a token of the user and its expiry.
///
/// # Errors
/// When the app secret cannot be read; when the app signs with its own keys and the environment has no token.
pub(crate) async fn mint(
    deployment: &Deployment,
    user: &AppUserId,
    request: TokenRequest<'_>,
) -> anyhow::Result<(SecretString, Timestamp)> {
    let now = deployment.environment.clock.now();
    let expires_at = now + request.lifetime;
    if !deployment.parameter("AppJwksUrl").is_empty() {
        let variable = environment_variable(request.audience);
        let token = std::env::var(variable).map_err(|_| {
            anyhow!(
                "the app of this stack signs tokens with its own keys (AppJwksUrl): let it sign a token for {user} \
                 (aud {}) and set it as environment variable {variable}",
                request.audience.name()
            )
        })?;
        return Ok((SecretString::from(token), expires_at));
    }
    let secret = Secret::from_env(&deployment.environment, "APP_SECRET")?;
    let secret = secret.versions().await.context("failed to read the app secret")?;
    let claims = Claims {
        aud: request.audience.name(),
        sub: user,
        iat: now.as_second(),
        exp: expires_at.as_second(),
        return_to: request.return_to,
        jti: request.single_use.then(reelay_runtime::random::hex_id),
    };
    let key = EncodingKey::from_secret(secret.current.expose_secret().as_bytes());
    let token = encode(&Header::new(Algorithm::HS256), &claims, &key)
        .context("failed to sign the token")?;
    Ok((SecretString::from(token), expires_at))
}

fn environment_variable(audience: Audience) -> &'static str {
    match audience {
        Audience::Connect => "REELAY_CONNECT_TOKEN",
        Audience::Api => "REELAY_API_TOKEN",
    }
}
