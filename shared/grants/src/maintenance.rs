//! What no event and no order came for: grants that nobody uses, work whose order died, and Zoom users
//! who have changed accounts.

use reelay_domain::ids::{AppUserId, ZoomUser};
use reelay_domain::link::{GrantChange, GrantStatus, LinkStatus};
use reelay_runtime::metrics::{self, Metric};
use reelay_store::links::{Grant, NewTokens};
use reelay_store::vault::TokenOwner;
use reelay_zoom::{ApiError, CurrentUser};

use crate::{AccessToken, GrantError, Grants};

/// What came of looking after a Zoom user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaintenanceOutcome {
    /// All is as it should be.
    Done,
    /// Zoom has moved the user to another account; what we know of them is there now.
    MovedTo(ZoomUser),
}

impl Grants {
    /// Does for a Zoom user whatever is due: tells what was not told, drops links that were never
    /// confirmed, revokes what is to end, refreshes what is idle, follows to another account.
    ///
    /// # Errors
    /// [`GrantError`]; trying again is safe.
    pub async fn run_maintenance(
        &self,
        zoom_user: &ZoomUser,
    ) -> Result<MaintenanceOutcome, GrantError> {
        let holding = self.links().snapshot(zoom_user).await?;
        self.tell_rest(zoom_user, &holding.outbox).await?;
        let now = self.clock.now();
        for link in &holding.links {
            let expired = link.status == LinkStatus::Pending
                && link.pending_until.is_none_or(|until| until <= now);
            if expired {
                self.expire_pending_link(zoom_user, link.app_user.clone())
                    .await?;
            }
        }
        let grant = self.links().snapshot(zoom_user).await?.grant;
        match grant.map(|grant| grant.status) {
            None | Some(GrantStatus::ReauthorizationRequired) => Ok(MaintenanceOutcome::Done),
            Some(GrantStatus::Revoking) => self
                .revoke(zoom_user)
                .await
                .map(|()| MaintenanceOutcome::Done),
            Some(GrantStatus::Live) => self.keep(zoom_user).await,
        }
    }

    /// Drops a link whose claim has expired unconfirmed, and the grant with it if nobody else needs it.
    /// Tells whether the link still waits for its claim.
    ///
    /// # Errors
    /// [`GrantError`]; trying again is safe.
    pub async fn expire_pending_link(
        &self,
        zoom_user: &ZoomUser,
        app_user: AppUserId,
    ) -> Result<bool, GrantError> {
        let change = GrantChange::ExpirePending {
            app_user: app_user.clone(),
        };
        let changed = self
            .links()
            .change(zoom_user, &change, self.clock.now())
            .await?;
        if changed.before.links.len() > changed.after.links.len() {
            metrics::count(Metric::LinksExpired, "never_confirmed");
        }
        self.tell(zoom_user, &changed).await?;
        self.revoke(zoom_user).await?;
        let mut kept = changed.after.links.iter();
        Ok(kept.any(|link| link.app_user == app_user && link.status == LinkStatus::Pending))
    }

    /// Sees that a live grant stays alive, and is where Zoom says that its user is.
    async fn keep(&self, zoom_user: &ZoomUser) -> Result<MaintenanceOutcome, GrantError> {
        // A token that has not expired is used as it is: what lasts is the refresh token, whose 90 days
        // began with the last refresh.
        let (token, me) = match self.whose_token(zoom_user).await {
            Ok(found) => found,
            // That is told, and nothing is left to keep.
            Err(GrantError::ReauthorizationRequired | GrantError::NotFound) => {
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
        if let Some(to) = self.follow(zoom_user, &grant, &me).await? {
            return Ok(MaintenanceOutcome::MovedTo(to));
        }
        if !grant.is_idle(self.clock.now()) {
            self.links().defer_check(zoom_user, &grant).await?;
        }
        Ok(MaintenanceOutcome::Done)
    }

    /// A token that Zoom takes, and whose it says that it is. A grant may end before its access token does;
    /// then the refresh token tells, so that nobody waits for the hour to be over.
    async fn whose_token(
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

    /// Follows a Zoom user to another account. That is certain only by Zoom's answer to the grant's own
    /// token, and only if it is the same user.
    pub(crate) async fn follow(
        &self,
        zoom_user: &ZoomUser,
        grant: &Grant,
        me: &CurrentUser,
    ) -> Result<Option<ZoomUser>, GrantError> {
        if me.user == *zoom_user || me.user.user_id != zoom_user.user_id {
            return Ok(None);
        }
        let tokens = self.open(zoom_user, grant).await?;
        let owner = TokenOwner::Grant(me.user.clone());
        let new = NewTokens {
            tokens: self.vault().encrypt(&owner, &tokens).await?,
            obtained_at: grant.obtained_at,
            exchange: grant.exchange.clone(),
            access_expires_at: grant.access_expires_at,
            scope: grant.scope.clone(),
        };
        let moved = self
            .links()
            .move_to_account(zoom_user, grant.version, &me.user, &new, self.clock.now())
            .await?
            .ok_or(GrantError::Busy)?;
        metrics::count(Metric::GrantsMoved, "account_changed");
        self.tell(&me.user, &moved).await?;
        Ok(Some(me.user.clone()))
    }
}
