//! The end of a grant: revoked by us because no link needs it, or at Zoom by the user.

use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{GrantChange, GrantStatus};
use reelay_store::links::{Grant, Lease, LeaseError};
use reelay_zoom::{ApiError, CurrentUser, RevokeError};

use crate::{GrantError, Grants, LEASE};

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeauthorizationOutcome {
    /// Zoom honours the grant: what was said concerned an earlier one.
    StillAuthorized,
    /// The grant has ended; tokens and links are gone.
    Deauthorized,
    /// There was nothing to check.
    NoGrant,
}

/// What Zoom says to a revocation.
enum Revoked {
    Done,
    Refused(GrantError),
}

impl Grants {
    /// Revokes a grant that is ending and has no links, then erases it. Nothing happens to any other.
    /// Revoking uninstalls the app for that Zoom user, whichever token is sent, so it is done only after
    /// the table says that nobody needs it, by one at a time, and nobody can begin anew until it is done.
    ///
    /// # Errors
    /// [`GrantError`]; trying again is safe.
    pub async fn revoke(&self, zoom_user: &ZoomUser) -> Result<(), GrantError> {
        let (mut token_refused, mut refreshed) = (false, false);
        loop {
            let holding = self.links().snapshot(zoom_user).await?;
            self.tell_rest(zoom_user, &holding.outbox).await?;
            let Some(grant) = holding
                .grant
                .filter(|grant| grant.status == GrantStatus::Revoking)
            else {
                return Ok(());
            };
            let lease = self
                .links()
                .acquire_lease(zoom_user, grant.version, self.clock.now(), LEASE)
                .await?;
            if !self.is_fresh(&grant) || token_refused {
                match self
                    .refresh(zoom_user, &lease, &GrantChange::RequireReauthorization)
                    .await
                {
                    Ok(_) => refreshed = true,
                    // There is nothing left at Zoom that could be revoked.
                    Err(GrantError::ReauthorizationRequired) => {
                        return self.erase(zoom_user, grant.version).await;
                    }
                    Err(error) => return Err(error),
                }
                // The next round takes the lease on the new pair.
                token_refused = false;
                continue;
            }
            match self.ask_to_revoke(zoom_user, &grant).await {
                Ok(Revoked::Done) => return self.erase(zoom_user, grant.version).await,
                // The token may be dead though the grant is not: the refresh token tells.
                Ok(Revoked::Refused(_)) if !refreshed => {
                    self.still_good(zoom_user, &lease).await?;
                    token_refused = true;
                }
                Ok(Revoked::Refused(error)) | Err(error) => {
                    self.still_good(zoom_user, &lease).await?;
                    return Err(error);
                }
            }
        }
    }

    async fn ask_to_revoke(
        &self,
        zoom_user: &ZoomUser,
        grant: &Grant,
    ) -> Result<Revoked, GrantError> {
        let tokens = self.open(zoom_user, grant).await?;
        let credentials = self.credentials().await?;
        let mut answer = self.zoom().revoke(&credentials, &tokens.access_token).await;
        if matches!(answer, Err(RevokeError::InvalidClient))
            && let Some(credentials) = self.credentials_reread().await?
        {
            answer = self.zoom().revoke(&credentials, &tokens.access_token).await;
        }
        match answer {
            Ok(()) => Ok(Revoked::Done),
            Err(error @ RevokeError::Rejected { .. }) => Ok(Revoked::Refused(error.into())),
            Err(error) => Err(error.into()),
        }
    }

    /// Erases what was revoked. If a consent has brought other tokens meanwhile, those are to be revoked as
    /// well, and the order comes again.
    async fn erase(&self, zoom_user: &ZoomUser, version: u64) -> Result<(), GrantError> {
        let now = self.clock.now();
        let changed = self
            .links()
            .change_of_version(zoom_user, version, &GrantChange::CompleteRevocation, now)
            .await?;
        match changed {
            Some(changed) => Ok(self.tell(zoom_user, &changed).await?),
            None => match self.links().snapshot(zoom_user).await?.grant {
                Some(grant) if grant.status == GrantStatus::Revoking => Err(GrantError::Busy),
                _ => Ok(()),
            },
        }
    }

