//! Settings of a simulator.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::responses::ErrorForm;

/// Client credentials of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Client id.
    pub client_id: String,
    /// Client secret.
    pub client_secret: String,
}

/// The app as registered with this Zoom, and the behaviour of this Zoom.
///
/// All but `bind` and `seed` can change later (see `Control::change_settings`), because the system under
/// test often knows its own address only after the simulator runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Loopback address to listen on; port 0 takes a free one. The other loopback address gets the same
    /// port where the machine has it, because `localhost` may resolve to either.
    pub bind: SocketAddr,
    /// Makes ids reproducible: the same calls in the same order yield the same ids.
    pub seed: Option<u64>,
    /// The app's client id.
    pub client_id: String,
    /// The app's client secret.
    pub client_secret: String,
    /// Clients of other apps that this Zoom knows, such as the app's development client. A grant belongs
    /// to the client that obtained it.
    pub other_clients: Vec<Client>,
    /// Form in which errors of the token endpoint carry Zoom's number; `None` means without one, as in all
    /// bodies that were captured at Zoom.
    pub token_error_form: Option<ErrorForm>,
    /// The app's secret token, which signs webhooks.
    pub webhook_secret: String,
    /// Allowed redirect URIs, compared exactly.
    pub redirect_uris: Vec<String>,
    /// Endpoint for events; without it they are dropped.
    pub webhook_url: Option<String>,
    /// Endpoint for `app_deauthorized`; without it the event is dropped.
    pub deauthorize_url: Option<String>,
    /// If false, events are dropped, as after Zoom has disabled the subscription.
    pub webhooks_enabled: bool,
    /// Factor for Zoom's retry delays of 5, 20 and 60 minutes.
    pub retry_scale: f64,
    /// Scopes that a user grants who has none of their own.
    pub scopes: Vec<String>,
    /// Lifetime of an access token; also its `expires_in`.
    pub access_token_seconds: i64,
    /// Lifetime of the `download_token` of an event.
    pub download_token_seconds: i64,
    /// Maximum number of meetings on a page of a list.
    pub max_page_size: usize,
    /// Respond with 400 to an `Authorization` header at the content host. It proves that the client drops
    /// its token when a redirect leads to another host.
    pub reject_authorization_at_content: bool,
}

impl Default for Config {
    fn default() -> Self {
        let scopes = [
            "cloud_recording:delete:meeting_recording",
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
            other_clients: Vec::new(),
            token_error_form: None,
            webhook_secret: "SIMwebhookSecret000000".into(),
            redirect_uris: Vec::new(),
            webhook_url: None,
            deauthorize_url: None,
            webhooks_enabled: true,
            retry_scale: 1.0,
            scopes: scopes.map(Into::into).into(),
            access_token_seconds: 3599,
            download_token_seconds: 86_400,
            max_page_size: 300,
            reject_authorization_at_content: true,
        }
    }
}

impl Config {
    /// The secret of a client that this Zoom knows.
    pub(crate) fn secret_of(&self, client_id: &str) -> Option<&str> {
        if client_id == self.client_id {
            return Some(&self.client_secret);
        }
        let client = self.other_clients.iter().find(|client| client.client_id == client_id)?;
        Some(&client.client_secret)
    }
}
