//! What became of an authorization that was begun a quarter of an hour ago, or failed just now.

use aws::links::{Consent, LinkError, NewTokens};
use aws::metrics;
use aws::sessions::{ExchangeItem, ExchangeStage};
use aws::vault::{SealedTokens, TokenOwner, Tokens};
use domain::ids::{AppUserId, ZoomUser};
use domain::link::{Change, Refused};
use grants::GrantError;
use zoom::{ApiError, Me, RefreshError, RevokeError};

use crate::{OrderError, Reconciler};

/// Tokens as an interrupted exchange saved them.
struct Saved {
    sealed: SealedTokens,
    obtained_at: i64,
    access_expires_at: i64,
    scope: Option<String>,
}

impl Reconciler {
    pub(crate) async fn finish_connect(&self, exchange: &str) -> Result<(), OrderError> {
        // No exchange: Zoom was never asked, or refused.
        let Some(item) = self.sessions.exchange(exchange).await? else {
            return Ok(());
        };
        let ExchangeItem {
            app_user,
            stage,
            expires_at,
        } = item;
        let zoom_user = match stage {
            ExchangeStage::Linked { zoom_user } => Some(zoom_user),
            ExchangeStage::Tokens {
                sealed,
                obtained_at,
                access_expires_at,
                scope,
            } => {
                metrics::count("ExchangesFinished", "interrupted");
                let saved = Saved {
                    sealed,
                    obtained_at,
                    access_expires_at,
                    scope,
                };
                self.adopt(exchange, &app_user, saved, expires_at).await?
            }
        };
        if let Some(zoom_user) = zoom_user {
            self.expire_pending(&zoom_user, app_user).await?;
        }
        self.sessions.forget_exchange(exchange).await?;
        Ok(())
    }

    /// Gives the tokens of an interrupted exchange to the grant that they belong to: at Zoom they have
    /// replaced all others. If no link needs them, the grant begins to end with that.
    async fn adopt(
        &self,
        exchange: &str,
        begun_by: &AppUserId,
        mut saved: Saved,
        expires_at: i64,
    ) -> Result<Option<ZoomUser>, OrderError> {
        let owner = TokenOwner::Exchange(exchange.to_owned());
        let mut tokens = self.grants.vault().open(&owner, &saved.sealed).await?;
        if saved.access_expires_at <= self.clock.now().as_second() {
            // Looked after late. The pair is refreshed where it lies, and saved before it is used.
            let Some(fresh) = self.refreshed(&tokens).await? else {
                return Ok(None);
            };
            saved.sealed = self.grants.vault().seal(&owner, &fresh.0).await?;
            saved.access_expires_at = fresh.1;
            let stage = ExchangeStage::Tokens {
                sealed: saved.sealed.clone(),
                obtained_at: saved.obtained_at,
                access_expires_at: saved.access_expires_at,
                scope: saved.scope.clone(),
            };
            let item = ExchangeItem {
                app_user: begun_by.clone(),
                stage,
                expires_at,
            };
            self.sessions.resave_exchange(exchange, &item).await?;
            tokens = fresh.0;
        }
        let me = match self.grants.zoom().users_me(&tokens.access_token).await {
            Ok(me) => me,
            // Replaced by a later authorization, or deauthorized: nobody's any more.
            Err(ApiError::Unauthorized) => return Ok(None),
            // Whose they are can't be asked. They make no link, and have ended all older ones.
            Err(ApiError::MissingScope) => return self.give_up(&tokens).await.map(|()| None),
            Err(error) => return Err(error.into()),
        };
        self.take_in(exchange, begun_by, saved, &tokens, &me)
            .await?;
        Ok(Some(me.user))
    }

    async fn take_in(
        &self,
        exchange: &str,
        begun_by: &AppUserId,
        saved: Saved,
        tokens: &Tokens,
        me: &Me,
    ) -> Result<(), OrderError> {
        let owner = TokenOwner::Grant(me.user.clone());
        let consent = Consent {
            zoom_user: &me.user,
            display_name: &me.display_name,
            tokens: NewTokens {
                tokens: self.grants.vault().seal(&owner, tokens).await?,
                obtained_at: saved.obtained_at,
                access_expires_at: saved.access_expires_at,
                scope: saved.scope,
            },
            exchange_key: exchange,
            begun_by,
            link: None,
        };
        match self
            .grants
            .links()
            .store_consent(&self.sessions, &consent, self.clock.now())
            .await
        {
            Ok(changed) => Ok(self.grants.tell(&me.user, &changed).await?),
            Err(LinkError::Refused(Refused::Ending | Refused::NoLink)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The pair refreshed, and when its access token ends. `None` if Zoom does not honour it any more.
    async fn refreshed(&self, tokens: &Tokens) -> Result<Option<(Tokens, i64)>, OrderError> {
        let credentials = self.grants.credentials().await.map_err(GrantError::from)?;
        match self
            .grants
            .zoom()
            .refresh(&credentials, &tokens.refresh_token)
            .await
        {
            Ok(pair) => {
                let ends =
                    self.clock.now().as_second() + i64::try_from(pair.expires_in).unwrap_or(3600);
                let tokens = Tokens {
                    access_token: pair.access_token,
                    refresh_token: pair.refresh_token,
                };
                Ok(Some((tokens, ends)))
            }
            Err(RefreshError::InvalidGrant) => Ok(None),
            Err(error) => Err(OrderError::Refresh(error)),
        }
    }

    async fn give_up(&self, tokens: &Tokens) -> Result<(), OrderError> {
        let credentials = self.grants.credentials().await.map_err(GrantError::from)?;
        match self
            .grants
            .zoom()
            .revoke(&credentials, &tokens.access_token)
            .await
        {
            Ok(()) | Err(RevokeError::Rejected { .. }) => Ok(()),
            Err(error) => Err(OrderError::Revoke(error)),
        }
    }

    /// Drops the link if it was never confirmed, and the grant if nobody else needs it.
    async fn expire_pending(
        &self,
        zoom_user: &ZoomUser,
        app_user: AppUserId,
    ) -> Result<(), OrderError> {
        let change = Change::ExpirePending { app_user };
        let changed = self
            .grants
            .links()
            .change(zoom_user, &change, self.clock.now())
            .await?;
        if changed.before.links.len() > changed.after.links.len() {
            metrics::count("LinksExpired", "never_confirmed");
        }
        self.grants.tell(zoom_user, &changed).await?;
        Ok(self.grants.revoke(zoom_user).await?)
    }
}
