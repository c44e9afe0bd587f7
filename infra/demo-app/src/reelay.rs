//! A client of Reelay: all that an app needs in order to embed it.
//!
//! * [`Reelay::connect_url`] is where the "Connect Zoom" button leads.
//! * [`Reelay::confirm_link`] makes the link active once the user is back.
//! * The rest lists, fetches and removes, always for the user whose id the token names.
//!
//! No path and no body ever names a user: Reelay believes the signed token and nothing else. So each
//! method takes the user of the session at hand, and there is no way to ask for somebody else's things.

mod contract;
mod problem;
mod token;

use std::time::Duration;

use jiff::civil::Date;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::json;
use url::{Host, Url};

pub use self::contract::{
    File, FileStatus, Link, LinkStatus, MeetingId, Recording, RecordingPage, RecordingStatus,
    ZoomAccount, ZoomState,
};
pub use self::problem::{Problem, ProblemCode, ReelayError};

use self::contract::Links;
use self::token::Signer;
use crate::app_user::AppUser;

/// Reelay answers from one table read; whatever takes longer than this is not going to come.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How much of a transcript or chat log is read for showing it.
const TEXT_LIMIT: usize = 2 * 1024 * 1024;

/// Reelay, as the app's server sees it.
#[derive(Debug)]
pub struct Reelay {
    http: reqwest::Client,
    base: Url,
    signer: Signer,
}

impl Reelay {
    /// A client of the Reelay at `base` (below which `/zoom/connect` and `/v1` are), signing with the
    /// app secret that both sides know.
    pub fn new(base: Url, app_secret: &SecretString) -> Result<Self, ReelayError> {
        if base.cannot_be_a_base() {
            return Err(ReelayError::NoBase(base));
        }
        let mut http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            // Reelay never redirects its API, and a token must not travel to another host.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&base) {
            // A proxy of the environment cannot reach this machine's loopback addresses.
            http = http.no_proxy();
        }
        Ok(Self {
            http: http.build().map_err(ReelayError::Unreachable)?,
            base,
            signer: Signer::new(app_secret),
        })
    }

    /// The address for the "Connect Zoom" button: valid for ten minutes, for this user only.
    ///
    /// Make it when the button is pressed, not when the page is drawn, so that it is never stale.
    pub fn connect_url(&self, user: &AppUser, return_to: &Url) -> Result<Url, ReelayError> {
        let token = self.signer.connect_token(user, return_to)?;
        let mut url = self.endpoint(&["zoom", "connect"]);
        url.query_pairs_mut().append_pair("token", &token);
        Ok(url)
    }

    /// Makes a link active with the claim that the browser brought back.
    ///
    /// `user` must be whoever is signed in *now*: that is what makes a link impossible to forge.
    pub async fn confirm_link(&self, user: &AppUser, claim: &str) -> Result<Link, ReelayError> {
        let url = self.endpoint(&["v1", "links", "confirm"]);
        let request = self.request(Method::POST, url, user)?;
        read(request.json(&json!({ "claim": claim }))).await
    }

    /// The user's links, pending ones excepted.
    pub async fn links(&self, user: &AppUser) -> Result<Vec<Link>, ReelayError> {
        let url = self.endpoint(&["v1", "links"]);
        let Links { links } = read(self.request(Method::GET, url, user)?).await?;
        Ok(links)
    }

    /// Removes a link; it is no error if it is gone already.
    pub async fn remove_link(&self, user: &AppUser, link_id: &str) -> Result<(), ReelayError> {
        let url = self.endpoint(&["v1", "links", link_id]);
        send(self.request(Method::DELETE, url, user)?).await?;
        Ok(())
    }

    /// A page of the user's recordings, newest first.
    pub async fn recordings(
        &self,
        user: &AppUser,
        limit: u8,
        cursor: Option<&str>,
    ) -> Result<RecordingPage, ReelayError> {
        let mut url = self.endpoint(&["v1", "recordings"]);
        url.query_pairs_mut()
            .append_pair("limit", &limit.to_string())
            .extend_pairs(cursor.map(|cursor| ("cursor", cursor)));
        read(self.request(Method::GET, url, user)?).await
    }

    /// One recording, with an address to fetch for each stored file.
    pub async fn recording(
        &self,
        user: &AppUser,
        recording_id: &str,
    ) -> Result<Recording, ReelayError> {
        let url = self.endpoint(&["v1", "recordings", recording_id]);
        read(self.request(Method::GET, url, user)?).await
    }

    /// Asks for a recording's files to be fetched (again).
    pub async fn download(&self, user: &AppUser, recording_id: &str) -> Result<(), ReelayError> {
        let url = self.endpoint(&["v1", "recordings", recording_id, "download"]);
        send(self.request(Method::POST, url, user)?).await?;
        Ok(())
    }

    /// Asks for the recordings of these days to be looked up at Zoom.
    pub async fn backfill(&self, user: &AppUser, from: Date, to: Date) -> Result<(), ReelayError> {
        let url = self.endpoint(&["v1", "backfill"]);
        let request = self.request(Method::POST, url, user)?;
        send(request.json(&json!({ "from": from, "to": to }))).await?;
        Ok(())
    }

    /// The text of a stored transcript, chat or timeline, from its presigned address.
    ///
    /// The address is a credential of its own, so no token is sent along. A longer text is cut.
    pub async fn text(&self, presigned: &Url) -> Result<String, ReelayError> {
        let mut answer = send(self.http.get(presigned.clone())).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            let room = TEXT_LIMIT - bytes.len();
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if bytes.len() == TEXT_LIMIT {
                break;
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn endpoint(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        // `new` refused addresses that cannot have a path. Pushing segments escapes whatever an id holds.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    fn request(
        &self,
        method: Method,
        url: Url,
        user: &AppUser,
    ) -> Result<RequestBuilder, ReelayError> {
        let token = self.signer.api_token(user)?;
        Ok(self.http.request(method, url).bearer_auth(token))
    }
}

async fn send(request: RequestBuilder) -> Result<Response, ReelayError> {
    let answer = request.send().await.map_err(unreachable)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    // A proxy or gateway before Reelay answers in its own words, which are nothing to act upon.
    let problem = answer.json::<Problem>().await.ok();
    Err(ReelayError::Refused(
        problem.unwrap_or_else(|| Problem::without_words(status)),
    ))
}

async fn read<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, ReelayError> {
    let answer = send(request).await?;
    let status: StatusCode = answer.status();
    let body = answer.bytes().await.map_err(unreachable)?;
    serde_json::from_slice(&body).map_err(|source| ReelayError::Unreadable { status, source })
}

/// Addresses stay out of errors and logs: a presigned one is a credential.
fn unreachable(error: reqwest::Error) -> ReelayError {
    ReelayError::Unreachable(error.without_url())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cannot_change_the_path_that_is_asked() {
        let base = "http://127.0.0.1:1/stage/".parse().expect("a URL");
        let reelay = Reelay::new(base, &SecretString::from("secret")).expect("a client");
        let url = reelay.endpoint(&["v1", "links", "a/../b?c#d"]);
        assert_eq!(
            url.as_str(),
            "http://127.0.0.1:1/stage/v1/links/a%2F..%2Fb%3Fc%23d"
        );
    }
}
