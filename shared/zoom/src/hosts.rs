//! Which hosts a download may touch.

use std::fmt;

use url::{Host, Url};

use crate::endpoints::{Endpoints, is_loopback};

/// A list of hosts that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostListError {
    /// No host at all: nothing could ever be downloaded.
    #[error("the list of download hosts is empty")]
    Empty,
    /// An entry is neither a host name nor an IP address (a scheme, port, path or wildcard is too
    /// much).
    #[error("not a host name or ip address: {0:?}")]
    InvalidEntry(String),
}

/// Why a URL is not downloaded from. Of the URL it shows the host at most.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DisallowedUrl {
    /// Not a URL with a host.
    #[error("not a url with a host")]
    InvalidUrl,
    /// Backslashes and control characters, which parsers read in different ways.
    #[error("the url has a backslash or a control character")]
    ForbiddenCharacter,
    /// Neither https, nor http to a loopback host while Zoom itself is on loopback.
    #[error("the scheme of the url is not admitted")]
    Scheme,
    /// A user name or password before the host.
    #[error("the url has credentials")]
    UserInfo,
    /// A host that is not on the list.
    #[error("the host {0} is not among the download hosts")]
    Host(String),
    /// Not port 443, nor a loopback host while Zoom itself is on loopback.
    #[error("the port {0} is not admitted")]
    Port(u16),
}

/// A URL that [`DownloadHosts`] let pass. It may be a credential, so its `Debug` shows the host only.
#[derive(Clone, PartialEq, Eq)]
pub struct AllowedUrl(Url);

impl AllowedUrl {
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    /// What the `Authorization` header is bound to.
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        // Both are http or https, so their origins are (scheme, host, port) and never opaque.
        self.0.origin() == other.0.origin()
    }

    /// The host, for logs.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

impl fmt::Debug for AllowedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AllowedUrl").field(&self.host()).finish()
    }
}

/// The hosts that downloads may come from: each name on the list with its subdomains (a name of one
/// label, such as `localhost`, and an IP address without), over https on port 443. Plain http and
/// other ports are for loopback hosts on the list, and only while both of Zoom's own URLs are loopback
/// too: otherwise a forged download URL could reach services beside the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadHosts {
    hosts: Vec<Host>,
    zoom_is_loopback: bool,
}

