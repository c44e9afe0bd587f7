//! `x-zm-signature`: `v0=` and the hex HMAC-SHA256 of `v0:{timestamp}:{raw body}` under the app's
//! secret token (Zoom, "Using webhooks", verification). Raw bytes only: a body that was parsed and
//! written again is another body.

use std::fmt;

use hmac::Mac as _;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};

use crate::keys::{self, SecretVersions};

/// How old, or how far ahead of our clock, a delivery may be. Zoom signs each retry anew, so a tight
/// window rejects none.
pub const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// Why a delivery is refused. The caller answers every variant alike; the variant is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is absent, repeated or malformed.
    #[error("the signature headers are missing or malformed")]
    Malformed,
    /// Older or newer than the tolerance.
    #[error("the timestamp is too far from now")]
    Stale,
    /// Not signed by any live secret.
    #[error("the signature does not match")]
    Mismatch,
}

/// The two headers of a delivery, as they came. A good signature opens the door for five minutes, so
/// `Debug` does not show it.
#[derive(Clone, Copy)]
pub struct SignatureHeaders<'a> {
    /// `x-zm-request-timestamp`: epoch seconds.
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

/// Checks a delivery and tells which live secret signed it. Empty secrets verify nothing.
pub fn verify<'k>(
    secrets: &'k SecretVersions,
    headers: SignatureHeaders<'_>,
    raw_body: &[u8],
    now: Timestamp,
) -> Result<&'k SecretString, SignatureError> {
    let SignatureHeaders {
        timestamp,
        signature,
    } = headers;
    let digits =
        (1..=12).contains(&timestamp.len()) && timestamp.bytes().all(|b| b.is_ascii_digit());
    let seconds: i64 = digits
        .then(|| timestamp.parse().ok())
        .flatten()
        .ok_or(SignatureError::Malformed)?;
    // Capitals would be the same digest in another text; Zoom writes none, and so each signature has one.
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

/// The `x-zm-signature` of a body, as Zoom makes it: for the operator's tool, which sends what Zoom would.
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
        let now = Timestamp::from_second(now).unwrap();
        verify(
            secrets,
            SignatureHeaders {
                timestamp,
                signature,
            },
            body,
            now,
        )
        .map(|_| ())
    }

    fn signed_at(timestamp: &str, body: &[u8]) -> String {
        let mac = keys::hmac(SECRET.as_bytes())
            .chain_update(format!("v0:{timestamp}:"))
            .chain_update(body)
            .finalize();
        format!("v0={}", hex::encode(mac.into_bytes()))
    }

    #[test]
    fn what_is_signed_here_is_signed_as_zoom_does() {
        let signature = sign(&SECRET.into(), TIMESTAMP, BODY);
        assert_eq!(signature.expose_secret(), SIGNATURE);
    }

    #[test]
    fn the_vector_with_a_non_ascii_topic_verifies() {
        assert_eq!(BODY.len(), 277);
        assert_eq!(
            check(
                &SecretVersions::single(SECRET),
                TIMESTAMP,
                SIGNATURE,
                BODY,
                1_767_225_601
            ),
            Ok(())
        );
    }

    #[test]
    fn five_minutes_either_side_are_fresh() {
        let secrets = SecretVersions::single(SECRET);
        for (now, expected) in [
            (1_767_225_601 + 300, Ok(())),
            (1_767_225_601 - 300, Ok(())),
            (1_767_225_601 + 301, Err(SignatureError::Stale)),
            (1_767_225_601 - 301, Err(SignatureError::Stale)),
        ] {
            assert_eq!(
                check(&secrets, TIMESTAMP, SIGNATURE, BODY, now),
                expected,
                "{now}"
            );
        }
    }

    #[test]
    fn either_live_secret_verifies_and_the_one_that_did_is_told() {
        let turned = SecretVersions {
            current: "new".into(),
            previous: Some(SECRET.into()),
        };
        let headers = SignatureHeaders {
            timestamp: TIMESTAMP,
            signature: SIGNATURE,
        };
        let now = Timestamp::from_second(1_767_225_601).unwrap();
        assert_eq!(
            verify(&turned, headers, BODY, now).unwrap().expose_secret(),
            SECRET
        );
        assert_eq!(
            verify(&SecretVersions::single("new"), headers, BODY, now).unwrap_err(),
            SignatureError::Mismatch
        );
    }

    #[test]
    fn an_empty_secret_verifies_nothing() {
        let mac = keys::hmac(b"")
            .chain_update(format!("v0:{TIMESTAMP}:"))
            .chain_update(BODY)
            .finalize();
        let signature = format!("v0={}", hex::encode(mac.into_bytes()));
        assert_eq!(
            check(
                &SecretVersions::single(""),
                TIMESTAMP,
                &signature,
                BODY,
                1_767_225_601
            ),
            Err(SignatureError::Mismatch)
        );
    }

    #[test]
    fn a_reserialised_body_is_refused() {
        let body = br#"{ "event": "x" }"#;
        let signature = signed_at(TIMESTAMP, body);
        let secrets = SecretVersions::single(SECRET);
        assert_eq!(
            check(&secrets, TIMESTAMP, &signature, body, 1_767_225_601),
            Ok(())
        );
        let again = br#"{"event":"x"}"#;
        assert_eq!(
            check(&secrets, TIMESTAMP, &signature, again, 1_767_225_601),
            Err(SignatureError::Mismatch)
        );
    }

    #[test]
    fn malformed_headers_are_refused() {
        let secrets = SecretVersions::single(SECRET);
        for (timestamp, signature) in [
            ("", SIGNATURE),
            ("-1767225601", SIGNATURE),
            ("+1767225601", SIGNATURE),
            ("1767225601.0", SIGNATURE),
            ("99999999999999999999", SIGNATURE),
            (TIMESTAMP, ""),
            (TIMESTAMP, "v0="),
            (TIMESTAMP, &SIGNATURE[3..]),
            (TIMESTAMP, &SIGNATURE[..66]),
            (TIMESTAMP, &format!("{SIGNATURE}00")),
            (TIMESTAMP, &SIGNATURE.replacen("v0=", "v1=", 1)),
            (TIMESTAMP, &SIGNATURE.to_uppercase().replacen('V', "v", 1)),
        ] {
            let refused = check(&secrets, timestamp, signature, BODY, 1_767_225_601);
            assert_eq!(
                refused,
                Err(SignatureError::Malformed),
                "{timestamp} {signature}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_changed_byte_anywhere_is_refused(at in 0usize..277, flip in 1u8..=255) {
            let mut body = BODY.to_vec();
            body[at] ^= flip;
            prop_assert!(check(&SecretVersions::single(SECRET), TIMESTAMP, SIGNATURE, &body, 1_767_225_601).is_err());
        }
    }
}
