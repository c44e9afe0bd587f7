//! The two tokens that an app signs (JWT, RFC 7519).

use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use url::Url;

use super::error::ReelayError;
use crate::app_user::AppUser;
use crate::clock::Clock;

/// Lifetime of a connect token. Reelay accepts at most 15 minutes.
const CONNECT_TOKEN_TTL: SignedDuration = SignedDuration::from_mins(10);

/// Lifetime of an API token, which serves one request.
const API_TOKEN_TTL: SignedDuration = SignedDuration::from_mins(1);

pub(super) struct Signer {
    key: EncodingKey,
    clock: Clock,
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    sub: &'a str,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
}

impl Signer {
    pub(super) fn new(app_secret: &SecretString, clock: Clock) -> Self {
        // The key is the UTF-8 text of the secret, without base64 decoding.
        let key = EncodingKey::from_secret(app_secret.expose_secret().as_bytes());
        Self { key, clock }
    }

    /// Token for `/zoom/connect`. Its `jti` makes it single-use.
    pub(super) fn connect_token(
        &self,
        user: &AppUser,
        return_to: &Url,
    ) -> Result<String, ReelayError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        let mut claims = self.claims("reelay:connect", user, CONNECT_TOKEN_TTL);
        claims.return_to = Some(return_to.as_str());
        claims.jti = Some(format!("{:032x}", u128::from_be_bytes(id)));
        self.sign(&claims)
    }

    /// Token for one request below `/v1`.
    pub(super) fn api_token(&self, user: &AppUser) -> Result<String, ReelayError> {
        self.sign(&self.claims("reelay:api", user, API_TOKEN_TTL))
    }

    fn sign(&self, claims: &Claims<'_>) -> Result<String, ReelayError> {
        let header = Header::new(Algorithm::HS256);
        Ok(jsonwebtoken::encode(&header, claims, &self.key)?)
    }

    fn claims<'a>(&self, audience: &'a str, user: &'a AppUser, ttl: SignedDuration) -> Claims<'a> {
        let now = self.clock.now().as_second();
        Claims {
            aud: audience,
            sub: user.as_str(),
            iat: now,
            exp: now + ttl.as_secs(),
            return_to: None,
            jti: None,
        }
    }
}
