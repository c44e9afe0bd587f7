//! E-mail addresses.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A Zoom user's e-mail address, for the app's own list of links. It is not a key, and no log shows it: `Debug` redacts
/// it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Maximum length in bytes (RFC 5321, erratum 1690).
    const MAX_LENGTH: usize = 254;

    /// `None` if the text is no address.
    pub fn new(text: &str) -> Option<Self> {
        let is_address = text.len() <= Self::MAX_LENGTH
            && text
                .split_once('@')
                .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
            && !text.contains(|c: char| c.is_control() || c.is_whitespace());
        is_address.then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_recognised_and_not_shown() {
        let address = EmailAddress::new("ada@example.test").unwrap();
        assert_eq!(format!("{address:?}"), "EmailAddress([redacted])");
        for text in ["", "ada", "@example.test", "ada@", "a da@example.test", "ada@example.test\n"]
        {
            assert_eq!(EmailAddress::new(text), None, "{text:?}");
        }
    }
}
