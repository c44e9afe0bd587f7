use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;
use crate::keys;

const SECRET: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH";
const NOW: i64 = 1_767_225_600;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn verify_api(token: &str) -> Result<AppToken, TokenError> {
    let keys = AppKeys::Secret(SecretVersions::single(SECRET));
    verify(&keys, token, Audience::Api, now())
}

fn claims() -> Value {
    json!({"iat": NOW, "exp": NOW + 300, "aud": "reelay:api", "sub": "alice"})
}

/// The claims with some of them changed; `null` removes a claim.
fn changed(changes: Value) -> Value {
    let mut claims = claims();
    let fields = claims.as_object_mut().unwrap();
    fields.extend(changes.as_object().unwrap().clone());
    fields.retain(|_, value| !value.is_null());
    claims
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// A JWT with any header whose signature is an HMAC-SHA256.
fn hmac_signed(header: &Value, claims: &Value, secret: &str) -> String {
    use hmac::Mac as _;
    let text = unsigned(header, claims);
    let tag = keys::hmac(secret.as_bytes()).chain_update(&text).finalize();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag.into_bytes()))
}

fn signed(claims: &Value) -> String {
    hmac_signed(&json!({"alg": "HS256", "typ": "JWT"}), claims, SECRET)
}

#[test]
fn valid_claims_are_accepted() {
    for changes in [
        json!({}),
        json!({"aud": ["other", "reelay:api"]}),
        json!({"exp": NOW as f64 + 300.5}),
        json!({"exp": NOW + 900}),
        json!({"iat": NOW + 60}),
        json!({"nbf": NOW + 60}),
        json!({"iat": NOW - 300, "exp": NOW - 59}),
        json!({"jti": "j".repeat(256)}),
        json!({"sub": "a".repeat(128)}),
    ] {
        let claims = changed(changes.clone());
        let token =
            verify_api(&signed(&claims)).unwrap_or_else(|error| panic!("{changes}: {error}"));
        assert_eq!(token.app_user.as_str(), claims["sub"].as_str().unwrap());
    }
}

#[test]
fn invalid_claim_is_named_with_its_problem() {
    let not_a_time = "is not a time in seconds (not milliseconds) since 1970";
    let not_an_id = "is not an app user id: [A-Za-z0-9._~@:+=|-]{1,128}";
    let not_text = "is not a string (\"12345\", not 12345)";
    for (changes, name, problem) in [
        (json!({"aud": "reelay:connect"}), "aud", "is not `reelay:api`"),
        (json!({"aud": ["reelay:connect", "reelay", "reelay:"]}), "aud", "is not `reelay:api`"),
        (json!({"aud": "REELAY:API"}), "aud", "is not `reelay:api`"),
        (json!({"aud": []}), "aud", "is not `reelay:api`"),
        (json!({"aud": 7}), "aud", "is not `reelay:api`"),
        (json!({"aud": [["reelay:api"]]}), "aud", "is not `reelay:api`"),
        (json!({"aud": null}), "aud", "is missing"),
        (json!({"iat": null}), "iat", "is missing"),
        (json!({"exp": null}), "exp", "is missing"),
        (json!({"sub": null}), "sub", "is missing"),
        (json!({"sub": ""}), "sub", not_an_id),
        (json!({"sub": "alice b"}), "sub", not_an_id),
        (json!({"sub": "alice#grant"}), "sub", not_an_id),
        (json!({"sub": "alice\0"}), "sub", not_an_id),
        (json!({"sub": "ålice"}), "sub", not_an_id),
        (json!({"sub": "a".repeat(129)}), "sub", not_an_id),
        (json!({"sub": 7}), "sub", not_text),
        (json!({"exp": NOW + 901}), "exp", "is more than 15 minutes after `iat`"),
        (json!({"exp": i64::MAX}), "exp", not_a_time),
        (json!({"exp": 9e300}), "exp", not_a_time),
        (json!({"exp": (NOW + 300) * 1_000}), "exp", not_a_time),
        (json!({"exp": NOW - 1}), "exp", "is before `iat`"),
        (json!({"exp": (NOW + 300).to_string()}), "exp", "is not a number"),
        (json!({"iat": NOW + 61}), "iat", "is more than 60 s in the future"),
        (json!({"iat": -1}), "iat", not_a_time),
        (json!({"nbf": NOW + 61}), "nbf", "is more than 60 s in the future"),
        (json!({"nbf": "now"}), "nbf", "is not a number"),
        (json!({"jti": ""}), "jti", "does not have 1 to 256 bytes"),
        (json!({"jti": "j".repeat(257)}), "jti", "does not have 1 to 256 bytes"),
        (json!({"jti": 7}), "jti", not_text),
        (json!({"return_to": 7}), "return_to", not_text),
        (json!({"return_to": ["https://app.example/"]}), "return_to", not_text),
    ] {
        let error = verify_api(&signed(&changed(changes.clone()))).unwrap_err();
        assert_eq!(error, TokenError::Claim { name, problem }, "{changes}");
        assert_eq!(error.public_message(), format!("The claim `{name}` {problem}."));
        assert!(error.is_signature_valid());
    }
}

