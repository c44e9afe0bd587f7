//! Signatures of webhooks.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Returns the HMAC-SHA256 of the concatenated `parts` in lower-case hex, as in `encryptedToken`.
#[must_use]
pub fn hmac_hex(secret: &str, parts: &[&[u8]]) -> String {
    hex::encode(hmac_bytes(secret.as_bytes(), parts))
}

/// Returns `x-zm-signature` for the raw `body` and `x-zm-request-timestamp` (seconds).
#[must_use]
pub fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
    format!("v0={}", hmac_hex(secret, &[b"v0:", timestamp.as_bytes(), b":", body]))
}

pub(crate) fn hmac_bytes(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC accepts keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_matches_vector() {
        let body = r#"{"event":"recording.completed","event_ts":1767225600123,"payload":{"account_id":"AcctAAAAAAAAAAAAAAAAAA","object":{"id":81234567890,"uuid":"Zm9v+bar/bazQUJDREVGRw==","host_id":"UserBBBBBBBBBBBBBBBBBB","topic":"Synthetic — été"}},"download_token":"synthetic.download.token"}"#;
        assert_eq!(body.len(), 277);
        assert_eq!(
            sign("test-secret-token-000", "1767225601", body.as_bytes()),
            "v0=98711e3d398860834b085f6772d1ac89633e554df88f140e42370b1e3642b3a1"
        );
    }

    #[test]
    fn hmac_matches_vector() {
        assert_eq!(
            hmac_hex("test-secret-token-000", &[b"synthPlainToken0000001"]),
            "a2dd0d59791cec43a9f4f3d0af9f0e18aaac9f8d4179afbe2547e0e44c2245a8"
        );
    }
}
