//! The app's key set (JWKS, RFC 7517), for apps that sign with RS256 or ES256.

use std::fmt;
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use reelay_domain::operator_url;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use crate::cache::{Cache, FAILURE_HOLD};
use crate::environment::{Clock, ConfigError};

/// Timeout of one request. A user waits for the response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum size of a key set in bytes. A usual one has a few kilobytes.
const MAX_BYTES: usize = 256 * 1024;

/// A cached key set. `Debug` shows only the host of the URL, which may contain a credential.
pub(crate) struct KeySet {
    http: Client,
    url: Url,
    cache: Cache<JwkSet, &'static str>,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl KeySet {
    /// The URL must be https, or http on a loopback host. Redirects are not followed, so that keys come
    /// from the configured URL alone.
    pub(crate) fn new(url: &str, clock: Clock) -> Result<Self, ConfigError> {
        let invalid = |reason: &dyn fmt::Display| ConfigError::invalid("APP_JWKS_URL", reason);
        let url = operator_url::parse(url).map_err(|error| invalid(&error))?;
        let http = Client::builder()
            .redirect(Policy::none())
            .timeout(REQUEST_TIMEOUT)
            .build()
            .map_err(|_| invalid(&"failed to build the HTTP client"))?;
        Ok(Self { http, url, cache: Cache::new("app key set", clock, FAILURE_HOLD) })
    }

    /// The key set, at most five minutes old; up to 24 hours while the host is down.
    pub(crate) async fn get(&self) -> Result<JwkSet, &'static str> {
        self.cache.get(|| self.fetch()).await
    }

    /// A key set that was read within the last 60 s, after a token named an unknown key.
    pub(crate) async fn fresh(&self) -> Result<JwkSet, &'static str> {
        self.cache.fresh(|| self.fetch()).await
    }

    fn fetch(&self) -> impl Future<Output = Result<JwkSet, &'static str>> + use<> {
        let request = self.http.get(self.url.clone());
        async move {
            let mut response = request.send().await.map_err(|_| "key set request failed")?;
            if !response.status().is_success() {
                return Err("key set request was not successful");
            }
            let mut body = Vec::new();
            while let Some(chunk) =
                response.chunk().await.map_err(|_| "key set response was interrupted")?
            {
                if body.len() + chunk.len() > MAX_BYTES {
                    return Err("key set is larger than 256 KiB");
                }
                body.extend_from_slice(&chunk);
            }
            serde_json::from_slice(&body).map_err(|_| "failed to deserialize the key set")
        }
    }
}