#[test]
fn payload_must_be_an_object() {
    assert_eq!(verify_api(&signed(&json!("claims"))).unwrap_err(), TokenError::Payload);
}

#[test]
fn long_token_is_rejected_unread() {
    let error = verify_api(&signed(&changed(json!({"pad": "x".repeat(9000)})))).unwrap_err();
    assert!(matches!(error, TokenError::Unverified(_)), "{error}");
}

#[test]
fn token_expires_a_minute_after_exp() {
    let token = signed(&changed(json!({"iat": NOW - 300, "exp": NOW - 60})));
    assert_eq!(verify_api(&token).unwrap_err(), TokenError::Expired);
}

#[test]
fn audience_must_match_the_route() {
    let keys = AppKeys::Secret(SecretVersions::single(SECRET));
    assert!(verify(&keys, &signed(&claims()), Audience::Connect, now()).is_err());
}

#[test]
fn previous_secret_still_verifies() {
    let keys =
        AppKeys::Secret(SecretVersions { current: "new".into(), previous: Some(SECRET.into()) });
    assert!(verify(&keys, &signed(&claims()), Audience::Api, now()).is_ok());
}

#[test]
fn invalid_headers_and_signatures_are_rejected() {
    let valid = signed(&claims());
    let parts: Vec<&str> = valid.split('.').collect();
    let hs256 = json!({"alg": "HS256"});
    let own_key = json!({"kty": "oct", "alg": "HS256", "kid": "own", "k": URL_SAFE_NO_PAD.encode("attacker")});
    let two_algs = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","alg":"HS256"}"#);
    let hs512 = encode(
        &Header::new(Algorithm::HS512),
        &claims(),
        &EncodingKey::from_secret(SECRET.as_bytes()),
    );
    let mut cases = vec![
        ("HS512", hs512.unwrap()),
        ("no alg", hmac_signed(&json!({"typ": "JWT"}), &claims(), SECRET)),
        ("two algs", format!("{two_algs}.{}.{}", parts[1], parts[2])),
        ("another secret", hmac_signed(&hs256, &claims(), "attacker")),
        ("empty secret", hmac_signed(&hs256, &claims(), "")),
        ("prefix of the secret", hmac_signed(&hs256, &claims(), &SECRET[..43])),
        (
            "embedded jwk",
            hmac_signed(
                &json!({"alg": "HS256", "kid": "own", "jwk": own_key}),
                &claims(),
                "attacker",
            ),
        ),
        (
            "referenced jku",
            hmac_signed(
                &json!({"alg": "HS256", "jku": "https://evil.test/keys"}),
                &claims(),
                "attacker",
            ),
        ),
        ("empty signature", format!("{}.{}.", parts[0], parts[1])),
        ("truncated signature", valid[..valid.len() - 20].to_owned()),
        (
            "other claims",
            format!("{}.{}", unsigned(&hs256, &changed(json!({"sub": "mallory"}))), parts[2]),
        ),
        ("empty token", String::new()),
        ("not base64 JSON", "a.b.c".to_owned()),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("five parts", format!("{valid}.a.b")),
    ];
    for alg in ["none", "None", "NONE", "nOnE", "RS256", "ES256", ""] {
        let header = json!({"alg": alg, "typ": "JWT"});
        cases.push((alg, format!("{}.", unsigned(&header, &claims()))));
        cases.push((alg, format!("{}.{}", unsigned(&header, &claims()), parts[2])));
        cases.push((alg, hmac_signed(&header, &claims(), SECRET)));
    }
    for (case, token) in cases {
        let error = verify_api(&token).unwrap_err();
        assert!(matches!(error, TokenError::Unverified(_)), "{case}: {error}");
        assert!(!error.is_signature_valid());
    }
}

