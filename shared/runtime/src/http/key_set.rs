//! The app's key set (JWKS, RFC 7517), for apps that sign with RS256 or ES256.

use std::fmt;
use std::time::Duration;

use crate::environment::{Clock, ConfigError};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::JwkSet;
use reelay_domain::operator_url;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::sync::Mutex;

/// A set read so long ago is read again, if it can be.
const KEPT: SignedDuration = SignedDuration::from_mins(5);

/// However often tokens name unknown keys, they make us read the set again only once within this time.
const AT_MOST_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// How long the app may take; a person waits at the other end.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A set of keys has a few kilobytes.
const LARGEST: usize = 256 * 1024;

/// The key set at a URL, kept. The URL may hold a credential of the app's, so `Debug` shows the host only.
pub(crate) struct KeySet {
    http: Client,
    url: Url,
    clock: Clock,
    kept: Mutex<Option<Kept>>,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}

struct Kept {
    set: JwkSet,
    read_at: Timestamp,
    /// When a token that named an unknown key last made us read.
    forced_at: Option<Timestamp>,
}

impl KeySet {
    /// The URL must be https; plain http is for loopback hosts alone. Redirects are not followed: the keys
    /// come from the configured address and nowhere else.
    pub(crate) fn new(url: &str, clock: Clock) -> Result<Self, ConfigError> {
        let unusable = |reason: &str| ConfigError::Invalid {
            name: "APP_JWKS_URL".to_owned(),
            reason: reason.to_owned(),
        };
        let url = operator_url::parse(url).map_err(|error| unusable(&error.to_string()))?;
        let http = Client::builder()
            .redirect(Policy::none())
            .timeout(ANSWER_WITHIN)
            .build()
            .map_err(|_| unusable("no HTTP client can be made"))?;
        Ok(Self {
            http,
            url,
            clock,
            kept: Mutex::new(None),
        })
    }

    /// The set, at most five minutes old; older while the app does not answer.
    pub(crate) async fn known(&self) -> Result<JwkSet, &'static str> {
        let mut kept = self.kept.lock().await;
        let now = self.clock.now();
        if let Some(known) = kept
            .as_ref()
            .filter(|known| now.duration_since(known.read_at) < KEPT)
        {
            return Ok(known.set.clone());
        }
        match (self.read().await, kept.as_mut()) {
            (Ok(set), known) => {
                let forced_at = known.and_then(|known| known.forced_at);
                *kept = Some(Kept {
                    set: set.clone(),
                    read_at: now,
                    forced_at,
                });
                Ok(set)
            }
            (Err(reason), Some(known)) => {
                tracing::warn!(
                    reason,
                    "key set not refreshed, the one read before serves on"
                );
                Ok(known.set.clone())
            }
            (Err(reason), None) => Err(reason),
        }
    }

    /// Reads the set again because a token names a key that is not in it. `None` if that was done within
    /// the last minute, or does not work.
    pub(crate) async fn reread(&self) -> Option<JwkSet> {
        let mut kept = self.kept.lock().await;
        let now = self.clock.now();
        let forced_at = kept.as_ref().and_then(|known| known.forced_at);
        if forced_at.is_some_and(|at| now.duration_since(at) < AT_MOST_EVERY) {
            return None;
        }
        match self.read().await {
            Ok(set) => {
                *kept = Some(Kept {
                    set: set.clone(),
                    read_at: now,
                    forced_at: Some(now),
                });
                Some(set)
            }
            Err(reason) => {
                tracing::warn!(reason, "key set not read again");
                if let Some(known) = kept.as_mut() {
                    known.forced_at = Some(now);
                }
                None
            }
        }
    }

    async fn read(&self) -> Result<JwkSet, &'static str> {
        let mut answer = self
            .http
            .get(self.url.clone())
            .send()
            .await
            .map_err(|_| "the key set's address does not answer")?;
        if !answer.status().is_success() {
            return Err("the key set's address does not answer with success");
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| "the key set breaks off")? {
            if body.len() + chunk.len() > LARGEST {
                return Err("the key set is larger than 256 KiB");
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|_| "the key set is no JWKS")
    }
}
