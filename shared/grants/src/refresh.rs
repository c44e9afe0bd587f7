//! Access tokens and their refresh.

use std::time::Duration;

use reelay_domain::ids::ZoomUser;
use reelay_domain::link::GrantStatus;
use reelay_domain::refresh_breaker::Rejection;
use reelay_runtime::AwsError;
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::random;
use reelay_store::links::{Grant, Lease, LeaseError, NewTokens};
use reelay_store::save::save_or_divert;
use reelay_store::sessions::SparePair;
use reelay_store::vault::{PreparedKey, TokenOwner, Tokens};
use reelay_zoom::{RefreshError, TokenPair};

use crate::{AccessToken, EXPIRY_MARGIN, GrantError, Grants, LEASE_TTL, REFRESH_TIME};

/// Maximum number of polls while another invocation refreshes the grant, about ten seconds with the delays
/// below.
const MAX_POLLS: u32 = 60;

/// Maximum delay between two polls.
const MAX_POLL_DELAY_MILLISECONDS: u64 = 300;

/// Outcome of a refresh request.
enum RefreshOutcome {
    /// New token pair, and the key that was prepared for it.
    Pair(TokenPair, PreparedKey),
    /// Zoom rejected the refresh token, or no credentials of its client are configured.
    Rejected(Rejection),
    /// Zoom rejected the refresh token because a newer pair had been issued. That pair was adopted.
    Replaced,
}

/// Consequence of a rejected refresh for a grant that is not being revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfRejected {
    /// The grant is marked, unless a mistake may explain the rejection.
    Mark,
    /// Zoom sent an event that the user removed the app, and the rejection confirms it.
    Deauthorize,
}

impl Grants {
    /// Returns a valid access token. Refreshes the grant first if necessary.
    ///
    /// # Errors
    /// [`GrantError`]. Only [`GrantError::ReauthorizationRequired`] and [`GrantError::NotFound`] are permanent.
    pub async fn access_token(&self, zoom_user: &ZoomUser) -> Result<AccessToken, GrantError> {
        self.token(zoom_user, None).await
    }

    /// Returns an access token that is newer than `rejected`, which Zoom rejected.
    ///
    /// # Errors
    /// As [`Self::access_token`].
    pub async fn replace_token(
        &self,
        zoom_user: &ZoomUser,
        rejected: &AccessToken,
    ) -> Result<AccessToken, GrantError> {
        self.token(zoom_user, Some(rejected.version)).await
    }

    async fn token(
        &self,
        zoom_user: &ZoomUser,
        rejected: Option<u64>,
    ) -> Result<AccessToken, GrantError> {
        for poll in 0..MAX_POLLS {
            let snapshot = self.links().snapshot(zoom_user).await?;
            let Some(grant) = snapshot.grant else {
                return Err(match snapshot.moved_to {
                    Some(_) => GrantError::Moved,
                    None => GrantError::NotFound,
                });
            };
            match grant.status {
                GrantStatus::Live => {}
                GrantStatus::ReauthorizationRequired | GrantStatus::Revoked => {
                    // The invocation that set this status may have ended before it published the notifications.
                    self.publish_pending(zoom_user, &snapshot.outbox).await?;
                    return Err(GrantError::ReauthorizationRequired);
                }
                GrantStatus::Revoking => return Err(GrantError::Revoking),
            }
            if self.is_fresh(&grant) && rejected != Some(grant.version) {
                let tokens = self.decrypt_tokens(zoom_user, &grant).await?;
                return Ok(AccessToken { token: tokens.access_token, version: grant.version });
            }
            let now = self.clock.now();
            match self.links().acquire_lease(zoom_user, grant.version, now, LEASE_TTL).await {
                Ok(lease) => {
                    let token = self.refresh(zoom_user, &lease, IfRejected::Mark).await?;
                    if let Some(token) = token {
                        return Ok(token);
                    }
                }
                Err(LeaseError::Taken) => poll_delay(poll).await,
                Err(LeaseError::Table(failure)) => return Err(failure.into()),
            }
        }
        Err(GrantError::Busy)
    }

    pub(crate) fn is_fresh(&self, grant: &Grant) -> bool {
        grant.access_expires_at > (self.clock.now() + EXPIRY_MARGIN).as_second()
    }

    /// Refreshes the grant under a lease. Returns `None` if a newer pair replaced the tokens, or if Zoom rejected
    /// them and the grant was changed as `if_rejected` says.
    ///
    /// # Errors
    /// [`GrantError::ReauthorizationRequired`] only for a grant that is being revoked. Releases the lease on
    /// errors, unless Zoom issued a new pair: then the old pair must not be used again.
    pub(crate) async fn refresh(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
        if_rejected: IfRejected,
    ) -> Result<Option<AccessToken>, GrantError> {
        let is_revoking = lease.grant.status == GrantStatus::Revoking;
        match self.request_refresh(zoom_user, lease).await {
            Ok(RefreshOutcome::Pair(pair, key)) => self.save(zoom_user, lease, pair, &key).await,
            Ok(RefreshOutcome::Replaced) => Ok(None),
            // The revocation is complete; there is no link to notify about.
            Ok(RefreshOutcome::Rejected(Rejection::InvalidGrant | Rejection::GrantEnded))
                if is_revoking =>
            {
                Err(GrantError::ReauthorizationRequired)
            }
            Ok(RefreshOutcome::Rejected(rejection)) => {
                self.apply_rejection(zoom_user, lease, rejection, if_rejected).await.map(|()| None)
            }
            Err(error) => {
                metrics::count(Metric::RefreshesFailed, error.reason());
                // An outage or wrong credentials do not end the grant. If Zoom did process this refresh, it responds
                // `invalid_grant` to the next one.
                self.release(zoom_user, lease).await;
                Err(error)
            }
        }
    }

