//! URLs from the operator's configuration: the app's webhook, its key set, its return URLs.

use url::{Host, Url};

/// Why a configured URL was rejected. The error omits the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OperatorUrlError {
    /// The text is not an absolute URL with a host.
    #[error("not an absolute URL")]
    NotAUrl,
    /// The scheme is neither https nor, for a loopback host, http.
    #[error("not an https URL")]
    NotHttps,
}

/// Parses a configured URL: https, or plain http for loopback hosts only.
///
/// # Errors
/// [`OperatorUrlError`] if it is not such a URL.
pub fn parse(text: &str) -> Result<Url, OperatorUrlError> {
    let url = Url::parse(text).map_err(|_| OperatorUrlError::NotAUrl)?;
    url.host().ok_or(OperatorUrlError::NotAUrl)?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(OperatorUrlError::NotHttps),
    }
}

/// Whether a URL names this machine: `localhost` or a loopback address.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_for_loopback_hosts_only() {
        for valid in [
            "https://app.example/x",
            "http://127.0.0.1:1/x",
            "http://[::1]:1/",
            "http://localhost/",
        ] {
            assert!(parse(valid).is_ok(), "{valid}");
        }
        for bad in [
            "http://app.example/",
            "http://localhost.evil.test/",
            "ftp://127.0.0.1/",
            "http://128.0.0.1/",
        ] {
            assert_eq!(parse(bad), Err(OperatorUrlError::NotHttps), "{bad}");
        }
        for bad in ["", "app.example", "/x", "mailto:a@b.test"] {
            assert_eq!(parse(bad), Err(OperatorUrlError::NotAUrl), "{bad}");
        }
    }
}
