//! The value of `ZoomSecret`, which the operator enters on AWS.

use reelay_runtime::random;
use serde::Serialize;

/// Credentials of the Zoom app.
#[derive(Clone, Serialize)]
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
}

fn letters<const N: usize>() -> String {
    // 64 letters, so that each byte selects one. Two letters are twice as likely, which is harmless here.
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789xY";
    random::bytes::<N>().map(|byte| char::from(ALPHABET[usize::from(byte % 64)])).iter().collect()
}