#[test]
fn any_changed_byte_is_rejected() {
    let token = signed(&claims());
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(bytes).unwrap();
        assert!(verify_api(&altered).is_err(), "byte {at}");
    }
}

#[test]
fn crit_is_rejected_and_key_references_are_ignored() {
    let references =
        json!({"alg": "HS256", "jku": "https://evil.test/keys", "x5u": "https://evil.test/x"});
    assert!(verify_api(&hmac_signed(&references, &claims(), SECRET)).is_ok());
    for crit in [json!(["b64"]), json!(["exp"]), json!([]), json!(null)] {
        let token = hmac_signed(&json!({"alg": "HS256", "crit": crit}), &claims(), SECRET);
        assert_eq!(
            verify_api(&token).unwrap_err(),
            TokenError::Unverified("the token's header has crit, which is not supported")
        );
    }
}

#[test]
fn key_set_rejects_hs256_and_unknown_kid() {
    let set = json!({"keys": [{
        "kty": "EC", "crv": "P-256", "kid": "k1",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
    }]});
    let keys = AppKeys::KeySet(serde_json::from_value(set).unwrap());
    let public_key = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
    let token = hmac_signed(&json!({"alg": "HS256", "kid": "k1"}), &claims(), public_key);
    let result = verify(&keys, &token, Audience::Api, now());
    assert!(matches!(result, Err(TokenError::Unverified(_))));
    let token = format!("{}.AAAA", unsigned(&json!({"alg": "ES256", "kid": "k2"}), &claims()));
    let result = verify(&keys, &token, Audience::Api, now());
    assert_eq!(result.unwrap_err(), TokenError::UnknownKey);
}

#[test]
fn key_must_match_kid_alg_and_use() {
    // Signed by another implementation: ES256, kid "one", at NOW; the private key was discarded.
    let token = concat!(
        "eyJhbGciOiJFUzI1NiIsImtpZCI6Im9uZSJ9.",
        "eyJpYXQiOjE3NjcyMjU2MDAsImV4cCI6MTc2NzIyNTkwMCwiYXVkIjoicmVlbGF5OmFwaSIsInN1YiI6ImFsaWNlIn0.",
        "XmG-UJBs6tFIpRELxXwPTeYYtm2-H30l332t7SvzRCegxXW3iQnwwsenltyHgttCMsOItg6iDdt--UxrEg22JA"
    );
    let key = |changes: Value| {
        let mut key = json!({
            "kty": "EC", "crv": "P-256", "kid": "one",
            "x": "nwzBgTRZS4pAFS1QLoEbXqWmDhUZHDfMtsjJVKKcOdU", "y": "0KoHqe9ZJqHeMdjc27JFdqCin_M_4ordpJhchRtwqI0"
        });
        let changes = changes.as_object().unwrap().clone();
        key.as_object_mut().unwrap().extend(changes);
        key
    };
    let rsa = json!({"kty": "RSA", "kid": "one", "alg": "RS256", "n": "AQAB", "e": "AQAB"});
    let unknown = json!({"kty": "AKP", "kid": "one", "alg": "ML-DSA-44", "pub": "AA"});
    for (is_valid, set) in [
        (true, json!([key(json!({}))])),
        (true, json!([key(json!({"alg": "ES256", "use": "sig"}))])),
        (true, json!([rsa, unknown, key(json!({}))])),
        (false, json!([])),
        (false, json!([key(json!({"kid": "two"}))])),
        (false, json!([key(json!({"alg": "ES384"}))])),
        (false, json!([key(json!({"alg": "RS256"}))])),
        (false, json!([key(json!({"use": "enc"}))])),
        (false, json!([rsa, unknown])),
    ] {
        let keys: JwkSet = serde_json::from_value(json!({"keys": set})).unwrap();
        let result = verify(&AppKeys::KeySet(keys), token, Audience::Api, now());
        let user = result.map(|token| token.app_user.as_str().to_owned());
        let expected = if is_valid { Ok("alice".to_owned()) } else { Err(TokenError::UnknownKey) };
        assert_eq!(user, expected, "{set}");
    }
}
