//! Content of `ZoomSecret`. On AWS the operator sets it, here the stack does.

use reelay_runtime::random;
use serde::Serialize;

/// The Zoom app's credentials.
#[derive(Clone, Serialize)]
pub(super) struct ZoomCredentials {
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) webhook_secret: String,
}

impl ZoomCredentials {
    /// Random credentials for an external Zoom, which the developer configures with them.
    pub(super) fn generated() -> Self {
        Self {
            client_id: letters::<22>(),
            client_secret: letters::<32>(),
            webhook_secret: letters::<22>(),
        }
    }
}

fn letters<const N: usize>() -> String {
    // 64 long, so that each byte gives a letter; that two letters come twice as often does no harm here.
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789xY";
    random::bytes::<N>()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 64)]))
        .iter()
        .collect()
}
