//! Where a browser may be sent back to: exact matches of the operator's list, nothing resembling.

use std::fmt;

use url::{Url, form_urlencoded};

use crate::operator_url;

/// The query parameters that Reelay adds to a return URL.
const OURS: [&str; 2] = ["zoom_link", "zoom_error"];

/// Why a return URL is refused. It does not repeat the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReturnUrlError {
    /// Not one of the list.
    #[error("return_to is not one of the allowed return URLs")]
    NotAllowed,
}

/// Why the operator's list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReturnUrlsError {
    /// The list must name at least one URL; the first is the default.
    #[error("ReturnUrls is empty")]
    Empty,
    /// An entry is no absolute https URL (http is taken for loopback hosts only), or carries user
    /// info or a fragment.
    #[error("ReturnUrls: entry {0} is not an absolute https URL without user info and fragment")]
    Unusable(usize),
}

/// The operator's list (`ReturnUrls`).
#[derive(Debug, Clone)]
pub struct ReturnUrls(Vec<Url>);

/// A return URL that was found in the list, free of parameters that we add ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnUrl(Url);

impl ReturnUrls {
    /// Reads the comma-separated template parameter.
    pub fn parse(list: &str) -> Result<Self, ReturnUrlsError> {
        let urls = list
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .enumerate()
            .map(|(at, entry)| usable(entry).ok_or(ReturnUrlsError::Unusable(at + 1)))
            .collect::<Result<Vec<_>, _>>()?;
        if urls.is_empty() {
            Err(ReturnUrlsError::Empty)
        } else {
            Ok(Self(urls))
        }
    }

    /// The first of the list, for a connect token without `return_to`.
    pub fn default_url(&self) -> ReturnUrl {
        ReturnUrl(self.0[0].clone()).cleaned()
    }

    /// Finds `return_to` in the list: scheme, host, port and path must be equal, only the query may
    /// differ. What browsers read otherwise than a parser (backslashes, tabs, user info) is refused
    /// outright instead of being normalised.
    pub fn allow(&self, return_to: &str) -> Result<ReturnUrl, ReturnUrlError> {
        let suspicious = |c: char| c == '\\' || c.is_whitespace() || c.is_control();
        if return_to.contains(suspicious) {
            return Err(ReturnUrlError::NotAllowed);
        }
        let url = usable(return_to).ok_or(ReturnUrlError::NotAllowed)?;
        let same = |listed: &&Url| {
            listed.scheme() == url.scheme()
                && listed.host() == url.host()
                && listed.port_or_known_default() == url.port_or_known_default()
                && listed.path() == url.path()
        };
        // `Url` resolves `/a/../b` and `%2e%2e`; a text that needed resolving is not the listed one.
        let literal = |listed: &&Url| {
            return_to
                .split(['?', '#'])
                .next()
                .is_some_and(|t| path_text(t) == listed.path())
        };
        self.0
            .iter()
            .find(|listed| same(listed) && literal(listed))
            .map(|_| ReturnUrl(url).cleaned())
            .ok_or(ReturnUrlError::NotAllowed)
    }
}

/// The path as it was written, `/` if there is none.
fn path_text(without_query: &str) -> &str {
    let rest = without_query.split_once("://").map_or("", |(_, rest)| rest);
    rest.find('/').map_or("/", |at| &rest[at..])
}

fn usable(text: &str) -> Option<Url> {
    let url = operator_url::parse(text).ok()?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    // `https:/host` and `https:host` parse, too; other parsers see a path in them.
    let rest = text.split_once(':')?.1.strip_prefix("//")?;
    // `https://@host` parses with an empty user name.
    let authority = rest.split(['/', '?']).next().unwrap_or("");
    (plain && !authority.contains('@')).then_some(url)
}

impl ReturnUrl {
    /// Reads a return URL that was stored after it had been allowed.
    pub fn from_stored(text: &str) -> Option<Self> {
        Url::parse(text).ok().map(Self)
    }

