//! Sealing what must rest in queues and items without being readable there: where a file is fetched
//! from, and with which token. AES-256-GCM (NIST SP 800-38D) under a key derived for each sealing
//! from the queue key and a random salt, so no nonce can repeat however many events there are.

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::ids::MeetingUuid;
use crate::keys::{self, Purpose, SecretVersions};

const VERSION: u8 = 1;
const SALT: usize = 16;

/// Where a file is fetched from. The URL counts as a credential, like the token.
#[derive(Debug, Clone)]
pub struct DownloadSource {
    /// Zoom's `download_url`.
    pub url: SecretString,
    /// The event's `download_token`, absent if the event had none.
    pub token: Option<SecretString>,
}

/// A sealed [`DownloadSource`]: base64url text that may rest anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EncryptedSource(String);

/// A sealed text that does not open: altered, moved to another meeting, or sealed under a key that
/// is no longer live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed source does not open")]
pub struct DecryptError;

#[derive(Serialize, Deserialize)]
struct Plain<'a> {
    #[serde(rename = "u", borrow)]
    url: std::borrow::Cow<'a, str>,
    #[serde(rename = "t", borrow, default, skip_serializing_if = "Option::is_none")]
    token: Option<std::borrow::Cow<'a, str>>,
}

/// Seals a source under the current key. `salt` must be fresh from a cryptographic source.
pub fn encrypt(
    keys: &SecretVersions,
    meeting: &MeetingUuid,
    source: &DownloadSource,
    salt: [u8; SALT],
) -> EncryptedSource {
    let plain = serde_json::to_vec(&Plain {
        url: source.url.expose_secret().into(),
        token: source
            .token
            .as_ref()
            .map(|token| token.expose_secret().into()),
    })
    .expect("two strings serialise");
    let (cipher, nonce) = cipher(&keys.current, &salt);
    let payload = Payload {
        msg: &plain,
        aad: meeting.as_str().as_bytes(),
    };
    let text = cipher
        .encrypt(&nonce, payload)
        .expect("AES-GCM seals up to 64 GiB");
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&salt);
    bytes.extend_from_slice(&text);
    EncryptedSource(URL_SAFE_NO_PAD.encode(bytes))
}

/// Opens what was sealed for this meeting under any live key.
pub fn decrypt(
    keys: &SecretVersions,
    meeting: &MeetingUuid,
    sealed: &EncryptedSource,
) -> Result<DownloadSource, DecryptError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(&sealed.0)
        .map_err(|_| DecryptError)?;
    let (&VERSION, rest) = bytes.split_first().ok_or(DecryptError)? else {
        return Err(DecryptError);
    };
    let (salt, text) = rest.split_first_chunk::<SALT>().ok_or(DecryptError)?;
    let plain = keys
        .iter()
        .find_map(|key| {
            let (cipher, nonce) = cipher(key, salt);
            cipher
                .decrypt(
                    &nonce,
                    Payload {
                        msg: text,
                        aad: meeting.as_str().as_bytes(),
                    },
                )
                .ok()
        })
        .ok_or(DecryptError)?;
    let plain: Plain<'_> = serde_json::from_slice(&plain).map_err(|_| DecryptError)?;
    Ok(DownloadSource {
        url: SecretString::from(plain.url.into_owned()),
        token: plain
            .token
            .map(|token| SecretString::from(token.into_owned())),
    })
}

fn cipher(key: &SecretString, salt: &[u8; SALT]) -> (Aes256Gcm, Nonce<aes_gcm::aead::consts::U12>) {
    let material: [u8; 44] = keys::derive(key, Purpose::Seal, salt);
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
    fn opens_under_the_current_and_the_previous_key_only() {
        let old = SecretVersions::single("old");
        let sealed = encrypt(&old, &meeting(), &source(), [1; 16]);
        let turned = SecretVersions {
            current: "new".into(),
            previous: Some("old".into()),
        };
        let opened = decrypt(&turned, &meeting(), &sealed).unwrap();
        assert_eq!(opened.url.expose_secret(), source().url.expose_secret());
        assert_eq!(opened.token.unwrap().expose_secret(), "tok\u{e9}n");
        assert_eq!(
            decrypt(&SecretVersions::single("new"), &meeting(), &sealed).unwrap_err(),
            DecryptError
        );
    }

    #[test]
    fn moved_to_another_meeting_or_altered_it_does_not_open() {
        let keys = SecretVersions::single("k");
        let sealed = encrypt(&keys, &meeting(), &source(), [1; 16]);
        assert!(decrypt(&keys, &"other==".parse().unwrap(), &sealed).is_err());
        for at in 0..sealed.0.len() {
            let mut bytes = sealed.0.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(
                decrypt(
                    &keys,
                    &meeting(),
                    &EncryptedSource(String::from_utf8(bytes).unwrap())
                )
                .is_err(),
                "{at}"
            );
        }
    }

    #[test]
    fn sealed_text_and_debug_show_nothing() {
        let sealed = encrypt(&SecretVersions::single("k"), &meeting(), &source(), [1; 16]);
        let shown = format!("{sealed:?} {:?}", source());
        assert!(
            !shown.contains("webhook_download") && !shown.contains("tok\u{e9}n"),
            "{shown}"
        );
    }
}
