//! Encryption of download sources (URL and token) and of event bodies that could not be parsed, so that queues,
//! tables and the bucket hold no credential in clear.
//!
//! AES-256-GCM (NIST SP 800-38D). Key and nonce are derived from the queue key and a random salt for each
//! encryption, so no (key, nonce) pair repeats, however many events there are.

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::ids::MeetingUuid;
use crate::keys::{self, Purpose, SecretVersions};

const VERSION: u8 = 1;
const SALT_LEN: usize = 16;

/// URL and token to download a file with. The URL is a credential, too.
#[derive(Debug, Clone)]
pub struct DownloadSource {
    /// Zoom's `download_url`.
    pub url: SecretString,
    /// The event's `download_token`, if it had one.
    pub token: Option<SecretString>,
}

/// An encrypted [`DownloadSource`], as base64url text that is safe to store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EncryptedSource(String);

/// Decryption failed: the text was altered, belongs to another meeting, or was encrypted under a key that
/// is no longer live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed to decrypt the download source")]
pub struct DecryptError;

#[derive(Serialize, Deserialize)]
struct Plain<'a> {
    #[serde(rename = "u", borrow)]
    url: std::borrow::Cow<'a, str>,
    #[serde(rename = "t", borrow, default, skip_serializing_if = "Option::is_none")]
    token: Option<std::borrow::Cow<'a, str>>,
}

/// Encrypts a source for one meeting under the current key. `salt` must be new and cryptographically random.
pub fn encrypt(
    keys: &SecretVersions,
    meeting: &MeetingUuid,
    source: &DownloadSource,
    salt: [u8; SALT_LEN],
) -> EncryptedSource {
    let plain = serde_json::to_vec(&Plain {
        url: source.url.expose_secret().into(),
        token: source.token.as_ref().map(|token| token.expose_secret().into()),
    })
    .expect("two strings always serialize");
    let sealed = seal(keys, meeting.as_str().as_bytes(), &plain, salt);
    EncryptedSource(URL_SAFE_NO_PAD.encode(sealed))
}

/// Decrypts a source that was encrypted for this meeting.
///
/// # Errors
/// [`DecryptError`] if it was altered, belongs to another meeting, or no live key decrypts it.
pub fn decrypt(
    keys: &SecretVersions,
    meeting: &MeetingUuid,
    encrypted: &EncryptedSource,
) -> Result<DownloadSource, DecryptError> {
    let bytes = URL_SAFE_NO_PAD.decode(&encrypted.0).map_err(|_| DecryptError)?;
    let plain = open(keys, meeting.as_str().as_bytes(), &bytes)?;
    let plain: Plain<'_> = serde_json::from_slice(&plain).map_err(|_| DecryptError)?;
    Ok(DownloadSource {
        url: SecretString::from(plain.url.into_owned()),
        token: plain.token.map(|token| SecretString::from(token.into_owned())),
    })
}

/// Associated data of event bodies.
const EVENT_BODY: &[u8] = b"event body";

/// Encrypts the body of an event that could not be parsed, and may therefore contain credentials. `salt` as for
/// [`encrypt`].
pub fn encrypt_body(keys: &SecretVersions, body: &[u8], salt: [u8; SALT_LEN]) -> Vec<u8> {
    seal(keys, EVENT_BODY, body, salt)
}

/// Decrypts such a body.
///
/// # Errors
/// [`DecryptError`] if it was altered, or no live key decrypts it.
pub fn decrypt_body(keys: &SecretVersions, bytes: &[u8]) -> Result<Vec<u8>, DecryptError> {
    open(keys, EVENT_BODY, bytes)
}

fn seal(keys: &SecretVersions, aad: &[u8], msg: &[u8], salt: [u8; SALT_LEN]) -> Vec<u8> {
    let (cipher, nonce) = cipher(&keys.current, &salt);
    let text = cipher.encrypt(&nonce, Payload { msg, aad }).expect("AES-GCM encrypts up to 64 GiB");
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&salt);
    bytes.extend_from_slice(&text);
    bytes
}

fn open(keys: &SecretVersions, aad: &[u8], bytes: &[u8]) -> Result<Vec<u8>, DecryptError> {
    let (&VERSION, rest) = bytes.split_first().ok_or(DecryptError)? else {
        return Err(DecryptError);
    };
    let (salt, msg) = rest.split_first_chunk::<SALT_LEN>().ok_or(DecryptError)?;
    let plain = keys.iter().find_map(|key| {
        let (cipher, nonce) = cipher(key, salt);
        cipher.decrypt(&nonce, Payload { msg, aad }).ok()
    });
    plain.ok_or(DecryptError)
}

fn cipher(
    key: &SecretString,
    salt: &[u8; SALT_LEN],
) -> (Aes256Gcm, Nonce<aes_gcm::aead::consts::U12>) {
    let material: [u8; 44] = keys::derive(key, Purpose::SourceEncryption, salt);
    let mut key = [0u8; 32];
    key.copy_from_slice(&material[..32]);
    let mut nonce = [0u8; 12];
    nonce.copy_from_slice(&material[32..]);
    (Aes256Gcm::new(&Key::<Aes256Gcm>::from(key)), nonce.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meeting() -> MeetingUuid {
        "Zm9v+bar/bazQUJDREVGRw==".parse().unwrap()
    }

    fn source() -> DownloadSource {
        DownloadSource {
            url: "https://us06web.zoom.us/rec/webhook_download/x\"y".into(),
            token: Some("tok\u{e9}n".into()),
        }
    }

    #[test]
    fn decrypts_under_live_keys_only() {
        let old = SecretVersions::single("old");
        let encrypted = encrypt(&old, &meeting(), &source(), [1; 16]);
        let rotated = SecretVersions { current: "new".into(), previous: Some("old".into()) };
        let decrypted = decrypt(&rotated, &meeting(), &encrypted).unwrap();
        assert_eq!(decrypted.url.expose_secret(), source().url.expose_secret());
        assert_eq!(decrypted.token.unwrap().expose_secret(), "tok\u{e9}n");
        assert_eq!(
            decrypt(&SecretVersions::single("new"), &meeting(), &encrypted).unwrap_err(),
            DecryptError
        );
    }

    #[test]
    fn altered_or_moved_source_is_rejected() {
        let keys = SecretVersions::single("k");
        let encrypted = encrypt(&keys, &meeting(), &source(), [1; 16]);
        assert!(decrypt(&keys, &"other==".parse().unwrap(), &encrypted).is_err());
        for at in 0..encrypted.0.len() {
            let mut bytes = encrypted.0.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(
                decrypt(&keys, &meeting(), &EncryptedSource(String::from_utf8(bytes).unwrap()))
                    .is_err(),
                "{at}"
            );
        }
    }

    #[test]
    fn debug_redacts_the_source() {
        let encrypted = encrypt(&SecretVersions::single("k"), &meeting(), &source(), [1; 16]);
        let text = format!("{encrypted:?} {:?}", source());
        assert!(!text.contains("webhook_download") && !text.contains("tok\u{e9}n"), "{text}");
    }

    #[test]
    fn body_round_trips_and_is_no_source() {
        let keys = SecretVersions::single("k");
        let mut sealed = encrypt_body(&keys, b"body", [7; 16]);
        assert_eq!(decrypt_body(&keys, &sealed).unwrap(), b"body");
        assert_eq!(open(&keys, b"m==", &sealed), Err(DecryptError));
        *sealed.last_mut().unwrap() ^= 1;
        assert_eq!(decrypt_body(&keys, &sealed), Err(DecryptError));
        assert_eq!(decrypt_body(&keys, b""), Err(DecryptError));
    }
}
