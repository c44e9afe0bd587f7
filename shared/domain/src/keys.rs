//! Secrets from Secrets Manager and the keys derived from them.
//!
//! Each purpose has its own key, derived from the secret with HKDF-SHA256 (RFC 5869), so that a MAC made
//! for one purpose is invalid for every other.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// The live versions of a secret, for rotation without downtime: AWSCURRENT signs and encrypts, both
/// verify and decrypt.
#[derive(Clone)]
pub struct SecretVersions {
    /// The version staged AWSCURRENT.
    pub current: SecretString,
    /// The version staged AWSPREVIOUS; absent before the first rotation.
    pub previous: Option<SecretString>,
}

impl SecretVersions {
    /// Creates a secret with a current version only, as before the first rotation.
    pub fn single(current: impl Into<String>) -> Self {
        Self { current: SecretString::from(current.into()), previous: None }
    }

    /// Iterates over the live versions, the current one first.
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

/// Purpose of a derived key; its label is HKDF's `info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    State,
    PkceVerifier,
    Cursor,
    FeedCursor,
    SourceEncryption,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::State => b"reelay/1 oauth state",
            Self::PkceVerifier => b"reelay/1 pkce verifier",
            Self::Cursor => b"reelay/1 list cursor",
            Self::FeedCursor => b"reelay/1 feed cursor",
            Self::SourceEncryption => b"reelay/1 sealed download source",
        }
    }
}

/// Derives `N` bytes of key material for one purpose.
pub(crate) fn derive<const N: usize>(
    secret: &SecretString,
    purpose: Purpose,
    salt: &[u8],
) -> [u8; N] {
    let mut key = [0u8; N];
    Hkdf::<Sha256>::new(Some(salt), secret.expose_secret().as_bytes())
        .expand(purpose.label(), &mut key)
        // RFC 5869 allows 255 hash lengths; callers derive 32 or 44 bytes.
        .expect("a few dozen bytes are within HKDF's limit");
    key
}

/// Returns an HMAC-SHA256 keyed for one purpose.
pub(crate) fn mac(secret: &SecretString, purpose: Purpose) -> Hmac<Sha256> {
    hmac(&derive::<32>(secret, purpose, b""))
}

/// Returns an HMAC-SHA256 (RFC 2104) with this key.
pub(crate) fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC accepts a key of any length")
}

/// Returns whether `tag` authenticates `message` under any live version. The MAC crate compares in
/// constant time.
pub(crate) fn verifies(
    versions: &SecretVersions,
    purpose: Purpose,
    message: &[u8],
    tag: &[u8],
) -> bool {
    versions
        .iter()
        .any(|secret| mac(secret, purpose).chain_update(message).verify_slice(tag).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_has_its_own_key() {
        let secret = SecretString::from("s".repeat(44));
        let state: [u8; 32] = derive(&secret, Purpose::State, b"");
        let cursor: [u8; 32] = derive(&secret, Purpose::Cursor, b"");
        assert_ne!(state, cursor);
    }

    #[test]
    fn debug_redacts_secrets() {
        let versions = SecretVersions {
            current: "top".to_owned().into(),
            previous: Some("old".to_owned().into()),
        };
        let text = format!("{versions:?}");
        assert!(!text.contains("top") && !text.contains("old"), "{text}");
    }
}
