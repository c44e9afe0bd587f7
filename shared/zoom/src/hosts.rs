//! Allowed download hosts: the check that every download URL and redirect target must pass.
//!
//! | part of the URL | accepted | rejected as |
//! |---|---|---|
//! | form | absolute URL with `//` and a host | [`DisallowedUrl::InvalidUrl`] |
//! | characters | no backslash, no control character | [`DisallowedUrl::ForbiddenCharacter`] |
//! | scheme | `https`; `http` for a loopback host (¹) | [`DisallowedUrl::Scheme`] |
//! | user info | none | [`DisallowedUrl::UserInfo`] |
//! | host | on the list, or a subdomain of a listed name (²) | [`DisallowedUrl::Host`] |
//! | port | 443; any for a loopback host (¹) | [`DisallowedUrl::Port`] |
//!
//! (¹) Only while both of Zoom's base URLs are loopback as well. Otherwise a forged download URL could
//! reach services on the function's own host.
//! (²) IP addresses and names of one label, such as `localhost`, have no subdomains.

use std::fmt;

use url::{Host, Url};

use crate::endpoints::{Endpoints, is_loopback};

/// An invalid list of download hosts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostListError {
    /// The list contains no host.
    #[error("the list of download hosts is empty")]
    Empty,
    /// An entry is neither a host name nor an IP address, for example because it has a scheme, port,
    /// path or wildcard.
    #[error("not a host name or ip address: {0:?}")]
    InvalidEntry(String),
}

/// Reason why [`DownloadHosts`] rejected a URL. Shows at most the host of the URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DisallowedUrl {
    /// Not an absolute URL with a host.
    #[error("not a url with a host")]
    InvalidUrl,
    /// A backslash or control character, which URL parsers interpret differently.
    #[error("url contains a backslash or a control character")]
    ForbiddenCharacter,
    /// A scheme other than https, or http to a host for which it is not allowed.
    #[error("url scheme not allowed")]
    Scheme,
    /// A user name or password.
    #[error("url contains credentials")]
    UserInfo,
    /// A host that is not on the list.
    #[error("host {0} is not an allowed download host")]
    Host(String),
    /// A port other than 443 on a host for which it is not allowed.
    #[error("port {0} not allowed")]
    Port(u16),
}

/// A URL that [`DownloadHosts`] accepted. `Debug` shows the host only, because the URL may be a credential.
#[derive(Clone, PartialEq, Eq)]
pub struct AllowedUrl(Url);

impl AllowedUrl {
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    /// Whether both URLs have the same scheme, host and port.
    pub(crate) fn has_same_origin(&self, other: &Self) -> bool {
        self.0.origin() == other.0.origin()
    }

    /// Host of the URL.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

impl fmt::Debug for AllowedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AllowedUrl").field(&self.host()).finish()
    }
}

/// Allow list of download hosts. The module documentation states the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadHosts {
    hosts: Vec<Host>,
    is_loopback_allowed: bool,
}

