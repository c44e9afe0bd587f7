//! What a simulator is started with, most of which may change while it runs.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The app as registered at this Zoom, and how this Zoom behaves.
///
/// All but `bind` and `seed` can be changed later (see `Control::change_settings`), for the system under
/// test often learns its own address only after this one runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen: a loopback address; port 0 takes a free one. The other loopback address gets the
    /// same port where the machine has it, for `localhost` may mean either.
    pub bind: SocketAddr,
    /// Makes ids repeatable: with the same calls in the same order come the same ones.
    pub seed: Option<u64>,
    /// The app's client id.
    pub client_id: String,
    /// The app's client secret.
    pub client_secret: String,
    /// The app's secret token, which signs webhooks.
    pub webhook_secret: String,
    /// Redirect URIs that are allowed; the comparison is exact.
    pub redirect_uris: Vec<String>,
    /// Where events go; without it they are dropped, and the log says so.
    pub webhook_url: Option<String>,
    /// Where `app_deauthorized` goes; without it the event is dropped.
    pub deauthorize_url: Option<String>,
    /// Off: events are dropped, as if Zoom had disabled the subscription.
    pub webhooks_on: bool,
    /// Multiplies Zoom's retry delays of 5, 20 and 60 minutes.
    pub retry_scale: f64,
    /// Scopes that a user without own ones grants.
    pub scopes: Vec<String>,
    /// Life of an access token; also its `expires_in`.
    pub access_token_seconds: i64,
    /// How many access tokens older than the newest stay valid after a refresh.
    pub access_token_tolerance: usize,
    /// Life of a refresh token.
    pub refresh_token_seconds: i64,
    /// Life of an authorization code.
    pub code_seconds: i64,
    /// Life of the `download_token` of an event.
    pub download_token_seconds: i64,
    /// Life of the signed URL behind a download's redirect.
    pub content_url_seconds: i64,
    /// Answer 400 where the bytes lie if an `Authorization` header arrives there: it proves that the
    /// client drops its token when the redirect leaves the host.
    pub refuse_authorization_at_content: bool,
    /// Whether a refusal on the consent page comes back with `state`; what Zoom does is unknown.
    pub denial_carries_state: bool,
}

impl Default for Config {
    fn default() -> Self {
        let scopes = [
            "cloud_recording:read:list_recording_files",
            "cloud_recording:read:list_user_recordings",
            "cloud_recording:read:recording",
            "user:read:user",
        ];
        Self {
            bind: (Ipv4Addr::LOCALHOST, 0).into(),
            seed: None,
            client_id: "SIMclientID0000000000".into(),
            client_secret: "SIMclientSecret00000000000000000".into(),
            webhook_secret: "SIMwebhookSecret000000".into(),
            redirect_uris: Vec::new(),
            webhook_url: None,
            deauthorize_url: None,
            webhooks_on: true,
            retry_scale: 1.0,
            scopes: scopes.map(Into::into).into(),
            access_token_seconds: 3599,
            access_token_tolerance: 1,
            refresh_token_seconds: 90 * 86_400,
            code_seconds: 300,
            download_token_seconds: 86_400,
            content_url_seconds: 3600,
            refuse_authorization_at_content: true,
            denial_carries_state: true,
        }
    }
}
