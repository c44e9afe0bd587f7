//! What became of an authorization that was begun a quarter of an hour ago.

use aws::links::{Consent, LinkError, NewTokens};
use aws::metrics;
use aws::sessions::{ExchangeItem, ExchangeStage};
use aws::vault::{SealedTokens, TokenOwner};
use domain::ids::{AppUserId, ZoomUser};
use domain::link::{Change, Refused};
use zoom::ApiError;

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
            app_user, stage, ..
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
                self.adopt(exchange, &app_user, saved).await?
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
        saved: Saved,
    ) -> Result<Option<ZoomUser>, OrderError> {
        let tokens = self
            .grants
            .vault()
            .open(&TokenOwner::Exchange(exchange.to_owned()), &saved.sealed)
            .await?;
        let me = match self.grants.zoom().users_me(&tokens.access_token).await {
            Ok(me) => me,
            // Replaced by a later authorization, or deauthorized: nobody's any more.
            Err(ApiError::Unauthorized) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let consent = Consent {
            zoom_user: &me.user,
            display_name: &me.display_name,
            tokens: NewTokens {
                tokens: self
                    .grants
                    .vault()
                    .seal(&TokenOwner::Grant(me.user.clone()), &tokens)
                    .await?,
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
            Ok(changed) => self.grants.tell(&me.user, &changed).await?,
            // It is being revoked, and these tokens with it.
            Err(LinkError::Refused(Refused::Ending)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Some(me.user))
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
