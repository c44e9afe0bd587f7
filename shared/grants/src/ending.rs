//! End of a grant: revocation by Reelay when no link needs it, or deauthorization by the user at Zoom.

use jiff::Timestamp;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{GrantChange, GrantStatus};
use reelay_domain::refresh_breaker::Rejection;
use reelay_store::links::{Grant, Lease, LeaseError};
use reelay_zoom::{ApiError, CurrentUser, RevokeError};

use crate::refresh::IfRejected;
use crate::{GrantError, Grants, LEASE_TTL, RevivalOutcome};

/// Result of [`Grants::verify_deauthorization`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeauthorizationOutcome {
    /// Zoom accepts the stored tokens; the event concerned an earlier grant.
    StillAuthorized,
    /// Zoom accepts the kept tokens of a marked grant, which is live again.
    Revived,
    /// The grant has ended; its tokens and links are deleted.
    Deauthorized,
    /// The event concerns another Zoom app.
    AnotherApp,
    /// There was no grant to verify.
    NoGrant,
}

/// Zoom's event that a user removed the app.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deauthorization<'a> {
    /// Client id of the Zoom app, if the event names it.
    pub client_id: Option<&'a str>,
    /// Time of the removal, if the event names it.
    pub at: Option<Timestamp>,
    /// Whether the event was processed before. Then a valid access token proves nothing: it may outlive the consent
    /// for a moment.
    pub is_repeated: bool,
}

/// Response to a revocation request.
enum RevokeResponse {
    Revoked,
    Rejected(GrantError),
}

impl Grants {
    /// Revokes and then deletes a grant whose status is [`GrantStatus::Revoking`]; leaves other grants unchanged.
    ///
    /// Revocation uninstalls the app for that Zoom user, whichever of its tokens is sent. The status therefore
    /// blocks new links until the grant is deleted, and a lease admits one invocation at a time.
    ///
    /// # Errors
    /// [`GrantError`]. The operation is idempotent.
    pub async fn revoke(&self, zoom_user: &ZoomUser) -> Result<(), GrantError> {
        self.follow_from_other_accounts(zoom_user).await?;
        let (mut is_token_rejected, mut is_refreshed) = (false, false);
        loop {
            let snapshot = self.links().snapshot(zoom_user).await?;
            self.publish_pending(zoom_user, &snapshot.outbox).await?;
            let Some(grant) = snapshot.grant.filter(|grant| grant.status == GrantStatus::Revoking)
            else {
                return Ok(());
            };
            let lease = self
                .links()
                .acquire_lease(zoom_user, grant.version, self.clock.now(), LEASE_TTL)
                .await?;
            if !self.is_fresh(&grant) || is_token_rejected {
                match self.refresh(zoom_user, &lease, IfRejected::Mark).await {
                    Ok(_) => is_refreshed = true,
                    // Zoom has already revoked the grant.
                    Err(GrantError::ReauthorizationRequired) => {
                        return self.complete_revocation(zoom_user, &lease).await;
                    }
                    Err(error) => return Err(error),
                }
                // The next iteration acquires a lease on the new pair.
                is_token_rejected = false;
                continue;
            }
            match self.send_revocation(zoom_user, &grant).await {
                Ok(RevokeResponse::Revoked) => {
                    return self.complete_revocation(zoom_user, &lease).await;
                }
                // No other client can revoke it.
                Err(GrantError::ClientReplaced) => {
                    return self
                        .apply_rejection(
                            zoom_user,
                            &lease,
                            Rejection::ClientReplaced,
                            IfRejected::Mark,
                        )
                        .await;
                }
                // The access token may be invalid while the grant is valid; a refresh decides.
                Ok(RevokeResponse::Rejected(_)) if !is_refreshed => {
                    self.release_authorized(zoom_user, &lease).await?;
                    is_token_rejected = true;
                }
                Ok(RevokeResponse::Rejected(error)) | Err(error) => {
                    self.release_authorized(zoom_user, &lease).await?;
                    return Err(error);
                }
            }
        }
    }

