//! List cursors: opaque, authenticated and bound to one app user.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac as _;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ids::{AppUserId, RecordingId, ZoomUser};
use crate::keys::{self, Purpose, SecretVersions};
use crate::time::rfc3339;

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

impl Position {
    /// Whether this page or an earlier one has shown the recording. All Zoom users share one order; `start_order`
    /// contains the recording id, so an equal value at another user is the same meeting instance.
    pub fn has_shown(&self, zoom_user: &ZoomUser, start_order: &str) -> bool {
        (start_order, zoom_user.key().as_str()) >= (&*self.start_order, &*self.zoom_user)
    }

    /// The recording at this position; `None` if the position names none.
    pub fn recording(&self) -> Option<RecordingId> {
        self.start_order.split_once('#')?.1.parse().ok()
    }
}

/// Position in the feed of notifications: everything up to `after` has been read. `after` is the key of a row
/// ([`FeedPosition::at`] with the notification's id), or a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FeedPosition {
    /// Time, and id of the notification if the position is that of a row.
    #[serde(rename = "a")]
    pub after: String,
}

impl FeedPosition {
    /// The position before all notifications of a time and after all earlier ones.
    pub fn at(time: Timestamp) -> Self {
        Self { after: rfc3339(time) }
    }

    /// The time of the position; `None` if the cursor names no valid time.
    pub fn time(&self) -> Option<Timestamp> {
        self.after.split('#').next()?.parse().ok()
    }
}

/// The cursor was altered, or Reelay did not issue it for this app user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cursor was not issued for this user")]
pub struct InvalidCursor;

/// Encodes a position as a cursor that is valid for one app user.
pub fn encode(keys: &SecretVersions, user: &AppUserId, position: &Position) -> String {
    issue(keys, Purpose::Cursor, user, position)
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
    verify(keys, Purpose::Cursor, user, cursor)
}

/// Encodes a position of the feed as a cursor that is valid for one app user.
pub fn encode_feed(keys: &SecretVersions, user: &AppUserId, position: &FeedPosition) -> String {
    issue(keys, Purpose::FeedCursor, user, position)
}

/// Decodes a cursor of the feed.
///
/// # Errors
/// [`InvalidCursor`] unless the cursor was issued for this app user under a live key.
pub fn decode_feed(
    keys: &SecretVersions,
    user: &AppUserId,
    cursor: &str,
) -> Result<FeedPosition, InvalidCursor> {
    verify(keys, Purpose::FeedCursor, user, cursor)
}

fn issue(
    keys: &SecretVersions,
    purpose: Purpose,
    user: &AppUserId,
    position: &impl Serialize,
) -> String {
    let body = serde_json::to_vec(position).expect("strings always serialize");
    let tag =
        keys::mac(&keys.current, purpose).chain_update(authenticated_bytes(user, &body)).finalize();
    let mut bytes = tag.into_bytes().to_vec();
    bytes.extend_from_slice(&body);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn verify<P: DeserializeOwned>(
    keys: &SecretVersions,
    purpose: Purpose,
    user: &AppUserId,
    cursor: &str,
) -> Result<P, InvalidCursor> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| InvalidCursor)?;
    let (tag, body) = bytes.split_at_checked(32).ok_or(InvalidCursor)?;
    if !keys::verifies(keys, purpose, &authenticated_bytes(user, body), tag) {
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
    fn pages_begin_after_the_last_shown_recording() {
        let (at, before) = (&*position().start_order, "2026-01-01T08:00:00Z#abc");
        for (zoom_user, start_order, has_shown) in [
            ("A#u", "2026-01-01T10:00:00Z#abc", true),
            ("A#v", at, true),
            ("A#u", at, true),
            ("A#t", at, false),
            ("A#v", before, false),
        ] {
            let zoom_user = ZoomUser::from_key(zoom_user).unwrap();
            assert_eq!(position().has_shown(&zoom_user, start_order), has_shown, "{start_order}");
        }
    }

    #[test]
    fn cursor_is_valid_for_its_user_only() {
        let alice: AppUserId = "alice".parse().unwrap();
        let cursor = encode(&keys(), &alice, &position());
        assert_eq!(decode(&keys(), &alice, &cursor), Ok(position()));
        assert_eq!(decode(&keys(), &"bob".parse().unwrap(), &cursor), Err(InvalidCursor));
    }

    #[test]
    fn feed_cursor_is_valid_for_its_user_and_feed_only() {
        let (alice, bob): (AppUserId, AppUserId) =
            ("alice".parse().unwrap(), "bob".parse().unwrap());
        let time: Timestamp = "2026-01-01T09:00:00.5Z".parse().unwrap();
        let position = FeedPosition::at(time);
        assert_eq!(position.after, "2026-01-01T09:00:00.500Z");
        assert_eq!(position.time(), Some(time));
        let cursor = encode_feed(&keys(), &alice, &position);
        assert_eq!(decode_feed(&keys(), &alice, &cursor), Ok(position));
        assert_eq!(decode_feed(&keys(), &bob, &cursor), Err(InvalidCursor));
        assert_eq!(decode(&keys(), &alice, &cursor), Err(InvalidCursor));
        let row = FeedPosition { after: format!("{}#msg_1", rfc3339(time)) };
        assert_eq!(row.time(), Some(time));
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