impl DownloadHosts {
    /// Parses a comma-separated list, such as `zoom.us,zoomgov.com`.
    ///
    /// # Errors
    /// [`HostListError`] if the list is empty or an entry is not a host.
    pub fn parse(list: &str, endpoints: &Endpoints) -> Result<Self, HostListError> {
        let hosts = list
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(|entry| {
                parse_entry(entry).ok_or_else(|| HostListError::InvalidEntry(entry.to_owned()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if hosts.is_empty() {
            return Err(HostListError::Empty);
        }
        Ok(Self { hosts, is_loopback_allowed: endpoints.is_loopback() })
    }

    /// Parses and checks an absolute URL from an untrusted source.
    ///
    /// # Errors
    /// [`DisallowedUrl`] if the URL violates the rule.
    pub fn parse_url(&self, text: &str) -> Result<AllowedUrl, DisallowedUrl> {
        check_characters(text)?;
        // The URL standard reads `https:host` and `https:/host` as `https://host`; other parsers do not.
        text.split_once(':')
            .filter(|(_, rest)| rest.starts_with("//"))
            .ok_or(DisallowedUrl::InvalidUrl)?;
        self.check(&Url::parse(text).map_err(|_| DisallowedUrl::InvalidUrl)?)
    }

    /// Resolves a `Location` header against the request URL and checks the result.
    pub(crate) fn parse_location(
        &self,
        base: &AllowedUrl,
        location: &str,
    ) -> Result<AllowedUrl, DisallowedUrl> {
        check_characters(location)?;
        let url = base.0.join(location);
        self.check(&url.map_err(|_| DisallowedUrl::InvalidUrl)?)
    }

    /// Checks a parsed URL.
    ///
    /// # Errors
    /// [`DisallowedUrl`] if the URL violates the rule.
    pub fn check(&self, url: &Url) -> Result<AllowedUrl, DisallowedUrl> {
        let host = url.host().ok_or(DisallowedUrl::InvalidUrl)?;
        let is_allowed_loopback = self.is_loopback_allowed && is_loopback(&host);
        match url.scheme() {
            "https" => {}
            "http" if is_allowed_loopback => {}
            _ => return Err(DisallowedUrl::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(DisallowedUrl::UserInfo);
        }
        if !self.hosts.iter().any(|entry| matches_entry(entry, &host)) {
            return Err(DisallowedUrl::Host(host.to_string()));
        }
        match url.port_or_known_default() {
            Some(443) => {}
            Some(_) if is_allowed_loopback => {}
            port => return Err(DisallowedUrl::Port(port.unwrap_or_default())),
        }
        Ok(AllowedUrl(url.clone()))
    }
}

/// Rejects characters on which URL parsers differ: the URL standard drops tabs and line ends and reads a
/// backslash as a slash. Zoom's URLs contain none of them.
fn check_characters(text: &str) -> Result<(), DisallowedUrl> {
    if text.chars().any(|c| c == '\\' || c.is_control()) {
        return Err(DisallowedUrl::ForbiddenCharacter);
    }
    Ok(())
}

fn parse_entry(entry: &str) -> Option<Host> {
    // IPv6 addresses are accepted with and without brackets.
    let host = match entry.parse::<std::net::Ipv6Addr>() {
        Ok(ip) => Host::Ipv6(ip),
        Err(_) => Host::parse(entry).ok()?,
    };
    match &host {
        Host::Domain(name) => name
            .split('.')
            .all(|label| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            })
            .then_some(host),
        Host::Ipv4(_) | Host::Ipv6(_) => Some(host),
    }
}

fn matches_entry(entry: &Host, host: &Host<&str>) -> bool {
    match (entry, host) {
        (Host::Domain(entry), Host::Domain(host)) => {
            entry == host
                // An entry of one label (`localhost`, or a mistake such as `com`) has no subdomains.
                || entry.contains('.')
                    && host
                        .strip_suffix(entry.as_str())
                        .and_then(|rest| rest.strip_suffix('.'))
                        .is_some_and(|rest| rest.split('.').all(|label| !label.is_empty()))
        }
        (Host::Ipv4(entry), Host::Ipv4(host)) => entry == host,
        (Host::Ipv6(entry), Host::Ipv6(host)) => entry == host,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REMOTE: &str = "https://zoom.us";
    const LOOPBACK: &str = "http://127.0.0.1:1";

    fn hosts_at(oauth: &str, api: &str, list: &str) -> DownloadHosts {
        DownloadHosts::parse(list, &Endpoints::parse(oauth, api).unwrap()).unwrap()
    }

    fn zoom() -> DownloadHosts {
        hosts_at(REMOTE, REMOTE, "zoom.us,zoomgov.com")
    }

    fn host(name: &str) -> DisallowedUrl {
        DisallowedUrl::Host(name.to_owned())
    }

    #[test]
    fn zoom_hosts_are_allowed() {
        for (url, requested) in [
            ("https://zoom.us/rec/download/x", "zoom.us"),
            ("https://us06web.zoom.us/rec/webhook_download/x?y=z", "us06web.zoom.us"),
            ("https://ssrweb.zoom.us/a?Policy=p&Signature=s", "ssrweb.zoom.us"),
            ("https://a.b.zoomgov.com/", "a.b.zoomgov.com"),
            ("https://us06web.zoom.us:443/", "us06web.zoom.us"),
            ("HTTPS://US06WEB.Zoom.US/x", "us06web.zoom.us"),
            // These differ as text, but the request goes to Zoom's host.
            ("https://zoom%2Eus/", "zoom.us"),
            ("https://zoom。us/", "zoom.us"),
            ("https://zoom.us/@evil.test/", "zoom.us"),
            ("https://zoom.us?@evil.test/", "zoom.us"),
            ("https://zoom.us#@evil.test/", "zoom.us"),
        ] {
            let allowed = zoom().parse_url(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(allowed.host(), requested, "{url}");
        }
    }

    #[test]
    fn other_urls_are_rejected() {
        for (url, error) in [
            ("https://zoom.us.evil.test/", host("zoom.us.evil.test")),
            ("https://evilzoom.us/", host("evilzoom.us")),
            ("https://evil.test/zoom.us", host("evil.test")),
            ("https://evil.test?zoom.us", host("evil.test")),
            ("https://evil.test#.zoom.us", host("evil.test")),
            ("https://zoom.us./", host("zoom.us.")),
            ("https://.zoom.us/", host(".zoom.us")),
            ("https://a..zoom.us/", host("a..zoom.us")),
            ("https://us/", host("us")),
            ("https://zoom.com/", host("zoom.com")),
            // A Cyrillic o.
            ("https://zооm.us/", host("xn--zm-fmca.us")),
            ("https://zoom.us@evil.test/", DisallowedUrl::UserInfo),
            ("https://zoom.us:443@evil.test/", DisallowedUrl::UserInfo),
            ("https://user@zoom.us/", DisallowedUrl::UserInfo),
            ("https://:password@zoom.us/", DisallowedUrl::UserInfo),
            ("https://zoom.us:8443/", DisallowedUrl::Port(8443)),
            ("https://zoom.us:80/", DisallowedUrl::Port(80)),
            ("http://zoom.us/", DisallowedUrl::Scheme),
            ("http://zoom.us:443/", DisallowedUrl::Scheme),
            ("ftp://zoom.us/", DisallowedUrl::Scheme),
            ("wss://zoom.us/", DisallowedUrl::Scheme),
            ("file:///etc/passwd", DisallowedUrl::InvalidUrl),
            ("data:text/html,zoom.us", DisallowedUrl::InvalidUrl),
            ("zoom.us/rec", DisallowedUrl::InvalidUrl),
            ("//zoom.us/rec", DisallowedUrl::InvalidUrl),
            ("https:zoom.us/", DisallowedUrl::InvalidUrl),
            ("https:/zoom.us/", DisallowedUrl::InvalidUrl),
            ("", DisallowedUrl::InvalidUrl),
            ("https://evil.test\\@zoom.us/", DisallowedUrl::ForbiddenCharacter),
            ("https://zoom.us\\@evil.test/", DisallowedUrl::ForbiddenCharacter),
            ("https:\\\\zoom.us/", DisallowedUrl::ForbiddenCharacter),
            ("https://zoom\t.us/", DisallowedUrl::ForbiddenCharacter),
            ("https://zoom.us/\r\nHost: evil.test", DisallowedUrl::ForbiddenCharacter),
            ("\u{1}https://zoom.us/", DisallowedUrl::ForbiddenCharacter),
            ("https://zoom.us/\u{7f}", DisallowedUrl::ForbiddenCharacter),
            // The function's own host and network.
            ("https://127.0.0.1/", host("127.0.0.1")),
            ("https://0x7f.1/", host("127.0.0.1")),
            ("https://2130706433/", host("127.0.0.1")),
            ("https://169.254.169.254/", host("169.254.169.254")),
            ("https://[::1]/", host("[::1]")),
            ("https://[::ffff:127.0.0.1]/", host("[::ffff:7f00:1]")),
            ("https://localhost/", host("localhost")),
            ("http://127.0.0.1:9001/", DisallowedUrl::Scheme),
        ] {
            assert_eq!(zoom().parse_url(url), Err(error), "{url}");
        }
    }

    #[test]
    fn loopback_requires_list_entry_and_loopback_zoom() {
        let list = "zoom.us,127.0.0.1,localhost,::1";
        let (plain, tls) = ("http://127.0.0.1:9001/", "https://127.0.0.1:9001/");
        for (oauth, api, list, url, expected) in [
            (LOOPBACK, LOOPBACK, list, plain, Ok(())),
            (LOOPBACK, LOOPBACK, list, tls, Ok(())),
            (LOOPBACK, LOOPBACK, list, "http://localhost/", Ok(())),
            (LOOPBACK, LOOPBACK, list, "http://[::1]:80/", Ok(())),
            (LOOPBACK, LOOPBACK, "zoom.us", plain, Err(host("127.0.0.1"))),
            (REMOTE, REMOTE, list, plain, Err(DisallowedUrl::Scheme)),
            (REMOTE, REMOTE, list, "http://localhost/", Err(DisallowedUrl::Scheme)),
            (REMOTE, REMOTE, list, tls, Err(DisallowedUrl::Port(9001))),
            (LOOPBACK, REMOTE, list, plain, Err(DisallowedUrl::Scheme)),
            (LOOPBACK, REMOTE, list, "http://localhost/", Err(DisallowedUrl::Scheme)),
            (LOOPBACK, REMOTE, list, tls, Err(DisallowedUrl::Port(9001))),
            (LOOPBACK, LOOPBACK, list, "http://127.0.0.2/", Err(host("127.0.0.2"))),
            (LOOPBACK, LOOPBACK, list, "http://[::ffff:127.0.0.1]/", Err(DisallowedUrl::Scheme)),
            (LOOPBACK, LOOPBACK, list, "http://a.localhost/", Err(DisallowedUrl::Scheme)),
            (LOOPBACK, LOOPBACK, list, "https://a.localhost/", Err(host("a.localhost"))),
            (LOOPBACK, LOOPBACK, list, "http://localhost./", Err(DisallowedUrl::Scheme)),
            (LOOPBACK, LOOPBACK, list, "http://user@127.0.0.1/", Err(DisallowedUrl::UserInfo)),
            // A loopback Zoom changes nothing for other hosts.
            (LOOPBACK, LOOPBACK, list, "http://zoom.us/", Err(DisallowedUrl::Scheme)),
            (LOOPBACK, LOOPBACK, list, "https://zoom.us:8443/", Err(DisallowedUrl::Port(8443))),
        ] {
            let result = hosts_at(oauth, api, list).parse_url(url).map(drop);
            assert_eq!(result, expected, "{oauth} {api} {list} {url}");
        }
    }

    #[test]
    fn redirect_target_is_resolved_and_checked() {
        let base = zoom().parse_url("https://us06web.zoom.us/rec/download/x?k=v").unwrap();
        for (location, expected) in [
            ("/other?a=b", Ok("https://us06web.zoom.us/other?a=b")),
            ("y", Ok("https://us06web.zoom.us/rec/download/y")),
            ("//ssrweb.zoom.us/z", Ok("https://ssrweb.zoom.us/z")),
            ("https://ssrweb.zoom.us/z", Ok("https://ssrweb.zoom.us/z")),
            ("//evil.test/z", Err(host("evil.test"))),
            ("http://us06web.zoom.us/", Err(DisallowedUrl::Scheme)),
            ("/\\evil.test/", Err(DisallowedUrl::ForbiddenCharacter)),
            ("\\\\evil.test/", Err(DisallowedUrl::ForbiddenCharacter)),
            ("https://[", Err(DisallowedUrl::InvalidUrl)),
        ] {
            let target = zoom().parse_location(&base, location);
            let target = target.map(|target| target.url().to_string());
            assert_eq!(target, expected.map(str::to_owned), "{location}");
        }
    }

    #[test]
    fn list_accepts_host_names_and_addresses_only() {
        let endpoints = Endpoints::parse(REMOTE, REMOTE).unwrap();
        let parse = |list| DownloadHosts::parse(list, &endpoints);
        for list in ["zoom.us", " Zoom.US , zoomgov.com,", "10.0.0.1,[::1],::1,zoom", "a-b.test"] {
            assert!(parse(list).is_ok(), "{list}");
        }
        for list in ["", " , ,"] {
            assert_eq!(parse(list), Err(HostListError::Empty));
        }
        for list in [
            "*.zoom.us",
            "https://zoom.us",
            "zoom.us:443",
            "zoom.us/x",
            "zoom.us.",
            ".zoom.us",
            "zoom us",
            "a@b.test",
            "_x.test",
        ] {
            let error = HostListError::InvalidEntry(list.to_owned());
            assert_eq!(parse(list), Err(error));
        }
        // A mistake in the list does not allow a top-level domain.
        let hosts = parse("us").unwrap();
        assert_eq!(hosts.parse_url("https://zoom.us/"), Err(host("zoom.us")));
    }

    #[test]
    fn allowed_url_debug_omits_path_and_query() {
        let allowed = zoom().parse_url("https://zoom.us/rec/SECRET?Signature=SECRET").unwrap();
        assert!(!format!("{allowed:?}").contains("SECRET"));
    }

    /// Fragments on which URL parsers tend to differ.
    fn fragment() -> impl Strategy<Value = String> {
        let mut fragments: Vec<_> =
            "https:// http:// HTTPS: https:/ // zoom.us Zoom.Us zoomgov.com us06web. \
            evil.test evil @ : :443 :80 :8443 / \\ ? # . .. 。 %2e %2F %40 %00 \u{ad} [::1] \
            [::ffff:127.0.0.1] 127.0.0.1 localhost xn-- о"
                .split(' ')
                .filter(|fragment| !fragment.is_empty())
                .collect();
        fragments.extend(["\t", "\n", " ", ""]);
        prop_oneof![prop::sample::select(fragments).prop_map(str::to_owned), "[a-z0-9@:/.%-]{0,3}",]
    }

    proptest! {
        #[test]
        fn allowed_url_always_targets_zoom(
            fragments in prop::collection::vec(fragment(), 0..9),
            has_scheme in any::<bool>(),
        ) {
            let mut text = fragments.concat();
            if has_scheme {
                text.insert_str(0, "https://");
            }
            if let Ok(allowed) = zoom().parse_url(&text) {
                // Split without the parser under test.
                let sent = allowed.url().as_str();
                let rest = sent.strip_prefix("https://").expect("https only");
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                let authority = &rest[..end];
                let is = |name: &str| authority == name || authority.ends_with(&format!(".{name}"));
                prop_assert!(is("zoom.us") || is("zoomgov.com"), "{text:?} -> {sent:?}");
                prop_assert!(!authority.contains(['@', ':', '\\', '[', '%']), "{text:?}");
            }
        }

        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            let _ = zoom().parse_url(&text);
            let base = zoom().parse_url("https://zoom.us/").unwrap();
            let _ = zoom().parse_location(&base, &text);
        }
    }
}
