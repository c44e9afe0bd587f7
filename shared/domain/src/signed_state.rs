//! The OAuth `state` parameter (RFC 6749 §10.12): a nonce and an expiry, authenticated by a MAC.
//!
//! The state holds no user data; the nonce identifies the session that does. The MAC rejects forged and
//! expired states without a table read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac as _;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::keys::{self, Purpose, SecretVersions};

/// Lifetime of a state: from the app's button to Zoom's redirect back.
pub const TTL: SignedDuration = SignedDuration::from_mins(10);

const VERSION: u8 = 1;
const NONCE_LEN: usize = 16;
const SIGNED_LEN: usize = 1 + NONCE_LEN + 8;
const STATE_LEN: usize = SIGNED_LEN + 32;

/// 128 random bits that identify one authorization attempt. `Debug` redacts them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; NONCE_LEN]);

impl Nonce {
    /// Creates a nonce from 128 bits of a cryptographically secure source.
    pub fn from_random(bytes: [u8; NONCE_LEN]) -> Self {
        Self(bytes)
    }

    /// Returns the session's key: the nonce's SHA-256, so that the table holds no usable state.
    pub fn session_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.0))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonce([redacted])")
    }
}

/// Why a state was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The state is malformed, altered, or signed under a key that is not live.
    #[error("the state is malformed or its MAC is invalid")]
    Invalid,
    /// The MAC is valid, but the state is older than [`TTL`].
    #[error("the state has expired")]
    Expired,
}

/// A state with a valid MAC that has not expired.
#[derive(Debug, Clone, Copy)]
pub struct VerifiedState {
    /// Identifies the session.
    pub nonce: Nonce,
}

/// Creates a state, signed under the current key: 76 characters of base64url.
pub fn sign(keys: &SecretVersions, nonce: &Nonce, now: Timestamp) -> String {
    let mut bytes = [0u8; STATE_LEN];
    bytes[0] = VERSION;
    bytes[1..=NONCE_LEN].copy_from_slice(&nonce.0);
    let expires = (now + TTL).as_second();
    bytes[1 + NONCE_LEN..SIGNED_LEN].copy_from_slice(&expires.to_be_bytes());
    let tag =
        keys::mac(&keys.current, Purpose::State).chain_update(&bytes[..SIGNED_LEN]).finalize();
    bytes[SIGNED_LEN..].copy_from_slice(&tag.into_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Verifies a state that came back through the browser. Its 57 bytes fill 76 characters exactly, so each
/// state has exactly one encoding.
///
/// # Errors
/// [`StateError`] if the MAC is invalid or the state has expired.
pub fn verify(
    keys: &SecretVersions,
    state: &str,
    now: Timestamp,
) -> Result<VerifiedState, StateError> {
    let bytes: [u8; STATE_LEN] = URL_SAFE_NO_PAD
        .decode(state)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(StateError::Invalid)?;
    let (signed, tag) = bytes.split_at(SIGNED_LEN);
    if signed[0] != VERSION || !keys::verifies(keys, Purpose::State, signed, tag) {
        return Err(StateError::Invalid);
    }
    let mut expires = [0u8; 8];
    expires.copy_from_slice(&signed[1 + NONCE_LEN..]);
    if now.as_second() >= i64::from_be_bytes(expires) {
        return Err(StateError::Expired);
    }
    let mut nonce = [0u8; NONCE_LEN];
    nonce.copy_from_slice(&signed[1..=NONCE_LEN]);
    Ok(VerifiedState { nonce: Nonce(nonce) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> SecretVersions {
        SecretVersions::single("k".repeat(44))
    }

    fn now() -> Timestamp {
        "2026-01-01T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn state_expires_after_ten_minutes() {
        let nonce = Nonce::from_random([7; 16]);
        let state = sign(&keys(), &nonce, now());
        assert_eq!(state.len(), 76);
        let last = now() + SignedDuration::from_secs(599);
        assert_eq!(verify(&keys(), &state, last).unwrap().nonce, nonce);
        assert_eq!(verify(&keys(), &state, now() + TTL).unwrap_err(), StateError::Expired);
    }

    #[test]
    fn previous_key_verifies_and_unknown_key_does_not() {
        let state = sign(&keys(), &Nonce::from_random([7; 16]), now());
        let rotated =
            SecretVersions { current: "n".repeat(44).into(), previous: Some(keys().current) };
        assert!(verify(&rotated, &state, now()).is_ok());
        let other = SecretVersions::single("other");
        assert_eq!(verify(&other, &state, now()).unwrap_err(), StateError::Invalid);
    }

    #[test]
    fn any_changed_character_is_rejected() {
        let state = sign(&keys(), &Nonce::from_random([9; 16]), now());
        for at in 0..state.len() {
            for replacement in *b"AZaz09-_" {
                let mut changed = state.clone().into_bytes();
                if changed[at] == replacement {
                    continue;
                }
                changed[at] = replacement;
                let changed = String::from_utf8(changed).unwrap();
                assert_eq!(verify(&keys(), &changed, now()).unwrap_err(), StateError::Invalid);
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_rejected(text in ".{0,120}") {
            prop_assert_eq!(verify(&keys(), &text, now()).unwrap_err(), StateError::Invalid);
        }

        #[test]
        fn signed_state_round_trips(nonce in any::<[u8; 16]>()) {
            let nonce = Nonce::from_random(nonce);
            let state = sign(&keys(), &nonce, now());
            prop_assert_eq!(verify(&keys(), &state, now()).unwrap().nonce, nonce);
        }
    }
}
