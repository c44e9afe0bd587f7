//! A browser as far as linking needs one: it keeps Reelay's cookie and shows where it is sent.

use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use url::Url;

/// A browser that follows redirects only when told to.
#[derive(Debug, Clone)]
pub struct Browser {
    http: reqwest::Client,
    origin: String,
    /// `name=value` of Reelay's cookie, once it was set.
    pub cookie: Option<String>,
}

/// What a visit showed.
#[derive(Debug, Clone)]
pub struct Visit {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// `Location`.
    pub location: Option<String>,
    /// `Set-Cookie`, whole.
    pub set_cookie: Option<String>,
    /// Body.
    pub body: String,
}

impl Visit {
    /// `x-reelay-error`.
    pub fn error(&self) -> Option<&str> {
        self.headers
            .get("x-reelay-error")
            .and_then(|value| value.to_str().ok())
    }

    /// The code of a page in place of a redirect. Such a page leads nowhere and plants no cookie.
    pub fn page(&self) -> &str {
        assert_eq!(
            (self.status, &self.location, &self.set_cookie),
            (400, &None, &None),
            "{self:?}"
        );
        assert_eq!(
            self.headers["content-type"], "text/html; charset=utf-8",
            "{self:?}"
        );
        assert!(self.body.contains("<h1>"), "{self:?}");
        self.error()
            .unwrap_or_else(|| panic!("no x-reelay-error: {self:?}"))
    }

    /// `zoom_error` of a redirect back to the app, which then brings no claim.
    pub fn zoom_error(&self) -> String {
        assert_eq!(
            (self.status, self.parameter("zoom_link")),
            (302, None),
            "{self:?}"
        );
        self.parameter("zoom_error")
            .unwrap_or_else(|| panic!("no zoom_error: {self:?}"))
    }

    /// `zoom_link` of a redirect back to the app.
    pub fn claim(&self) -> String {
        assert_eq!(
            (self.status, self.parameter("zoom_error")),
            (302, None),
            "{self:?}"
        );
        self.parameter("zoom_link")
            .unwrap_or_else(|| panic!("no claim: {self:?}"))
    }

    /// A parameter of the address to which the browser is sent.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let location = Url::parse(self.location.as_deref()?).ok()?;
        location
            .query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

impl Browser {
    pub(crate) fn new(origin: &str) -> Self {
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .build()
            .unwrap();
        Self {
            http,
            origin: origin.to_owned(),
            cookie: None,
        }
    }

    /// Opens an address. The cookie goes to Reelay alone.
    pub async fn visit(&mut self, url: &str) -> Visit {
        let mut request = self.http.get(url);
        let to_reelay = url.starts_with(&self.origin);
        if let Some(cookie) = self.cookie.as_ref().filter(|_| to_reelay) {
            request = request.header(COOKIE, format!("theme=dark; {cookie}"));
        }
        let answer = request.send().await.unwrap();
        let header = |name| {
            answer
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let (location, set_cookie) = (header(LOCATION), header(SET_COOKIE));
        if let Some(cookie) = set_cookie.as_ref().filter(|_| to_reelay) {
            self.cookie = Some(cookie.split(';').next().unwrap().to_owned());
        }
        Visit {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            location,
            set_cookie,
            body: answer.text().await.unwrap(),
        }
    }
}
