//! `endpoint.url_validation`: Zoom validates the endpoint at set-up and every 72 hours, and disables the
//! subscription after six consecutive failures. The response depends on the webhook secret only.

use hmac::Mac as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use crate::keys;

/// Prefix of the plain tokens that `reelay doctor` sends. They get the same response as Zoom's but are not counted,
/// because the metric shows whether Zoom validates the endpoint.
pub const DOCTOR_TOKEN_PREFIX: &str = "reelay-doctor-";

/// Body of the response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointValidation {
    /// The request's plain token.
    pub plain_token: String,
    /// Lower-case hex HMAC-SHA256 of the plain token under the secret token.
    pub encrypted_token: String,
}

/// Creates the response. `secret` is the version that signed the request, so that validation succeeds
/// during a rotation.
pub fn respond(secret: &SecretString, plain_token: &str) -> EndpointValidation {
    let tag = keys::hmac(secret.expose_secret().as_bytes()).chain_update(plain_token).finalize();
    EndpointValidation {
        plain_token: plain_token.to_owned(),
        encrypted_token: hex::encode(tag.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_matches_the_vector() {
        let response = respond(&"test-secret-token-000".into(), "synthPlainToken0000001");
        assert_eq!(
            serde_json::to_value(&response).unwrap(),
            serde_json::json!({
                "plainToken": "synthPlainToken0000001",
                "encryptedToken": "a2dd0d59791cec43a9f4f3d0af9f0e18aaac9f8d4179afbe2547e0e44c2245a8"
            })
        );
    }
}
