//! Signatures of notifications (Standard Webhooks).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::Mac as _;
use secrecy::{ExposeSecret as _, SecretString};

use crate::keys::{self, SecretVersions};

/// No version of the notification secret is base64, so no receiver could verify a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the notification secret is not base64")]
pub struct InvalidSecret;

/// Returns the `webhook-signature` header: `v1,` and base64 HMAC-SHA256 of `{id}.{timestamp}.{body}`, one
/// signature per live secret, separated by spaces (Standard Webhooks, "Signature scheme"). A secret that is not base64
/// does not sign: after its replacement it is still live.
///
/// # Errors
/// [`InvalidSecret`] if no secret is base64.
pub fn signature(
    secrets: &SecretVersions,
    id: &str,
    timestamp: i64,
    body: &str,
) -> Result<String, InvalidSecret> {
    let keys = secrets.iter().filter_map(decode_secret);
    let signatures = keys.map(|key| {
        let tag = keys::hmac(&key).chain_update(format!("{id}.{timestamp}.{body}")).finalize();
        format!("v1,{}", STANDARD.encode(tag.into_bytes()))
    });
    let signatures: Vec<String> = signatures.collect();
    if signatures.is_empty() { Err(InvalidSecret) } else { Ok(signatures.join(" ")) }
}

/// Decodes a secret: base64 after the optional prefix `whsec_`.
fn decode_secret(secret: &SecretString) -> Option<Vec<u8>> {
    let text = secret.expose_secret();
    let text = text.strip_prefix("whsec_").unwrap_or(text).trim_end_matches('=');
    STANDARD_NO_PAD.decode(text).ok()
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
        let replaced =
            SecretVersions { previous: Some("not base64!".to_owned().into()), ..secrets };
        let signature = super::signature(&replaced, "msg_1", 1, "{}").unwrap();
        assert_eq!(signature.split(' ').count(), 1);
    }
}