impl DownloadHosts {
    /// Parses a comma-separated list, such as `zoom.us,zoomgov.com`.
    pub fn parse(list: &str, endpoints: &Endpoints) -> Result<Self, HostListError> {
        let hosts = list
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(|entry| {
                listed_host(entry).ok_or_else(|| HostListError::InvalidEntry(entry.to_owned()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if hosts.is_empty() {
            return Err(HostListError::Empty);
        }
        Ok(Self {
            hosts,
            zoom_is_loopback: endpoints.is_loopback(),
        })
    }

    /// Parses and checks a URL as it came from outside.
    pub fn parse_url(&self, text: &str) -> Result<AllowedUrl, DisallowedUrl> {
        sound(text)?;
        // The URL standard reads `https:host` and `https:/host` as `https://host`; other parsers do not.
        text.split_once(':')
            .filter(|(_, rest)| rest.starts_with("//"))
            .ok_or(DisallowedUrl::InvalidUrl)?;
        self.check(&Url::parse(text).map_err(|_| DisallowedUrl::InvalidUrl)?)
    }

    /// Checks where a redirect leads, relative to where it came from.
    pub(crate) fn parse_location(
        &self,
        from: &AllowedUrl,
        location: &str,
    ) -> Result<AllowedUrl, DisallowedUrl> {
        sound(location)?;
        self.check(
            &from
                .0
                .join(location)
                .map_err(|_| DisallowedUrl::InvalidUrl)?,
        )
    }

    /// Checks a URL.
    pub fn check(&self, url: &Url) -> Result<AllowedUrl, DisallowedUrl> {
        let host = url.host().ok_or(DisallowedUrl::InvalidUrl)?;
        let local = self.zoom_is_loopback && is_loopback(&host);
        match url.scheme() {
            "https" => {}
            "http" if local => {}
            _ => return Err(DisallowedUrl::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(DisallowedUrl::UserInfo);
        }
        if !self.hosts.iter().any(|listed| covers(listed, &host)) {
            return Err(DisallowedUrl::Host(host.to_string()));
        }
        match url.port_or_known_default() {
            Some(443) => {}
            Some(_) if local => {}
            port => return Err(DisallowedUrl::Port(port.unwrap_or_default())),
        }
        Ok(AllowedUrl(url.clone()))
    }
}

/// The URL standard drops tabs and line ends and reads a backslash as a slash; other parsers do not.
/// No URL of Zoom's has any of them, so they are refused before there is something to disagree about.
fn sound(text: &str) -> Result<(), DisallowedUrl> {
    if text.chars().any(|c| c == '\\' || c.is_control()) {
        return Err(DisallowedUrl::ForbiddenCharacter);
    }
    Ok(())
}

fn listed_host(entry: &str) -> Option<Host> {
    // An IPv6 address is listed with or without brackets.
    let host = match entry.parse::<std::net::Ipv6Addr>() {
        Ok(ip) => Host::Ipv6(ip),
        Err(_) => Host::parse(entry).ok()?,
    };
    match &host {
        Host::Domain(name) => name
            .split('.')
            .all(|label| {
                !label.is_empty()
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            })
            .then_some(host),
        Host::Ipv4(_) | Host::Ipv6(_) => Some(host),
    }
}

fn covers(listed: &Host, host: &Host<&str>) -> bool {
    match (listed, host) {
        (Host::Domain(listed), Host::Domain(host)) => {
            listed == host
                // A lone label (`localhost`, or a slip like `com`) stands for itself only.
                || listed.contains('.')
                    && host
                        .strip_suffix(listed.as_str())
                        .and_then(|rest| rest.strip_suffix('.'))
                        .is_some_and(|rest| rest.split('.').all(|label| !label.is_empty()))
        }
        (Host::Ipv4(listed), Host::Ipv4(host)) => listed == host,
        (Host::Ipv6(listed), Host::Ipv6(host)) => listed == host,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zoom() -> DownloadHosts {
        let endpoints = Endpoints::parse("https://zoom.us", "https://api.zoom.us").unwrap();
        DownloadHosts::parse("zoom.us,zoomgov.com", &endpoints).unwrap()
    }

    fn local(list: &str) -> DownloadHosts {
        let endpoints = Endpoints::parse("http://127.0.0.1:1", "http://127.0.0.1:1").unwrap();
        DownloadHosts::parse(list, &endpoints).unwrap()
    }

    fn host(name: &str) -> DisallowedUrl {
        DisallowedUrl::Host(name.to_owned())
    }

    #[test]
    fn zooms_hosts_pass() {
        for (url, requested) in [
            ("https://zoom.us/rec/download/x", "zoom.us"),
            (
                "https://us06web.zoom.us/rec/webhook_download/x?y=z",
                "us06web.zoom.us",
            ),
            (
                "https://ssrweb.zoom.us/a?Policy=p&Signature=s",
                "ssrweb.zoom.us",
            ),
            ("https://a.b.zoomgov.com/", "a.b.zoomgov.com"),
            ("https://us06web.zoom.us:443/", "us06web.zoom.us"),
            ("HTTPS://US06WEB.Zoom.US/x", "us06web.zoom.us"),
            // Not equal as text, but this is the host that the request goes to.
            ("https://zoom%2Eus/", "zoom.us"),
            ("https://zoom。us/", "zoom.us"),
            ("https://zoom.us/@evil.test/", "zoom.us"),
            ("https://zoom.us?@evil.test/", "zoom.us"),
            ("https://zoom.us#@evil.test/", "zoom.us"),
        ] {
            let allowed = zoom()
                .parse_url(url)
                .unwrap_or_else(|why| panic!("{url}: {why}"));
            assert_eq!(allowed.host(), requested, "{url}");
        }
    }

    #[test]
    fn look_alikes_are_refused() {
        for (url, why) in [
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
            // A Cyrillic o: another host, however it looks.
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
            (
                "https://evil.test\\@zoom.us/",
                DisallowedUrl::ForbiddenCharacter,
            ),
            (
                "https://zoom.us\\@evil.test/",
                DisallowedUrl::ForbiddenCharacter,
            ),
            ("https:\\\\zoom.us/", DisallowedUrl::ForbiddenCharacter),
            ("https://zoom\t.us/", DisallowedUrl::ForbiddenCharacter),
            (
                "https://zoom.us/\r\nHost: evil.test",
                DisallowedUrl::ForbiddenCharacter,
            ),
            ("\u{1}https://zoom.us/", DisallowedUrl::ForbiddenCharacter),
            ("https://zoom.us/\u{7f}", DisallowedUrl::ForbiddenCharacter),
            // The function's own surroundings.
            ("https://127.0.0.1/", host("127.0.0.1")),
            ("https://0x7f.1/", host("127.0.0.1")),
            ("https://2130706433/", host("127.0.0.1")),
            ("https://169.254.169.254/", host("169.254.169.254")),
            ("https://[::1]/", host("[::1]")),
            ("https://[::ffff:127.0.0.1]/", host("[::ffff:7f00:1]")),
            ("https://localhost/", host("localhost")),
            ("http://127.0.0.1:9001/", DisallowedUrl::Scheme),
        ] {
            assert_eq!(zoom().parse_url(url), Err(why), "{url}");
        }
    }

    #[test]
    fn is_loopback_needs_the_list_and_a_loopback_zoom() {
        let hosts = local("zoom.us,127.0.0.1,localhost,::1");
        for url in [
            "http://127.0.0.1:4567/file",
            "https://127.0.0.1:4567/file",
            "http://localhost/",
            "http://[::1]:80/",
        ] {
            assert!(hosts.parse_url(url).is_ok(), "{url}");
        }
        for (url, why) in [
            ("http://127.0.0.2/", host("127.0.0.2")),
            ("http://[::ffff:127.0.0.1]/", DisallowedUrl::Scheme),
            ("http://a.localhost/", DisallowedUrl::Scheme),
            ("https://a.localhost/", host("a.localhost")),
            ("http://localhost./", DisallowedUrl::Scheme),
            ("http://user@127.0.0.1/", DisallowedUrl::UserInfo),
            // A loopback Zoom does not loosen anything for other hosts.
            ("http://zoom.us/", DisallowedUrl::Scheme),
            ("https://zoom.us:8443/", DisallowedUrl::Port(8443)),
        ] {
            assert_eq!(hosts.parse_url(url), Err(why), "{url}");
        }
        // Listed, but Zoom is not on loopback, or only half of it is.
        for (oauth, api) in [
            ("https://zoom.us", "https://api.zoom.us"),
            ("http://127.0.0.1:1", "https://api.zoom.us"),
        ] {
            let endpoints = Endpoints::parse(oauth, api).unwrap();
            let hosts = DownloadHosts::parse("zoom.us,127.0.0.1,localhost", &endpoints).unwrap();
            assert_eq!(
                hosts.parse_url("http://127.0.0.1:9001/"),
                Err(DisallowedUrl::Scheme)
            );
            assert_eq!(
                hosts.parse_url("http://localhost/"),
                Err(DisallowedUrl::Scheme)
            );
            assert_eq!(
                hosts.parse_url("https://127.0.0.1:9001/"),
                Err(DisallowedUrl::Port(9001))
            );
        }
        // Not listed.
        assert_eq!(
            local("zoom.us").parse_url("http://127.0.0.1:1/"),
            Err(host("127.0.0.1"))
        );
    }

    #[test]
    fn redirects_are_resolved_and_checked() {
        let from = zoom()
            .parse_url("https://us06web.zoom.us/rec/download/x?k=v")
            .unwrap();
        for (location, to) in [
            ("/other?a=b", "https://us06web.zoom.us/other?a=b"),
            ("y", "https://us06web.zoom.us/rec/download/y"),
            ("//ssrweb.zoom.us/z", "https://ssrweb.zoom.us/z"),
            ("https://ssrweb.zoom.us/z", "https://ssrweb.zoom.us/z"),
        ] {
            assert_eq!(
                zoom()
                    .parse_location(&from, location)
                    .unwrap()
                    .url()
                    .as_str(),
                to
            );
        }
        for (location, why) in [
            ("//evil.test/z", host("evil.test")),
            ("http://us06web.zoom.us/", DisallowedUrl::Scheme),
            ("/\\evil.test/", DisallowedUrl::ForbiddenCharacter),
            ("\\\\evil.test/", DisallowedUrl::ForbiddenCharacter),
            ("https://[", DisallowedUrl::InvalidUrl),
        ] {
            assert_eq!(
                zoom().parse_location(&from, location),
                Err(why),
                "{location}"
            );
        }
    }

    #[test]
    fn lists_hold_hosts_and_nothing_else() {
        let endpoints = Endpoints::parse("https://zoom.us", "https://api.zoom.us").unwrap();
        for list in [
            "zoom.us",
            " Zoom.US , zoomgov.com,",
            "10.0.0.1,[::1],::1,zoom",
            "a-b.test",
        ] {
            assert!(DownloadHosts::parse(list, &endpoints).is_ok(), "{list}");
        }
        for list in ["", " , ,"] {
            assert_eq!(
                DownloadHosts::parse(list, &endpoints),
                Err(HostListError::Empty)
            );
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
            assert_eq!(
                DownloadHosts::parse(list, &endpoints),
                Err(HostListError::InvalidEntry(list.to_owned()))
            );
        }
        // A slip in the list does not open a whole top-level domain.
        let hosts = DownloadHosts::parse("us", &endpoints).unwrap();
        assert_eq!(hosts.parse_url("https://zoom.us/"), Err(host("zoom.us")));
    }

    #[test]
    fn an_allowed_url_does_not_print_its_query() {
        let allowed = zoom()
            .parse_url("https://zoom.us/rec/SECRET?Signature=SECRET")
            .unwrap();
        assert!(!format!("{allowed:?}").contains("SECRET"));
    }

    /// Pieces that URL parsers are fooled with.
    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::sample::select(vec![
                "https://",
                "http://",
                "HTTPS:",
                "https:/",
                "//",
                "zoom.us",
                "Zoom.Us",
                "zoomgov.com",
                "us06web.",
                "evil.test",
                "evil",
                "@",
                ":",
                ":443",
                ":80",
                ":8443",
                "/",
                "\\",
                "?",
                "#",
                ".",
                "..",
                "。",
                "%2e",
                "%2F",
                "%40",
                "%00",
                "\t",
                "\n",
                " ",
                "\u{ad}",
                "[::1]",
                "[::ffff:127.0.0.1]",
                "127.0.0.1",
                "localhost",
                "xn--",
                "о",
                "",
            ])
            .prop_map(str::to_owned),
            "[a-z0-9@:/.%-]{0,3}",
        ]
    }

    proptest! {
        #[test]
        fn whatever_passes_goes_to_zoom(
            pieces in prop::collection::vec(piece(), 0..9),
            whole in any::<bool>(),
        ) {
            let mut text = pieces.concat();
            if whole {
                text.insert_str(0, "https://");
            }
            if let Ok(allowed) = zoom().parse_url(&text) {
                // Read by hand from what is sent, not with the parser that let it pass.
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
        fn nothing_makes_it_panic(text in any::<String>()) {
            let _ = zoom().parse_url(&text);
            let from = zoom().parse_url("https://zoom.us/").unwrap();
            let _ = zoom().parse_location(&from, &text);
        }
    }
}
