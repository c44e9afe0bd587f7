//! Zoom users' grants: tokens that work, and their end.
//!
//! A refresh token is good once, and whoever loses the answer to a refresh loses the grant. So over all
//! instances of all functions at most one refreshes a grant at a time, under a lease in the table; the
//! new pair is saved before it is used; the others wait and take what the winner saved. Only Zoom's
//! word that the grant is invalid, about the very tokens that are in the table, condemns it.

mod ending;
mod exchange;
mod maintenance;
mod refresh;

use jiff::SignedDuration;
use reelay_domain::ids::ZoomUser;
use reelay_domain::message::NotificationMessage;
use reelay_runtime::AwsError;
use reelay_runtime::environment::{Clock, ConfigError, Environment};
use reelay_runtime::secrets::{SecretError, ZoomCredentials, ZoomSecret};
use reelay_store::links::{Changed, Grant, LeaseError, LinkError, LinkTable, OutboxEntry};
use reelay_store::queue::Queue;
use reelay_store::sessions::SessionTable;
use reelay_store::vault::{TokenOwner, Tokens, Vault, VaultError};
use reelay_zoom::{
    ApiError, ClientCredentials, Endpoints, OAuthErrorCode, RefreshError, RevokeError, Timeouts,
    TransientError, ZoomClient,
};
use secrecy::SecretString;

pub use ending::DeauthorizationOutcome;
pub use maintenance::MaintenanceOutcome;

/// A lease outlives the slowest call to Zoom (8 s) with everything around it.
const LEASE: SignedDuration = SignedDuration::from_secs(30);

/// An access token that ends within this time is refreshed first.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// A token that works, as far as we know.
#[derive(Debug, Clone)]
pub struct AccessToken {
    /// For `Authorization: Bearer`.
    pub token: SecretString,
    /// Which pair it is of: to say which one Zoom refused.
    pub version: u64,
}

/// Why there is no token, or why a grant was not brought to its end.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// There is no grant.
    #[error("there is no grant")]
    NotFound,
    /// Zoom does not honour it any more; the user must connect again.
    #[error("the grant needs a new authorization")]
    ReauthorizationRequired,
    /// It is being revoked.
    #[error("the grant is being revoked")]
    Ending,
    /// Somebody else has been working on it for too long; try again.
    #[error("somebody else works on the grant")]
    Busy,
    /// Our own client id or secret is wrong. That condemns nobody's grant.
    #[error("Zoom refuses the app's client id or secret")]
    InvalidClient,
    /// Zoom refused otherwise; try again.
    #[error("Zoom refused with {status}, {code:?}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// OAuth error.
        code: OAuthErrorCode,
    },
    /// Zoom did not answer; try again.
    #[error("Zoom is not available: {0}")]
    Transient(TransientError),
    /// A call of Zoom's API failed otherwise; try again.
    #[error("users/me: {0}")]
    Api(ApiError),
    /// AWS did not do something.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The vault did not.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The client credentials can't be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A change could not be made.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl GrantError {
    /// The kind of failure, for counting.
    fn reason(&self) -> &'static str {
        match self {
            Self::NotFound => "no_grant",
            Self::ReauthorizationRequired => "invalid_grant",
            Self::Ending => "ending",
            Self::Busy => "busy",
            Self::InvalidClient => "invalid_client",
            Self::Rejected { .. } => "rejected",
            Self::Transient(_) => "zoom_unavailable",
            Self::Api(_) => "zoom_api",
            Self::Aws(_) | Self::Link(_) => "aws",
            Self::Vault(_) => "vault",
            Self::Secret(_) => "secret_unavailable",
        }
    }
}

impl From<LeaseError> for GrantError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Table(failure) => Self::Aws(failure),
            LeaseError::Taken => Self::Busy,
        }
    }
}

impl From<RefreshError> for GrantError {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::InvalidGrant => Self::ReauthorizationRequired,
            RefreshError::InvalidClient => Self::InvalidClient,
            RefreshError::Rejected { status, code } => Self::Rejected { status, code },
            RefreshError::Transient(outage) => Self::Transient(outage),
        }
    }
}

