//! Tokens that the app signs.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reelay_domain::jwt::{self, AppKeys, AppToken, Audience};
use reelay_domain::keys::SecretVersions;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::oracle::{self, NOW, fields, text};

const SECRET: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH";
const OLD_SECRET: &str = "the app secret before";

/// Public keys of [`SIGNED`]; the private keys are discarded.
const RSA_N: &str = "ou7GMNwLpoku7htMojDVwOtyVFwik-O04io3SZPuG-T2sIIgpYLqcO283MV8Mdm34eyqy3ZhtnJOr-MsHLfvb6C4NWdvZt4jxuZ5c8DZ5f-NiNvbKsxjL-qY8EBK7gg3v4LbXWWAWsoS0gdKNecECB1a6zO3YDFFo8pa4_2UuopBhBxKtK_Je4iRGbU3wUk5o-W82iWPadQS8SevaJNnBSAMgKS2w50JDnd03fwbKUnPZS96Wfiv_l8jH3KZmNh04HzIkD2vFCdWYWd63QRlU9MZhspkx_ILbDkTpggopjcA3d5ymxDAuWbFcdPVEqaE93PtLWCO435kWjkb-wlKlw";
const EC_X: &str = "nwzBgTRZS4pAFS1QLoEbXqWmDhUZHDfMtsjJVKKcOdU";
const EC_Y: &str = "0KoHqe9ZJqHeMdjc27JFdqCin_M_4ordpJhchRtwqI0";

/// Algorithm, `kid` and text of API tokens for alice from another JWT implementation, valid at [`NOW`].
const SIGNED: [(&str, Option<&str>, &str); 4] = [
    ("RS256", None, include_str!("../tokens/rs256.jwt")),
    ("RS256", Some("one"), include_str!("../tokens/rs256-one.jwt")),
    ("ES256", None, include_str!("../tokens/es256.jwt")),
    ("ES256", Some("one"), include_str!("../tokens/es256-one.jwt")),
];

pub(crate) fn hmac(secret: &str, message: &str) -> String {
    URL_SAFE_NO_PAD.encode(oracle::hmac(secret, &[message.as_bytes()]))
}

/// A token is accepted only if the oracle confirms its header, claims and HMAC. The input serves as a token
/// and as header and claims of correctly signed tokens.
pub fn app_token(input: &[u8]) {
    let keys = AppKeys::Secret(SecretVersions {
        current: SECRET.into(),
        previous: Some(OLD_SECRET.into()),
    });
    let key_set = AppKeys::KeySet(
        serde_json::from_value(serde_json::json!({"keys": [
            {"kty": "RSA", "alg": "RS256", "kid": "one", "n": RSA_N, "e": "AQAB"},
            {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "two", "x": EC_X, "y": EC_Y},
        ]}))
        .unwrap(),
    );
    let [header, claims] = fields(input).map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header}.{claims}");
    let signed = format!("{message}.{}", hmac(SECRET, &message));
    let signed_with_old_secret = format!("{message}.{}", hmac(OLD_SECRET, &message));
    for token in [text(input), &signed, &signed_with_old_secret] {
        for (audience, name) in
            [(Audience::Api, "reelay:api"), (Audience::Connect, "reelay:connect")]
        {
            if let Ok(checked) = jwt::verify(&keys, token, audience, oracle::now()) {
                assert_valid(token, name, &checked);
            }
            // A key set must not accept an HMAC, even if the header names one.
            assert!(jwt::verify(&key_set, token, audience, oracle::now()).is_err());
        }
    }
}

