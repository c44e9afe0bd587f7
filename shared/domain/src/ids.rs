//! Identifiers, each parsed once. An id that exists is well-formed, so it can go into a table key,
//! an object key or a log line as it is.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A text that is not an id of the kind that was asked for. It does not repeat the text: ids come
/// from outside, and errors end up in logs.
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
            /// The id as text.
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

fn is_base64url_text(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

text_id! {
    /// A Zoom account: the company, shared by all of its users. Opaque, case-sensitive,
    /// `[A-Za-z0-9_-]{1,64}`.
    AccountId, "Zoom account id", |t| is_base64url_text(t, 64)
}

text_id! {
    /// A Zoom user: `id` of `users/me`, `host_id` of a webhook. `[A-Za-z0-9_-]{1,64}`.
    UserId, "Zoom user id", |t| is_base64url_text(t, 64)
}

text_id! {
    /// The embedding app's own id of its user: `[A-Za-z0-9._~@:+=|-]{1,128}`.
    AppUserId, "app user id", |t| (1..=128).contains(&t.len())
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~@:+=|-".contains(&b))
}

text_id! {
    /// One instance of a meeting. Zoom's text is base64 and may hold `/` and `+`; it is never a
    /// path segment as it stands. At most 128 printable ASCII characters without spaces.
    MeetingUuid, "meeting UUID", |t| (1..=128).contains(&t.len())
        && t.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
}

text_id! {
    /// A recording as the app knows it: base64url without padding of the meeting UUID's text.
    RecordingId, "recording id", |t| is_base64url_text(t, 172)
}

text_id! {
    /// A file of a recording: Zoom's id where it has a usable one, else derived ([`FileId::derive`]).
    FileId, "file id", |t| is_base64url_text(t, 64)
}

text_id! {
    /// A link between an app user and a Zoom user, as the app names it.
    LinkId, "link id", |t| is_base64url_text(t, 64)
}

/// A Zoom user as everything here is keyed: account **and** user. The account alone is a whole
/// company; routing by it hands one colleague's recordings to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ZoomUser {
    /// The company.
    pub account_id: AccountId,
    /// The person.
    pub user_id: UserId,
}

impl ZoomUser {
    /// The pair as a table's partition key, `account#user`. Neither part can hold a `#`.
    pub fn key(&self) -> String {
        format!("{}#{}", self.account_id, self.user_id)
    }

    /// Reads a partition key back.
    pub fn from_key(key: &str) -> Result<Self, InvalidId> {
        let (account, user) = key.split_once('#').ok_or(InvalidId("Zoom user key"))?;
        Ok(Self {
            account_id: account.parse()?,
            user_id: user.parse()?,
        })
    }
}

impl RecordingId {
    /// The id of a meeting instance's recording.
    pub fn from_uuid(uuid: &MeetingUuid) -> Self {
        Self(URL_SAFE_NO_PAD.encode(uuid.as_str()))
    }
}

impl FileId {
    /// The id for a file to which Zoom gave none, or none that can be part of a key: `x-` and 22
    /// characters of base64url(SHA-256(uuid, recording_start, file_type, recording_type)).
    pub fn derive(
        uuid: &MeetingUuid,
        recording_start: &str,
        file_type: &str,
        recording_type: &str,
    ) -> Self {
        let mut hash = Sha256::new();
        for part in [uuid.as_str(), recording_start, file_type, recording_type] {
            // Each part with its length, so that no two tuples have one encoding.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let text = URL_SAFE_NO_PAD.encode(hash.finalize());
        Self(format!("x-{}", &text[..22]))
    }
}

impl LinkId {
    /// A link's id is derived from what it joins, so linking again finds the same one: `lnk_`, 11
    /// characters that stand for the app user, 22 that stand for the pair.
    pub fn derive(app_user: &AppUserId, zoom_user: &ZoomUser) -> Self {
        let mut hash = Sha256::new();
        for part in [
            app_user.as_str(),
            zoom_user.account_id.as_str(),
            zoom_user.user_id.as_str(),
        ] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let pair = URL_SAFE_NO_PAD.encode(hash.finalize());
        Self(format!("lnk_{}{}", owner_mark(app_user), &pair[..22]))
    }

    /// Whether it is, or was, an id of this app user's. A link that is gone leaves nothing behind to
    /// ask, and another user's is to be told from it.
    pub fn belongs_to(&self, app_user: &AppUserId) -> bool {
        self.0.len() == 37
            && self
                .0
                .strip_prefix("lnk_")
                .is_some_and(|rest| rest.starts_with(&owner_mark(app_user)))
    }
}

fn owner_mark(app_user: &AppUserId) -> String {
    let hash = Sha256::digest(app_user.as_str().as_bytes());
    URL_SAFE_NO_PAD.encode(&hash[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_user_ids_are_what_the_contract_allows() {
        for good in [
            "1",
            "alice@example.test",
            "a.b_c~d@e:f+g=h|i-j",
            &"x".repeat(128),
        ] {
            assert!(good.parse::<AppUserId>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a#b", "a/b", "é", &"x".repeat(129)] {
            assert!(bad.parse::<AppUserId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn recording_id_is_base64url_of_the_uuid_text() {
        let uuid: MeetingUuid = "Zm9v+bar/bazQUJDREVGRw==".parse().unwrap();
        assert_eq!(
            RecordingId::from_uuid(&uuid).as_str(),
            "Wm05ditiYXIvYmF6UVVKRFJFVkdSdz09"
        );
    }

    #[test]
    fn zoom_user_key_reads_back() {
        let user = ZoomUser {
            account_id: "A-_1".parse().unwrap(),
            user_id: "u2".parse().unwrap(),
        };
        assert_eq!(ZoomUser::from_key(&user.key()).unwrap(), user);
        assert!(ZoomUser::from_key("only-account").is_err());
    }

    #[test]
    fn derived_file_ids_have_the_contracts_form_and_tell_tuples_apart() {
        let uuid: MeetingUuid = "abc==".parse().unwrap();
        let id = FileId::derive(&uuid, "2026-01-01T09:00:10Z", "TIMELINE", "");
        assert_eq!(id.as_str().len(), 24);
        assert!(id.as_str().starts_with("x-"));
        assert_ne!(
            id,
            FileId::derive(&uuid, "2026-01-01T09:00:10Z", "TIME", "LINE")
        );
    }

    #[test]
    fn link_ids_do_not_depend_on_anything_but_the_pair() {
        let zoom = ZoomUser {
            account_id: "A".parse().unwrap(),
            user_id: "u".parse().unwrap(),
        };
        let alice: AppUserId = "alice".parse().unwrap();
        assert_eq!(LinkId::derive(&alice, &zoom), LinkId::derive(&alice, &zoom));
        let bob: AppUserId = "bob".parse().unwrap();
        assert_ne!(LinkId::derive(&alice, &zoom), LinkId::derive(&bob, &zoom));
        assert!(LinkId::derive(&alice, &zoom).belongs_to(&alice));
        assert!(!LinkId::derive(&alice, &zoom).belongs_to(&bob));
    }
}
