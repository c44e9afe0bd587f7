//! Signatures of notifications (Standard Webhooks).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::Mac as _;
use secrecy::{ExposeSecret as _, SecretString};

use crate::keys::{self, SecretVersions};

/// The notification secret is not base64, so no receiver could verify a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the notification secret is not base64")]
pub struct InvalidSecret;

/// Returns the `webhook-signature` header: `v1,` and base64 HMAC-SHA256 of `{id}.{timestamp}.{body}`, one
/// signature per live secret, separated by spaces (Standard Webhooks, "Signature scheme").
///
/// # Errors
/// [`InvalidSecret`] if a secret is not base64.
pub fn signature(
    secrets: &SecretVersions,
    id: &str,
    timestamp: i64,
    body: &str,
) -> Result<String, InvalidSecret> {
    let signatures = secrets
        .iter()
        .map(|secret| {
            let tag = keys::hmac(&decode_secret(secret)?)
                .chain_update(format!("{id}.{timestamp}.{body}"))
                .finalize();
            Ok(format!("v1,{}", STANDARD.encode(tag.into_bytes())))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(signatures.join(" "))
}

/// Decodes a secret: base64 after the optional prefix `whsec_`.
fn decode_secret(secret: &SecretString) -> Result<Vec<u8>, InvalidSecret> {
    let text = secret.expose_secret();
    let text = text.strip_prefix("whsec_").unwrap_or(text).trim_end_matches('=');
    STANDARD_NO_PAD.decode(text).map_err(|_| InvalidSecret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_matches_standard_webhooks_vector() {
        let secrets = SecretVersions::single("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signature = signature(
            &secrets,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        )
        .unwrap();
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_live_secret_signs() {
        let secrets = SecretVersions {
            current: "a".repeat(44).into(),
            previous: Some("b".repeat(44).into()),
        };
        let signature = signature(&secrets, "msg_1", 1, "{}").unwrap();
        assert_eq!(signature.split(' ').count(), 2);
        assert!(super::signature(&SecretVersions::single("not base64!"), "m", 1, "{}").is_err());
    }
}
