//! Base URLs of Zoom.

use url::{Host, Url};

/// An invalid base URL. The message names the fault, not the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// Not a URL with a host.
    #[error("not a url with a host")]
    InvalidUrl,
    /// Plain http to a host that is not loopback, which would expose credentials.
    #[error("must be https, or http to a loopback host")]
    InsecureScheme,
    /// The URL has credentials, a query or a fragment.
    #[error("must have no credentials, query or fragment")]
    UnexpectedComponent,
}

/// Base URLs of Zoom: `https://zoom.us` for OAuth and `https://api.zoom.us` for REST. Either may have a
/// path; request paths are appended to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    oauth: Url,
    api: Url,
}

impl Endpoints {
    /// Parses both base URLs.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] unless each is https, or http to a loopback host (127.0.0.0/8, `::1`,
    /// `localhost`), without credentials, query and fragment.
    pub fn parse(oauth: &str, api: &str) -> Result<Self, InvalidEndpoint> {
        Ok(Self { oauth: parse_base(oauth)?, api: parse_base(api)? })
    }

    /// Whether both hosts are loopback. Only then does [`DownloadHosts`](crate::DownloadHosts) allow
    /// plain http and other ports.
    pub fn is_loopback(&self) -> bool {
        [&self.oauth, &self.api].iter().all(|url| url.host().is_some_and(|host| is_loopback(&host)))
    }

    /// Appends `path` (without a leading slash) to the OAuth base URL.
    pub(crate) fn oauth(&self, path: &str) -> Url {
        append(&self.oauth, path)
    }

    /// Appends `path` (percent-encoded, without a leading slash) to the REST base URL.
    pub(crate) fn api(&self, path: &str) -> Url {
        append(&self.api, path)
    }
}

/// Whether the host is loopback, by name or address. IPv4-mapped IPv6 addresses do not count.
pub(crate) fn is_loopback<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Domain(name) => name.as_ref() == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

fn parse_base(text: &str) -> Result<Url, InvalidEndpoint> {
    let mut url = Url::parse(text.trim()).map_err(|_| InvalidEndpoint::InvalidUrl)?;
    let host = url.host().ok_or(InvalidEndpoint::InvalidUrl)?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&host) => {}
        _ => return Err(InvalidEndpoint::InsecureScheme),
    }
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    if has_credentials || url.query().is_some() || url.fragment().is_some() {
        return Err(InvalidEndpoint::UnexpectedComponent);
    }
    // A trailing slash, so that `append` can concatenate.
    let path = format!("{}/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

fn append(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    // `set_path` does not decode `%25`, so double-encoded segments stay double-encoded.
    url.set_path(&format!("{}{path}", base.path()));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_appended_to_base_url() {
        let zoom = Endpoints::parse("https://zoom.us", "https://api.zoom.us/").unwrap();
        assert_eq!(zoom.oauth("oauth/token").as_str(), "https://zoom.us/oauth/token");
        assert_eq!(zoom.api("v2/users/me").as_str(), "https://api.zoom.us/v2/users/me");
        assert!(!zoom.is_loopback());
        let sim = Endpoints::parse("http://127.0.0.1:4000/zoom/", "http://localhost:4001").unwrap();
        assert_eq!(sim.oauth("oauth/token").as_str(), "http://127.0.0.1:4000/zoom/oauth/token");
        assert_eq!(sim.api("v2/meetings/%252F/recordings").path(), "/v2/meetings/%252F/recordings");
        assert!(sim.is_loopback());
    }

    #[test]
    fn is_loopback_requires_both_hosts() {
        for (oauth, api, expected) in [
            ("http://[::1]:1", "https://localhost:2", true),
            ("http://127.8.9.1:1", "http://127.0.0.1", true),
            ("http://127.0.0.1:1", "https://api.zoom.us", false),
            ("https://zoom.us", "http://127.0.0.1:1", false),
        ] {
            assert_eq!(
                Endpoints::parse(oauth, api).unwrap().is_loopback(),
                expected,
                "{oauth} {api}"
            );
        }
    }

    #[test]
    fn invalid_base_url_is_rejected() {
        for (text, error) in [
            ("", InvalidEndpoint::InvalidUrl),
            ("zoom.us", InvalidEndpoint::InvalidUrl),
            ("data:text/plain,x", InvalidEndpoint::InvalidUrl),
            ("http://zoom.us", InvalidEndpoint::InsecureScheme),
            ("http://localhost.evil.test", InvalidEndpoint::InsecureScheme),
            ("http://[::ffff:127.0.0.1]", InvalidEndpoint::InsecureScheme),
            ("ftp://127.0.0.1", InvalidEndpoint::InsecureScheme),
            ("https://user@zoom.us", InvalidEndpoint::UnexpectedComponent),
            ("https://:secret@zoom.us", InvalidEndpoint::UnexpectedComponent),
            ("https://zoom.us/?a=b", InvalidEndpoint::UnexpectedComponent),
            ("https://zoom.us/#f", InvalidEndpoint::UnexpectedComponent),
        ] {
            assert_eq!(Endpoints::parse(text, "https://api.zoom.us"), Err(error), "{text}");
            assert_eq!(Endpoints::parse("https://zoom.us", text), Err(error), "{text}");
        }
    }
}
