//! A client of Reelay: everything that an app needs in order to embed it.
//!
//! * [`Reelay::connect_url`] is the target of the "Connect Zoom" button.
//! * [`Reelay::confirm_link`] activates the link when the user returns.
//! * The other methods list, download and remove. All fail with [`ReelayError`].
//!
//! No path and no body names an app user: Reelay reads the user from the signed token alone. So each method takes
//! the user of the current session, and cannot reach another user's data.

mod error;
mod token;
mod types;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use url::Url;

pub use self::error::ReelayError;
pub use self::types::{File, Link, LinkStatus, Recording, RecordingPage, Status, ZoomAccount};

use self::error::Problem;
use self::token::Signer;
use crate::app_user::AppUser;
use crate::clock::Clock;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Length in bytes at which the content of a text file is cut.
const MAX_TEXT: usize = 4 << 20;

/// Reelay's HTTP API.
pub struct Reelay {
    http: reqwest::Client,
    base: Url,
    signer: Signer,
}

#[allow(clippy::missing_errors_doc, reason = "every method fails with the errors of ReelayError")]
impl Reelay {
    /// Creates a client for the Reelay at `base`, which signs tokens with the shared app secret.
    pub fn new(base: Url, app_secret: &SecretString, clock: Clock) -> Result<Self, ReelayError> {
        let http = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            // Reelay's API does not redirect, and a token must not reach another host.
            .redirect(reqwest::redirect::Policy::none());
        let http = match base.host_str() {
            // A configured proxy cannot reach this machine's loopback addresses.
            Some("localhost" | "127.0.0.1" | "[::1]") => http.no_proxy(),
            _ => http,
        };
        Ok(Self { http: http.build()?, base, signer: Signer::new(app_secret, clock) })
    }

    /// Target of the "Connect Zoom" button, valid for ten minutes and for this user alone.
    ///
    /// Create it when the user presses the button, so that a page that stays open holds no expired token.
    pub fn connect_url(&self, user: &AppUser, return_to: &Url) -> Result<Url, ReelayError> {
        let token = self.signer.connect_token(user, return_to)?;
        let mut url = self.endpoint("zoom", &["connect"]);
        url.query_pairs_mut().append_pair("token", &token);
        Ok(url)
    }

    /// Activates a link with the claim from the return URL.
    ///
    /// `user` must be the user who is signed in **now**. That prevents an attacker from linking a victim's Zoom
    /// account to the attacker's user.
    pub async fn confirm_link(&self, user: &AppUser, claim: &str) -> Result<Link, ReelayError> {
        let request = self.request(Method::POST, &["links", "confirm"], user)?;
        fetch(request.json(&json!({ "claim": claim }))).await
    }

    /// The user's links.
    pub async fn links(&self, user: &AppUser) -> Result<Vec<Link>, ReelayError> {
        #[derive(Deserialize)]
        struct Links {
            links: Vec<Link>,
        }
        let Links { links } = fetch(self.request(Method::GET, &["links"], user)?).await?;
        Ok(links)
    }

    /// Removes a link. Succeeds if it does not exist.
    pub async fn remove_link(&self, user: &AppUser, link_id: &str) -> Result<(), ReelayError> {
        send(self.request(Method::DELETE, &["links", link_id], user)?).await?;
        Ok(())
    }

    /// A page of the user's recordings, newest first. `cursor` comes from the page before.
    pub async fn recordings(
        &self,
        user: &AppUser,
        limit: u8,
        cursor: Option<&str>,
    ) -> Result<RecordingPage, ReelayError> {
        let request = self.request(Method::GET, &["recordings"], user)?;
        fetch(request.query(&[("limit", limit)]).query(&[("cursor", cursor)])).await
    }

    /// One recording, with a presigned URL for each stored file.
    pub async fn recording(&self, user: &AppUser, id: &str) -> Result<Recording, ReelayError> {
        fetch(self.request(Method::GET, &["recordings", id], user)?).await
    }

    /// Requests the download of a recording's files from Zoom, also of files that failed before.
    pub async fn download(&self, user: &AppUser, id: &str) -> Result<(), ReelayError> {
        send(self.request(Method::POST, &["recordings", id, "download"], user)?).await?;
        Ok(())
    }

    /// The first 4 MiB of a stored text file, through its presigned URL.
    pub async fn text(&self, presigned_url: &Url) -> Result<String, ReelayError> {
        // No `Authorization`: the URL's signature is the only credential that S3 accepts.
        let mut response = send(self.http.get(presigned_url.clone())).await?;
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await?
            && text.len() < MAX_TEXT
        {
            text.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// URL below the base. Each segment is escaped, so an id cannot change the path.
    fn endpoint(&self, root: &str, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        // Only URLs such as `data:` have no path; requests to them fail.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(root).extend(segments);
        }
        url
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        user: &AppUser,
    ) -> Result<RequestBuilder, ReelayError> {
        let token = self.signer.api_token(user)?;
        Ok(self.http.request(method, self.endpoint("v1", path)).bearer_auth(token))
    }
}

async fn send(request: RequestBuilder) -> Result<Response, ReelayError> {
    let response = request.send().await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    // A proxy in front of Reelay may respond without a problem document.
    let problem: Problem = response.json().await.unwrap_or_default();
    Err(ReelayError::Rejected(status, problem.code))
}

async fn fetch<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, ReelayError> {
    Ok(send(request).await?.json().await?)
}
