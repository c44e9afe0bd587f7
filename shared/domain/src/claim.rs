//! Link claims: the value that the browser carries back to the app after consent at Zoom.
//!
//! A claim is valid only for the app user who started the flow, and only the app's server can confirm it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// Time within which the app must confirm a claim.
pub const TTL: SignedDuration = SignedDuration::from_mins(10);

/// A link claim: 256 random bits, as 43 characters of base64url. `Debug` redacts it.
#[derive(Clone)]
pub struct Claim(SecretString);

impl Claim {
    /// Creates a claim from 256 bits of a cryptographically secure source.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(SecretString::from(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Parses a claim from a request. `None` if the text is not base64url of 32 bytes.
    pub fn parse(text: &str) -> Option<Self> {
        (URL_SAFE_NO_PAD.decode(text).ok()?.len() == 32)
            .then(|| Self(SecretString::from(text.to_owned())))
    }

    /// Returns the storage key: the claim's SHA-256, so that the table holds no usable claim.
    pub fn session_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.0.expose_secret().as_bytes()))
    }

    /// Returns the claim as text, for the redirect's query only.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claim([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_thirty_two_bytes_are_a_claim() {
        let claim = Claim::from_random([7; 32]);
        let parsed = Claim::parse(claim.expose()).unwrap();
        assert_eq!(parsed.session_key(), claim.session_key());
        for bytes in [&[][..], &[7; 31], &[7; 33]] {
            assert!(Claim::parse(&URL_SAFE_NO_PAD.encode(bytes)).is_none(), "{}", bytes.len());
        }
        assert!(Claim::parse("not base64").is_none());
    }
}
