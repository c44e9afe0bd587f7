//! A browser without a window, for the demo and for tests.
//!
//! HTTP clients do not send `Secure` cookies over plain http. Browsers do on loopback addresses, and so does this one.

use std::collections::BTreeMap;

use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, RequestBuilder, redirect};
use url::{Position, Url};

/// Maximum number of redirects that [`Browser::follow`] follows.
const MAX_REDIRECTS: usize = 10;

/// A browser that keeps cookies per host name. Like real browsers it ignores ports.
#[derive(Debug, Clone)]
pub struct Browser {
    http: Client,
    /// Cookie values by host name and cookie name.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

/// A response.
#[derive(Debug, Clone)]
pub struct Page {
    /// URL of the request.
    pub url: Url,
    /// HTTP status.
    pub status: u16,
    /// Response headers.
    pub headers: HeaderMap,
    /// Response body.
    pub body: String,
}

impl Page {
    /// The absolute URL in the `Location` header, if the header is present and valid.
    pub fn location(&self) -> Option<Url> {
        let location = self.headers.get(LOCATION)?.to_str().ok()?;
        self.url.join(location).ok()
    }
}

/// Failure to load a page. Messages contain no query, because queries may hold tokens.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// No response arrived.
    #[error("failed to load {url}")]
    Unreachable {
        /// The URL without its query.
        url: String,
        /// The HTTP client's error.
        source: reqwest::Error,
    },
    /// The response is neither a success nor a redirect.
    #[error("{url} responded with status {status} ({code})")]
    Status {
        /// The URL without its query.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The value of `x-reelay-error`, or `no error code`.
        code: String,
    },
    /// More than ten redirects in a row.
    #[error("{url} redirected too often")]
    TooManyRedirects {
        /// The last URL without its query.
        url: String,
    },
}

impl Default for Browser {
    fn default() -> Self {
        let http = Client::builder().no_proxy().redirect(redirect::Policy::none());
        Self {
            http: http.build().expect("the TLS backend is compiled in"),
            cookies: BTreeMap::new(),
        }
    }
}

impl Browser {
    /// Loads a page without following a redirect.
    ///
    /// # Errors
    /// [`BrowserError::Unreachable`].
    pub async fn get(&mut self, url: &Url) -> Result<Page, BrowserError> {
        self.send(url, self.http.request(Method::GET, url.clone())).await
    }

    /// Submits a form without following a redirect.
    ///
    /// # Errors
    /// [`BrowserError::Unreachable`].
    pub async fn post(&mut self, url: &Url, form: &[(&str, &str)]) -> Result<Page, BrowserError> {
        self.send(url, self.http.post(url.clone()).form(form)).await
    }

    /// Loads a page and follows redirects to the last page. `visit` may change each URL before it is loaded, as a
    /// user does who presses a button on that page.
    ///
    /// # Errors
    /// See [`BrowserError`].
    pub async fn follow(
        &mut self,
        mut url: Url,
        visit: impl Fn(&mut Url),
    ) -> Result<Page, BrowserError> {
        for _ in 0..=MAX_REDIRECTS {
            visit(&mut url);
            let page = self.get(&url).await?;
            match page.location() {
                None if (200..300).contains(&page.status) => return Ok(page),
                None => {
                    let code = page.headers.get("x-reelay-error");
                    let code = code.and_then(|code| code.to_str().ok());
                    return Err(BrowserError::Status {
                        url: without_query(&url),
                        status: page.status,
                        code: code.unwrap_or("no error code").to_owned(),
                    });
                }
                Some(next) => url = next,
            }
        }
        Err(BrowserError::TooManyRedirects { url: without_query(&url) })
    }

    /// The cookies for a host name, by cookie name.
    pub fn cookies(&mut self, host: &str) -> &mut BTreeMap<String, String> {
        self.cookies.entry(host.to_owned()).or_default()
    }

    async fn send(&mut self, url: &Url, request: RequestBuilder) -> Result<Page, BrowserError> {
        let unreachable = |source: reqwest::Error| BrowserError::Unreachable {
            url: without_query(url),
            source: source.without_url(),
        };
        let jar = self.cookies(url.host_str().unwrap_or_default());
        let cookies: Vec<String> =
            jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request =
            if cookies.is_empty() { request } else { request.header(COOKIE, cookies.join("; ")) };
        let response = request.send().await.map_err(unreachable)?;
        for cookie in response.headers().get_all(SET_COOKIE) {
            let cookie = String::from_utf8_lossy(cookie.as_bytes());
            let mut parts = cookie.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            if parts.any(|attribute| attribute.eq_ignore_ascii_case("max-age=0")) {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(Page {
            url: url.clone(),
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await.map_err(unreachable)?,
        })
    }
}

fn without_query(url: &Url) -> String {
    url[..Position::AfterPath].to_owned()
}