    /// Releases a lease after an error. If that fails, the lease expires.
    pub(crate) async fn release(&self, zoom_user: &ZoomUser, lease: &Lease) {
        if let Err(error) = self.links().release_lease(zoom_user, lease).await {
            tracing::warn!(error = %error, "lease release failed");
        }
    }

    async fn request_refresh(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
    ) -> Result<RefreshOutcome, GrantError> {
        let owner = TokenOwner::Grant(zoom_user.clone());
        let (tokens, key) =
            tokio::try_join!(self.decrypt_tokens(zoom_user, &lease.grant), async {
                Ok(self.vault().prepare(&owner).await?)
            },)?;
        // Once the lease has expired, another invocation may send the same refresh token, which Zoom then rejects.
        if lease.until().duration_since(self.clock.now()) < REFRESH_TIME {
            return Err(GrantError::Busy);
        }
        let response = self.refresh_as(&lease.grant.client_id, &tokens.refresh_token);
        let rejection = match response.await {
            Ok(Ok(pair)) => return Ok(RefreshOutcome::Pair(pair, key)),
            Ok(Err(RefreshError::InvalidGrant)) => Rejection::InvalidGrant,
            Ok(Err(RefreshError::GrantEnded)) => Rejection::GrantEnded,
            Ok(Err(error)) => return Err(error.into()),
            Err(GrantError::ClientReplaced) => Rejection::ClientReplaced,
            Err(error) => return Err(error),
        };
        let is_replaced = rejection != Rejection::ClientReplaced
            && (self.adopt_spare_pair(zoom_user, lease).await?
                || self.adopt_saved_exchange(zoom_user).await?
                || self.follow_later_consent(zoom_user, &lease.grant).await?);
        Ok(if is_replaced { RefreshOutcome::Replaced } else { RefreshOutcome::Rejected(rejection) })
    }

    /// Saves the pair and then returns its access token.
    async fn save(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
        pair: TokenPair,
        key: &PreparedKey,
    ) -> Result<Option<AccessToken>, GrantError> {
        let new = self.new_tokens(&pair, key, &lease.grant)?;
        let saved = save_or_divert(
            &self.clock,
            lease.until(),
            || self.links().save_refreshed(zoom_user, lease, &new),
            |error| matches!(error, LeaseError::Taken),
            || self.save_spare_pair(zoom_user, lease, &new),
        );
        match saved.await {
            Ok(Some(())) => {
                self.count_success(zoom_user).await;
                Ok(Some(AccessToken { token: pair.access_token, version: lease.grant.version + 1 }))
            }
            // The retried job adopts the pair, once the lease has expired.
            Ok(None) => Err(GrantError::Busy),
            // A concurrent consent invalidated this pair at Zoom.
            Err(LeaseError::Taken) => Ok(None),
            Err(LeaseError::Table(failure)) => Err(failure.into()),
        }
    }

    /// Encrypts the pair of a refresh. Consent and client stay those of the grant.
    pub(crate) fn new_tokens(
        &self,
        pair: &TokenPair,
        key: &PreparedKey,
        grant: &Grant,
    ) -> Result<NewTokens, GrantError> {
        let expires_in = i64::try_from(pair.expires_in).unwrap_or(3600);
        let tokens = Tokens {
            access_token: pair.access_token.clone(),
            refresh_token: pair.refresh_token.clone(),
        };
        Ok(NewTokens {
            tokens: key.encrypt(&tokens)?,
            obtained_at: grant.obtained_at,
            exchange: grant.exchange.clone(),
            access_expires_at: self.clock.now().as_second() + expires_in,
            scope: pair.scope.clone(),
            client_id: grant.client_id.clone(),
        })
    }

    /// Saves a refreshed pair in the Sessions table, if the Links table cannot take it.
    pub(crate) async fn save_spare_pair(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
        new: &NewTokens,
    ) -> Result<(), AwsError> {
        let spare = SparePair::new(lease.grant.version, new, self.clock.now());
        self.sessions.save_spare_pair(zoom_user, &spare).await?;
        tracing::error!(
            "refreshed tokens saved in the Sessions table; the next refresh adopts them"
        );
        Ok(())
    }

    /// Moves a pair that was saved in the Sessions table to its grant. Returns whether there was one.
    pub(crate) async fn adopt_spare_pair(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
    ) -> Result<bool, GrantError> {
        let now = self.clock.now();
        let Some(spare) = self.sessions.spare_pair(zoom_user, now).await? else {
            return Ok(false);
        };
        let is_current = spare.replaces_version == lease.grant.version;
        if is_current {
            let new = NewTokens {
                tokens: spare.tokens,
                obtained_at: lease.grant.obtained_at,
                exchange: lease.grant.exchange.clone(),
                access_expires_at: spare.access_expires_at,
                scope: spare.scope,
                client_id: lease.grant.client_id.clone(),
            };
            if lease.grant.status == GrantStatus::ReauthorizationRequired {
                if !self.save_revived(zoom_user, lease, &new).await? {
                    return Ok(false);
                }
            } else {
                self.links().save_refreshed(zoom_user, lease, &new).await?;
            }
        }
        self.sessions.delete_spare_pair(zoom_user).await?;
        Ok(is_current)
    }
}

/// Sleeps before the next poll: exponential backoff with jitter, starting near Zoom's response time.
pub(crate) async fn poll_delay(poll: u32) {
    let max = (20u64 << poll.min(4)).min(MAX_POLL_DELAY_MILLISECONDS);
    let [byte] = random::bytes::<1>();
    tokio::time::sleep(Duration::from_millis(max / 2 + max * u64::from(byte) / 510)).await;
}
