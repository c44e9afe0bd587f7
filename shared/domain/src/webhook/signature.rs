//! `x-zm-signature`: `v0=` and the hex HMAC-SHA256 of `v0:{timestamp}:{raw body}` under the Zoom app's
//! secret token (Zoom, "Using webhooks"). It covers the raw bytes, so a body that was parsed and serialized
//! again does not verify.

use std::fmt;

use hmac::Mac as _;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};

use crate::keys::{self, SecretVersions};

/// Maximum difference between a request's timestamp and the clock, in either direction. Zoom signs every
/// retry with a new timestamp.
pub const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// Why a request was rejected. The response is the same for all variants; the variant goes to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature header: the sender is not Zoom, or the Zoom app sends another header in its place.
    #[error("there is no signature header")]
    Absent,
    /// A header is repeated or malformed.
    #[error("the signature headers are malformed")]
    Malformed,
    /// The timestamp differs from the clock by more than [`TOLERANCE`].
    #[error("the timestamp is outside the tolerance")]
    Stale,
    /// No live secret verifies the signature.
    #[error("the signature does not match")]
    Mismatch,
}

/// The signature headers of a request. A valid signature can be replayed for five minutes, so `Debug`
/// redacts it.
#[derive(Clone, Copy)]
pub struct SignatureHeaders<'a> {
    /// `x-zm-request-timestamp`, in epoch seconds.
    pub timestamp: &'a str,
    /// `x-zm-signature`.
    pub signature: &'a str,
}

impl fmt::Debug for SignatureHeaders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignatureHeaders")
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

/// Verifies a request and returns the live secret that signed it. An empty secret never verifies.
///
/// # Errors
/// [`SignatureError`] if a header is malformed, the timestamp is outside [`TOLERANCE`], or no live secret
/// verifies the signature.
pub fn verify<'k>(
    secrets: &'k SecretVersions,
    headers: SignatureHeaders<'_>,
    raw_body: &[u8],
    now: Timestamp,
) -> Result<&'k SecretString, SignatureError> {
    let SignatureHeaders { timestamp, signature } = headers;
    let is_number =
        (1..=12).contains(&timestamp.len()) && timestamp.bytes().all(|b| b.is_ascii_digit());
    let seconds: i64 =
        is_number.then(|| timestamp.parse().ok()).flatten().ok_or(SignatureError::Malformed)?;
    // Zoom writes lower case; rejecting upper case leaves one valid text per signature.
    let hex = signature
        .strip_prefix("v0=")
        .filter(|hex| !hex.bytes().any(|b| b.is_ascii_uppercase()))
        .ok_or(SignatureError::Malformed)?;
    let mut tag = [0u8; 32];
    hex::decode_to_slice(hex, &mut tag).map_err(|_| SignatureError::Malformed)?;

    if (now.as_second() - seconds).abs() > TOLERANCE.as_secs() {
        return Err(SignatureError::Stale);
    }
    secrets
        .iter()
        .filter(|secret| !secret.expose_secret().is_empty())
        .find(|secret| {
            keys::hmac(secret.expose_secret().as_bytes())
                .chain_update(b"v0:")
                .chain_update(timestamp)
                .chain_update(b":")
                .chain_update(raw_body)
                .verify_slice(&tag)
                .is_ok()
        })
        .ok_or(SignatureError::Mismatch)
}

