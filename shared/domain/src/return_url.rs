//! Return URLs: validates `return_to` against the operator's list by exact match.

use std::fmt;

use url::{Url, form_urlencoded};

use crate::operator_url;

/// Query parameters that Reelay adds to a return URL.
const RESERVED_PARAMETERS: [&str; 2] = ["zoom_link", "zoom_error"];

/// Why a return URL was rejected. The error omits the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReturnUrlError {
    /// The URL matches no entry of the list.
    #[error("return_to is not one of the allowed return URLs")]
    NotAllowed,
}

/// Why the operator's list was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReturnUrlsError {
    /// The list has no entry; at least one is required, the default.
    #[error("ReturnUrls is empty")]
    Empty,
    /// The entry of this number (from 1) is not an absolute https URL (or http on a loopback host), or has
    /// user info or a fragment.
    #[error("ReturnUrls: entry {0} is not an absolute https URL without user info and fragment")]
    InvalidEntry(usize),
}

/// The operator's list of return URLs (`ReturnUrls`); not empty.
#[derive(Debug, Clone)]
pub struct ReturnUrls(Vec<Listed>);

/// An entry of the list.
#[derive(Debug, Clone)]
struct Listed {
    url: Url,
    /// Its path as the operator wrote it: [`Url`] encodes what is not ASCII.
    path: String,
}

/// A return URL that matched the list, without the parameters that Reelay adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnUrl(Url);

