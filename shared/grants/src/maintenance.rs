//! Scheduled maintenance of grants: idle refresh tokens, lost jobs, and Zoom users who changed accounts.

use reelay_domain::ids::{AppUserId, ZoomUser};
use reelay_domain::link::{GrantChange, GrantStatus};
use reelay_domain::refresh_breaker::Rejection;
use reelay_runtime::metrics::{self, Metric};
use reelay_store::links::{Grant, GrantSnapshot, MarkingItem, NewTokens};
use reelay_store::vault::TokenOwner;
use reelay_zoom::{ApiError, CurrentUser};

use crate::{AccessToken, GrantError, Grants, RevivalOutcome};

/// Result of [`Grants::run_maintenance`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaintenanceOutcome {
    /// Maintenance is complete.
    Done,
    /// Zoom moved the user to another account; links and grant moved to this key.
    MovedTo(ZoomUser),
}

impl Grants {
    /// Runs the maintenance of a Zoom user: publishes pending notifications, expires unconfirmed links,
    /// finishes a revocation, refreshes an idle grant, and moves the grant after a change of account.
    ///
    /// # Errors
    /// [`GrantError`]. The operation is idempotent.
    pub async fn run_maintenance(
        &self,
        zoom_user: &ZoomUser,
    ) -> Result<MaintenanceOutcome, GrantError> {
        let snapshot = self.links().snapshot(zoom_user).await?;
        self.publish_pending(zoom_user, &snapshot.outbox).await?;
        let now = self.clock.now();
        for link in &snapshot.links {
            if link.pending_until.is_some_and(|until| until <= now) {
                self.expire_pending_link(zoom_user, link.app_user.clone()).await?;
            }
        }
        let GrantSnapshot { grant: Some(grant), marking, .. } =
            self.links().snapshot(zoom_user).await?
        else {
            return Ok(MaintenanceOutcome::Done);
        };
        match grant.status {
            GrantStatus::ReauthorizationRequired => {
                self.maintain_marked(zoom_user, &grant, marking).await
            }
            GrantStatus::Revoked => Ok(MaintenanceOutcome::Done),
            GrantStatus::Revoking => {
                self.revoke(zoom_user).await.map(|()| MaintenanceOutcome::Done)
            }
            GrantStatus::Live => self.maintain_live(zoom_user).await,
        }
    }

    /// Revives a grant that was marked because its client's credentials were missing, once they are configured again.
    async fn maintain_marked(
        &self,
        zoom_user: &ZoomUser,
        grant: &Grant,
        marking: Option<MarkingItem>,
    ) -> Result<MaintenanceOutcome, GrantError> {
        let is_revivable = marking.is_some_and(|marking| {
            marking.marking.reason == Rejection::ClientReplaced
                && !marking.is_expired(self.clock.now())
        });
        if !is_revivable {
            if grant.next_check_day.is_some() {
                self.links().end_checks(zoom_user, grant).await?;
            }
            return Ok(MaintenanceOutcome::Done);
        }
        match self.revive(zoom_user).await {
            Ok(RevivalOutcome::Revived { .. }) => Ok(MaintenanceOutcome::Done),
            Ok(RevivalOutcome::Rejected | RevivalOutcome::NotMarked) => {
                self.links().end_checks(zoom_user, grant).await?;
                Ok(MaintenanceOutcome::Done)
            }
            Err(GrantError::ClientReplaced) => Ok(MaintenanceOutcome::Done),
            Err(error) => Err(error),
        }
    }

    /// Ends the expired claims of a link, deletes it if it was never confirmed, and revokes the grant if no other link needs it.
    /// Returns whether the link still has a claim.
    ///
    /// # Errors
    /// [`GrantError`]. The operation is idempotent.
    pub async fn expire_pending_link(
        &self,
        zoom_user: &ZoomUser,
        app_user: AppUserId,
    ) -> Result<bool, GrantError> {
        let now = self.clock.now();
        let change = GrantChange::ExpirePending { app_user: app_user.clone(), until: now };
        let changed = self.links().change(zoom_user, &change, now).await?;
        if changed.before.links.len() > changed.after.links.len() {
            metrics::count(Metric::LinksExpired, "never_confirmed");
        }
        self.publish(zoom_user, &changed).await?;
        self.revoke(zoom_user).await?;
        let mut links = changed.after.links.iter();
        Ok(links.any(|link| link.app_user == app_user && link.pending_until.is_some()))
    }

