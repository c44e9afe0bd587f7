//! What a browser does of this: it keeps cookies, by host name and not by port, and follows redirects.
//!
//! Written out because HTTP clients do not send cookies marked `Secure` over plain http; browsers do on
//! loopback addresses, which they take for secure.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use url::Url;

/// Nobody needs more on the way from one page to the next.
const MOST_REDIRECTS: usize = 10;

/// A browser.
pub(super) struct Browser {
    http: Client,
    /// Name and value, by host.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

impl Browser {
    pub(super) fn new() -> anyhow::Result<Self> {
        let http = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .build()
            .context("no HTTP client")?;
        Ok(Self {
            http,
            cookies: BTreeMap::new(),
        })
    }

    /// Sends a form.
    pub(super) async fn post(&mut self, url: Url, form: &[(&str, &str)]) -> anyhow::Result<()> {
        let request = self.http.post(url.clone()).form(form);
        let answer = self.send(&url, request).await?;
        if !answer.status().is_redirection() {
            bail!("{} answered {}", url.path(), answer.status());
        }
        Ok(())
    }

    /// Goes to an address and wherever that leads. Before each step `at` may change the address, as a
    /// person does who presses a button there.
    pub(super) async fn follow(&mut self, url: Url, at: impl Fn(&mut Url)) -> anyhow::Result<Url> {
        let mut url = url;
        for _ in 0..MOST_REDIRECTS {
            at(&mut url);
            let request = self.http.get(url.clone());
            let answer = self.send(&url, request).await?;
            let status = answer.status();
            if status.is_success() {
                return Ok(url);
            }
            let Some(location) = answer
                .headers()
                .get(LOCATION)
                .and_then(|location| location.to_str().ok())
            else {
                let code = answer
                    .headers()
                    .get("x-reelay-error")
                    .and_then(|code| code.to_str().ok())
                    .unwrap_or("no code");
                bail!("{} answered {status} ({code})", place(&url));
            };
            let next = url
                .join(location)
                .with_context(|| format!("{} leads to no address", place(&url)))?;
            tracing::debug!(from = place(&url), to = place(&next), %status, "redirected");
            url = next;
        }
        bail!(
            "more than {MOST_REDIRECTS} redirects, the last to {}",
            place(&url)
        )
    }

    async fn send(&mut self, url: &Url, request: RequestBuilder) -> anyhow::Result<Response> {
        let jar = self
            .cookies
            .entry(url.host_str().unwrap_or_default().to_owned())
            .or_default();
        let cookies: Vec<String> = jar
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = if cookies.is_empty() {
            request
        } else {
            request.header(COOKIE, cookies.join("; "))
        };
        let answer = request
            .send()
            .await
            .with_context(|| format!("{} cannot be reached", place(url)))?;
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().context("a cookie is no text")?;
            let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
            let (name, value) = pair.split_once('=').context("a cookie has no value")?;
            let gone = attributes
                .split(';')
                .any(|attribute| attribute.trim().eq_ignore_ascii_case("max-age=0"));
            if gone {
                jar.remove(name.trim());
            } else {
                jar.insert(name.trim().to_owned(), value.to_owned());
            }
        }
        Ok(answer)
    }
}

/// An address without its query, which may hold tokens.
fn place(url: &Url) -> &str {
    &url[..url::Position::AfterPath]
}
