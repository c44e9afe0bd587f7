//! Tokens that the app signs (JWT, RFC 7519): the connect token in its button, and the API token of
//! its server. The algorithm is pinned by our configuration, never by the token's header.

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

/// How far the app's clock and ours may differ.
pub const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// The longest that a token may live, from `iat` to `exp`.
pub const MAX_LIFETIME: SignedDuration = SignedDuration::from_mins(15);

/// Longer texts are no tokens of ours; they are not even decoded.
const LONGEST_TEXT: usize = 8 * 1024;

/// What a token is for (`aud`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// `reelay:connect`: opens `/zoom/connect`.
    Connect,
    /// `reelay:api`: opens `/v1`.
    Api,
}

impl Audience {
    /// The text of `aud`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "reelay:connect",
            Self::Api => "reelay:api",
        }
    }
}

/// The keys that the app signs with.
#[derive(Debug, Clone)]
pub enum AppKeys {
    /// HS256 with the app secret: its UTF-8 bytes are the key.
    Secret(SecretVersions),
    /// RS256 or ES256 by the app's key set; HS256 is refused then.
    KeySet(JwkSet),
}

/// A token that was checked.
#[derive(Debug, Clone)]
pub struct AppToken {
    /// `sub`: the app user for whom the app speaks.
    pub app_user: AppUserId,
    /// `return_to` of a connect token, not yet held against the list.
    pub return_to: Option<String>,
    /// `jti`: makes a connect token good for one link only.
    pub jti: Option<String>,
    /// `exp`.
    pub expires_at: Timestamp,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Was good once.
    #[error("the token has expired")]
    Expired,
    /// Signed by a key that is not in the key set; a fresher set may hold it.
    #[error("the token names a key that is not in the key set")]
    UnknownKey,
    /// Never good: what is wrong, in words fit for the app's developer.
    #[error("{0}")]
    Invalid(&'static str),
}

impl TokenError {
    /// The reason in words fit for the app's developer.
    pub fn public_message(self) -> &'static str {
        match self {
            Self::Expired => "The token has expired.",
            Self::UnknownKey => "The token names a key that is not in the key set.",
            Self::Invalid(why) => why,
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

/// Checks a token's signature, then its claims, at `now`.
pub fn verify(
    keys: &AppKeys,
    token: &str,
    audience: Audience,
    now: Timestamp,
) -> Result<AppToken, TokenError> {
    use TokenError::Invalid;
    if token.len() > LONGEST_TEXT {
        return Err(Invalid("the token is longer than 8 KiB"));
    }
    let header = read_header(token)?;
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
        return Err(Invalid("iat lies in the future"));
    }
    if let Some(nbf) = claims.nbf
        && numeric_date(nbf)? > now + LEEWAY
    {
        return Err(Invalid("nbf lies in the future"));
    }
    if exp < iat {
        return Err(Invalid("exp lies before iat"));
    }
    if exp.duration_since(iat) > MAX_LIFETIME {
        return Err(Invalid("the token lives longer than 15 minutes"));
    }
    if now >= exp + LEEWAY {
        return Err(TokenError::Expired);
    }
    if claims
        .jti
        .as_deref()
        .is_some_and(|jti| jti.is_empty() || jti.len() > 256)
    {
        return Err(Invalid("jti must have 1 to 256 bytes"));
    }
    Ok(AppToken {
        app_user,
        return_to: claims.return_to,
        jti: claims.jti,
        expires_at: exp,
    })
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Present at all, whatever its value: `null` is no list of extensions either.
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

/// Reads what we use of the header. `jku`, `x5u` and `jwk` are not even looked at.
fn read_header(token: &str) -> Result<Header, TokenError> {
    let malformed = TokenError::Invalid("the token is not a signed JWT");
    let (first, rest) = token.split_once('.').ok_or(malformed)?;
    if rest.split('.').count() != 2 {
        return Err(malformed);
    }
    let json = URL_SAFE_NO_PAD.decode(first).map_err(|_| malformed)?;
    let header: Header = serde_json::from_slice(&json).map_err(|_| malformed)?;
    if header.crit {
        return Err(TokenError::Invalid(
            "the token's header has crit, which is not supported",
        ));
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
                .ok_or(TokenError::Invalid(
                    "the token's signature or claims are not valid",
                ))
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
                choose(set, header.kid.as_deref(), algorithm).ok_or(TokenError::UnknownKey)?;
            let key = DecodingKey::from_jwk(jwk).map_err(|_| TokenError::UnknownKey)?;
            decode(token, &key, algorithm)
        }
    }
}

/// The key for a token: by `kid`, or the only one of its kind when the token names none. `alg` and `use`
/// of a key are optional (RFC 7517 §4); where they stand they must fit.
fn choose<'a>(set: &'a JwkSet, kid: Option<&str>, algorithm: Algorithm) -> Option<&'a Jwk> {
    let fits = |alg| alg == KeyAlgorithm::from(algorithm);
    let mut usable = set.keys.iter().filter(|jwk| {
        jwk.common.key_algorithm.is_none_or(fits)
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
    // The claims are checked above, against the caller's clock instead of the process's.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    jsonwebtoken::decode::<Claims>(token, key, &validation)
        .map(|data| data.claims)
        .map_err(|_| TokenError::Invalid("the token's signature or claims are not valid"))
}

/// NumericDate (RFC 7519 §2): seconds, possibly with a fraction.
fn numeric_date(number: serde_json::Number) -> Result<Timestamp, TokenError> {
    let seconds = number.as_i64().or_else(|| {
        let seconds = number.as_f64()?;
        // Within these bounds the conversion is exact.
        (seconds.abs() < 9e15).then_some(seconds.floor() as i64)
    });
    seconds
        // Far from the ends of what a timestamp can hold, so that adding leeway can't overflow.
        .filter(|seconds| (0..=253_000_000_000).contains(seconds))
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or(TokenError::Invalid("a date of the token is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::{Value, json};

    const SECRET: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH";
    const NOW: i64 = 1_767_225_600;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    fn keys() -> AppKeys {
        AppKeys::Secret(SecretVersions::single(SECRET))
    }

    fn claims() -> Value {
        json!({"iat": NOW, "exp": NOW + 300, "aud": "reelay:api", "sub": "alice"})
    }

    fn signed(claims: &Value) -> String {
        encode(
            &Header::new(Algorithm::HS256),
            claims,
            &EncodingKey::from_secret(SECRET.as_bytes()),
        )
        .unwrap()
    }

    fn with(name: &str, value: Value) -> String {
        let mut claims = claims();
        claims[name] = value;
        signed(&claims)
    }

    fn check(token: &str) -> Result<AppToken, TokenError> {
        verify(&keys(), token, Audience::Api, now())
    }

    fn raw(header: Value, claims: &Value, signature: &str) -> String {
        let part = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
        format!("{}.{}.{signature}", part(&header), part(claims))
    }

    #[test]
    fn a_good_token_names_its_user() {
        assert_eq!(
            check(&signed(&claims())).unwrap().app_user.as_str(),
            "alice"
        );
        assert!(check(&with("aud", json!(["x", "reelay:api"]))).is_ok());
        assert!(check(&with("exp", json!(NOW as f64 + 300.5))).is_ok());
    }

    #[test]
    fn wrong_audience_is_refused() {
        assert!(verify(&keys(), &signed(&claims()), Audience::Connect, now()).is_err());
        assert!(check(&with("aud", json!("reelay:connect"))).is_err());
        assert!(check(&with("aud", json!([]))).is_err());
    }

    #[test]
    fn expiry_has_a_minute_of_leeway() {
        let token = with("exp", json!(NOW - 59));
        assert!(check(&token).is_err(), "exp before iat");
        let mut c = claims();
        c["iat"] = json!(NOW - 300);
        c["exp"] = json!(NOW - 59);
        assert!(check(&signed(&c)).is_ok());
        c["exp"] = json!(NOW - 60);
        assert_eq!(check(&signed(&c)).unwrap_err(), TokenError::Expired);
    }

    #[test]
    fn longer_than_fifteen_minutes_is_refused() {
        assert!(check(&with("exp", json!(NOW + 900))).is_ok());
        assert!(check(&with("exp", json!(NOW + 901))).is_err());
        assert!(check(&with("exp", json!(9e300))).is_err());
        assert!(check(&with("iat", json!(NOW + 61))).is_err());
    }

    #[test]
    fn missing_claims_are_refused() {
        for name in ["iat", "exp", "aud", "sub"] {
            let mut c = claims();
            c.as_object_mut().unwrap().remove(name);
            assert!(
                matches!(check(&signed(&c)), Err(TokenError::Invalid(_))),
                "{name}"
            );
        }
        assert!(check(&with("sub", json!("not allowed"))).is_err());
        assert!(check(&with("sub", json!(7))).is_err());
    }

    #[test]
    fn alg_none_is_refused_in_every_spelling() {
        for alg in [
            "none", "None", "NONE", "nOnE", "HS512", "RS256", "ES256", "",
        ] {
            assert!(
                check(&raw(json!({"alg": alg, "typ": "JWT"}), &claims(), "")).is_err(),
                "{alg}"
            );
        }
    }

    #[test]
    fn a_token_signed_by_another_key_is_refused() {
        let token = encode(
            &Header::new(Algorithm::HS256),
            &claims(),
            &EncodingKey::from_secret(b"other"),
        )
        .unwrap();
        assert!(check(&token).is_err());
    }

    #[test]
    fn a_token_of_the_previous_secret_still_verifies() {
        let turned = AppKeys::Secret(SecretVersions {
            current: "new".into(),
            previous: Some(SECRET.into()),
        });
        assert!(verify(&turned, &signed(&claims()), Audience::Api, now()).is_ok());
    }

    #[test]
    fn crit_is_refused_and_key_hints_are_ignored() {
        let mut header = Header::new(Algorithm::HS256);
        header.jku = Some("https://evil.test/jwks".into());
        header.x5u = Some("https://evil.test/x5u".into());
        let token = encode(
            &header,
            &claims(),
            &EncodingKey::from_secret(SECRET.as_bytes()),
        )
        .unwrap();
        assert!(check(&token).is_ok());
        for crit in [json!(["b64"]), json!([]), json!(null)] {
            let token = raw(json!({"alg": "HS256", "crit": crit}), &claims(), "AAAA");
            assert_eq!(
                check(&token).unwrap_err(),
                TokenError::Invalid("the token's header has crit, which is not supported")
            );
        }
    }

    #[test]
    fn hs256_with_a_public_key_as_secret_is_refused_when_a_key_set_is_configured() {
        let set: JwkSet = serde_json::from_value(json!({"keys": [{
            "kty": "EC", "crv": "P-256", "kid": "k1",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
        }]})).unwrap();
        let keys = AppKeys::KeySet(set);
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("k1".into());
        let secret = EncodingKey::from_secret(b"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4");
        let token = encode(&header, &claims(), &secret).unwrap();
        assert!(matches!(
            verify(&keys, &token, Audience::Api, now()),
            Err(TokenError::Invalid(_))
        ));
        let token = raw(json!({"alg": "ES256", "kid": "k2"}), &claims(), "AAAA");
        assert_eq!(
            verify(&keys, &token, Audience::Api, now()).unwrap_err(),
            TokenError::UnknownKey
        );
    }

    #[test]
    fn a_key_may_leave_out_its_alg_and_its_kid_may_be_shared_but_what_it_says_must_fit() {
        // By another implementation: ES256 with kid "one", at NOW, by a key that was thrown away.
        let token = concat!(
            "eyJhbGciOiJFUzI1NiIsImtpZCI6Im9uZSJ9.",
            "eyJpYXQiOjE3NjcyMjU2MDAsImV4cCI6MTc2NzIyNTkwMCwiYXVkIjoicmVlbGF5OmFwaSIsInN1YiI6ImFsaWNlIn0.",
            "XmG-UJBs6tFIpRELxXwPTeYYtm2-H30l332t7SvzRCegxXW3iQnwwsenltyHgttCMsOItg6iDdt--UxrEg22JA"
        );
        let key = |more: Value| {
            let mut key = json!({
                "kty": "EC", "crv": "P-256", "kid": "one",
                "x": "nwzBgTRZS4pAFS1QLoEbXqWmDhUZHDfMtsjJVKKcOdU", "y": "0KoHqe9ZJqHeMdjc27JFdqCin_M_4ordpJhchRtwqI0"
            });
            let more = more.as_object().unwrap().clone();
            key.as_object_mut().unwrap().extend(more);
            key
        };
        let check = |set: Value| {
            let set: JwkSet = serde_json::from_value(json!({"keys": set})).unwrap();
            verify(&AppKeys::KeySet(set), token, Audience::Api, now()).map(|token| token.app_user)
        };
        let rsa = json!({"kty": "RSA", "kid": "one", "alg": "RS256", "n": "AQAB", "e": "AQAB"});
        let unknown = json!({"kty": "AKP", "kid": "one", "alg": "ML-DSA-44", "pub": "AA"});
        for good in [
            json!([key(json!({}))]),
            json!([key(json!({"alg": "ES256", "use": "sig"}))]),
            json!([rsa, unknown, key(json!({}))]),
        ] {
            assert_eq!(check(good.clone()).unwrap().as_str(), "alice", "{good}");
        }
        for bad in [
            json!([]),
            json!([key(json!({"kid": "two"}))]),
            json!([key(json!({"alg": "ES384"}))]),
            json!([key(json!({"alg": "RS256"}))]),
            json!([key(json!({"use": "enc"}))]),
            json!([rsa, unknown]),
        ] {
            assert_eq!(
                check(bad.clone()).unwrap_err(),
                TokenError::UnknownKey,
                "{bad}"
            );
        }
    }

    #[test]
    fn an_altered_token_is_refused_wherever_it_is_altered() {
        let token = signed(&claims());
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(bytes).unwrap();
            assert!(check(&altered).is_err(), "byte {at}");
        }
    }
}
