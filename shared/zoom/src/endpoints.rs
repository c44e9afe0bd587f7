//! Where Zoom is.

use url::{Host, Url};

/// A base URL of Zoom that cannot be used. It names the parameter's fault, not its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// Not a URL with a host.
    #[error("not a url with a host")]
    InvalidUrl,
    /// Plain http to a host other than this machine: secrets would travel in the clear.
    #[error("must be https, or http to a loopback host")]
    NotHttps,
    /// A base URL carries neither credentials nor a query nor a fragment.
    #[error("must have no credentials, query or fragment")]
    NotABase,
}

/// The two base URLs of Zoom: `https://zoom.us` for OAuth, `https://api.zoom.us` for REST. Either may
/// have a path, below which Zoom's own paths are appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    oauth: Url,
    api: Url,
}

impl Endpoints {
    /// Parses both base URLs. Only https, or http to a loopback host (127.0.0.0/8, `::1`,
    /// `localhost`).
    pub fn parse(oauth: &str, api: &str) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            oauth: base(oauth)?,
            api: base(api)?,
        })
    }

    /// Whether both are on this machine. Only then may downloads be plain http or go to other ports,
    /// see [`DownloadHosts`](crate::DownloadHosts).
    pub fn is_loopback(&self) -> bool {
        [&self.oauth, &self.api]
            .iter()
            .all(|url| url.host().is_some_and(|host| is_loopback(&host)))
    }

    /// `path` (without a leading slash) below the OAuth base.
    pub(crate) fn oauth(&self, path: &str) -> Url {
        below(&self.oauth, path)
    }

    /// `path` (without a leading slash, already percent-encoded) below the REST base.
    pub(crate) fn api(&self, path: &str) -> Url {
        below(&self.api, path)
    }
}

/// This machine, by name or by number. An IPv4 address inside an IPv6 one does not count: nobody
/// writes one in good faith.
pub(crate) fn is_loopback<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Domain(name) => name.as_ref() == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

fn base(text: &str) -> Result<Url, InvalidEndpoint> {
    let mut url = Url::parse(text.trim()).map_err(|_| InvalidEndpoint::InvalidUrl)?;
    let host = url.host().ok_or(InvalidEndpoint::InvalidUrl)?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&host) => {}
        _ => return Err(InvalidEndpoint::NotHttps),
    }
    let credentials = !url.username().is_empty() || url.password().is_some();
    if credentials || url.query().is_some() || url.fragment().is_some() {
        return Err(InvalidEndpoint::NotABase);
    }
    // One slash at the end, so that appending is appending.
    let path = format!("{}/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    // `set_path` keeps `%25` as it is, so a doubly encoded segment stays doubly encoded.
    url.set_path(&format!("{}{path}", base.path()));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_appended_to_the_base() {
        let zoom = Endpoints::parse("https://zoom.us", "https://api.zoom.us/").unwrap();
        assert_eq!(
            zoom.oauth("oauth/token").as_str(),
            "https://zoom.us/oauth/token"
        );
        assert_eq!(
            zoom.api("v2/users/me").as_str(),
            "https://api.zoom.us/v2/users/me"
        );
        assert!(!zoom.is_loopback());
        let sim = Endpoints::parse("http://127.0.0.1:4000/zoom/", "http://localhost:4001").unwrap();
        assert_eq!(
            sim.oauth("oauth/token").as_str(),
            "http://127.0.0.1:4000/zoom/oauth/token"
        );
        assert_eq!(
            sim.api("v2/meetings/%252F/recordings").path(),
            "/v2/meetings/%252F/recordings"
        );
        assert!(sim.is_loopback());
    }

    #[test]
    fn is_loopback_means_both() {
        for (oauth, api, both) in [
            ("http://[::1]:1", "https://localhost:2", true),
            ("http://127.8.9.1:1", "http://127.0.0.1", true),
            ("http://127.0.0.1:1", "https://api.zoom.us", false),
            ("https://zoom.us", "http://127.0.0.1:1", false),
        ] {
            assert_eq!(
                Endpoints::parse(oauth, api).unwrap().is_loopback(),
                both,
                "{oauth} {api}"
            );
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for (text, why) in [
            ("", InvalidEndpoint::InvalidUrl),
            ("zoom.us", InvalidEndpoint::InvalidUrl),
            ("data:text/plain,x", InvalidEndpoint::InvalidUrl),
            ("http://zoom.us", InvalidEndpoint::NotHttps),
            ("http://localhost.evil.test", InvalidEndpoint::NotHttps),
            ("http://[::ffff:127.0.0.1]", InvalidEndpoint::NotHttps),
            ("ftp://127.0.0.1", InvalidEndpoint::NotHttps),
            ("https://user@zoom.us", InvalidEndpoint::NotABase),
            ("https://:secret@zoom.us", InvalidEndpoint::NotABase),
            ("https://zoom.us/?a=b", InvalidEndpoint::NotABase),
            ("https://zoom.us/#f", InvalidEndpoint::NotABase),
        ] {
            assert_eq!(
                Endpoints::parse(text, "https://api.zoom.us"),
                Err(why),
                "{text}"
            );
            assert_eq!(
                Endpoints::parse("https://zoom.us", text),
                Err(why),
                "{text}"
            );
        }
    }
}
