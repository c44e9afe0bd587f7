//! Keys: the secret strings of Secrets Manager and what is derived from them.
//!
//! One secret serves several uses, each with a key of its own by HKDF-SHA256 (RFC 5869), so that
//! what is signed for one use can't be passed off for another.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// The two live versions of a secret that turns over without downtime: AWSCURRENT signs and seals,
/// AWSPREVIOUS still verifies and opens.
#[derive(Clone)]
pub struct SecretVersions {
    /// Marked AWSCURRENT.
    pub current: SecretString,
    /// Marked AWSPREVIOUS, once there was a turn-over.
    pub previous: Option<SecretString>,
}

impl SecretVersions {
    /// Only one version, as right after deployment.
    pub fn single(current: impl Into<String>) -> Self {
        Self {
            current: SecretString::from(current.into()),
            previous: None,
        }
    }

    /// Both versions, the one that signs first.
    pub fn iter(&self) -> impl Iterator<Item = &SecretString> {
        std::iter::once(&self.current).chain(self.previous.as_ref())
    }
}

impl fmt::Debug for SecretVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretVersions")
            .field("current", &"[redacted]")
            .field("previous", &self.previous.as_ref().map(|_| "[redacted]"))
            .finish()
    }
}

/// What a key is for. The label goes into the derivation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    State,
    PkceVerifier,
    Cursor,
    Seal,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::State => b"reelay/1 oauth state",
            Self::PkceVerifier => b"reelay/1 pkce verifier",
            Self::Cursor => b"reelay/1 list cursor",
            Self::Seal => b"reelay/1 sealed download source",
        }
    }
}

/// Derives `N` bytes for one purpose.
pub(crate) fn derive<const N: usize>(
    secret: &SecretString,
    purpose: Purpose,
    salt: &[u8],
) -> [u8; N] {
    let mut key = [0u8; N];
    Hkdf::<Sha256>::new(Some(salt), secret.expose_secret().as_bytes())
        .expand(purpose.label(), &mut key)
        // RFC 5869: at most 255 hash lengths; the callers take 32 and 44 bytes.
        .expect("a few dozen bytes are within HKDF's limit");
    key
}

/// A keyed HMAC-SHA256 for one purpose.
pub(crate) fn mac(secret: &SecretString, purpose: Purpose) -> Hmac<Sha256> {
    hmac(&derive::<32>(secret, purpose, b""))
}

/// HMAC-SHA256 under a key of any length (RFC 2104).
pub(crate) fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// Whether `tag` authenticates `message` under any live version. Constant time per version, by the
/// MAC crate.
pub(crate) fn verifies(
    versions: &SecretVersions,
    purpose: Purpose,
    message: &[u8],
    tag: &[u8],
) -> bool {
    versions.iter().any(|secret| {
        mac(secret, purpose)
            .chain_update(message)
            .verify_slice(tag)
            .is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_have_keys_of_their_own() {
        let secret = SecretString::from("s".repeat(44));
        let state: [u8; 32] = derive(&secret, Purpose::State, b"");
        let cursor: [u8; 32] = derive(&secret, Purpose::Cursor, b"");
        assert_ne!(state, cursor);
    }

    #[test]
    fn debug_shows_no_secret() {
        let versions = SecretVersions {
            current: "top".to_owned().into(),
            previous: Some("old".to_owned().into()),
        };
        let shown = format!("{versions:?}");
        assert!(!shown.contains("top") && !shown.contains("old"), "{shown}");
    }
}
