//! PKCE (RFC 7636). The code verifier is derived from the nonce when the code is exchanged, so it is
//! neither stored nor sent through the browser.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac as _;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use crate::keys::{self, Purpose};
use crate::signed_state::Nonce;

/// Derives the code verifier of an authorization attempt: 43 characters, HMAC-SHA256 of the nonce.
///
/// `key` must be the secret version that was current when the attempt started; [`find_verifier`] finds
/// it by the challenge that the session stores.
pub fn verifier(key: &SecretString, nonce: &Nonce) -> SecretString {
    let tag = keys::mac(key, Purpose::PkceVerifier).chain_update(nonce.bytes()).finalize();
    SecretString::from(URL_SAFE_NO_PAD.encode(tag.into_bytes()))
}

/// Computes the S256 code challenge of a verifier.
pub fn challenge(verifier: &SecretString) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose_secret().as_bytes()))
}

/// Finds the verifier of a challenge under any live key.
pub fn find_verifier(
    keys: &keys::SecretVersions,
    nonce: &Nonce,
    code_challenge: &str,
) -> Option<SecretString> {
    keys.iter()
        .map(|key| verifier(key, nonce))
        .find(|candidate| challenge(candidate) == code_challenge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretVersions;

    #[test]
    fn challenges_match_rfc_7636_vectors() {
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
    fn verifier_has_43_characters() {
        let verifier = verifier(&SecretString::from("key"), &Nonce::from_random([1; 16]));
        assert_eq!(verifier.expose_secret().len(), 43);
    }

    #[test]
    fn verifier_is_found_after_rotation() {
        let nonce = Nonce::from_random([3; 16]);
        let old = SecretVersions::single("old");
        let code_challenge = challenge(&verifier(&old.current, &nonce));
        let rotated = SecretVersions { current: "new".into(), previous: Some(old.current) };
        assert!(find_verifier(&rotated, &nonce, &code_challenge).is_some());
        assert!(find_verifier(&SecretVersions::single("new"), &nonce, &code_challenge).is_none());
    }
}
