//! What we made ourselves and get back through strangers: states, claims, cookies, cursors, sealed sources.

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

use crate::by_hand::{self, fields, text};

/// The keys after a turn-over.
fn keys() -> SecretVersions {
    SecretVersions {
        current: "fuzz current".into(),
        previous: Some("fuzz previous".into()),
    }
}

fn each_key() -> [SecretVersions; 2] {
    ["fuzz current", "fuzz previous"].map(SecretVersions::single)
}

/// A text is a state only if signing its nonce for its expiry gives that very text. A state that is signed
/// for any nonce at any time is good for ten minutes, to the second.
pub fn signed_state(input: &[u8]) {
    assert_signed(text(input), by_hand::now());

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
    let again = each_key().map(|keys| signed_state::sign(&keys, &verified.nonce, signed_at));
    assert!(again.contains(&state.to_owned()), "{state}");
    assert!(expires > now.as_second());
    assert!(!format!("{verified:?}").contains(&format!("{:?}", &bytes[1..4])));
}

/// A claim is the one way to write 256 bits, and nothing else is.
pub fn claim(input: &[u8]) {
    let text = text(input);
    let claim = Claim::parse(text);
    assert_eq!(claim.is_some(), by_hand::is_256_bits(text), "{text}");
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

/// Of any number of `Cookie` headers, the secret is read exactly if all cookies of the name agree on one
/// well-formed value.
pub fn cookie(input: &[u8]) {
    // As the functions do it: a header that is not plain text is none.
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
        [value] if by_hand::is_256_bits(value) => Some(*value),
        _ => None,
    };
    let read = BrowserSecret::from_cookies(headers.iter().copied());
    assert_eq!(
        read.as_ref().map(BrowserSecret::hash),
        expected.map(hash),
        "{headers:?}"
    );
    if let Some((secret, value)) = read.zip(expected) {
        let planted = secret.set_cookie();
        let planted = planted.expose_secret();
        assert!(planted.starts_with(&format!("{COOKIE}={value}; ")));
        assert!(!format!("{secret:?}").contains(value));
    }
}

/// A text is a cursor of a user only if it is what we make of the position in it for that user.
pub fn cursor(input: &[u8]) {
    let alice: AppUserId = "alice".parse().unwrap();
    let text = text(input);
    if let Ok(position) = cursor::decode(&keys(), &alice, text) {
        let again = each_key().map(|keys| cursor::encode(&keys, &alice, &position));
        assert!(again.contains(&text.to_owned()), "{text}");
    }

    let [user, start_order, zoom_user] = fields(input).map(by_hand::text);
    let Ok(user) = user.parse::<AppUserId>() else {
        return;
    };
    let position = Position {
        start_order: start_order.to_owned(),
        zoom_user: zoom_user.to_owned(),
    };
    for keys in each_key() {
        let cursor = cursor::encode(&keys, &user, &position);
        assert_eq!(
            cursor::decode(&self::keys(), &user, &cursor),
            Ok(position.clone())
        );
        let other: AppUserId = format!("{}x", &user.as_str()[..user.as_str().len() - 1])
            .parse()
            .unwrap();
        if other != user {
            assert!(cursor::decode(&self::keys(), &other, &cursor).is_err());
        }
    }
}

/// A sealed source opens for its own meeting alone, to what was sealed; no other text opens at all.
pub fn encrypted_source(input: &[u8]) {
    let [uuid, url, token, sealed] = fields(input).map(by_hand::text);
    let Ok(uuid) = uuid.parse::<MeetingUuid>() else {
        return;
    };
    let stranger: EncryptedSource = serde_json::from_value(sealed.into()).unwrap();
    if let Ok(source) = source_cipher::decrypt(&keys(), &uuid, &stranger) {
        let salt = URL_SAFE_NO_PAD.decode(sealed).unwrap()[1..17]
            .try_into()
            .unwrap();
        let again = each_key().map(|keys| source_cipher::encrypt(&keys, &uuid, &source, salt));
        assert!(again.contains(&stranger), "{sealed}");
    }

    let source = DownloadSource {
        url: SecretString::from(url),
        token: (!token.is_empty()).then(|| SecretString::from(token)),
    };
    let salt = Sha256::digest(input)[..16].try_into().unwrap();
    for keys in each_key() {
        let made = source_cipher::encrypt(&keys, &uuid, &source, salt);
        let opened = source_cipher::decrypt(&self::keys(), &uuid, &made).unwrap();
        assert_eq!(opened.url.expose_secret(), url);
        assert_eq!(
            opened
                .token
                .as_ref()
                .map_or("", |token| token.expose_secret()),
            token
        );
        let other: MeetingUuid = if uuid.as_str() == "other" {
            "another"
        } else {
            "other"
        }
        .parse()
        .unwrap();
        assert!(source_cipher::decrypt(&self::keys(), &other, &made).is_err());
        let shown = format!("{made:?} {source:?} {opened:?}");
        for secret in [url, token] {
            // Shorter ones may stand in the base64 by chance.
            assert!(secret.len() < 12 || !shown.contains(secret), "{shown}");
        }
    }
}
