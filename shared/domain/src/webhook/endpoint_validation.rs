//! `endpoint.url_validation`: Zoom's check of the endpoint, at set-up and every 72 hours. Six
//! failures in a row switch the subscription off, so the answer depends on the secret alone.

use hmac::Mac as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use crate::keys;

/// What the plain tokens of the operator's tool begin with. They are answered like Zoom's, and not counted: that
/// we ask ourselves says nothing of whether Zoom does.
pub const DOCTOR_TOKEN_PREFIX: &str = "reelay-doctor-";

/// The answer's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointValidation {
    /// As it was sent.
    pub plain_token: String,
    /// Lower-case hex HMAC-SHA256 of the plain token under the secret token.
    pub encrypted_token: String,
}

/// Answers the check with the secret that signed it, so that it passes while secrets turn over.
pub fn respond(secret: &SecretString, plain_token: &str) -> EndpointValidation {
    let tag = keys::hmac(secret.expose_secret().as_bytes())
        .chain_update(plain_token)
        .finalize();
    EndpointValidation {
        plain_token: plain_token.to_owned(),
        encrypted_token: hex::encode(tag.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_vector() {
        let answer = respond(&"test-secret-token-000".into(), "synthPlainToken0000001");
        assert_eq!(
            serde_json::to_value(&answer).unwrap(),
            serde_json::json!({
                "plainToken": "synthPlainToken0000001",
                "encryptedToken": "a2dd0d59791cec43a9f4f3d0af9f0e18aaac9f8d4179afbe2547e0e44c2245a8"
            })
        );
    }
}
