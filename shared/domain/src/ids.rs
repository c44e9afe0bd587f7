//! Identifiers, validated on construction. Every id is safe to use unescaped in a table key, an object
//! key or a log line.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The text is not a valid id of the named kind. The error omits the text, which is untrusted and would
/// reach logs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {0}")]
pub struct InvalidId(pub &'static str);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(InvalidId($what)) }
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_base64url_text(text: &str, max_len: usize) -> bool {
    (1..=max_len).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

text_id! {
    /// Id of a Zoom account, which all users of a company share. Opaque, case-sensitive,
    /// `[A-Za-z0-9_-]{1,64}`.
    AccountId, "Zoom account id", |t| is_base64url_text(t, 64)
}

text_id! {
    /// Id of a user within a Zoom account: `id` in `users/me`, `host_id` in webhooks. `[A-Za-z0-9_-]{1,64}`.
    UserId, "Zoom user id", |t| is_base64url_text(t, 64)
}

text_id! {
    /// The app's own id of its user: `[A-Za-z0-9._~@:+=|-]{1,128}`.
    AppUserId, "app user id", |t| (1..=128).contains(&t.len())
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~@:+=|-".contains(&b))
}

text_id! {
    /// UUID of one meeting instance: 1 to 128 printable ASCII characters without spaces and `#`. Zoom's
    /// base64 may contain `/` and `+`, so it must be encoded before use in a path.
    MeetingUuid, "meeting UUID", |t| (1..=128).contains(&t.len())
        && t.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
}

text_id! {
    /// Public id of a recording: base64url, without padding, of the meeting UUID's text.
    RecordingId, "recording id", |t| is_base64url_text(t, 172)
}

text_id! {
    /// Id of a recording file: Zoom's id if it is valid, else a derived one ([`FileId::derive`]).
    FileId, "file id", |t| is_base64url_text(t, 64)
}

text_id! {
    /// Public id of a link between an app user and a Zoom user.
    LinkId, "link id", |t| is_base64url_text(t, 64)
}

/// A Zoom user, identified by account **and** user. The account alone identifies a whole company, so
/// routing by it would mix the recordings of colleagues.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ZoomUser {
    /// The Zoom account.
    pub account_id: AccountId,
    /// The user within the account.
    pub user_id: UserId,
}

impl ZoomUser {
    /// Returns the partition key `account#user`. Neither part can contain `#`.
    pub fn key(&self) -> String {
        format!("{}#{}", self.account_id, self.user_id)
    }

    /// Parses a partition key.
    ///
    /// # Errors
    /// [`InvalidId`] if the key is not `account#user` with two valid ids.
    pub fn from_key(key: &str) -> Result<Self, InvalidId> {
        let (account, user) = key.split_once('#').ok_or(InvalidId("Zoom user key"))?;
        Ok(Self { account_id: account.parse()?, user_id: user.parse()? })
    }
}

impl RecordingId {
    /// Derives the recording id of a meeting instance.
    pub fn from_uuid(uuid: &MeetingUuid) -> Self {
        Self(URL_SAFE_NO_PAD.encode(uuid.as_str()))
    }
}

impl FileId {
    /// Derives the id of a file whose Zoom id is absent or invalid: `x-` and 22 characters of
    /// base64url(SHA-256(uuid, recording_start, file_type, recording_type)).
    pub fn derive(
        uuid: &MeetingUuid,
        recording_start: &str,
        file_type: &str,
        recording_type: &str,
    ) -> Self {
        let mut hash = Sha256::new();
        for part in [uuid.as_str(), recording_start, file_type, recording_type] {
            // The length prefix keeps different tuples from hashing the same bytes.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let text = URL_SAFE_NO_PAD.encode(hash.finalize());
        Self(format!("x-{}", &text[..22]))
    }
}

impl LinkId {
    /// Derives the id of a link from its app user and Zoom user, so that linking again yields the same
    /// id: `lnk_`, 11 characters for the app user, 22 for the pair.
    pub fn derive(app_user: &AppUserId, zoom_user: &ZoomUser) -> Self {
        let mut hash = Sha256::new();
        for part in [app_user.as_str(), zoom_user.account_id.as_str(), zoom_user.user_id.as_str()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let pair = URL_SAFE_NO_PAD.encode(hash.finalize());
        Self(format!("lnk_{}{}", app_user_part(app_user), &pair[..22]))
    }

    /// Returns whether the id is, or was, one of this app user's links. The API needs this to
    /// distinguish a removed link, which has no item, from another user's link.
    pub fn belongs_to(&self, app_user: &AppUserId) -> bool {
        self.0.len() == 37
            && self
                .0
                .strip_prefix("lnk_")
                .is_some_and(|rest| rest.starts_with(&app_user_part(app_user)))
    }
}

fn app_user_part(app_user: &AppUserId) -> String {
    let hash = Sha256::digest(app_user.as_str().as_bytes());
    URL_SAFE_NO_PAD.encode(&hash[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_user_ids_follow_the_contract() {
        for valid in ["1", "alice@example.test", "a.b_c~d@e:f+g=h|i-j", &"x".repeat(128)] {
            assert!(valid.parse::<AppUserId>().is_ok(), "{valid}");
        }
        for invalid in ["", "a b", "a#b", "a/b", "é", &"x".repeat(129)] {
            assert!(invalid.parse::<AppUserId>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn recording_id_is_base64url_of_the_uuid_text() {
        let uuid: MeetingUuid = "Zm9v+bar/bazQUJDREVGRw==".parse().unwrap();
        assert_eq!(RecordingId::from_uuid(&uuid).as_str(), "Wm05ditiYXIvYmF6UVVKRFJFVkdSdz09");
    }

    #[test]
    fn zoom_user_key_round_trips() {
        let user = ZoomUser { account_id: "A-_1".parse().unwrap(), user_id: "u2".parse().unwrap() };
        assert_eq!(ZoomUser::from_key(&user.key()).unwrap(), user);
        assert!(ZoomUser::from_key("only-account").is_err());
    }

    #[test]
    fn derived_file_ids_distinguish_tuples() {
        let uuid: MeetingUuid = "abc==".parse().unwrap();
        let id = FileId::derive(&uuid, "2026-01-01T09:00:10Z", "TIMELINE", "");
        assert_eq!(id.as_str().len(), 24);
        assert!(id.as_str().starts_with("x-"));
        assert_ne!(id, FileId::derive(&uuid, "2026-01-01T09:00:10Z", "TIME", "LINE"));
    }

    #[test]
    fn link_ids_depend_on_the_pair_only() {
        let zoom = ZoomUser { account_id: "A".parse().unwrap(), user_id: "u".parse().unwrap() };
        let alice: AppUserId = "alice".parse().unwrap();
        assert_eq!(LinkId::derive(&alice, &zoom), LinkId::derive(&alice, &zoom));
        let bob: AppUserId = "bob".parse().unwrap();
        assert_ne!(LinkId::derive(&alice, &zoom), LinkId::derive(&bob, &zoom));
        assert!(LinkId::derive(&alice, &zoom).belongs_to(&alice));
        assert!(!LinkId::derive(&alice, &zoom).belongs_to(&bob));
    }
}
