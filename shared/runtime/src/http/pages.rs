//! HTML pages that browsers get in place of a redirect: one template, branded by the operator.

use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use lambda_http::{Body, Response};
use maud::{DOCTYPE, PreEscaped, html};
use reelay_domain::operator_url;
use reelay_domain::return_url::ReturnUrls;

use super::response;
use crate::environment::{ConfigError, Variables};

/// Header with the error code of a page.
pub const ERROR_HEADER: &str = "x-reelay-error";

const STYLE: &str = include_str!("pages.css");

/// The pages of a stack, with the app's name and the ways back to it.
#[derive(Debug, Clone)]
pub struct Pages {
    app_name: Option<String>,
    app_url: String,
    support_email: Option<String>,
    /// Whether the stack is a devstack, whose pages show more details.
    pub is_devstack: bool,
}

impl Pages {
    /// Reads `APP_NAME`, `APP_URL` and `SUPPORT_EMAIL`, all optional. Without `APP_URL` pages link to the first of
    /// `RETURN_URLS`.
    ///
    /// # Errors
    /// If a URL is absent or invalid.
    pub fn new(variables: &Variables) -> Result<Self, ConfigError> {
        let text = |name| variables.optional(name).map(str::to_owned);
        let app_url = match variables.optional("APP_URL") {
            Some(url) => operator_url::parse(url)
                .map_err(|error| ConfigError::invalid("APP_URL", error))?
                .into(),
            None => return_urls(variables)?.default_url().as_str().to_owned(),
        };
        Ok(Self {
            app_name: text("APP_NAME"),
            app_url,
            support_email: text("SUPPORT_EMAIL"),
            is_devstack: variables.optional("REELAY_DEVSTACK").is_some(),
        })
    }

    /// A page that explains an error: 400, or 503 for [`ErrorPage::Unavailable`]. It repeats nothing of the request.
    /// `reason` gives details to the app's developer.
    pub fn error(&self, page: ErrorPage, reason: Option<&str>) -> Response<Body> {
        let status = match page {
            ErrorPage::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        let app = self.app_name.as_deref().unwrap_or("your app");
        let (title, text) = page.text();
        let markup = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex";
                    title { (title) @if let Some(name) = &self.app_name { " · " (name) } }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    main {
                        @if let Some(name) = &self.app_name { p.brand { (name) } }
                        h1 { (title) }
                        p { (text.replace("{app}", app)) }
                        @if let Some(reason) = reason {
                            p.reason { strong { "For the developer" } (reason) }
                        }
                        p { a.button href=(self.app_url) { "Back to " (app) } }
                        footer {
                            @if let Some(email) = &self.support_email {
                                p { "Need help? " a href={ "mailto:" (email) } { (email) } }
                            }
                            p.code { (page.code()) }
                        }
                    }
                }
            }
        };
        let mut response = response::html(status, markup.into_string());
        response
            .headers_mut()
            .insert(HeaderName::from_static(ERROR_HEADER), HeaderValue::from_static(page.code()));
        response
    }
}

/// The list of return URLs in `RETURN_URLS`.
///
/// # Errors
/// If the variable is absent or invalid.
pub fn return_urls(variables: &Variables) -> Result<ReturnUrls, ConfigError> {
    ReturnUrls::parse(variables.required("RETURN_URLS")?)
        .map_err(|error| ConfigError::invalid("RETURN_URLS", error))
}

/// An error that the user sees as a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the texts below describe them")]
pub enum ErrorPage {
    ConnectTokenInvalid,
    ConnectTokenExpired,
    ConnectTokenSpent,
    ReturnToNotAllowed,
    StateInvalid,
    SessionExpired,
    SessionSpent,
    WrongBrowser,
    AccessDenied,
    InstallRestart,
    Unavailable,
}

