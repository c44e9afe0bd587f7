//! Who is signed in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// This app's own id of a user; it becomes the `sub` of every token that Reelay is shown.
///
/// Reelay accepts 1 to 128 of `A-Z a-z 0-9 . _ ~ @ : + = | -`, so nothing else is let in here either.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppUser(String);

/// The text is no user id that Reelay would accept.
#[derive(Debug, thiserror::Error)]
#[error("a user id has 1 to 128 of the characters A-Z a-z 0-9 . _ ~ @ : + = | -")]
pub struct NoAppUser;

impl AppUser {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AppUser {
    type Error = NoAppUser;

    fn try_from(text: String) -> Result<Self, NoAppUser> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~@:+=|-".contains(&byte);
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(NoAppUser)
        }
    }
}

impl FromStr for AppUser {
    type Err = NoAppUser;

    fn from_str(text: &str) -> Result<Self, NoAppUser> {
        Self::try_from(text.to_owned())
    }
}

impl From<AppUser> for String {
    fn from(user: AppUser) -> Self {
        user.0
    }
}

impl fmt::Display for AppUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::AppUser;

    #[test]
    fn exactly_the_ids_that_reelay_accepts_are_users() {
        for good in [
            "alice",
            "auth0|12345",
            "a.b_c~d@e:f+g=h-i",
            &"x".repeat(128),
        ] {
            assert!(good.parse::<AppUser>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "<b>", "é", "a\n", &"x".repeat(129)] {
            assert!(bad.parse::<AppUser>().is_err(), "{bad:?}");
        }
    }
}