impl ReturnUrls {
    /// Parses the comma-separated template parameter.
    ///
    /// # Errors
    /// [`ReturnUrlsError`] if the list is empty or an entry is invalid.
    pub fn parse(list: &str) -> Result<Self, ReturnUrlsError> {
        let urls = list
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .enumerate()
            .map(|(at, entry)| {
                let url = parse_plain(entry).ok_or(ReturnUrlsError::InvalidEntry(at + 1))?;
                Ok(Listed { url, path: path_text(entry).to_owned() })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if urls.is_empty() { Err(ReturnUrlsError::Empty) } else { Ok(Self(urls)) }
    }

    /// Returns the first entry, the default for a connect token without `return_to`.
    pub fn default_url(&self) -> ReturnUrl {
        ReturnUrl(self.0[0].url.clone()).without_reserved_parameters()
    }

    /// Matches `return_to` against the list: scheme, host, port and path must be equal; only the query may
    /// differ. Text that browsers and URL parsers interpret differently (backslashes, tabs, user info) is
    /// rejected, not normalized.
    ///
    /// # Errors
    /// [`ReturnUrlError`] if no entry matches.
    pub fn allow(&self, return_to: &str) -> Result<ReturnUrl, ReturnUrlError> {
        let suspicious = |c: char| c == '\\' || c.is_whitespace() || c.is_control();
        if return_to.contains(suspicious) {
            return Err(ReturnUrlError::NotAllowed);
        }
        let url = parse_plain(return_to).ok_or(ReturnUrlError::NotAllowed)?;
        let is_equal = |listed: &Url| {
            listed.scheme() == url.scheme()
                && listed.host() == url.host()
                && listed.port_or_known_default() == url.port_or_known_default()
                && listed.path() == url.path()
        };
        // `Url` normalizes `/a/../b` and `%2e%2e`; the path must match as written.
        let path = path_text(return_to);
        let is_literal = |listed: &Listed| path == listed.path || path == listed.url.path();
        self.0
            .iter()
            .find(|listed| is_equal(&listed.url) && is_literal(listed))
            .map(|_| ReturnUrl(url).without_reserved_parameters())
            .ok_or(ReturnUrlError::NotAllowed)
    }
}

/// Returns the path as written, or `/` if there is none.
fn path_text(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or("");
    rest.find('/').map_or("/", |at| &rest[at..])
}

/// Parses a URL that has no user info and no fragment.
fn parse_plain(text: &str) -> Option<Url> {
    let url = operator_url::parse(text).ok()?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    // `Url` accepts `https:/host` and `https:host`, where other parsers find a path.
    let rest = text.split_once(':')?.1.strip_prefix("//")?;
    // `Url` reports an empty user name for `https://@host`.
    let authority = rest.split(['/', '?']).next().unwrap_or("");
    (plain && !authority.contains('@')).then_some(url)
}

impl ReturnUrl {
    /// Parses a return URL that was validated before it was stored.
    pub fn from_stored(text: &str) -> Option<Self> {
        Url::parse(text).ok().map(Self)
    }

    /// Returns the URL as text, as the session stores it.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the URL with the outcome added to its query; the rest stays as the app wrote it.
    pub fn with_outcome(&self, outcome: LinkOutcome<'_>) -> String {
        let (name, value) = match outcome {
            LinkOutcome::Claim(claim) => ("zoom_link", claim),
            LinkOutcome::Error(code) => ("zoom_error", code),
        };
        let added =
            form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
        let mut url = self.0.clone();
        let query = match url.query().filter(|query| !query.is_empty()) {
            Some(query) => format!("{query}&{added}"),
            None => added,
        };
        url.set_query(Some(&query));
        url.into()
    }

    /// Removes the reserved parameters, in any percent-encoding of their names.
    fn without_reserved_parameters(mut self) -> Self {
        let kept: Option<Vec<&str>> = self
            .0
            .query()
            .map(|query| query.split('&').filter(|pair| !is_reserved(pair)).collect());
        if let Some(kept) = kept {
            let query = kept.join("&");
            self.0.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
        }
        self
    }
}

fn is_reserved(pair: &str) -> bool {
    form_urlencoded::parse(pair.as_bytes())
        .any(|(name, _)| RESERVED_PARAMETERS.contains(&name.as_ref()))
}

/// Outcome that the redirect reports to the app. `Debug` redacts the claim.
#[derive(Clone, Copy)]
pub enum LinkOutcome<'a> {
    /// `zoom_link`: the claim to confirm.
    Claim(&'a str),
    /// `zoom_error`: the code of the failure.
    Error(&'a str),
}

impl fmt::Debug for LinkOutcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim(_) => f.write_str("Claim([redacted])"),
            Self::Error(code) => f.debug_tuple("Error").field(code).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list() -> ReturnUrls {
        ReturnUrls::parse(
            "https://app.example/settings, https://app.example:8443/z,http://localhost:3000/back",
        )
        .unwrap()
    }

    #[test]
    fn query_may_differ() {
        let allowed = list()
            .allow("https://app.example/settings?tab=zoom&zoom_link=forged&zoom_error=x")
            .unwrap();
        assert_eq!(allowed.as_str(), "https://app.example/settings?tab=zoom");
        assert_eq!(
            allowed.with_outcome(LinkOutcome::Claim("c1")),
            "https://app.example/settings?tab=zoom&zoom_link=c1"
        );
        assert_eq!(
            list().default_url().with_outcome(LinkOutcome::Error("access_denied")),
            "https://app.example/settings?zoom_error=access_denied"
        );
        assert!(list().allow("http://localhost:3000/back").is_ok());
        assert!(list().allow("https://app.example:443/settings").is_ok());
    }

    #[test]
    fn path_may_be_written_as_listed_or_encoded() {
        let list = ReturnUrls::parse("https://app.example/zurück").unwrap();
        for return_to in ["https://app.example/zurück?tab=1", "https://app.example/zur%C3%BCck"] {
            let allowed = list.allow(return_to).unwrap();
            assert!(allowed.as_str().starts_with("https://app.example/zur%C3%BCck"));
        }
        assert!(list.allow("https://app.example/x/../zurück").is_err());
    }

    #[test]
    fn unlisted_urls_are_rejected() {
        let list = ReturnUrls::parse(
            "https://app.example.test/settings/zoom,https://app.example.test/,http://localhost:3000/back",
        )
        .unwrap();
        for return_to in [
            // Other and look-alike hosts.
            "https://evil.test/settings/zoom",
            "https://app.example.test.evil.test/settings/zoom",
            "https://evil-app.example.test/settings/zoom",
            "https://sub.app.example.test/settings/zoom",
            "https://example.test/settings/zoom",
            "https://app.example.test./settings/zoom",
            "https://app.example.tes\u{442}/settings/zoom",
            "https://\u{430}pp.example.test/settings/zoom",
            "https://app%2eexample.test%2f@evil.test/settings/zoom",
            // User info.
            "https://app.example.test@evil.test/settings/zoom",
            "https://app.example.test:443@evil.test/settings/zoom",
            "https://user@app.example.test/settings/zoom",
            "https://user:pass@app.example.test/settings/zoom",
            "https://@app.example.test/settings/zoom",
            "https://:@app.example.test/settings/zoom",
            // Text that browsers and URL parsers interpret differently.
            "https://evil.test\\@app.example.test/settings/zoom",
            "https://app.example.test\\@evil.test/settings/zoom",
            "https:\\\\app.example.test\\settings\\zoom",
            "https://app.example.test/settings\\zoom",
            "https://app.example.test/set\ttings/zoom",
            "https://app.example.test/settings/zoom\n",
            " https://app.example.test/settings/zoom",
            "https://app.example.test/settings/zoom\0",
            "https:app.example.test/settings/zoom",
            "https:/app.example.test/settings/zoom",
            "https:///app.example.test/settings/zoom",
            "//app.example.test/settings/zoom",
            "/settings/zoom",
            "app.example.test/settings/zoom",
            "",
            // Other paths.
            "https://app.example.test/settings/zoom/",
            "https://app.example.test/settings",
            "https://app.example.test/settings/Zoom",
            "https://app.example.test/settings/zoom2",
            "https://app.example.test//settings/zoom",
            "https://app.example.test/x/../settings/zoom",
            "https://app.example.test/settings/./zoom",
            "https://app.example.test/x/%2e%2e/settings/zoom",
            "https://app.example.test/settings%2Fzoom",
            "https://app.example.test/%73ettings/zoom",
            "https://app.example.test/settings/zoom;a=1",
            "https://app.example.test/settings/zoom#fragment",
            "https://app.example.test/settings/zoom#",
            // Other ports and schemes.
            "https://app.example.test:8443/settings/zoom",
            "https://app.example.test:80/settings/zoom",
            "http://app.example.test/settings/zoom",
            "http://app.example.test:443/settings/zoom",
            "http://localhost/back",
            "http://localhost:3001/back",
            "https://localhost:3000/back",
            "http://127.0.0.1:3000/back",
            "http://[::1]:3000/back",
            "javascript:alert(1)//app.example.test/settings/zoom",
            "data:text/html,https://app.example.test/settings/zoom",
            "ftp://app.example.test/settings/zoom",
            "reelay://app.example.test/settings/zoom",
            "blob:https://app.example.test/settings/zoom",
        ] {
            let result = list.allow(return_to);
            assert_eq!(result, Err(ReturnUrlError::NotAllowed), "{return_to:?}");
        }
    }

    #[test]
    fn missing_slashes_are_rejected() {
        let list = ReturnUrls::parse("https://app.example/").unwrap();
        for bad in [
            "https:app.example",
            "https:/app.example",
            "https:/@app.example/",
            "https:app.example/?a=://app.example/",
        ] {
            assert_eq!(list.allow(bad), Err(ReturnUrlError::NotAllowed), "{bad}");
            assert!(ReturnUrls::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn invalid_lists_are_rejected() {
        assert_eq!(ReturnUrls::parse(" , ").unwrap_err(), ReturnUrlsError::Empty);
        for bad in [
            "http://app.example/x",
            "app.example/x",
            "https://u:p@app.example/",
            "https://app.example/#f",
        ] {
            assert_eq!(
                ReturnUrls::parse(bad).unwrap_err(),
                ReturnUrlsError::InvalidEntry(1),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn allowed_urls_have_a_listed_host(text in "[a-z:/@.\\\\?#%0-9]{0,60}") {
            if let Ok(url) = list().allow(&text) {
                let host = Url::parse(url.as_str()).unwrap().host_str().unwrap().to_owned();
                prop_assert!(host == "app.example" || host == "localhost");
            }
        }
    }
}
