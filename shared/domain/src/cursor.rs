//! List cursors: authenticated, bound to the app user, opaque.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac as _;
use serde::{Deserialize, Serialize};

use crate::ids::AppUserId;
use crate::keys::{self, Purpose, SecretVersions};

/// The last recording that a page showed; the next page begins after it. Recordings are in the order
/// of (`start_order`, `zoom_user`), newest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Start time and recording id, as the table's index sorts them.
    #[serde(rename = "s")]
    pub start_order: String,
    /// Partition key of the Zoom user.
    #[serde(rename = "z")]
    pub zoom_user: String,
}

/// A cursor that we did not make for this user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cursor was not issued for this user")]
pub struct InvalidCursor;

/// Seals a position for one app user.
pub fn encode(keys: &SecretVersions, user: &AppUserId, position: &Position) -> String {
    let body = serde_json::to_vec(position).expect("two strings serialise");
    let tag = keys::mac(&keys.current, Purpose::Cursor)
        .chain_update(bound(user, &body))
        .finalize();
    let mut bytes = tag.into_bytes().to_vec();
    bytes.extend_from_slice(&body);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Opens a cursor, if it was made for this app user.
pub fn decode(
    keys: &SecretVersions,
    user: &AppUserId,
    cursor: &str,
) -> Result<Position, InvalidCursor> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| InvalidCursor)?;
    let (tag, body) = bytes.split_at_checked(32).ok_or(InvalidCursor)?;
    if !keys::verifies(keys, Purpose::Cursor, &bound(user, body), tag) {
        return Err(InvalidCursor);
    }
    serde_json::from_slice(body).map_err(|_| InvalidCursor)
}

fn bound(user: &AppUserId, body: &[u8]) -> Vec<u8> {
    // No app user id holds a NUL.
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
        Position {
            start_order: "2026-01-01T09:00:00Z#abc".into(),
            zoom_user: "A#u".into(),
        }
    }

    #[test]
    fn a_cursor_is_good_for_its_user_only() {
        let alice: AppUserId = "alice".parse().unwrap();
        let cursor = encode(&keys(), &alice, &position());
        assert_eq!(decode(&keys(), &alice, &cursor), Ok(position()));
        assert_eq!(
            decode(&keys(), &"bob".parse().unwrap(), &cursor),
            Err(InvalidCursor)
        );
    }

    #[test]
    fn a_cursor_altered_anywhere_is_refused() {
        let alice: AppUserId = "alice".parse().unwrap();
        let cursor = encode(&keys(), &alice, &position());
        for at in 0..cursor.len() {
            let mut bytes = cursor.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(
                decode(&keys(), &alice, std::str::from_utf8(&bytes).unwrap()).is_err(),
                "{at}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_a_cursor(text in ".{0,200}") {
            prop_assert!(decode(&keys(), &"alice".parse().unwrap(), &text).is_err());
        }
    }
}