impl ErrorPage {
    /// The code in the [`ERROR_HEADER`].
    pub fn code(self) -> &'static str {
        match self {
            Self::ConnectTokenInvalid => "connect_token_invalid",
            Self::ConnectTokenExpired => "connect_token_expired",
            Self::ConnectTokenSpent => "connect_token_spent",
            Self::ReturnToNotAllowed => "return_to_not_allowed",
            Self::StateInvalid => "state_invalid",
            Self::SessionExpired => "session_expired",
            Self::SessionSpent => "session_spent",
            Self::WrongBrowser => "wrong_browser",
            Self::AccessDenied => "access_denied",
            Self::InstallRestart => "install_restart",
            Self::Unavailable => "unavailable",
        }
    }

    /// Title and text; `{app}` stands for the app's name.
    fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::ConnectTokenInvalid => (
                "This link to connect Zoom is not valid",
                "Nothing was connected. Go back to {app} and press its “Connect Zoom” button again.",
            ),
            Self::ConnectTokenExpired => (
                "This link to connect Zoom has expired",
                "It is valid for a few minutes. Go back to {app} and press its “Connect Zoom” button again.",
            ),
            Self::ConnectTokenSpent => (
                "This link has already been used",
                "Your Zoom account may already be connected: check the settings of {app}. To connect another account, press the “Connect Zoom” button there again.",
            ),
            Self::ReturnToNotAllowed => (
                "This app asked us to send you to an address that is not on its list",
                "Nothing was connected. Please tell the support of {app} that its return address is not allowed.",
            ),
            Self::StateInvalid => (
                "This response from Zoom is not valid",
                "Nothing was connected. Go back to {app} and press its “Connect Zoom” button again.",
            ),
            Self::SessionExpired => (
                "This took longer than ten minutes",
                "Nothing was connected. Go back to {app} and press its “Connect Zoom” button again.",
            ),
            Self::SessionSpent => (
                "This response from Zoom has already been used",
                "If you reloaded the page, your Zoom account is probably connected: check the settings of {app}.",
            ),
            Self::WrongBrowser => (
                "You started in another browser",
                "Nothing was connected. Open {app} in this browser, sign in, and press its “Connect Zoom” button. If somebody sent you a link that led here, close this page.",
            ),
            Self::AccessDenied => (
                "Zoom was not connected",
                "The request was declined at Zoom. If you change your mind, go back to {app} and press its “Connect Zoom” button again.",
            ),
            Self::InstallRestart => (
                "One step is missing",
                "You started at Zoom’s Marketplace. To finish, sign in to {app}, and press “Connect Zoom” in its settings.",
            ),
            Self::Unavailable => (
                "This is temporarily unavailable",
                "Nothing was connected. Please try again in a minute.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(variables: &[(&str, &str)]) -> Result<Pages, ConfigError> {
        let urls = ("RETURN_URLS", "https://app.example/zoom?a=1&b=2,https://other.example/");
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables = [urls].iter().chain(variables).map(owned).collect();
        Pages::new(&Variables::new(variables))
    }

    fn body(pages: &Pages, reason: Option<&str>) -> String {
        let response = pages.error(ErrorPage::ConnectTokenInvalid, reason);
        String::from_utf8(response.body().to_vec()).unwrap()
    }

    #[test]
    fn page_leads_to_the_first_return_url_by_default() {
        let body = body(&pages(&[]).unwrap(), None);
        assert!(body.contains(r#"href="https://app.example/zoom?a=1&amp;b=2">Back to your app<"#));
        assert!(!body.contains("mailto:") && !body.contains("For the developer"), "{body}");
    }

    #[test]
    fn brand_and_reason_are_shown_escaped() {
        let pages = pages(&[
            ("APP_NAME", "<b>Q&A</b>"),
            ("APP_URL", "https://acme.example/?x=\"><script>"),
            ("SUPPORT_EMAIL", "help@acme.example"),
        ]);
        let body = body(&pages.unwrap(), Some("`sub` < 1"));
        for part in [
            "Go back to &lt;b&gt;Q&amp;A&lt;/b&gt; and press",
            r#"href="https://acme.example/?x=%22%3E%3Cscript%3E">Back to &lt;b&gt;"#,
            r#"<a href="mailto:help@acme.example">"#,
            "`sub` &lt; 1",
        ] {
            assert!(body.contains(part), "{part} in {body}");
        }
        assert!(!body.contains("<b>") && !body.contains("<script"), "{body}");
    }

    #[test]
    fn script_url_is_rejected() {
        for url in ["javascript:alert(1)", "http://acme.example/", "acme.example"] {
            assert!(pages(&[("APP_URL", url)]).is_err(), "{url}");
        }
    }
}
