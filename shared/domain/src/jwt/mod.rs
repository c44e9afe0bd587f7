//! Verification of the app's JWTs (RFC 7519): the connect token in its button's link and the API token of
//! its server. The configuration, never the token's header, determines the algorithm.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use secrecy::ExposeSecret as _;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::ids::AppUserId;
use crate::keys::SecretVersions;

/// Tolerated difference between the app's clock and Reelay's.
pub const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// Maximum time from `iat` to `exp`.
pub const MAX_LIFETIME: SignedDuration = SignedDuration::from_mins(15);

/// Maximum token length in bytes; longer tokens are rejected before decoding.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Purpose of a token (`aud`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// `reelay:connect`, for `/zoom/connect`.
    Connect,
    /// `reelay:api`, for `/v1`.
    Api,
}

impl Audience {
    /// Returns the value of `aud`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "reelay:connect",
            Self::Api => "reelay:api",
        }
    }

    fn mismatch(self) -> &'static str {
        match self {
            Self::Connect => "is not `reelay:connect`",
            Self::Api => "is not `reelay:api`",
        }
    }
}

/// Keys that verify the app's tokens.
#[derive(Debug, Clone)]
pub enum AppKeys {
    /// HS256; the key is the app secret's UTF-8 bytes.
    Secret(SecretVersions),
    /// RS256 or ES256 with the app's key set (RFC 7517); HS256 is rejected.
    KeySet(JwkSet),
}

/// A verified token.
#[derive(Debug, Clone)]
pub struct AppToken {
    /// `sub`: the app user on whose behalf the app acts.
    pub app_user: AppUserId,
    /// `return_to` of a connect token, not yet matched against [`crate::return_url::ReturnUrls`].
    pub return_to: Option<String>,
    /// `jti`, which limits a connect token to a single link.
    pub jti: Option<String>,
    /// `exp`, the time of expiry.
    pub expires_at: Timestamp,
}

/// Why a token was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token is otherwise valid.
    #[error("the claim `exp` has passed: create a token for each request")]
    Expired,
    /// No key of the key set matches; a newer key set may contain one.
    #[error("the token is signed by a key that is not in the key set")]
    UnknownKey,
    /// The signature could not be verified, for the reason given.
    #[error("{0}")]
    Unverified(&'static str),
    /// The signature is valid, and a claim is not.
    #[error("the claim `{name}` {problem}")]
    Claim {
        /// Name of the claim.
        name: &'static str,
        /// The fault, as the end of the sentence.
        problem: &'static str,
    },
    /// The signature is valid, and the payload is no JSON object.
    #[error("the payload is not a JSON object")]
    Payload,
}

impl TokenError {
    /// Whether the app signed the token, so that its holder may see the reason.
    pub fn is_signature_valid(self) -> bool {
        matches!(self, Self::Expired | Self::Claim { .. } | Self::Payload)
    }

    /// Returns the reason as a sentence for the app's developer.
    pub fn public_message(self) -> String {
        let reason = self.to_string();
        let mut rest = reason.chars();
        let first = rest.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(rest).chain(['.']).collect()
    }
}

/// Verifies a token's signature and then its claims at `now`.
///
/// # Errors
/// [`TokenError`], with the first check that failed.
pub fn verify(
    keys: &AppKeys,
    token: &str,
    audience: Audience,
    now: Timestamp,
) -> Result<AppToken, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::Unverified("the token is longer than 8 KiB"));
    }
    let signed = SignedJwt::parse(token)?;
    signed.verify(keys)?;
    let claims = Claims::parse(signed.payload)?;

    claims.check_audience(audience)?;
    let sub = claims.text("sub")?.ok_or(invalid("sub", "is missing"))?;
    let app_user = sub
        .parse()
        .map_err(|_| invalid("sub", "is not an app user id: [A-Za-z0-9._~@:+=|-]{1,128}"))?;

    let iat = claims.time("iat")?.ok_or(invalid("iat", "is missing"))?;
    let exp = claims.time("exp")?.ok_or(invalid("exp", "is missing"))?;
    if iat > now + LEEWAY {
        return Err(invalid("iat", "is more than 60 s in the future"));
    }
    if claims.time("nbf")?.is_some_and(|nbf| nbf > now + LEEWAY) {
        return Err(invalid("nbf", "is more than 60 s in the future"));
    }
    if exp < iat {
        return Err(invalid("exp", "is before `iat`"));
    }
    if exp.duration_since(iat) > MAX_LIFETIME {
        return Err(invalid("exp", "is more than 15 minutes after `iat`"));
    }
    if now >= exp + LEEWAY {
        return Err(TokenError::Expired);
    }
    let jti = claims.text("jti")?;
    if jti.is_some_and(|jti| jti.is_empty() || jti.len() > 256) {
        return Err(invalid("jti", "does not have 1 to 256 bytes"));
    }
    let return_to = claims.text("return_to")?.map(str::to_owned);
    Ok(AppToken { app_user, return_to, jti: jti.map(str::to_owned), expires_at: exp })
}

const fn invalid(name: &'static str, problem: &'static str) -> TokenError {
    TokenError::Claim { name, problem }
}

/// The claims of a token whose signature is valid. A claim that is `null` counts as absent.
struct Claims(Map<String, Value>);