    /// The URL as text, to be stored in the session.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The URL with one of our parameters added, and all else as the app wrote it.
    pub fn with_outcome(&self, outcome: LinkOutcome<'_>) -> String {
        let (name, value) = match outcome {
            LinkOutcome::Claim(claim) => ("zoom_link", claim),
            LinkOutcome::Error(code) => ("zoom_error", code),
        };
        let ours = form_urlencoded::Serializer::new(String::new())
            .append_pair(name, value)
            .finish();
        let mut url = self.0.clone();
        let query = match url.query().filter(|query| !query.is_empty()) {
            Some(query) => format!("{query}&{ours}"),
            None => ours,
        };
        url.set_query(Some(&query));
        url.into()
    }

    /// Without parameters that we add ourselves, however their names are spelt.
    fn cleaned(mut self) -> Self {
        let kept: Option<Vec<&str>> = self
            .0
            .query()
            .map(|query| query.split('&').filter(|pair| !is_ours(pair)).collect());
        if let Some(kept) = kept {
            let query = kept.join("&");
            self.0
                .set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
        }
        self
    }
}

fn is_ours(pair: &str) -> bool {
    form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| OURS.contains(&name.as_ref()))
}

/// What the browser brings back to the app. `Debug` does not show a claim.
#[derive(Clone, Copy)]
pub enum LinkOutcome<'a> {
    /// `zoom_link`: a claim to confirm.
    Claim(&'a str),
    /// `zoom_error`: why there is none.
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
    fn only_the_query_may_differ() {
        let allowed = list()
            .allow("https://app.example/settings?tab=zoom&zoom_link=forged&zoom_error=x")
            .unwrap();
        assert_eq!(allowed.as_str(), "https://app.example/settings?tab=zoom");
        assert_eq!(
            allowed.with_outcome(LinkOutcome::Claim("c1")),
            "https://app.example/settings?tab=zoom&zoom_link=c1"
        );
        assert_eq!(
            list()
                .default_url()
                .with_outcome(LinkOutcome::Error("access_denied")),
            "https://app.example/settings?zoom_error=access_denied"
        );
        assert!(list().allow("http://localhost:3000/back").is_ok());
        assert!(list().allow("https://app.example:443/settings").is_ok());
    }

    #[test]
    fn look_alikes_are_refused() {
        for bad in [
            "https://app.example.evil.test/settings",
            "https://evilapp.example/settings",
            "https://app.example@evil.test/settings",
            "https://user@app.example/settings",
            "https://@app.example/settings",
            "https://app.example\\@evil.test/settings",
            "https:\\\\app.example\\settings",
            "https://app.example/settings/",
            "https://app.example/settings/more",
            "https://app.example/Settings",
            "https://app.example/x/../settings",
            "https://app.example/%73ettings",
            "https://app.example/x/%2e%2e/settings",
            "https://app.example:8443/settings",
            "http://app.example/settings",
            "http://localhost/back",
            "//app.example/settings",
            "/settings",
            "javascript:alert(1)",
            "https://app.example/settings#fragment",
            "https://app.example./settings",
            " https://app.example/settings",
            "https://app.example/set\ttings",
            "",
        ] {
            assert_eq!(list().allow(bad), Err(ReturnUrlError::NotAllowed), "{bad}");
        }
    }

    #[test]
    fn a_host_without_its_two_slashes_is_none() {
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
    fn the_operators_list_is_checked() {
        assert_eq!(
            ReturnUrls::parse(" , ").unwrap_err(),
            ReturnUrlsError::Empty
        );
        for bad in [
            "http://app.example/x",
            "app.example/x",
            "https://u:p@app.example/",
            "https://app.example/#f",
        ] {
            assert_eq!(
                ReturnUrls::parse(bad).unwrap_err(),
                ReturnUrlsError::Unusable(1),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_is_allowed_goes_to_a_listed_host(text in "[a-z:/@.\\\\?#%0-9]{0,60}") {
            if let Ok(url) = list().allow(&text) {
                let host = Url::parse(url.as_str()).unwrap().host_str().unwrap().to_owned();
                prop_assert!(host == "app.example" || host == "localhost");
            }
        }
    }
}
