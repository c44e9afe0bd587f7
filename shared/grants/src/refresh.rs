//! Tokens that work.

use std::time::Duration;

use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{GrantChange, GrantState, GrantStatus, Link, LinkStatus};
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::random;
use reelay_store::links::{Changed, Grant, Lease, LeaseError, NewTokens};
use reelay_store::vault::{TokenOwner, Tokens};
use reelay_zoom::{RefreshError, TokenPair};

use crate::{AccessToken, GrantError, Grants, LEASE, MARGIN};

/// How often to look whether the winner has saved its pair. With the pauses below, some ten seconds.
const MOST_LOOKS: u32 = 60;

/// The longest pause between two looks.
const LONGEST_PAUSE_MILLISECONDS: u64 = 300;

/// What Zoom says to a refresh token.
enum Answer {
    /// The next pair.
    Pair(TokenPair),
    /// It is invalid, and so is the grant.
    Invalid,
    /// It is invalid because of a consent, whose tokens are the grant's now.
    Replaced,
}

impl Grants {
    /// A token of the grant that has not ended, refreshed if need be.
    ///
    /// # Errors
    /// [`GrantError`]. Only [`GrantError::ReauthorizationRequired`] and [`GrantError::NotFound`] are for good.
    pub async fn access_token(&self, zoom_user: &ZoomUser) -> Result<AccessToken, GrantError> {
        self.token(zoom_user, None).await
    }

    /// A token other than one that Zoom refused.
    ///
    /// # Errors
    /// As [`Self::access_token`].
    pub async fn replace_token(
        &self,
        zoom_user: &ZoomUser,
        refused: &AccessToken,
    ) -> Result<AccessToken, GrantError> {
        self.token(zoom_user, Some(refused.version)).await
    }

    async fn token(
        &self,
        zoom_user: &ZoomUser,
        refused: Option<u64>,
    ) -> Result<AccessToken, GrantError> {
        for look in 0..MOST_LOOKS {
            let holding = self.links().snapshot(zoom_user).await?;
            let grant = holding.grant.ok_or(GrantError::NotFound)?;
            match grant.status {
                GrantStatus::Live => {}
                GrantStatus::ReauthorizationRequired => {
                    // Whoever condemned it may have died before it had told so.
                    self.tell_rest(zoom_user, &holding.outbox).await?;
                    return Err(GrantError::ReauthorizationRequired);
                }
                GrantStatus::Revoking => return Err(GrantError::Revoking),
            }
            if self.is_fresh(&grant) && refused != Some(grant.version) {
                let tokens = self.open(zoom_user, &grant).await?;
                return Ok(AccessToken {
                    token: tokens.access_token,
                    version: grant.version,
                });
            }
            let now = self.clock.now();
            match self
                .links()
                .acquire_lease(zoom_user, grant.version, now, LEASE)
                .await
            {
                Ok(lease) => {
                    if let Some(token) = self
                        .refresh(zoom_user, &lease, &GrantChange::RequireReauthorization)
                        .await?
                    {
                        return Ok(token);
                    }
                }
                Err(LeaseError::Taken) => pause(look).await,
                Err(LeaseError::Table(failure)) => return Err(failure.into()),
            }
        }
        Err(GrantError::Busy)
    }

    pub(crate) fn is_fresh(&self, grant: &Grant) -> bool {
        grant.access_expires_at > (self.clock.now() + MARGIN).as_second()
    }

    /// Refreshes under a lease. `None` if a consent brought other tokens meanwhile: then those count; or if
    /// Zoom says that the grant is invalid: then what follows from that was done.
    ///
    /// # Errors
    /// [`GrantError::ReauthorizationRequired`] only of a grant that is being revoked. After an error the
    /// lease is given back, unless Zoom has given a pair: then nobody is to try with the older one.
    pub(crate) async fn refresh(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
        if_invalid: &GrantChange,
    ) -> Result<Option<AccessToken>, GrantError> {
        let answer = self.ask(zoom_user, lease).await;
        match &answer {
            // The refresh of a grant that is being revoked concerns nobody but ourselves.
            Ok(Answer::Invalid) if lease.grant.status != GrantStatus::Revoking => {
                metrics::count(Metric::RefreshesFailed, "invalid_grant");
            }
            Err(error) => metrics::count(Metric::RefreshesFailed, error.reason()),
            Ok(_) => {}
        }
        match answer {
            Ok(Answer::Pair(pair)) => self.save(zoom_user, lease, pair).await,
            Ok(Answer::Replaced) => Ok(None),
            // What is being revoked is gone already: there is nobody left to tell.
            Ok(Answer::Invalid) if lease.grant.status == GrantStatus::Revoking => {
                Err(GrantError::ReauthorizationRequired)
            }
            Ok(Answer::Invalid) => self
                .invalid(zoom_user, lease, if_invalid)
                .await
                .map(|()| None),
            Err(error) => {
                // Nobody is condemned for an outage, or for a mistake of our own. If Zoom had processed
                // the refresh and the answer was lost, the next attempt will be told so.
                if let Err(error) = self.links().release_lease(zoom_user, lease).await {
                    tracing::warn!(error = %error, "lease not given back; it runs out");
                }
                Err(error)
            }
        }
    }