impl Claims {
    fn parse(payload: &str) -> Result<Self, TokenError> {
        let json = URL_SAFE_NO_PAD.decode(payload).map_err(|_| TokenError::Payload)?;
        serde_json::from_slice(&json).map(Self).map_err(|_| TokenError::Payload)
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn check_audience(&self, audience: Audience) -> Result<(), TokenError> {
        let is_it = |value: &Value| value == audience.name();
        match self.get("aud") {
            None => Err(invalid("aud", "is missing")),
            Some(aud) if is_it(aud) => Ok(()),
            Some(Value::Array(auds)) if auds.iter().any(is_it) => Ok(()),
            Some(_) => Err(invalid("aud", audience.mismatch())),
        }
    }

    fn text(&self, name: &'static str) -> Result<Option<&str>, TokenError> {
        let problem = "is not a string (\"12345\", not 12345)";
        self.get(name).map(|value| value.as_str().ok_or(invalid(name, problem))).transpose()
    }

    /// A NumericDate (RFC 7519 §2): seconds since the epoch, possibly with a fraction.
    fn time(&self, name: &'static str) -> Result<Option<Timestamp>, TokenError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let Value::Number(number) = value else {
            return Err(invalid(name, "is not a number"));
        };
        let seconds = number.as_i64().or_else(|| {
            let seconds = number.as_f64()?;
            // Within these bounds the conversion is exact.
            (seconds.abs() < 9e15).then_some(seconds.floor() as i64)
        });
        seconds
            // Well within a timestamp's range, so that adding the leeway cannot overflow.
            .filter(|seconds| (0..=253_000_000_000).contains(seconds))
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .map(Some)
            .ok_or(invalid(name, "is not a time in seconds (not milliseconds) since 1970"))
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Whether `crit` is present, whatever its value: `null` is not a list of extensions either.
    #[serde(default, rename = "crit", deserialize_with = "is_present")]
    has_crit: bool,
}

fn is_present<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

/// A JWT in its parts (RFC 7515 §7.1), not yet verified.
struct SignedJwt<'a> {
    header: Header,
    /// Header and payload as they were signed.
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> SignedJwt<'a> {
    /// Parses the header. `jku`, `x5u` and `jwk` are ignored.
    fn parse(token: &'a str) -> Result<Self, TokenError> {
        let malformed = TokenError::Unverified("the token is not a signed JWT");
        let (message, signature) = token.rsplit_once('.').ok_or(malformed)?;
        let (first, payload) = message.split_once('.').ok_or(malformed)?;
        if payload.contains('.') {
            return Err(malformed);
        }
        let json = URL_SAFE_NO_PAD.decode(first).map_err(|_| malformed)?;
        let header: Header = serde_json::from_slice(&json).map_err(|_| malformed)?;
        if header.has_crit {
            let crit = "the token's header has crit, which is not supported";
            return Err(TokenError::Unverified(crit));
        }
        Ok(Self { header, message, payload, signature })
    }

    fn verify(&self, keys: &AppKeys) -> Result<(), TokenError> {
        use TokenError::Unverified;
        match keys {
            AppKeys::Secret(versions) => {
                if self.header.alg != "HS256" {
                    return Err(Unverified("the token must be signed with HS256"));
                }
                let is_signed = versions.iter().any(|secret| {
                    let key = DecodingKey::from_secret(secret.expose_secret().as_bytes());
                    self.is_signed(&key, Algorithm::HS256)
                });
                is_signed.then_some(()).ok_or(Unverified(
                    "the token’s signature is not that of the app secret (HS256, its UTF-8 bytes)",
                ))
            }
            AppKeys::KeySet(set) => {
                let algorithm = match self.header.alg.as_str() {
                    "RS256" => Algorithm::RS256,
                    "ES256" => Algorithm::ES256,
                    _ => return Err(Unverified("the token must be signed with RS256 or ES256")),
                };
                let jwk = select_key(set, self.header.kid.as_deref(), algorithm)
                    .ok_or(TokenError::UnknownKey)?;
                let key = DecodingKey::from_jwk(jwk).map_err(|_| TokenError::UnknownKey)?;
                self.is_signed(&key, algorithm).then_some(()).ok_or(Unverified(
                    "the token’s signature is not that of the key in the key set",
                ))
            }
        }
    }

    fn is_signed(&self, key: &DecodingKey, algorithm: Algorithm) -> bool {
        crypto::verify(self.signature, self.message.as_bytes(), key, algorithm).unwrap_or(false)
    }
}

/// Selects the key by `kid`, or the only usable key if the token has no `kid`. A key's `alg` and `use` are
/// optional (RFC 7517 §4), but must match if present.
fn select_key<'a>(set: &'a JwkSet, kid: Option<&str>, algorithm: Algorithm) -> Option<&'a Jwk> {
    let matches_algorithm = |alg| alg == KeyAlgorithm::from(algorithm);
    let mut usable = set.keys.iter().filter(|jwk| {
        jwk.common.key_algorithm.is_none_or(matches_algorithm)
            && !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption))
            && DecodingKey::from_jwk(jwk).is_ok_and(|key| key.family() == algorithm.family())
    });
    match kid {
        Some(kid) => usable.find(|jwk| jwk.common.key_id.as_deref() == Some(kid)),
        None => usable.next().filter(|_| usable.next().is_none()),
    }
}

#[cfg(test)]
mod tests;
