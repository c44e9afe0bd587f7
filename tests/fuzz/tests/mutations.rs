//! 100,000 mutations of each kind of valid credential, all of which must be rejected. `FUZZ_SEED` sets the
//! seed.
#![allow(clippy::unwrap_used, reason = "tests")]

use fuzz::mutation::{Random, bent};
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

/// Both live versions, so that forgeries are tested against each.
fn keys() -> SecretVersions {
    SecretVersions {
        current: "the key that signs, of forty-four characters".into(),
        previous: Some("the key before it".into()),
    }
}

fn hmac(secret: &str, message: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    message.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

#[test]
fn no_forged_state_is_accepted() {
    let mut random = Random::from_environment();
    let [good, other] = [[1; 16], [2; 16]]
        .map(|nonce| signed_state::sign(&keys(), &Nonce::from_random(nonce), now()));
    assert!(signed_state::verify(&keys(), &good, now()).is_ok());
    for _ in 0..FORGERIES {
        let forged = bent(&mut random, &good, &other);
        let refused = signed_state::verify(&keys(), &forged, now()).err();
        // A forged state is `Invalid`, never `Expired`.
        assert_eq!(refused, Some(StateError::Invalid), "{forged:?}");
    }
}

#[test]
fn no_forged_connect_token_is_accepted() {
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
    let good = signed("alice", "reelay:connect");
    // Another user's token, and one for the other audience.
    let others = [
        signed("mallory", "reelay:connect"),
        signed("alice", "reelay:api"),
    ];
    let keys = AppKeys::Secret(keys());
    assert!(jwt::verify(&keys, &good, Audience::Connect, now()).is_ok());
    for n in 0..FORGERIES {
        let forged = bent(&mut random, &good, &others[n % 2]);
        let taken = jwt::verify(&keys, &forged, Audience::Connect, now());
        assert!(taken.is_err(), "{forged:?}");
    }
}

#[test]
fn no_forged_cookie_is_accepted() {
    let mut random = Random::from_environment();
    let value = |bytes| {
        let cookie = BrowserSecret::from_random(bytes).set_cookie();
        let pair = cookie.expose_secret().split(';').next().unwrap().to_owned();
        pair.split_once('=').unwrap().1.to_owned()
    };
    let (good, other) = (value([0xfa; 32]), value([0x5b; 32]));
    let hash = BrowserSecret::from_random([0xfa; 32]).hash();
    let accepted = |header: &str| {
        BrowserSecret::from_cookies([header].into_iter()).is_some_and(|read| read.hash() == hash)
    };
    assert!(accepted(&format!("{COOKIE}={good}")));
    for n in 0..FORGERIES {
        let header = if n % 4 == 0 {
            let name = bent(&mut random, COOKIE, "reelay-connect");
            format!("{name}={good}")
        } else {
            let forged = bent(&mut random, &good, &other);
            format!("theme=dark; {COOKIE}={forged}")
        };
        // Whitespace around a cookie pair is not part of it.
        let pair = format!("{COOKIE}={good}");
        let is_good = header.split(';').any(|part| part.trim() == pair);
        assert_eq!(accepted(&header), is_good, "{header:?}");
    }
}

#[test]
fn no_forged_claim_is_accepted() {
    let mut random = Random::from_environment();
    let [good, other] = [[0xfa; 32], [0x5b; 32]].map(Claim::from_random);
    let key = good.session_key();
    let accepted = |text: &str| Claim::parse(text).is_some_and(|claim| claim.session_key() == key);
    assert!(accepted(good.expose()));
    for _ in 0..FORGERIES {
        let forged = bent(&mut random, good.expose(), other.expose());
        assert!(!accepted(&forged), "{forged:?}");
    }
}

#[test]
fn no_forged_webhook_signature_is_accepted() {
    let mut random = Random::from_environment();
    let body = |account: &str| {
        format!(r#"{{"event":"app_deauthorized","payload":{{"account_id":"{account}"}}}}"#)
    };
    let signed = |time: i64, body: &str| {
        let time = time.to_string();
        let tag = hmac(
            keys().current.expose_secret(),
            &[b"v0:", time.as_bytes(), b":", body.as_bytes()],
        );
        (time, format!("v0={}", hex::encode(tag)))
    };
    let (body, other_body) = (body("AcctA"), body("AcctB"));
    let (time, good) = signed(NOW, &body);
    let (later, other) = signed(NOW + 60, &other_body);
    let secrets = keys();
    let accepted = |timestamp: &str, signature: &str, body: &str| {
        let headers = SignatureHeaders {
            timestamp,
            signature,
        };
        signature::verify(&secrets, headers, body.as_bytes(), now()).is_ok()
    };
    assert!(accepted(&time, &good, &body) && accepted(&later, &other, &other_body));
    for n in 0..FORGERIES {
        let (time, signature, body) = match n % 4 {
            0 => (bent(&mut random, &time, &later), good.clone(), body.clone()),
            1 => (
                time.clone(),
                good.clone(),
                bent(&mut random, &body, &other_body),
            ),
            _ => (time.clone(), bent(&mut random, &good, &other), body.clone()),
        };
        assert!(
            !accepted(&time, &signature, &body),
            "{time:?} {signature:?} {body:?}"
        );
    }
}