    async fn ask(&self, zoom_user: &ZoomUser, lease: &Lease) -> Result<Answer, GrantError> {
        let tokens = self.open(zoom_user, &lease.grant).await?;
        let credentials = self.credentials().await?;
        let zoom = self.zoom();
        let mut answer = zoom.refresh(&credentials, &tokens.refresh_token).await;
        // Who is not known as a client has not been heard: the refresh token is not spent.
        if matches!(answer, Err(RefreshError::InvalidClient))
            && let Some(credentials) = self.credentials_reread().await?
        {
            answer = zoom.refresh(&credentials, &tokens.refresh_token).await;
        }
        match answer {
            Ok(pair) => Ok(Answer::Pair(pair)),
            Err(RefreshError::InvalidGrant) if self.adopt_exchange_of(zoom_user).await? => {
                Ok(Answer::Replaced)
            }
            Err(RefreshError::InvalidGrant) => Ok(Answer::Invalid),
            Err(error) => Err(error.into()),
        }
    }

    /// Saves the pair, then lets it be used: in this order.
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
            tokens: self
                .vault()
                .encrypt(&TokenOwner::Grant(zoom_user.clone()), &tokens)
                .await?,
            obtained_at: lease.grant.obtained_at,
            exchange: lease.grant.exchange.clone(),
            access_expires_at: now.as_second() + expires_in,
            scope: pair.scope,
        };
        match self.links().save_refreshed(zoom_user, lease, &new).await {
            Ok(()) => Ok(Some(AccessToken {
                token: pair.access_token,
                version: lease.grant.version + 1,
            })),
            // A consent came in between. It ended at Zoom whatever we got.
            Err(LeaseError::Taken) => Ok(None),
            Err(LeaseError::Table(failure)) => Err(failure.into()),
        }
    }

    /// Zoom says that the grant is invalid. If it said so of the tokens that are in the table still, that has
    /// its consequences, and the app is told; else others have come and deserve their own try.
    async fn invalid(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
        then: &GrantChange,
    ) -> Result<(), GrantError> {
        let now = self.clock.now();
        let changed = self
            .links()
            .change_of_version(zoom_user, lease.grant.version, then, now)
            .await?;
        if let Some(changed) = changed {
            tracing::warn!(
                zoom_user = zoom_user.key(),
                "grant no longer honoured by Zoom"
            );
            metrics::count_many(
                Metric::LinksReauthorizationRequired,
                "refused_by_zoom",
                newly_refused(&changed),
            );
            self.tell(zoom_user, &changed).await?;
        }
        Ok(())
    }
}

/// How many links wait for a new consent that did not before.
fn newly_refused(changed: &Changed) -> u64 {
    let waiting = |state: &GrantState| {
        let refused = |link: &&Link| link.status == LinkStatus::ReauthorizationRequired;
        state.links.iter().filter(refused).count()
    };
    let newly = waiting(&changed.after).saturating_sub(waiting(&changed.before));
    u64::try_from(newly).unwrap_or(u64::MAX)
}

/// Short at first, for a winner takes about as long as Zoom's answer; never in step with others.
pub(crate) async fn pause(look: u32) {
    let longest = (20u64 << look.min(4)).min(LONGEST_PAUSE_MILLISECONDS);
    let [byte] = random::bytes::<1>();
    tokio::time::sleep(Duration::from_millis(
        longest / 2 + longest * u64::from(byte) / 510,
    ))
    .await;
}
