//! PKCE (RFC 7636) with a verifier that is nowhere: derived from the nonce when the code is
//! exchanged, so it is neither stored nor sent through the browser.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac as _;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use crate::keys::{self, Purpose};
use crate::signed_state::Nonce;

/// The code verifier of one authorization attempt: 43 characters, HMAC-SHA256 of the nonce.
///
/// `key` must be the version that was current when the attempt began. The session keeps the
/// challenge, which tells the right one ([`find_verifier`]).
pub fn verifier(key: &SecretString, nonce: &Nonce) -> SecretString {
    let tag = keys::mac(key, Purpose::PkceVerifier)
        .chain_update(nonce.bytes())
        .finalize();
    SecretString::from(URL_SAFE_NO_PAD.encode(tag.into_bytes()))
}

/// The S256 code challenge of a verifier.
pub fn challenge(verifier: &SecretString) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose_secret().as_bytes()))
}

/// The verifier that belongs to a challenge, whichever live key it was derived under.
pub fn find_verifier(
    keys: &keys::SecretVersions,
    nonce: &Nonce,
    wanted: &str,
) -> Option<SecretString> {
    keys.iter()
        .map(|key| verifier(key, nonce))
        .find(|candidate| challenge(candidate) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretVersions;

    #[test]
    fn challenges_match_published_vectors() {
        for (verifier, expected) in [
            // RFC 7636, appendix B.
            (
                "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
                "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            ),
            (
                "synthetic-verifier-0123456789-abcdefghijklmnopqrstuvwxyz",
                "jFdLyeXA9BjFbh04RGxbCFZt9CAX0-3UMYeHSJG3V-w",
            ),
        ] {
            assert_eq!(challenge(&SecretString::from(verifier)), expected);
        }
    }

    #[test]
    fn the_verifier_has_the_length_that_rfc_7636_asks_for() {
        let verifier = verifier(&SecretString::from("key"), &Nonce::from_random([1; 16]));
        assert_eq!(verifier.expose_secret().len(), 43);
    }

    #[test]
    fn an_attempt_begun_before_a_turn_over_still_finds_its_verifier() {
        let nonce = Nonce::from_random([3; 16]);
        let old = SecretVersions::single("old");
        let wanted = challenge(&verifier(&old.current, &nonce));
        let turned = SecretVersions {
            current: "new".into(),
            previous: Some(old.current),
        };
        assert!(find_verifier(&turned, &nonce, &wanted).is_some());
        assert!(find_verifier(&SecretVersions::single("new"), &nonce, &wanted).is_none());
    }
}
