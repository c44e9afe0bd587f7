//! List cursors: opaque, authenticated and bound to one app user.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac as _;
use serde::{Deserialize, Serialize};

use crate::ids::AppUserId;
use crate::keys::{self, Purpose, SecretVersions};

/// Position of the last recording on a page; the next page starts after it. Recordings are sorted by
/// (`start_order`, `zoom_user`), newest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Start time and recording id: the sort key of the table's index.
    #[serde(rename = "s")]
    pub start_order: String,
    /// Partition key of the Zoom user ([`crate::ids::ZoomUser::key`]).
    #[serde(rename = "z")]
    pub zoom_user: String,
}

/// The cursor was altered, or Reelay did not issue it for this app user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cursor was not issued for this user")]
pub struct InvalidCursor;

/// Encodes a position as a cursor that is valid for one app user.
pub fn encode(keys: &SecretVersions, user: &AppUserId, position: &Position) -> String {
    let body = serde_json::to_vec(position).expect("two strings always serialize");
    let tag = keys::mac(&keys.current, Purpose::Cursor)
        .chain_update(authenticated_bytes(user, &body))
        .finalize();
    let mut bytes = tag.into_bytes().to_vec();
    bytes.extend_from_slice(&body);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes a cursor.
///
/// # Errors
/// [`InvalidCursor`] unless the cursor was issued for this app user under a live key.
pub fn decode(
    keys: &SecretVersions,
    user: &AppUserId,
    cursor: &str,
) -> Result<Position, InvalidCursor> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| InvalidCursor)?;
    let (tag, body) = bytes.split_at_checked(32).ok_or(InvalidCursor)?;
    if !keys::verifies(keys, Purpose::Cursor, &authenticated_bytes(user, body), tag) {
        return Err(InvalidCursor);
    }
    serde_json::from_slice(body).map_err(|_| InvalidCursor)
}

fn authenticated_bytes(user: &AppUserId, body: &[u8]) -> Vec<u8> {
    // App user ids contain no NUL, so the separator is unambiguous.
    [user.as_str().as_bytes(), b"\0", body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> SecretVersions {
        SecretVersions::single("k")
    }

    fn position() -> Position {
        Position { start_order: "2026-01-01T09:00:00Z#abc".into(), zoom_user: "A#u".into() }
    }

    #[test]
    fn cursor_is_valid_for_its_user_only() {
        let alice: AppUserId = "alice".parse().unwrap();
        let cursor = encode(&keys(), &alice, &position());
        assert_eq!(decode(&keys(), &alice, &cursor), Ok(position()));
        assert_eq!(decode(&keys(), &"bob".parse().unwrap(), &cursor), Err(InvalidCursor));
    }

    #[test]
    fn altered_cursor_is_rejected() {
        let alice: AppUserId = "alice".parse().unwrap();
        let cursor = encode(&keys(), &alice, &position());
        for at in 0..cursor.len() {
            let mut bytes = cursor.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(decode(&keys(), &alice, std::str::from_utf8(&bytes).unwrap()).is_err(), "{at}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_rejected(text in ".{0,200}") {
            prop_assert!(decode(&keys(), &"alice".parse().unwrap(), &text).is_err());
        }
    }
}
