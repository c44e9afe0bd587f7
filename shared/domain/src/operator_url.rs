//! Addresses that the operator gives: where the app is, and where its keys are.

use url::{Host, Url};

/// Why an address is refused. It does not repeat the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OperatorUrlError {
    /// No absolute URL.
    #[error("it is not an absolute URL")]
    NotAUrl,
    /// Neither https nor plain http on a loopback host.
    #[error("it is not https")]
    NotHttps,
}

/// Reads an address: https, or plain http for loopback hosts, where nobody listens in.
///
/// # Errors
/// [`OperatorUrlError`].
pub fn parse(text: &str) -> Result<Url, OperatorUrlError> {
    let url = Url::parse(text).map_err(|_| OperatorUrlError::NotAUrl)?;
    let loopback = match url.host().ok_or(OperatorUrlError::NotAUrl)? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        _ => Err(OperatorUrlError::NotHttps),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_hosts_alone() {
        for good in [
            "https://app.example/x",
            "http://127.0.0.1:1/x",
            "http://[::1]:1/",
            "http://localhost/",
        ] {
            assert!(parse(good).is_ok(), "{good}");
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
