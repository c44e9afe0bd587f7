//! Values that Reelay issues and receives back from clients: states, claims, cookies, cursors, encrypted
//! sources.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::browser_secret::{BrowserSecret, COOKIE};
use reelay_domain::claim::Claim;
use reelay_domain::cursor::{self, Position};
use reelay_domain::ids::{AppUserId, MeetingUuid};
use reelay_domain::keys::SecretVersions;
use reelay_domain::signed_state::{self, Nonce, StateError};
use reelay_domain::source_cipher::{self, DownloadSource, EncryptedSource};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use crate::oracle::{self, fields, text};

/// The keys after a rotation.
fn keys() -> SecretVersions {
    SecretVersions { current: "fuzz current".into(), previous: Some("fuzz previous".into()) }
}

fn each_key() -> [SecretVersions; 2] {
    ["fuzz current", "fuzz previous"].map(SecretVersions::single)
}

/// A state is accepted only if signing its nonce and expiry again gives the same text. It is valid for exactly
/// ten minutes.
pub fn signed_state(input: &[u8]) {
    assert_signed(text(input), oracle::now());

    let Some((nonce, rest)) = input.split_first_chunk::<16>() else {
        return;
    };
    let Some((&[a, b, c, d, wait, change], altered)) = rest.split_first_chunk::<6>() else {
        return;
    };
    let nonce = Nonce::from_random(*nonce);
    let at = Timestamp::from_second(u32::from_be_bytes([a, b, c, d]).into()).unwrap();
    let state = signed_state::sign(&keys(), &nonce, at);
    let later = at + SignedDuration::from_secs(i64::from(wait) * 3);
    match signed_state::verify(&keys(), &state, later) {
        Ok(verified) => assert!(verified.nonce == nonce && wait < 200),
        Err(error) => assert!(error == StateError::Expired && wait >= 200),
    }
    let (kept, _) = state.split_at(usize::from(change) % (state.len() + 1));
    assert_signed(&format!("{kept}{}", String::from_utf8_lossy(altered)), at);
}

fn assert_signed(state: &str, now: Timestamp) {
    let Ok(verified) = signed_state::verify(&keys(), state, now) else {
        return;
    };
    let bytes = URL_SAFE_NO_PAD.decode(state).unwrap();
    let expires = i64::from_be_bytes(bytes[17..25].try_into().unwrap());
    let signed_at = Timestamp::from_second(expires).unwrap() - signed_state::TTL;
    let expected = each_key().map(|keys| signed_state::sign(&keys, &verified.nonce, signed_at));
    assert!(expected.contains(&state.to_owned()), "{state}");
    assert!(expires > now.as_second());
    assert!(!format!("{verified:?}").contains(&format!("{:?}", &bytes[1..4])));
}

/// A claim is accepted if and only if it is the canonical form of 256 bits.
pub fn claim(input: &[u8]) {
    let text = text(input);
    let claim = Claim::parse(text);
    assert_eq!(claim.is_some(), oracle::is_256_bits(text), "{text}");
    if let Some(claim) = claim {
        assert_eq!(claim.expose(), text);
        assert_eq!(claim.session_key(), hash(text));
        let bytes: [u8; 32] = URL_SAFE_NO_PAD.decode(text).unwrap().try_into().unwrap();
        assert_eq!(Claim::from_random(bytes).expose(), text);
        assert!(!format!("{claim:?}").contains(text));
    }
}

fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