impl From<RevokeError> for GrantError {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::InvalidClient => Self::InvalidClient,
            RevokeError::Rejected { status, code } => Self::Rejected { status, code },
            RevokeError::Transient(outage) => Self::Transient(outage),
        }
    }
}

impl From<ApiError> for GrantError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Transient(outage) => Self::Transient(outage),
            error => Self::Api(error),
        }
    }
}

/// All grants.
#[derive(Debug)]
pub struct Grants {
    links: LinkTable,
    sessions: SessionTable,
    vault: Vault,
    zoom: ZoomClient,
    secret: ZoomSecret,
    notifications: Queue<NotificationMessage>,
    clock: Clock,
}

impl Grants {
    /// Uses `LINKS_TABLE`, `SESSIONS_TABLE`, `TOKEN_KEY_ID`, `ZOOM_SECRET`, `ZOOM_OAUTH_URL`, `ZOOM_API_URL` and
    /// `NOTIFICATIONS_QUEUE_URL`.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        let variables = &environment.variables;
        let unusable = |reason: String| ConfigError::Invalid {
            name: "ZOOM_OAUTH_URL".to_owned(),
            reason,
        };
        let endpoints = Endpoints::parse(
            variables.required("ZOOM_OAUTH_URL")?,
            variables.required("ZOOM_API_URL")?,
        )
        .map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            links: LinkTable::new(environment)?,
            sessions: SessionTable::new(environment)?,
            vault: Vault::new(environment)?,
            zoom: ZoomClient::new(endpoints, Timeouts::default())
                .map_err(|error| unusable(error.to_string()))?,
            secret: ZoomSecret::from_env(environment, "ZOOM_SECRET")?,
            notifications: Queue::from_env(environment, "NOTIFICATIONS_QUEUE_URL")?,
            clock: environment.clock.clone(),
        })
    }

    /// The Links table.
    pub fn links(&self) -> &LinkTable {
        &self.links
    }

    /// The vault.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Zoom over HTTP.
    pub fn zoom(&self) -> &ZoomClient {
        &self.zoom
    }

    /// The Zoom app's credentials.
    ///
    /// # Errors
    /// If they can't be read or are not filled in.
    pub async fn credentials(&self) -> Result<ClientCredentials, SecretError> {
        self.secret.credentials().await.map(client)
    }

    /// The credentials once more, if they may have been turned over since they were read.
    async fn credentials_reread(&self) -> Result<Option<ClientCredentials>, SecretError> {
        Ok(self.secret.credentials_reread().await?.map(client))
    }

    /// Tells the app what a change brought.
    ///
    /// # Errors
    /// If SQS or DynamoDB did not; what was not told stays in the outbox.
    pub async fn tell(&self, zoom_user: &ZoomUser, changed: &Changed) -> Result<(), AwsError> {
        self.links
            .publish_outbox(&self.notifications, zoom_user, &changed.outbox)
            .await
    }

    /// Tells the app what somebody else was to tell, and perhaps died before.
    ///
    /// # Errors
    /// If SQS or DynamoDB did not; what was not told stays in the outbox.
    pub async fn tell_rest(
        &self,
        zoom_user: &ZoomUser,
        outbox: &[OutboxEntry],
    ) -> Result<(), AwsError> {
        if outbox.is_empty() {
            return Ok(());
        }
        self.links
            .publish_outbox(&self.notifications, zoom_user, outbox)
            .await
    }

    async fn open(&self, zoom_user: &ZoomUser, grant: &Grant) -> Result<Tokens, GrantError> {
        let sealed = grant
            .tokens
            .as_ref()
            .ok_or(GrantError::ReauthorizationRequired)?;
        Ok(self
            .vault
            .decrypt(&TokenOwner::Grant(zoom_user.clone()), sealed)
            .await?)
    }
}

fn client(credentials: ZoomCredentials) -> ClientCredentials {
    ClientCredentials {
        client_id: credentials.client_id,
        client_secret: credentials.client_secret,
    }
}
