//! Tokens that the app would sign: the operator's tool has the same secret.

use anyhow::{Context as _, anyhow};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reelay_domain::ids::AppUserId;
use reelay_domain::jwt::Audience;
use reelay_runtime::secrets::Secret;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use crate::deployment::Deployment;

/// What is signed.
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

/// What a token is to say, beside whose it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// What for.
    pub(crate) audience: Audience,
    /// For how long: at most [`reelay_domain::jwt::MAX_LIFETIME`].
    pub(crate) life: SignedDuration,
    /// Where the browser comes back to.
    pub(crate) return_to: Option<&'a str>,
    /// Whether it is good once only.
    pub(crate) once: bool,
}

/// A token of a user, and when it ends.
///
/// # Errors
/// If the app secret can't be read; or if the app signs with keys of its own, and no token of its was given
/// in the environment.
pub(crate) async fn mint(
    deployment: &Deployment,
    user: &AppUserId,
    wanted: Wanted<'_>,
) -> anyhow::Result<(SecretString, Timestamp)> {
    let now = deployment.environment.clock.now();
    let ends = now + wanted.life;
    if !deployment.parameter("AppJwksUrl").is_empty() {
        let variable = variable(wanted.audience);
        let given = std::env::var(variable).map_err(|_| {
            anyhow!(
                "this stack's app signs its tokens with keys of its own (AppJwksUrl): have it sign one for {user} \
                 (aud {}), and give it in the environment variable {variable}",
                wanted.audience.name()
            )
        })?;
        return Ok((SecretString::from(given), ends));
    }
    let secret = Secret::from_env(&deployment.environment, "APP_SECRET")?;
    let secret = secret
        .versions()
        .await
        .context("the app secret can't be read")?;
    let claims = Claims {
        aud: wanted.audience.name(),
        sub: user,
        iat: now.as_second(),
        exp: ends.as_second(),
        return_to: wanted.return_to,
        jti: wanted.once.then(|| {
            format!(
                "{:032x}",
                u128::from_be_bytes(reelay_runtime::random::bytes())
            )
        }),
    };
    let key = EncodingKey::from_secret(secret.current.expose_secret().as_bytes());
    let token = encode(&Header::new(Algorithm::HS256), &claims, &key)
        .context("the token can't be signed")?;
    Ok((SecretString::from(token), ends))
}

fn variable(audience: Audience) -> &'static str {
    match audience {
        Audience::Connect => "REELAY_CONNECT_TOKEN",
        Audience::Api => "REELAY_API_TOKEN",
    }
}
