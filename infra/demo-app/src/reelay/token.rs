//! The two tokens that an app signs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use url::Url;

use super::ReelayError;
use crate::app_user::AppUser;

/// Long enough to read what the button leads to. Reelay accepts 15 minutes at most.
const CONNECT_TOKEN_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// One call's time: an API token is made for each and never kept.
const API_TOKEN_LIFE: SignedDuration = SignedDuration::from_mins(1);

pub(super) struct Signer {
    key: EncodingKey,
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
    jti: Option<&'a str>,
}

impl Signer {
    pub(super) fn new(app_secret: &SecretString) -> Self {
        // The key is the secret's text itself, not what it would be if it were base64.
        let key = EncodingKey::from_secret(app_secret.expose_secret().as_bytes());
        Self { key }
    }

    /// `jti` makes the link one for a single use: it is spent when it has led to an active link.
    pub(super) fn connect_token(
        &self,
        user: &AppUser,
        return_to: &Url,
    ) -> Result<String, ReelayError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        let id = URL_SAFE_NO_PAD.encode(id);
        let (iat, exp) = from_now(CONNECT_TOKEN_LIFE);
        self.sign(&Claims {
            aud: "reelay:connect",
            sub: user.as_str(),
            iat,
            exp,
            return_to: Some(return_to.as_str()),
            jti: Some(&id),
        })
    }

    pub(super) fn api_token(&self, user: &AppUser) -> Result<String, ReelayError> {
        let (iat, exp) = from_now(API_TOKEN_LIFE);
        self.sign(&Claims {
            aud: "reelay:api",
            sub: user.as_str(),
            iat,
            exp,
            return_to: None,
            jti: None,
        })
    }

    fn sign(&self, claims: &Claims<'_>) -> Result<String, ReelayError> {
        Ok(jsonwebtoken::encode(
            &Header::new(Algorithm::HS256),
            claims,
            &self.key,
        )?)
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

fn from_now(life: SignedDuration) -> (i64, i64) {
    let now = Timestamp::now().as_second();
    (now, now + life.as_secs())
}
