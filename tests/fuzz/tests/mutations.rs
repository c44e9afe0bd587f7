//! 100,000 mutations of each valid credential are rejected. `FUZZ_SEED` selects other mutations.
#![allow(clippy::unwrap_used, reason = "tests")]

use fuzz::mutation::{Random, mutate};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use reelay_domain::browser_secret::{BrowserSecret, COOKIE};
use reelay_domain::claim::Claim;
use reelay_domain::jwt::{self, AppKeys, Audience};
use reelay_domain::keys::SecretVersions;
use reelay_domain::signed_state::{self, Nonce, StateError};
use reelay_domain::webhook::signature::{self, SignatureHeaders};
use secrecy::ExposeSecret as _;
use sha2::Sha256;

const FORGERIES: usize = 100_000;

const NOW: i64 = 1_767_225_600;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// Both versions, so that forgeries are also verified with the previous one.
fn keys() -> SecretVersions {
    SecretVersions {
        current: "the current key, of forty-four characters".into(),
        previous: Some("the previous key".into()),
    }
}

fn hmac(secret: &str, message: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    message.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

#[test]
fn forged_states_are_rejected() {
    let mut random = Random::from_environment();
    let [valid, other] = [[1; 16], [2; 16]]
        .map(|nonce| signed_state::sign(&keys(), &Nonce::from_random(nonce), now()));
    assert!(signed_state::verify(&keys(), &valid, now()).is_ok());
    for _ in 0..FORGERIES {
        let forged = mutate(&mut random, &valid, &other);
        let error = signed_state::verify(&keys(), &forged, now()).err();
        // The error must not reveal the expiry of a state with a wrong signature.
        assert_eq!(error, Some(StateError::Invalid), "{forged:?}");
    }
}

#[test]
fn forged_connect_tokens_are_rejected() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut random = Random::from_environment();
    let secret = keys().current;
    let signed = |user: &str, audience: &str| {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let claims = format!(
            r#"{{"aud":"{audience}","sub":"{user}","iat":{NOW},"exp":{},"jti":"one"}}"#,
            NOW + 300
        );
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let tag = hmac(secret.expose_secret(), &[message.as_bytes()]);
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let valid = signed("alice", "reelay:connect");
    // Another user's token, and the same user's for another audience.
    let others = [signed("mallory", "reelay:connect"), signed("alice", "reelay:api")];
    let keys = AppKeys::Secret(keys());
    assert!(jwt::verify(&keys, &valid, Audience::Connect, now()).is_ok());
    for n in 0..FORGERIES {
        let forged = mutate(&mut random, &valid, &others[n % 2]);
        let result = jwt::verify(&keys, &forged, Audience::Connect, now());
        assert!(result.is_err(), "{forged:?}");
    }
}

#[test]
fn forged_cookies_are_rejected() {
    let mut random = Random::from_environment();
    let value = |bytes| {
        let cookie = BrowserSecret::from_random(bytes).set_cookie();
        let pair = cookie.expose_secret().split(';').next().unwrap().to_owned();
        pair.split_once('=').unwrap().1.to_owned()
    };
    let (valid, other) = (value([0xfa; 32]), value([0x5b; 32]));
    let hash = BrowserSecret::from_random([0xfa; 32]).hash();
    let accepted = |header: &str| {
        BrowserSecret::from_cookies([header.as_bytes()].into_iter())
            .is_some_and(|read| read.hash() == hash)
    };
    assert!(accepted(&format!("{COOKIE}={valid}")));
    for n in 0..FORGERIES {
        let header = if n % 4 == 0 {
            let name = mutate(&mut random, COOKIE, "reelay-connect");
            format!("{name}={valid}")
        } else {
            let forged = mutate(&mut random, &valid, &other);
            format!("theme=dark; {COOKIE}={forged}")
        };
        // The header may still hold the valid pair beside the forged text.
        let pair = format!("{COOKIE}={valid}");
        let is_valid = header.split(';').any(|part| part.trim() == pair);
        assert_eq!(accepted(&header), is_valid, "{header:?}");
    }
}

#[test]
fn forged_claims_are_rejected() {
    let mut random = Random::from_environment();
    let [valid, other] = [[0xfa; 32], [0x5b; 32]].map(Claim::from_random);
    let key = valid.session_key();
    let accepted = |text: &str| Claim::parse(text).is_some_and(|claim| claim.session_key() == key);
    assert!(accepted(valid.expose()));
    for _ in 0..FORGERIES {
        let forged = mutate(&mut random, valid.expose(), other.expose());
        assert!(!accepted(&forged), "{forged:?}");
    }
}

#[test]
fn forged_webhook_signatures_are_rejected() {
    let mut random = Random::from_environment();
    let body = |account: &str| {
        format!(r#"{{"event":"app_deauthorized","payload":{{"account_id":"{account}"}}}}"#)
    };
    let signed = |time: i64, body: &str| {
        let time = time.to_string();
        let tag =
            hmac(keys().current.expose_secret(), &[b"v0:", time.as_bytes(), b":", body.as_bytes()]);
        (time, format!("v0={}", hex::encode(tag)))
    };
    let (body, other_body) = (body("AcctA"), body("AcctB"));
    let (time, valid) = signed(NOW, &body);
    let (later, other) = signed(NOW + 60, &other_body);
    let secrets = keys();
    let accepted = |timestamp: &str, signature: &str, body: &str| {
        let headers = SignatureHeaders { timestamp, signature };
        signature::verify(&secrets, headers, body.as_bytes(), now()).is_ok()
    };
    assert!(accepted(&time, &valid, &body) && accepted(&later, &other, &other_body));
    for n in 0..FORGERIES {
        let (time, signature, body) = match n % 4 {
            0 => (mutate(&mut random, &time, &later), valid.clone(), body.clone()),
            1 => (time.clone(), valid.clone(), mutate(&mut random, &body, &other_body)),
            _ => (time.clone(), mutate(&mut random, &valid, &other), body.clone()),
        };
        assert!(!accepted(&time, &signature, &body), "{time:?} {signature:?} {body:?}");
    }
}
