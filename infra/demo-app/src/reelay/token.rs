//! The two tokens that an app signs (JWT, RFC 7519).

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::error::ReelayError;
use crate::app_user::AppUser;
use crate::clock::Clock;

/// Lifetime of a connect token in seconds. Reelay accepts at most 15 minutes.
const CONNECT_TOKEN_TTL: i64 = 10 * 60;

/// Lifetime of an API token in seconds. It serves one request.
const API_TOKEN_TTL: i64 = 60;

pub(super) struct Signer {
    key: EncodingKey,
    clock: Clock,
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
        let (now, jti) = (self.clock.now().as_second(), Uuid::new_v4());
        self.sign(&json!({
            "aud": "reelay:connect", "sub": user, "iat": now, "exp": now + CONNECT_TOKEN_TTL,
            "return_to": return_to, "jti": jti.to_string(),
        }))
    }

    /// Token for one request below `/v1`.
    pub(super) fn api_token(&self, user: &AppUser) -> Result<String, ReelayError> {
        let now = self.clock.now().as_second();
        self.sign(
            &json!({ "aud": "reelay:api", "sub": user, "iat": now, "exp": now + API_TOKEN_TTL }),
        )
    }

    fn sign(&self, claims: &Value) -> Result<String, ReelayError> {
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.key)?)
    }
}