    /// Zoom says that the user removed the app. That may be late, and concern an earlier grant; so Zoom is
    /// asked whether it honours the tokens that are in the table now.
    ///
    /// # Errors
    /// [`GrantError`]; trying again is safe.
    pub async fn verify_deauthorization(
        &self,
        zoom_user: &ZoomUser,
    ) -> Result<DeauthorizationOutcome, GrantError> {
        let holding = self.links().snapshot(zoom_user).await?;
        self.tell_rest(zoom_user, &holding.outbox).await?;
        let Some(grant) = holding.grant else {
            return Ok(DeauthorizationOutcome::NoGrant);
        };
        match grant.status {
            GrantStatus::Live => {}
            // It was dead already; now it is certain that nobody will revive it by itself.
            GrantStatus::ReauthorizationRequired => {
                return self.end(zoom_user, grant.version).await;
            }
            // Our own revocation comes back as a deauthorization; whoever revokes also erases.
            GrantStatus::Revoking => return Ok(DeauthorizationOutcome::NoGrant),
        }
        let lease = match self
            .links()
            .acquire_lease(zoom_user, grant.version, self.clock.now(), LEASE)
            .await
        {
            Ok(lease) => lease,
            Err(LeaseError::Taken) => return Err(GrantError::Busy),
            Err(LeaseError::Table(failure)) => return Err(failure.into()),
        };
        if self.is_fresh(&grant) {
            match self.asked_who(zoom_user, &grant).await {
                Ok(Some(_)) => return self.still_good(zoom_user, &lease).await,
                // Only the refresh token can tell whether the grant is gone or just this token.
                Ok(None) => {}
                Err(error) => {
                    self.still_good(zoom_user, &lease).await?;
                    return Err(error);
                }
            }
        }
        match self
            .refresh(zoom_user, &lease, &GrantChange::Deauthorize)
            .await?
        {
            Some(_) => Ok(DeauthorizationOutcome::StillAuthorized),
            // Ended with that, or replaced by a consent.
            None => match self.links().snapshot(zoom_user).await?.grant {
                Some(_) => Ok(DeauthorizationOutcome::StillAuthorized),
                None => Ok(DeauthorizationOutcome::Deauthorized),
            },
        }
    }

    /// Whose Zoom says that the tokens are; `None` if it does not take them.
    async fn asked_who(
        &self,
        zoom_user: &ZoomUser,
        grant: &Grant,
    ) -> Result<Option<CurrentUser>, GrantError> {
        let tokens = self.open(zoom_user, grant).await?;
        match self.zoom().get_current_user(&tokens.access_token).await {
            Ok(me) => Ok(Some(me)),
            Err(ApiError::Unauthorized) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn still_good(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
    ) -> Result<DeauthorizationOutcome, GrantError> {
        match self.links().release_lease(zoom_user, lease).await {
            Ok(()) | Err(LeaseError::Taken) => Ok(DeauthorizationOutcome::StillAuthorized),
            Err(LeaseError::Table(failure)) => Err(failure.into()),
        }
    }

    async fn end(
        &self,
        zoom_user: &ZoomUser,
        version: u64,
    ) -> Result<DeauthorizationOutcome, GrantError> {
        let now = self.clock.now();
        match self
            .links()
            .change_of_version(zoom_user, version, &GrantChange::Deauthorize, now)
            .await?
        {
            Some(changed) => {
                self.tell(zoom_user, &changed).await?;
                Ok(DeauthorizationOutcome::Deauthorized)
            }
            None => Ok(DeauthorizationOutcome::StillAuthorized),
        }
    }
}
