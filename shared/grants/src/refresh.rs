//! Access tokens and their refresh.

use std::time::Duration;

use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{GrantChange, GrantState, GrantStatus, Link, LinkStatus};
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::random;
use reelay_store::links::{Changed, Grant, Lease, LeaseError, NewTokens};
use reelay_store::vault::{TokenOwner, Tokens};
use reelay_zoom::{RefreshError, TokenPair};

use crate::{AccessToken, EXPIRY_MARGIN, GrantError, Grants, LEASE_TTL};

/// Maximum number of polls while another invocation refreshes the grant, about ten seconds with the delays
/// below.
const MAX_POLLS: u32 = 60;

/// Maximum delay between two polls.
const MAX_POLL_DELAY_MILLISECONDS: u64 = 300;

/// Outcome of a refresh request.
enum RefreshOutcome {
    /// New token pair.
    Pair(TokenPair),
    /// `invalid_grant`: Zoom revoked the grant.
    Invalid,
    /// `invalid_grant`, because a newer consent invalidated the tokens; its own tokens were adopted.
    Replaced,
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
            let grant = snapshot.grant.ok_or(GrantError::NotFound)?;
            match grant.status {
                GrantStatus::Live => {}
                GrantStatus::ReauthorizationRequired => {
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
                    if let Some(token) = self
                        .refresh(zoom_user, &lease, &GrantChange::RequireReauthorization)
                        .await?
                    {
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

    /// Refreshes the grant under a lease. Returns `None` if a concurrent consent replaced the tokens, or if
    /// Zoom responded `invalid_grant` and `if_invalid` was applied.
    ///
    /// # Errors
    /// [`GrantError::ReauthorizationRequired`] only for a grant that is being revoked. Releases the lease on
    /// errors, unless Zoom issued a new pair: then the old pair must not be used again.
    pub(crate) async fn refresh(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
        if_invalid: &GrantChange,
    ) -> Result<Option<AccessToken>, GrantError> {
        let response = self.request_refresh(zoom_user, lease).await;
        match &response {
            // Not counted for a grant that is being revoked: no link is affected.
            Ok(RefreshOutcome::Invalid) if lease.grant.status != GrantStatus::Revoking => {
                metrics::count(Metric::RefreshesFailed, "invalid_grant");
            }
            Err(error) => metrics::count(Metric::RefreshesFailed, error.reason()),
            Ok(_) => {}
        }
        match response {
            Ok(RefreshOutcome::Pair(pair)) => self.save(zoom_user, lease, pair).await,
            Ok(RefreshOutcome::Replaced) => Ok(None),
            // The revocation is complete; there is no link to notify about.
            Ok(RefreshOutcome::Invalid) if lease.grant.status == GrantStatus::Revoking => {
                Err(GrantError::ReauthorizationRequired)
            }
            Ok(RefreshOutcome::Invalid) => {
                self.apply_invalid_grant(zoom_user, lease, if_invalid).await.map(|()| None)
            }
            Err(error) => {
                // Neither an outage nor wrong credentials invalidate the grant. If Zoom processed this
                // refresh, it responds invalid_grant to the next attempt.
                if let Err(error) = self.links().release_lease(zoom_user, lease).await {
                    tracing::warn!(error = %error, "lease release failed");
                }
                Err(error)
            }
        }
    }

    async fn request_refresh(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
    ) -> Result<RefreshOutcome, GrantError> {
        let tokens = self.decrypt_tokens(zoom_user, &lease.grant).await?;
        let credentials = self.credentials().await?;
        let zoom = self.zoom();
        let mut response = zoom.refresh(&credentials, &tokens.refresh_token).await;
        // Zoom rejects an unknown client before it consumes the refresh token.
        if matches!(response, Err(RefreshError::InvalidClient))
            && let Some(credentials) = self.credentials_reread().await?
        {
            response = zoom.refresh(&credentials, &tokens.refresh_token).await;
        }
        match response {
            Ok(pair) => Ok(RefreshOutcome::Pair(pair)),
            Err(RefreshError::InvalidGrant) if self.adopt_saved_exchange(zoom_user).await? => {
                Ok(RefreshOutcome::Replaced)
            }
            Err(RefreshError::InvalidGrant) => Ok(RefreshOutcome::Invalid),
            Err(error) => Err(error.into()),
        }
    }

    /// Saves the pair and then returns its access token.
    async fn save(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
        pair: TokenPair,
    ) -> Result<Option<AccessToken>, GrantError> {
        let now = self.clock.now();
        let expires_in = i64::try_from(pair.expires_in).unwrap_or(3600);
        let tokens = Tokens {
            access_token: pair.access_token.clone(),
            refresh_token: pair.refresh_token.clone(),
        };
        let new = NewTokens {
            tokens: self.vault().encrypt(&TokenOwner::Grant(zoom_user.clone()), &tokens).await?,
            obtained_at: lease.grant.obtained_at,
            exchange: lease.grant.exchange.clone(),
            access_expires_at: now.as_second() + expires_in,
            scope: pair.scope,
        };
        match self.links().save_refreshed(zoom_user, lease, &new).await {
            Ok(()) => {
                Ok(Some(AccessToken { token: pair.access_token, version: lease.grant.version + 1 }))
            }
            // A concurrent consent invalidated this pair at Zoom.
            Err(LeaseError::Taken) => Ok(None),
            Err(LeaseError::Table(failure)) => Err(failure.into()),
        }
    }

    /// Applies `change` after `invalid_grant` and publishes its notifications, if the rejected tokens are still
    /// the stored ones.
    async fn apply_invalid_grant(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
        change: &GrantChange,
    ) -> Result<(), GrantError> {
        let now = self.clock.now();
        let changed =
            self.links().change_of_version(zoom_user, lease.grant.version, change, now).await?;
        if let Some(changed) = changed {
            tracing::warn!(zoom_user = zoom_user.key(), "grant revoked by Zoom");
            metrics::count_many(
                Metric::LinksReauthorizationRequired,
                "refused_by_zoom",
                count_newly_affected(&changed),
            );
            self.publish(zoom_user, &changed).await?;
        }
        Ok(())
    }
}

/// Counts the links that require reauthorization because of this change.
fn count_newly_affected(changed: &Changed) -> u64 {
    let count = |state: &GrantState| {
        let is_affected = |link: &&Link| link.status == LinkStatus::ReauthorizationRequired;
        state.links.iter().filter(is_affected).count()
    };
    let newly = count(&changed.after).saturating_sub(count(&changed.before));
    u64::try_from(newly).unwrap_or(u64::MAX)
}

/// Sleeps before the next poll: exponential backoff with jitter, starting near Zoom's response time.
pub(crate) async fn poll_delay(poll: u32) {
    let max = (20u64 << poll.min(4)).min(MAX_POLL_DELAY_MILLISECONDS);
    let [byte] = random::bytes::<1>();
    tokio::time::sleep(Duration::from_millis(max / 2 + max * u64::from(byte) / 510)).await;
}
