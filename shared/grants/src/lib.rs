//! Zoom users' grants: valid access tokens, maintenance, revocation, revival.
//!
//! Refresh tokens are single-use, and losing a refresh response loses the grant. Therefore one invocation at
//! a time refreshes a grant, under a lease in DynamoDB, and saves the new pair before using it. Other
//! invocations wait for the saved pair. A grant requires reauthorization only if Zoom rejects the currently stored
//! tokens, and no mistake of the operator or of Zoom explains the rejection.

mod client;
mod ending;
mod exchange;
mod issue;
mod maintenance;
mod refresh;
mod rejection;
mod revival;

use jiff::SignedDuration;
use reelay_domain::ids::ZoomUser;
use reelay_runtime::AwsError;
use reelay_runtime::environment::{Clock, ConfigError, Environment};
use reelay_runtime::secrets::{SecretError, ZoomCredentials, ZoomSecret};
use reelay_store::links::{Changed, Grant, LeaseError, LinkError, LinkTable, OutboxEntry};
use reelay_store::outbox::NotificationPublisher;
use reelay_store::sessions::SessionTable;
use reelay_store::vault::{TokenOwner, Tokens, Vault, VaultError};
use reelay_zoom::{
    ApiError, ClientCredentials, Endpoints, OAuthErrorCode, RefreshError, RevokeError, Timeouts,
    TransientError, ZoomClient,
};
use secrecy::SecretString;

pub use ending::{Deauthorization, DeauthorizationOutcome};
pub use maintenance::MaintenanceOutcome;
pub use revival::RevivalOutcome;

use crate::rejection::UnsharedSuccesses;

/// Lifetime of a lease. Exceeds the slowest Zoom call (8 s) and the AWS calls around it.
const LEASE_TTL: SignedDuration = SignedDuration::from_secs(30);

/// Minimum time until the end of a lease for which a refresh token is sent to Zoom: the refresh takes at most 8 s.
const REFRESH_TIME: SignedDuration = SignedDuration::from_secs(12);

/// Remaining lifetime below which an access token is refreshed before use.
const EXPIRY_MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// An access token that Zoom accepts, as far as known.
#[derive(Debug, Clone)]
pub struct AccessToken {
    /// Bearer token.
    pub token: SecretString,
    /// Version of its token pair; identifies a rejected token in [`Grants::replace_token`].
    pub version: u64,
}

/// A failed operation on a grant.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The Zoom user has no grant.
    #[error("no grant for this zoom user")]
    NotFound,
    /// The grant has moved with its user to another account; retry with the key that the old one names.
    #[error("grant has moved to another account")]
    Moved,
    /// Zoom revoked the grant; the user has to authorize the app again.
    #[error("grant requires reauthorization")]
    ReauthorizationRequired,
    /// Reelay is revoking the grant.
    #[error("grant is being revoked")]
    Revoking,
    /// Another invocation holds the lease or has changed the grant; retry later.
    #[error("grant is in use by another invocation")]
    Busy,
    /// The client credentials are wrong. The grant is not affected.
    #[error("zoom rejected the client credentials")]
    InvalidClient,
    /// Another Zoom client is configured, and no credentials of the grant's client work. The grant is kept for
    /// 24 hours, and revivable for another seven days.
    #[error("no credentials of the grant's zoom client are configured")]
    ClientReplaced,
    /// Zoom rejects the tokens of so many accounts that the grant is kept for up to 24 hours.
    #[error("zoom rejects the tokens of many accounts")]
    ManyRejected,
    /// Zoom rejected the OAuth request for another reason; retry later.
    #[error("zoom rejected the oauth request with status {status}: {code}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// OAuth error code.
        code: OAuthErrorCode,
    },
    /// Zoom is unavailable; retry later.
    #[error(transparent)]
    Transient(TransientError),
    /// `users/me` failed; retry later.
    #[error("failed to read users/me: {0}")]
    Api(ApiError),
    /// An AWS call failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Encryption or decryption failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The client credentials are unavailable.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A change of links or grant failed.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl GrantError {
    /// Metric reason.
    fn reason(&self) -> &'static str {
        match self {
            Self::NotFound => "no_grant",
            Self::ReauthorizationRequired => "invalid_grant",
            Self::Revoking => "ending",
            Self::Busy | Self::Moved => "busy",
            Self::InvalidClient => "invalid_client",
            Self::ClientReplaced => "client_replaced",
            Self::ManyRejected => "many_rejected",
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
            RefreshError::InvalidGrant | RefreshError::GrantEnded => Self::ReauthorizationRequired,
            RefreshError::InvalidClient => Self::InvalidClient,
            RefreshError::Rejected { status, code } => Self::Rejected { status, code },
            RefreshError::Transient(error) => Self::Transient(error),
        }
    }
}

