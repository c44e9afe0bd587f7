//! The value of `ZoomSecret`, which the operator enters on AWS.

use aws_sdk_secretsmanager::Client;
use reelay_runtime::random;
use serde::{Deserialize, Serialize};

use crate::deploy::{self, DeployError};

/// Credentials of the Zoom app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ZoomCredentials {
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) webhook_secret: String,
}

impl ZoomCredentials {
    /// Random credentials for an external Zoom.
    pub(super) fn generated() -> Self {
        Self {
            client_id: letters::<22>(),
            client_secret: letters::<32>(),
            webhook_secret: letters::<22>(),
        }
    }

    fn is_complete(&self) -> bool {
        ![&self.client_id, &self.client_secret, &self.webhook_secret]
            .iter()
            .any(|part| part.is_empty())
    }
}

/// What the secret holds, from an earlier run; `offered` if it holds nothing yet.
pub(super) async fn settle(
    client: &Client,
    secret: &str,
    offered: ZoomCredentials,
) -> Result<ZoomCredentials, DeployError> {
    let held = deploy::current_secret(client, secret).await?;
    let held: ZoomCredentials = serde_json::from_str(&held).unwrap_or_default();
    if held.is_complete() {
        return Ok(held);
    }
    let value = serde_json::json!(offered).to_string();
    deploy::put_secret(client, secret, &value).await?;
    Ok(offered)
}

fn letters<const N: usize>() -> String {
    // 64 letters, so that each byte selects one. Two letters are twice as likely, which is harmless here.
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789xY";
    random::bytes::<N>()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 64)]))
        .iter()
        .collect()
}
