//! A browser: it keeps Reelay's cookie and shows each redirect instead of following it.

use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use url::Url;

/// A browser with Reelay's cookie.
#[derive(Debug, Clone)]
pub struct Browser {
    http: reqwest::Client,
    origin: String,
    /// `name=value` of Reelay's cookie, once it was set.
    pub cookie: Option<String>,
}

/// A response that the browser received.
#[derive(Debug, Clone)]
pub struct Visit {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// `Location`.
    pub location: Option<String>,
    /// The whole `Set-Cookie`.
    pub set_cookie: Option<String>,
    /// Body.
    pub body: String,
}

impl Visit {
    /// `x-reelay-error`.
    pub fn error(&self) -> Option<&str> {
        let value = self.headers.get("x-reelay-error")?;
        value.to_str().ok()
    }

    /// The code of a page in place of a redirect, which sets no cookie.
    pub fn error_page(&self) -> &str {
        let seen = (self.status, &self.location, &self.set_cookie);
        assert_eq!(seen, (400, &None, &None), "{self:?}");
        let content_type = &self.headers["content-type"];
        assert_eq!(content_type, "text/html; charset=utf-8", "{self:?}");
        assert!(self.body.contains("<h1>"), "{self:?}");
        let error = self.error();
        error.unwrap_or_else(|| panic!("no x-reelay-error: {self:?}"))
    }

    /// `zoom_error` of a redirect back to the app, which carries no claim.
    pub fn zoom_error(&self) -> String {
        self.returned("zoom_error", "zoom_link")
    }

    /// `zoom_link` of a redirect back to the app.
    pub fn claim(&self) -> String {
        self.returned("zoom_link", "zoom_error")
    }

    fn returned(&self, name: &str, absent: &str) -> String {
        let seen = (self.status, self.parameter(absent));
        assert_eq!(seen, (302, None), "{self:?}");
        let value = self.parameter(name);
        value.unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    /// A query parameter of the redirect's target.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let location = Url::parse(self.location.as_deref()?).ok()?;
        let mut pairs = location.query_pairs();
        let (_, value) = pairs.find(|(key, _)| key == name)?;
        Some(value.into_owned())
    }
}

impl Browser {
    pub(crate) fn new(origin: &str) -> Self {
        let http = reqwest::Client::builder().redirect(Policy::none());
        Self { http: http.build().unwrap(), origin: origin.to_owned(), cookie: None }
    }

    /// Opens a URL. The cookie is sent to Reelay alone.
    pub async fn visit(&mut self, url: &str) -> Visit {
        let mut request = self.http.get(url);
        let to_reelay = url.starts_with(&self.origin);
        if let Some(cookie) = self.cookie.as_ref().filter(|_| to_reelay) {
            request = request.header(COOKIE, format!("theme=dark; {cookie}"));
        }
        let response = request.send().await.unwrap();
        let headers = response.headers().clone();
        let header = |name| {
            let value = headers.get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        let (location, set_cookie) = (header(LOCATION), header(SET_COOKIE));
        if let Some(cookie) = set_cookie.as_ref().filter(|_| to_reelay) {
            self.cookie = Some(cookie.split(';').next().unwrap().to_owned());
        }
        Visit {
            status: response.status().as_u16(),
            headers,
            location,
            set_cookie,
            body: response.text().await.unwrap(),
        }
    }

    /// Opens a URL that must redirect, and returns the target.
    pub async fn redirect(&mut self, url: &str) -> String {
        let visit = self.visit(url).await;
        let location = visit.location.clone();
        location.unwrap_or_else(|| panic!("no redirect: {visit:?}"))
    }
}
