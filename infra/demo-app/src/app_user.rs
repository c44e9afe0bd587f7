//! The app's user ids.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Id of a user of this app; the `sub` claim of every token that the app signs.
///
/// It has 1 to 128 of the characters `A-Z a-z 0-9 . _ ~ @ : + = | -`, as Reelay requires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppUser(String);

/// The text is not a user id that Reelay accepts.
#[derive(Debug, thiserror::Error)]
#[error("a user id has 1 to 128 of the characters A-Z a-z 0-9 . _ ~ @ : + = | -")]
pub struct InvalidAppUser;

impl AppUser {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AppUser {
    type Err = InvalidAppUser;

    fn from_str(text: &str) -> Result<Self, InvalidAppUser> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~@:+=|-".contains(&byte);
        let is_valid = (1..=128).contains(&text.len()) && text.bytes().all(is_allowed);
        is_valid.then(|| Self(text.to_owned())).ok_or(InvalidAppUser)
    }
}