    /// Lets the grants in other accounts follow their user to this key: a revocation would end them, too. If links of
    /// theirs need this grant, it is live again.
    async fn follow_from_other_accounts(&self, zoom_user: &ZoomUser) -> Result<(), GrantError> {
        let grant = self.links().snapshot(zoom_user).await?.grant;
        if grant.is_none_or(|grant| grant.status != GrantStatus::Revoking) {
            return Ok(());
        }
        for other in self.links().with_same_user_id(zoom_user).await? {
            // On the heap: the compiler limits the depth of nested futures.
            match Box::pin(self.maintain_live(&other)).await {
                Ok(_) | Err(GrantError::Revoking) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn send_revocation(
        &self,
        zoom_user: &ZoomUser,
        grant: &Grant,
    ) -> Result<RevokeResponse, GrantError> {
        let tokens = self.decrypt_tokens(zoom_user, grant).await?;
        match self.revoke_as(&grant.client_id, &tokens.access_token).await? {
            Ok(()) => Ok(RevokeResponse::Revoked),
            Err(error @ RevokeError::Rejected { .. }) => Ok(RevokeResponse::Rejected(error.into())),
            Err(error) => Err(error.into()),
        }
    }

    /// Erases the revoked grant. Returns [`GrantError::Busy`] if a concurrent consent replaced the tokens,
    /// so that the retried job revokes those as well.
    pub(crate) async fn complete_revocation(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
    ) -> Result<(), GrantError> {
        let now = self.clock.now();
        let change = GrantChange::CompleteRevocation;
        let changed = self.links().change_under_lease(zoom_user, lease, &change, None, now).await?;
        match changed {
            Some(changed) => {
                self.sessions.delete_spare_pair(zoom_user).await?;
                Ok(self.publish(zoom_user, &changed).await?)
            }
            None => match self.links().snapshot(zoom_user).await?.grant {
                Some(grant) if grant.status == GrantStatus::Revoking => Err(GrantError::Busy),
                _ => Ok(()),
            },
        }
    }

    /// Processes Zoom's event that the user deauthorized the app with this client id. The event may be late and
    /// concern an earlier grant, so the stored tokens are verified with Zoom first. A user who moved accounts
    /// may have a grant under another account than the event's; that grant is verified too.
    ///
    /// # Errors
    /// [`GrantError`]. The operation is idempotent.
    pub async fn verify_deauthorization(
        &self,
        zoom_user: &ZoomUser,
        event: Deauthorization<'_>,
    ) -> Result<DeauthorizationOutcome, GrantError> {
        let mut outcome = self.verify_grant_ended(zoom_user, event).await?;
        if matches!(
            outcome,
            DeauthorizationOutcome::StillAuthorized | DeauthorizationOutcome::Revived
        ) {
            return Ok(outcome);
        }
        // The index may not show a recent move; the item that it left does.
        let mut candidates = self.links().with_same_user_id(zoom_user).await?;
        let moved_to = self.links().snapshot(zoom_user).await?.moved_to;
        candidates.extend(moved_to.filter(|key| !candidates.contains(key)));
        for candidate in candidates {
            let of_candidate = self.verify_grant_ended(&candidate, event).await?;
            if outcome != DeauthorizationOutcome::Deauthorized {
                outcome = of_candidate;
            }
        }
        Ok(outcome)
    }

    async fn verify_grant_ended(
        &self,
        zoom_user: &ZoomUser,
        event: Deauthorization<'_>,
    ) -> Result<DeauthorizationOutcome, GrantError> {
        let snapshot = self.links().snapshot(zoom_user).await?;
        self.publish_pending(zoom_user, &snapshot.outbox).await?;
        let Some(grant) = snapshot.grant else {
            return Ok(DeauthorizationOutcome::NoGrant);
        };
        if event.client_id.is_some_and(|client_id| client_id != grant.client_id) {
            return Ok(DeauthorizationOutcome::AnotherApp);
        }
        if let Some(at) = event.at.filter(|at| at.as_millisecond() < grant.obtained_at) {
            let change = GrantChange::DeauthorizeEarlier { at };
            let changed = self.links().change(zoom_user, &change, self.clock.now()).await?;
            self.publish(zoom_user, &changed).await?;
            self.revoke(zoom_user).await?;
        }
        match grant.status {
            GrantStatus::Live => {}
            // Zoom had rejected its tokens before, perhaps by mistake: the kept pair decides.
            GrantStatus::ReauthorizationRequired => {
                return match self.revive(zoom_user).await {
                    Ok(RevivalOutcome::Revived { .. }) => Ok(DeauthorizationOutcome::Revived),
                    Ok(RevivalOutcome::Rejected | RevivalOutcome::NotMarked)
                    | Err(GrantError::ClientReplaced) => {
                        self.delete_deauthorized(zoom_user, grant.version).await
                    }
                    Err(error) => Err(error),
                };
            }
            // Zoom's event for Reelay's own revocation; the revoking invocation erases the grant.
            GrantStatus::Revoking | GrantStatus::Revoked => {
                return Ok(DeauthorizationOutcome::NoGrant);
            }
        }
        let lease = match self
            .links()
            .acquire_lease(zoom_user, grant.version, self.clock.now(), LEASE_TTL)
            .await
        {
            Ok(lease) => lease,
            Err(LeaseError::Taken) => return Err(GrantError::Busy),
            Err(LeaseError::Table(failure)) => return Err(failure.into()),
        };
        if self.is_fresh(&grant) && !event.is_repeated {
            match self.read_owner(zoom_user, &grant).await {
                Ok(Some(_)) => return self.release_authorized(zoom_user, &lease).await,
                // Only a refresh shows whether the grant or just this access token is invalid.
                Ok(None) => {}
                Err(error) => {
                    self.release_authorized(zoom_user, &lease).await?;
                    return Err(error);
                }
            }
        }
        match self.refresh(zoom_user, &lease, IfRejected::Deauthorize).await? {
            Some(_) => Ok(DeauthorizationOutcome::StillAuthorized),
            // The refresh deauthorized the grant, or a consent replaced its tokens, perhaps in another account.
            None => match self.links().snapshot(zoom_user).await? {
                snapshot if snapshot.grant.is_some() || snapshot.moved_to.is_some() => {
                    Ok(DeauthorizationOutcome::StillAuthorized)
                }
                _ => {
                    self.sessions.delete_spare_pair(zoom_user).await?;
                    Ok(DeauthorizationOutcome::Deauthorized)
                }
            },
        }
    }

    /// Returns the owner of the stored tokens; `None` if Zoom rejects the access token.
    async fn read_owner(
        &self,
        zoom_user: &ZoomUser,
        grant: &Grant,
    ) -> Result<Option<CurrentUser>, GrantError> {
        let tokens = self.decrypt_tokens(zoom_user, grant).await?;
        match self.zoom().get_current_user(&tokens.access_token).await {
            Ok(user) => Ok(Some(user)),
            Err(ApiError::Unauthorized) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn release_authorized(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
    ) -> Result<DeauthorizationOutcome, GrantError> {
        match self.links().release_lease(zoom_user, lease).await {
            Ok(()) | Err(LeaseError::Taken) => Ok(DeauthorizationOutcome::StillAuthorized),
            Err(LeaseError::Table(failure)) => Err(failure.into()),
        }
    }

    async fn delete_deauthorized(
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
                self.sessions.delete_spare_pair(zoom_user).await?;
                self.publish(zoom_user, &changed).await?;
                Ok(DeauthorizationOutcome::Deauthorized)
            }
            None => Ok(DeauthorizationOutcome::StillAuthorized),
        }
    }
}
