//! The browser secret: a random value in a cookie that binds an authorization attempt to one browser. The
//! session stores only its hash.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// The cookie's name. Browsers accept the prefix `__Host-` only with Secure, Path=/ and no Domain, so a sibling
/// host cannot set the cookie (RFC 6265bis §4.1.3.2).
pub const COOKIE: &str = "__Host-reelay-connect";

/// The cookie's Max-Age in seconds: the TTL of a signed state.
pub const COOKIE_MAX_AGE_SECONDS: u32 = 600;

/// 256 random bits that only one browser has.
#[derive(Debug, Clone)]
pub struct BrowserSecret(SecretString);

impl BrowserSecret {
    /// Creates a secret from 256 bits of a cryptographically secure source.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(SecretString::from(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Parses the secret from a request's `Cookie` headers. Returns `None` if the cookie is absent or malformed,
    /// or if two cookies with its name have different values. Other cookies may hold any bytes.
    pub fn from_cookies<'a>(headers: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut values = headers
            .flat_map(|header| header.split(|byte| *byte == b';'))
            .filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('='))
            .filter(|(name, _)| *name == COOKIE)
            .map(|(_, value)| value);
        let value = values.next()?;
        if values.any(|other| other != value) {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        (bytes.len() == 32).then(|| Self(SecretString::from(value.to_owned())))
    }

    /// Returns the secret's SHA-256, which the session stores.
    pub fn hash(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.0.expose_secret().as_bytes()))
    }

    /// Returns the `Set-Cookie` header that sets or renews the cookie.
    pub fn set_cookie(&self) -> SecretString {
        SecretString::from(format!(
            "{COOKIE}={}; Path=/; Max-Age={COOKIE_MAX_AGE_SECONDS}; Secure; HttpOnly; SameSite=Lax",
            self.0.expose_secret()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(secret: &BrowserSecret) -> String {
        let cookie = secret.set_cookie();
        cookie.expose_secret().split(';').next().unwrap().to_owned()
    }

    #[test]
    fn cookie_round_trips() {
        let secret = BrowserSecret::from_random([5; 32]);
        for other in [&b"theme=dark"[..], b"name=Jos\xc3\xa9", b"name=Jos\xe9"] {
            let header = [other, b"; ", value_of(&secret).as_bytes(), b"; other=1"].concat();
            let read = BrowserSecret::from_cookies([&header[..]].into_iter()).unwrap();
            assert_eq!(read.hash(), secret.hash());
        }
    }

    #[test]
    fn malformed_or_conflicting_cookies_are_none() {
        let a = value_of(&BrowserSecret::from_random([1; 32]));
        let b = value_of(&BrowserSecret::from_random([2; 32]));
        for header in [
            "",
            "x=y",
            "__Host-reelay-connect=",
            "__Host-reelay-connect=short",
            &format!("{a}; {b}"),
            &format!("{a}A"),
        ] {
            assert!(
                BrowserSecret::from_cookies([header.as_bytes()].into_iter()).is_none(),
                "{header}"
            );
        }
        assert!(BrowserSecret::from_cookies([a.as_bytes(), a.as_bytes()].into_iter()).is_some());
    }
}