    /// Verifies a live grant with Zoom, which also refreshes expired tokens, and follows a change of account.
    pub(crate) async fn maintain_live(
        &self,
        zoom_user: &ZoomUser,
    ) -> Result<MaintenanceOutcome, GrantError> {
        // A valid access token is used without a refresh. The refresh token's 90 days started with the last
        // refresh.
        let (token, me) = match self.token_and_owner(zoom_user).await {
            Ok(token_and_owner) => token_and_owner,
            // Zoom revoked the grant: the refresh has notified the app, and no live grant is left to maintain.
            Err(GrantError::ReauthorizationRequired) => return Ok(MaintenanceOutcome::Done),
            Err(GrantError::NotFound | GrantError::Moved) => {
                let moved_to = self.links().snapshot(zoom_user).await?.moved_to;
                return Ok(moved_to.map_or(MaintenanceOutcome::Done, MaintenanceOutcome::MovedTo));
            }
            // A fact about this user, which the next list shows, too. It becomes the links' issue there.
            Err(GrantError::Api(
                ApiError::NotFound { .. } | ApiError::Forbidden { .. } | ApiError::MissingScope,
            )) => {
                if let Some(grant) = self.links().snapshot(zoom_user).await?.grant {
                    self.defer_check(zoom_user, &grant).await?;
                }
                return Ok(MaintenanceOutcome::Done);
            }
            Err(error) => return Err(error),
        };
        let Some(grant) = self.links().snapshot(zoom_user).await?.grant else {
            return Ok(MaintenanceOutcome::Done);
        };
        if grant.version != token.version {
            return Err(GrantError::Busy);
        }
        if let Some(to) = self.move_if_account_changed(zoom_user, &grant, &me).await? {
            return Ok(MaintenanceOutcome::MovedTo(to));
        }
        self.defer_check(zoom_user, &grant).await?;
        Ok(MaintenanceOutcome::Done)
    }

    async fn defer_check(&self, zoom_user: &ZoomUser, grant: &Grant) -> Result<(), GrantError> {
        if !grant.is_idle(self.clock.now()) {
            self.links().defer_check(zoom_user, grant).await?;
        }
        Ok(())
    }

    /// Returns an access token that Zoom accepts, and its owner. A grant can end before its access token
    /// expires; the refresh after a rejection detects that at once.
    pub(crate) async fn token_and_owner(
        &self,
        zoom_user: &ZoomUser,
    ) -> Result<(AccessToken, CurrentUser), GrantError> {
        let token = self.access_token(zoom_user).await?;
        match self.zoom().get_current_user(&token.token).await {
            Err(ApiError::Unauthorized) => {
                let token = self.replace_token(zoom_user, &token).await?;
                let me = self.zoom().get_current_user(&token.token).await?;
                Ok((token, me))
            }
            me => Ok((token, me?)),
        }
    }

    /// Moves links and grant to the owner's current account, if it changed. `me` must come from a request
    /// with the grant's own token.
    pub(crate) async fn move_if_account_changed(
        &self,
        zoom_user: &ZoomUser,
        grant: &Grant,
        me: &CurrentUser,
    ) -> Result<Option<ZoomUser>, GrantError> {
        if me.user == *zoom_user || me.user.user_id != zoom_user.user_id {
            return Ok(None);
        }
        self.move_grant(zoom_user, grant, &me.user).await?;
        Ok(Some(me.user.clone()))
    }

    /// Moves links and grant to another account, if the same Zoom user has consented there since: that consent
    /// has replaced the grant's tokens. A grant that is being revoked has no links to move, and ends where it is.
    pub(crate) async fn follow_later_consent(
        &self,
        zoom_user: &ZoomUser,
        grant: &Grant,
    ) -> Result<bool, GrantError> {
        if grant.status != GrantStatus::Live {
            return Ok(false);
        }
        for other in self.links().with_same_user_id(zoom_user).await? {
            // One that is being revoked needs its links no more, but its consent may serve those of this grant.
            let is_later = |later: &Grant| {
                matches!(later.status, GrantStatus::Live | GrantStatus::Revoking)
                    && later.obtained_at > grant.obtained_at
            };
            if self.links().snapshot(&other).await?.grant.as_ref().is_some_and(is_later) {
                self.move_grant(zoom_user, grant, &other).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn move_grant(
        &self,
        zoom_user: &ZoomUser,
        grant: &Grant,
        to: &ZoomUser,
    ) -> Result<(), GrantError> {
        let tokens = self.decrypt_tokens(zoom_user, grant).await?;
        let owner = TokenOwner::Grant(to.clone());
        let new = NewTokens {
            tokens: self.vault().encrypt(&owner, &tokens).await?,
            obtained_at: grant.obtained_at,
            exchange: grant.exchange.clone(),
            access_expires_at: grant.access_expires_at,
            scope: grant.scope.clone(),
            client_id: grant.client_id.clone(),
        };
        let moved = self
            .links()
            .move_to_account(zoom_user, grant.version, to, &new, self.clock.now())
            .await?
            .ok_or(GrantError::Busy)?;
        metrics::count(Metric::GrantsMoved, "account_changed");
        Ok(self.publish(to, &moved).await?)
    }
}
