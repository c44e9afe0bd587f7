//! The OAuth `state` (RFC 6749 §10.12): a nonce and an expiry under a MAC.
//!
//! It says nothing about the user. What it stands for lies in the session that the nonce names;
//! the MAC only keeps invented and expired values away from the table.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac as _;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::keys::{self, Purpose, SecretVersions};

/// How long a user may take from the app's button to Zoom's redirect back.
pub const TTL: SignedDuration = SignedDuration::from_mins(10);

const VERSION: u8 = 1;
const NONCE: usize = 16;
const SIGNED: usize = 1 + NONCE + 8;
const WHOLE: usize = SIGNED + 32;

/// 128 random bits that name one authorization attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; NONCE]);

impl Nonce {
    /// Takes 128 bits from a cryptographic source.
    pub fn from_random(bytes: [u8; NONCE]) -> Self {
        Self(bytes)
    }

    /// The session's key: a hash, so that reading the table does not give a usable state.
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

/// Why a state is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Not ours: malformed, altered, or signed by an unknown key.
    #[error("the state was not signed by us")]
    Invalid,
    /// Ours, and too old.
    #[error("the state has expired")]
    Expired,
}

/// A state with a good MAC that has not expired.
#[derive(Debug, Clone, Copy)]
pub struct VerifiedState {
    /// Names the session.
    pub nonce: Nonce,
}

/// Signs a state under the current key: 76 characters of base64url.
pub fn sign(keys: &SecretVersions, nonce: &Nonce, now: Timestamp) -> String {
    let mut bytes = [0u8; WHOLE];
    bytes[0] = VERSION;
    bytes[1..=NONCE].copy_from_slice(&nonce.0);
    let expires = (now + TTL).as_second();
    bytes[1 + NONCE..SIGNED].copy_from_slice(&expires.to_be_bytes());
    let tag = keys::mac(&keys.current, Purpose::State)
        .chain_update(&bytes[..SIGNED])
        .finalize();
    bytes[SIGNED..].copy_from_slice(&tag.into_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Checks a state that came back through the browser. 57 bytes fill their 76 characters exactly, so
/// there is one text for each state and no bit of it can be changed unseen.
pub fn verify(
    keys: &SecretVersions,
    state: &str,
    now: Timestamp,
) -> Result<VerifiedState, StateError> {
    let bytes: [u8; WHOLE] = URL_SAFE_NO_PAD
        .decode(state)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(StateError::Invalid)?;
    let (signed, tag) = bytes.split_at(SIGNED);
    if signed[0] != VERSION || !keys::verifies(keys, Purpose::State, signed, tag) {
        return Err(StateError::Invalid);
    }
    let mut expires = [0u8; 8];
    expires.copy_from_slice(&signed[1 + NONCE..]);
    if now.as_second() >= i64::from_be_bytes(expires) {
        return Err(StateError::Expired);
    }
    let mut nonce = [0u8; NONCE];
    nonce.copy_from_slice(&signed[1..=NONCE]);
    Ok(VerifiedState {
        nonce: Nonce(nonce),
    })
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
    fn a_signed_state_verifies_until_ten_minutes_have_passed() {
        let nonce = Nonce::from_random([7; 16]);
        let state = sign(&keys(), &nonce, now());
        assert_eq!(state.len(), 76);
        let last = now() + SignedDuration::from_secs(599);
        assert_eq!(verify(&keys(), &state, last).unwrap().nonce, nonce);
        assert_eq!(
            verify(&keys(), &state, now() + TTL).unwrap_err(),
            StateError::Expired
        );
    }

    #[test]
    fn a_state_of_the_previous_key_still_verifies_and_one_of_an_unknown_key_does_not() {
        let state = sign(&keys(), &Nonce::from_random([7; 16]), now());
        let turned = SecretVersions {
            current: "n".repeat(44).into(),
            previous: Some(keys().current),
        };
        assert!(verify(&turned, &state, now()).is_ok());
        let other = SecretVersions::single("other");
        assert_eq!(
            verify(&other, &state, now()).unwrap_err(),
            StateError::Invalid
        );
    }

    #[test]
    fn every_single_character_change_is_refused() {
        let state = sign(&keys(), &Nonce::from_random([9; 16]), now());
        for at in 0..state.len() {
            for replacement in *b"AZaz09-_" {
                let mut changed = state.clone().into_bytes();
                if changed[at] == replacement {
                    continue;
                }
                changed[at] = replacement;
                let changed = String::from_utf8(changed).unwrap();
                assert_eq!(
                    verify(&keys(), &changed, now()).unwrap_err(),
                    StateError::Invalid
                );
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_at_all_is_taken_for_a_state(text in ".{0,120}") {
            prop_assert_eq!(verify(&keys(), &text, now()).unwrap_err(), StateError::Invalid);
        }

        #[test]
        fn round_trip(nonce in any::<[u8; 16]>()) {
            let nonce = Nonce::from_random(nonce);
            let state = sign(&keys(), &nonce, now());
            prop_assert_eq!(verify(&keys(), &state, now()).unwrap().nonce, nonce);
        }
    }
}
