//! Proof Key for Code Exchange (RFC 7636), with Zoom's default method.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// A `code_challenge` and how it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// The verifier itself.
    Plain(String),
    /// base64url of its SHA-256.
    S256(String),
}

impl Challenge {
    /// Reads the two parameters; without a method it is `plain`. `Err` for a method that does not exist.
    pub(crate) fn read(challenge: Option<&str>, method: Option<&str>) -> Result<Option<Self>, ()> {
        match (challenge, method) {
            (None, _) => Ok(None),
            (Some(challenge), None | Some("plain")) => Ok(Some(Self::Plain(challenge.into()))),
            (Some(challenge), Some("S256")) => Ok(Some(Self::S256(challenge.into()))),
            _ => Err(()),
        }
    }

    pub(crate) fn is_met_by(&self, verifier: &str) -> bool {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(unreserved) {
            return false;
        }
        match self {
            Self::Plain(challenge) => challenge == verifier,
            Self::S256(challenge) => {
                *challenge == URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "synthetic-verifier-0123456789-abcdefghijklmnopqrstuvwxyz";
    const CHALLENGE: &str = "jFdLyeXA9BjFbh04RGxbCFZt9CAX0-3UMYeHSJG3V-w";

    #[test]
    fn vector() {
        let challenge = Challenge::read(Some(CHALLENGE), Some("S256"))
            .expect("method")
            .expect("challenge");
        assert!(challenge.is_met_by(VERIFIER));
        assert!(!challenge.is_met_by(&VERIFIER.to_uppercase()));
        assert!(!challenge.is_met_by("short"));
    }

    #[test]
    fn the_default_method_is_plain() {
        let challenge = Challenge::read(Some(CHALLENGE), None)
            .expect("method")
            .expect("challenge");
        assert!(!challenge.is_met_by(VERIFIER));
        assert!(challenge.is_met_by(CHALLENGE));
        assert!(Challenge::read(Some(CHALLENGE), Some("s256")).is_err());
    }
}
