//! The claim: what the user's browser carries back to the app after Zoom's consent. It is worth
//! something only in the hands of the app user who began, and only once confirmed by the app.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// How long a claim may be confirmed.
pub const TTL: SignedDuration = SignedDuration::from_mins(10);

/// 256 random bits, 43 characters of base64url.
#[derive(Clone)]
pub struct Claim(SecretString);

impl Claim {
    /// Takes 256 bits from a cryptographic source.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(SecretString::from(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Reads a claim from a request. `None` for a text that no claim can have.
    pub fn parse(text: &str) -> Option<Self> {
        (URL_SAFE_NO_PAD.decode(text).ok()?.len() == 32)
            .then(|| Self(SecretString::from(text.to_owned())))
    }

    /// The key under which it is stored: its hash, so that reading the table gives no usable claim.
    pub fn session_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.0.expose_secret().as_bytes()))
    }

    /// The text for the redirect's query, and nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claim([redacted])")
    }
}