/// The browser secret is accepted if and only if all cookies of its name, in any number of `Cookie` headers,
/// have the same well-formed value.
pub fn cookie(input: &[u8]) {
    // The functions ignore headers that are not visible ASCII.
    let values: Vec<HeaderValue> = input
        .split(|byte| *byte == b'\n')
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
        .collect();
    let headers: Vec<&str> = values.iter().filter_map(|v| v.to_str().ok()).collect();
    let mut named: Vec<&str> = headers
        .iter()
        .flat_map(|header| header.split(';'))
        .map(|pair| pair.trim_matches([' ', '\t']))
        .filter_map(|pair| pair.strip_prefix(COOKIE)?.strip_prefix('='))
        .collect();
    named.dedup();
    let expected = match named.as_slice() {
        [value] if oracle::is_256_bits(value) => Some(*value),
        _ => None,
    };
    let parsed = BrowserSecret::from_cookies(headers.iter().map(|header| header.as_bytes()));
    assert_eq!(parsed.as_ref().map(BrowserSecret::hash), expected.map(hash), "{headers:?}");
    if let Some((secret, value)) = parsed.zip(expected) {
        let set_cookie = secret.set_cookie();
        let set_cookie = set_cookie.expose_secret();
        assert!(set_cookie.starts_with(&format!("{COOKIE}={value}; ")));
        assert!(!format!("{secret:?}").contains(value));
    }
}

/// A cursor is accepted only if encoding its position for the same user again gives the same text.
pub fn cursor(input: &[u8]) {
    let alice: AppUserId = "alice".parse().unwrap();
    let text = text(input);
    if let Ok(position) = cursor::decode(&keys(), &alice, text) {
        let expected = each_key().map(|keys| cursor::encode(&keys, &alice, &position));
        assert!(expected.contains(&text.to_owned()), "{text}");
    }

    let [user, start_order, zoom_user] = fields(input).map(oracle::text);
    let Ok(user) = user.parse::<AppUserId>() else {
        return;
    };
    let position =
        Position { start_order: start_order.to_owned(), zoom_user: zoom_user.to_owned() };
    for keys in each_key() {
        let cursor = cursor::encode(&keys, &user, &position);
        assert_eq!(cursor::decode(&self::keys(), &user, &cursor), Ok(position.clone()));
        let other: AppUserId =
            format!("{}x", &user.as_str()[..user.as_str().len() - 1]).parse().unwrap();
        if other != user {
            assert!(cursor::decode(&self::keys(), &other, &cursor).is_err());
        }
    }
}

/// An encrypted source decrypts only for its meeting, to the original value; no other text decrypts.
pub fn encrypted_source(input: &[u8]) {
    let [uuid, url, token, encrypted] = fields(input).map(text);
    let Ok(uuid) = uuid.parse::<MeetingUuid>() else {
        return;
    };
    let external: EncryptedSource = serde_json::from_value(encrypted.into()).unwrap();
    if let Ok(source) = source_cipher::decrypt(&keys(), &uuid, &external) {
        let salt = URL_SAFE_NO_PAD.decode(encrypted).unwrap()[1..17].try_into().unwrap();
        let expected = each_key().map(|keys| source_cipher::encrypt(&keys, &uuid, &source, salt));
        assert!(expected.contains(&external), "{encrypted}");
    }

    let source = DownloadSource {
        url: SecretString::from(url),
        token: (!token.is_empty()).then(|| SecretString::from(token)),
    };
    let salt = Sha256::digest(input)[..16].try_into().unwrap();
    for keys in each_key() {
        let encrypted = source_cipher::encrypt(&keys, &uuid, &source, salt);
        let decrypted = source_cipher::decrypt(&self::keys(), &uuid, &encrypted).unwrap();
        assert_eq!(decrypted.url.expose_secret(), url);
        assert_eq!(decrypted.token.as_ref().map_or("", |token| token.expose_secret()), token);
        let other: MeetingUuid =
            if uuid.as_str() == "other" { "another" } else { "other" }.parse().unwrap();
        assert!(source_cipher::decrypt(&self::keys(), &other, &encrypted).is_err());
        let shown = format!("{encrypted:?} {source:?} {decrypted:?}");
        for secret in [url, token] {
            // Shorter texts may occur in the base64 by chance.
            assert!(secret.len() < 12 || !shown.contains(secret), "{shown}");
        }
    }
}