/// Creates the `x-zm-signature` of a body as Zoom does, for `reelay doctor`.
pub fn sign(secret: &SecretString, timestamp: &str, raw_body: &[u8]) -> SecretString {
    let tag = keys::hmac(secret.expose_secret().as_bytes())
        .chain_update(b"v0:")
        .chain_update(timestamp)
        .chain_update(b":")
        .chain_update(raw_body)
        .finalize();
    SecretString::from(format!("v0={}", hex::encode(tag.into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &str = "test-secret-token-000";
    const NOW: i64 = 1_767_225_601;
    const TIMESTAMP: &str = "1767225601";
    const BODY: &[u8] = include_bytes!("../../../../tests/fixtures/zoom/signature_vector.json");
    const SIGNATURE: &str = "v0=98711e3d398860834b085f6772d1ac89633e554df88f140e42370b1e3642b3a1";

    fn check(
        secrets: &SecretVersions,
        timestamp: &str,
        signature: &str,
        body: &[u8],
        now: i64,
    ) -> Result<(), SignatureError> {
        let headers = SignatureHeaders { timestamp, signature };
        let now = Timestamp::from_second(now).unwrap();
        verify(secrets, headers, body, now).map(|_| ())
    }

    fn signed(secret: &str, timestamp: &str, body: &[u8]) -> String {
        sign(&secret.into(), timestamp, body).expose_secret().to_owned()
    }

    #[test]
    fn vector_with_non_ascii_topic_verifies() {
        assert_eq!(BODY.len(), 277);
        assert_eq!(signed(SECRET, TIMESTAMP, BODY), SIGNATURE);
        let secrets = SecretVersions::single(SECRET);
        assert_eq!(check(&secrets, TIMESTAMP, SIGNATURE, BODY, NOW), Ok(()));
    }

    #[test]
    fn timestamp_tolerance_is_300_seconds() {
        let secrets = SecretVersions::single(SECRET);
        for (offset, expected) in [
            (300, Ok(())),
            (-300, Ok(())),
            (301, Err(SignatureError::Stale)),
            (-301, Err(SignatureError::Stale)),
        ] {
            let result = check(&secrets, TIMESTAMP, SIGNATURE, BODY, NOW + offset);
            assert_eq!(result, expected, "{offset}");
        }
    }

    #[test]
    fn verify_returns_the_signing_secret() {
        let rotated = SecretVersions { current: "new".into(), previous: Some(SECRET.into()) };
        let headers = SignatureHeaders { timestamp: TIMESTAMP, signature: SIGNATURE };
        let now = Timestamp::from_second(NOW).unwrap();
        let secret = verify(&rotated, headers, BODY, now).unwrap();
        assert_eq!(secret.expose_secret(), SECRET);
    }

    #[test]
    fn wrong_signatures_are_rejected() {
        let secrets = SecretVersions::single(SECRET);
        let compact = br#"{"event":"x"}"#;
        let spaced = br#"{ "event": "x" }"#;
        let digit = SIGNATURE.replace('9', "8");
        let later = "1767225661";
        for (case, secrets, timestamp, signature, body) in [
            ("another secret", SecretVersions::single("new"), TIMESTAMP, SIGNATURE, BODY),
            (
                "signed with another secret",
                secrets.clone(),
                TIMESTAMP,
                &signed("other", TIMESTAMP, BODY),
                BODY,
            ),
            (
                "signed with the empty secret",
                secrets.clone(),
                TIMESTAMP,
                &signed("", TIMESTAMP, BODY),
                BODY,
            ),
            (
                "empty secret configured",
                SecretVersions::single(""),
                TIMESTAMP,
                &signed("", TIMESTAMP, BODY),
                BODY,
            ),
            ("another digest", secrets.clone(), TIMESTAMP, &digit, BODY),
            (
                "serialized again",
                secrets.clone(),
                TIMESTAMP,
                &signed(SECRET, TIMESTAMP, spaced),
                compact,
            ),
            ("another timestamp", secrets.clone(), later, SIGNATURE, BODY),
            ("empty body", secrets.clone(), TIMESTAMP, SIGNATURE, b""),
        ] {
            let result = check(&secrets, timestamp, signature, body, NOW);
            assert_eq!(result, Err(SignatureError::Mismatch), "{case}");
        }
    }

    #[test]
    fn malformed_headers_are_rejected() {
        let secrets = SecretVersions::single(SECRET);
        for (timestamp, signature) in [
            ("", ""),
            ("", SIGNATURE),
            ("now", SIGNATURE),
            ("-1767225601", SIGNATURE),
            ("+1767225601", SIGNATURE),
            ("1767225601.0", SIGNATURE),
            ("99999999999999999999", SIGNATURE),
            (TIMESTAMP, ""),
            (TIMESTAMP, "v0="),
            (TIMESTAMP, &SIGNATURE[3..]),
            (TIMESTAMP, &SIGNATURE[..60]),
            (TIMESTAMP, &SIGNATURE[..66]),
            (TIMESTAMP, &format!("{SIGNATURE}00")),
            (TIMESTAMP, &SIGNATURE.replacen("v0=", "v1=", 1)),
            (TIMESTAMP, &SIGNATURE.to_uppercase().replacen('V', "v", 1)),
        ] {
            let result = check(&secrets, timestamp, signature, BODY, NOW);
            assert_eq!(result, Err(SignatureError::Malformed), "{timestamp} {signature}");
        }
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_rejected(at in 0usize..277, flip in 1u8..=255) {
            let mut body = BODY.to_vec();
            body[at] ^= flip;
            let secrets = SecretVersions::single(SECRET);
            prop_assert!(check(&secrets, TIMESTAMP, SIGNATURE, &body, NOW).is_err());
        }
    }
}