fn assert_valid(token: &str, audience: &str, checked: &AppToken) {
    let (message, tag) = token.rsplit_once('.').unwrap();
    assert!([SECRET, OLD_SECRET].iter().any(|key| hmac(key, message) == tag), "wrong signature");
    let (header, claims) = message.split_once('.').unwrap();
    let [header, claims] = [header, claims].map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let (header, claims) = (Members::of(&header), Members::of(&claims));
    assert_eq!(header.value("alg"), "HS256");
    assert!(!header.0.contains_key("crit"), "accepted a crit header");
    let has_audience = match claims.value("aud") {
        Value::Array(names) => names.iter().any(|name| name == audience),
        name => name == audience,
    };
    assert!(has_audience, "accepted another audience");
    let seconds = |name: &str| claims.value(name).as_f64().unwrap().floor();
    let (iat, exp, now) = (seconds("iat"), seconds("exp"), NOW as f64);
    assert!(iat <= now + 60.0 && iat <= exp && exp - iat <= 900.0 && now < exp + 60.0);
    assert!(claims.value("nbf").is_null() || seconds("nbf") <= now + 60.0);
    assert_eq!(checked.expires_at.as_second() as f64, exp);
    assert_eq!(claims.value("sub"), checked.app_user.as_str());
    for (name, parsed) in [("return_to", &checked.return_to), ("jti", &checked.jti)] {
        assert_eq!(claims.value(name).as_str(), parsed.as_deref(), "{name}");
    }
    assert!(checked.jti.as_ref().is_none_or(|jti| (1..=256).contains(&jti.len())));
}

/// A JSON object whose members are parsed on use, because unused ones may hold invalid Unicode escapes.
struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    fn of(json: &'a str) -> Self {
        Self(serde_json::from_str(json).unwrap())
    }

    fn value(&self, name: &str) -> Value {
        let member = self.0.get(name).map_or("null", |raw| raw.get());
        serde_json::from_str(member).unwrap()
    }
}

/// A key set accepts a token if and only if one of its keys signed it and permits its algorithm and `kid`.
pub fn key_set(input: &[u8]) {
    let Ok(set) = serde_json::from_slice(input) else {
        return;
    };
    let keys = AppKeys::KeySet(set);
    let document: Value = serde_json::from_slice(input).unwrap_or_default();
    let entries = document["keys"].as_array().map_or(&[][..], Vec::as_slice);
    for (algorithm, kid, token) in SIGNED {
        let result = jwt::verify(&keys, token.trim(), Audience::Api, oracle::now());
        let fits =
            |entry: &&Value| is_signing_key(entry, algorithm) && may_sign(entry, algorithm, kid);
        match result {
            Ok(token) => {
                assert_eq!(token.app_user.as_str(), "alice");
                assert!(entries.iter().any(|entry| fits(&entry)), "{algorithm} {kid:?}");
            }
            // With one entry, the choice of the key is unambiguous.
            Err(error) => assert!(
                entries.len() != 1 || !fits(&&entries[0]) || has_unknown_members(&entries[0]),
                "{algorithm} {kid:?}: {error}"
            ),
        }
        assert!(jwt::verify(&keys, token.trim(), Audience::Connect, oracle::now()).is_err());
    }
}

/// Whether an entry is the public key of the signature.
fn is_signing_key(entry: &Value, algorithm: &str) -> bool {
    let holds = |name: &str, value: &str| entry[name] == value;
    match algorithm {
        "RS256" => holds("kty", "RSA") && holds("n", RSA_N) && holds("e", "AQAB"),
        _ => holds("kty", "EC") && holds("crv", "P-256") && holds("x", EC_X) && holds("y", EC_Y),
    }
}

/// Whether an entry permits signatures with the algorithm and `kid` (RFC 7517, section 4).
fn may_sign(entry: &Value, algorithm: &str, kid: Option<&str>) -> bool {
    entry["use"] != "enc"
        && (entry["alg"].is_null() || entry["alg"] == algorithm)
        && kid.is_none_or(|kid| entry["kid"] == kid)
}

/// Whether an entry has members that the oracle does not know.
fn has_unknown_members(entry: &Value) -> bool {
    let known = ["kty", "n", "e", "crv", "x", "y", "alg", "kid", "use"];
    entry
        .as_object()
        .is_none_or(|members| members.keys().any(|name| !known.contains(&name.as_str())))
}
