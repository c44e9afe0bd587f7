//! Verification of the app's JWTs (RFC 7519): the connect token in its button's link and the API token of
//! its server. The configuration, never the token's header, determines the algorithm.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::ExposeSecret as _;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

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
    #[error("the token has expired")]
    Expired,
    /// No key of the key set matches; a newer key set may contain one.
    #[error("the token is signed by a key that is not in the key set")]
    UnknownKey,
    /// The token is invalid at any time, for the reason given.
    #[error("{0}")]
    Invalid(&'static str),
}

impl TokenError {
    /// Returns the reason, worded for the app's developer.
    pub fn public_message(self) -> &'static str {
        match self {
            Self::Expired => "The token has expired.",
            Self::UnknownKey => "The token is signed by a key that is not in the key set.",
            Self::Invalid(reason) => reason,
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    iat: Option<serde_json::Number>,
    exp: Option<serde_json::Number>,
    nbf: Option<serde_json::Number>,
    aud: Option<Aud>,
    sub: Option<String>,
    return_to: Option<String>,
    jti: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Aud {
    One(String),
    Many(Vec<String>),
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
    use TokenError::Invalid;
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Invalid("the token is longer than 8 KiB"));
    }
    let header = parse_header(token)?;
    let claims = verify_signature(keys, token, &header)?;

    let aud_matches = match claims.aud.ok_or(Invalid("the token has no aud"))? {
        Aud::One(aud) => aud == audience.name(),
        Aud::Many(auds) => auds.iter().any(|aud| aud == audience.name()),
    };
    if !aud_matches {
        return Err(Invalid("the token is for another audience"));
    }
    let sub = claims.sub.ok_or(Invalid("the token has no sub"))?;
    let app_user = sub
        .parse()
        .map_err(|_| Invalid("sub is not an app user id ([A-Za-z0-9._~@:+=|-]{1,128})"))?;

    let iat = numeric_date(claims.iat.ok_or(Invalid("the token has no iat"))?)?;
    let exp = numeric_date(claims.exp.ok_or(Invalid("the token has no exp"))?)?;
    if iat > now + LEEWAY {
        return Err(Invalid("iat is in the future"));
    }
    if let Some(nbf) = claims.nbf
        && numeric_date(nbf)? > now + LEEWAY
    {
        return Err(Invalid("nbf is in the future"));
    }
    if exp < iat {
        return Err(Invalid("exp is before iat"));
    }
    if exp.duration_since(iat) > MAX_LIFETIME {
        return Err(Invalid("exp is more than 15 minutes after iat"));
    }
    if now >= exp + LEEWAY {
        return Err(TokenError::Expired);
    }
    if claims.jti.as_deref().is_some_and(|jti| jti.is_empty() || jti.len() > 256) {
        return Err(Invalid("jti must have 1 to 256 bytes"));
    }
    Ok(AppToken { app_user, return_to: claims.return_to, jti: claims.jti, expires_at: exp })
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

/// Parses the header. `jku`, `x5u` and `jwk` are ignored.
fn parse_header(token: &str) -> Result<Header, TokenError> {
    let malformed = TokenError::Invalid("the token is not a signed JWT");
    let (first, rest) = token.split_once('.').ok_or(malformed)?;
    if rest.split('.').count() != 2 {
        return Err(malformed);
    }
    let json = URL_SAFE_NO_PAD.decode(first).map_err(|_| malformed)?;
    let header: Header = serde_json::from_slice(&json).map_err(|_| malformed)?;
    if header.has_crit {
        return Err(TokenError::Invalid("the token's header has crit, which is not supported"));
    }
    Ok(header)
}

fn verify_signature(keys: &AppKeys, token: &str, header: &Header) -> Result<Claims, TokenError> {
    match keys {
        AppKeys::Secret(versions) => {
            if header.alg != "HS256" {
                return Err(TokenError::Invalid("the token must be signed with HS256"));
            }
            versions
                .iter()
                .find_map(|secret| {
                    let key = DecodingKey::from_secret(secret.expose_secret().as_bytes());
                    decode(token, &key, Algorithm::HS256).ok()
                })
                .ok_or(TokenError::Invalid("the token's signature or claims are not valid"))
        }
        AppKeys::KeySet(set) => {
            let algorithm = match header.alg.as_str() {
                "RS256" => Algorithm::RS256,
                "ES256" => Algorithm::ES256,
                _ => {
                    return Err(TokenError::Invalid(
                        "the token must be signed with RS256 or ES256",
                    ));
                }
            };
            let jwk =
                select_key(set, header.kid.as_deref(), algorithm).ok_or(TokenError::UnknownKey)?;
            let key = DecodingKey::from_jwk(jwk).map_err(|_| TokenError::UnknownKey)?;
            decode(token, &key, algorithm)
        }
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

fn decode(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<Claims, TokenError> {
    let mut validation = Validation::new(algorithm);
    // `verify` checks the claims against the `now` argument; the library would use the system clock.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    jsonwebtoken::decode::<Claims>(token, key, &validation)
        .map(|data| data.claims)
        .map_err(|_| TokenError::Invalid("the token's signature or claims are not valid"))
}

/// Converts a NumericDate (RFC 7519 §2): seconds since the epoch, possibly with a fraction.
fn numeric_date(number: serde_json::Number) -> Result<Timestamp, TokenError> {
    let seconds = number.as_i64().or_else(|| {
        let seconds = number.as_f64()?;
        // Within these bounds the conversion is exact.
        (seconds.abs() < 9e15).then_some(seconds.floor() as i64)
    });
    seconds
        // Well within a timestamp's range, so that adding the leeway cannot overflow.
        .filter(|seconds| (0..=253_000_000_000).contains(seconds))
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or(TokenError::Invalid("a date claim of the token is out of range"))
}

#[cfg(test)]
mod tests;