impl From<RevokeError> for GrantError {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::InvalidClient => Self::InvalidClient,
            RevokeError::Rejected { status, code } => Self::Rejected { status, code },
            RevokeError::Transient(error) => Self::Transient(error),
        }
    }
}

impl From<ApiError> for GrantError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Transient(error) => Self::Transient(error),
            error => Self::Api(error),
        }
    }
}

/// Operations on grants.
#[derive(Debug)]
pub struct Grants {
    links: LinkTable,
    sessions: SessionTable,
    vault: Vault,
    zoom: ZoomClient,
    secret: ZoomSecret,
    notifications: NotificationPublisher,
    successes: UnsharedSuccesses,
    clock: Clock,
}

impl Grants {
    /// Reads `LINKS_TABLE`, `SESSIONS_TABLE`, `TOKEN_KEY_ID`, `ZOOM_SECRET`, `ZOOM_OAUTH_URL`, `ZOOM_API_URL`,
    /// `NOTIFICATIONS_TABLE` and `NOTIFICATIONS_QUEUE_URL`.
    ///
    /// # Errors
    /// [`ConfigError`] if a variable is missing or invalid.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        let endpoints = environment.variables.zoom_endpoints(Endpoints::parse)?;
        Ok(Self {
            links: LinkTable::new(environment)?,
            sessions: SessionTable::new(environment)?,
            vault: Vault::new(environment)?,
            zoom: ZoomClient::new(endpoints, Timeouts::default()),
            secret: ZoomSecret::from_env(environment, "ZOOM_SECRET")?,
            notifications: NotificationPublisher::new(environment)?,
            successes: UnsharedSuccesses::default(),
            clock: environment.clock.clone(),
        })
    }

    /// Links table.
    pub fn links(&self) -> &LinkTable {
        &self.links
    }

    /// Token vault.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Zoom client.
    pub fn zoom(&self) -> &ZoomClient {
        &self.zoom
    }

    /// Returns the current client credentials of the Zoom app.
    ///
    /// # Errors
    /// [`SecretError`] if the secret is unavailable or incomplete.
    pub async fn credentials(&self) -> Result<ClientCredentials, SecretError> {
        let ZoomCredentials { client_id, client_secret } = self.secret.credentials().await?;
        Ok(ClientCredentials { client_id, client_secret })
    }

    /// Publishes the notifications of a change. Unpublished ones stay in the outbox.
    async fn publish(&self, zoom_user: &ZoomUser, changed: &Changed) -> Result<(), AwsError> {
        self.links.publish_outbox(&self.notifications, zoom_user, &changed.outbox).await
    }

    /// Publishes notifications that an interrupted invocation left in the outbox.
    async fn publish_pending(
        &self,
        zoom_user: &ZoomUser,
        outbox: &[OutboxEntry],
    ) -> Result<(), AwsError> {
        if outbox.is_empty() {
            return Ok(());
        }
        self.links.publish_outbox(&self.notifications, zoom_user, outbox).await
    }

    async fn decrypt_tokens(
        &self,
        zoom_user: &ZoomUser,
        grant: &Grant,
    ) -> Result<Tokens, GrantError> {
        let encrypted = grant.tokens.as_ref().ok_or(GrantError::ReauthorizationRequired)?;
        Ok(self.vault.decrypt(&TokenOwner::Grant(zoom_user.clone()), encrypted).await?)
    }
}
