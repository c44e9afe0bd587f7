//! Exchanges that were interrupted between Zoom's answer and the grant.
//!
//! At Zoom an exchange is final: from then on its pair is the only one that Zoom honours for that user.
//! So whatever was saved of it is given to the grant, by whoever comes by first: the order that was sent
//! ahead of it, or somebody who is told that the grant's older tokens are invalid.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::{AppUserId, ZoomUser};
use reelay_domain::link::ChangeError;
use reelay_runtime::metrics::{self, Metric};
use reelay_store::links::{Consent, LinkError, NewTokens};
use reelay_store::sessions::{ExchangeItem, ExchangeStage, OpenExchange};
use reelay_store::vault::{EncryptedTokens, TokenOwner, Tokens};
use reelay_zoom::{ApiError, CurrentUser, RefreshError, RevokeError};

use crate::refresh::pause;
use crate::{GrantError, Grants, LEASE};

/// Zoom answers an exchange within 8 s or not at all. Whatever is still at its beginning after this
/// time was interrupted, and its tokens, if there were any, are lost.
const ANSWERED_WITHIN: SignedDuration = SignedDuration::from_secs(30);

/// How often to look whether exchanges under way have come to tokens. With the pauses, some ten seconds.
const MOST_LOOKS: u32 = 40;

/// An exchange that has its tokens.
struct Saved {
    key: String,
    begun_by: AppUserId,
    begun_at: i64,
    expires_at: i64,
    tokens: Tokens,
    sealed: EncryptedTokens,
    obtained_at: i64,
    access_expires_at: i64,
    scope: Option<String>,
}

impl Grants {
    /// Finishes an exchange: gives its tokens to the grant that they belong to. If no link needs them,
    /// the grant begins to end with that. Tells whose they were; `None` if they are nobody's any more.
    ///
    /// # Errors
    /// [`GrantError`]; trying again is safe.
    pub async fn finish_exchange(
        &self,
        key: &str,
        item: ExchangeItem,
    ) -> Result<Option<ZoomUser>, GrantError> {
        match item.stage {
            ExchangeStage::Linked { zoom_user } => Ok(Some(zoom_user)),
            // Zoom was never asked, or its answer is lost. If it had processed the code, the grant's next
            // refresh is refused, and that is told.
            ExchangeStage::Begun {} => {
                metrics::count(Metric::ExchangesFinished, "never_answered");
                Ok(None)
            }
            ExchangeStage::Tokens { .. } => {
                metrics::count(Metric::ExchangesFinished, "interrupted");
                let Some(mut saved) = self.opened(key, item).await? else {
                    return Ok(None);
                };
                if saved.access_expires_at <= self.clock.now().as_second()
                    && !self.refresh_saved(&mut saved).await?
                {
                    return Ok(None);
                }
                let me = match self
                    .zoom()
                    .get_current_user(&saved.tokens.access_token)
                    .await
                {
                    Ok(me) => me,
                    // Replaced by a later authorization, or deauthorized: nobody's any more.
                    Err(ApiError::Unauthorized) => return Ok(None),
                    // Whose they are can't be asked. They make no link, and have ended all older ones.
                    Err(ApiError::MissingScope) => {
                        return self.give_up(&saved.tokens).await.map(|()| None);
                    }
                    Err(error) => return Err(error.into()),
                };
                self.take_in(&saved, &me).await?;
                Ok(Some(me.user))
            }
        }
    }

    /// Before a grant is condemned: whether an exchange has brought it other tokens, which just have not
    /// found their way to it. `true` if so; they are the grant's now.
    ///
    /// # Errors
    /// [`GrantError::Busy`] if an exchange is under way that may be this Zoom user's, and others if it
    /// can't be told whose one is. Then nobody is to be condemned yet.
    pub(crate) async fn adopt_exchange_of(&self, zoom_user: &ZoomUser) -> Result<bool, GrantError> {
        let mut tried = HashSet::new();
        let mut awaited: Option<HashSet<String>> = None;
        for look in 0..MOST_LOOKS {
            let now = self.clock.now();
            let open = self.sessions.open_exchanges().await?;
            let under_way: HashSet<String> = open
                .iter()
                .filter(|open| is_under_way(open, now))
                .map(|open| open.key.clone())
                .collect();
            for OpenExchange { key, item } in open {
                if matches!(item.stage, ExchangeStage::Tokens { .. })
                    && tried.insert(key.clone())
                    && self.is_of(zoom_user, &key, item).await?
                {
                    return Ok(true);
                }
            }
            // Those that begin from now on are not waited for: there would be no end to it, and Zoom had
            // given its word on the older tokens before.
            let awaited = awaited.get_or_insert_with(|| under_way.clone());
            awaited.retain(|key| under_way.contains(key));
            if awaited.is_empty() {
                return Ok(false);
            }
            pause(look).await;
        }
        Err(GrantError::Busy)
    }

    /// Whether an exchange's tokens are this Zoom user's; then they are taken in.
    async fn is_of(
        &self,
        zoom_user: &ZoomUser,
        key: &str,
        item: ExchangeItem,
    ) -> Result<bool, GrantError> {
        let Some(saved) = self.opened(key, item).await? else {
            return Ok(false);
        };
        // To refresh it is the business of the order, which is long overdue then.
        if saved.access_expires_at <= self.clock.now().as_second() {
            return Ok(false);
        }
        match self
            .zoom()
            .get_current_user(&saved.tokens.access_token)
            .await
        {
            Ok(me) if me.user == *zoom_user => {
                metrics::count(Metric::ExchangesFinished, "needed_at_once");
                self.take_in(&saved, &me).await.map(|()| true)
            }
            Ok(_) | Err(ApiError::Unauthorized | ApiError::MissingScope) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn opened(&self, key: &str, item: ExchangeItem) -> Result<Option<Saved>, GrantError> {
        let ExchangeStage::Tokens {
            sealed,
            obtained_at,
            access_expires_at,
            scope,
        } = item.stage
        else {
            return Ok(None);
        };
        let owner = TokenOwner::Exchange(key.to_owned());
        Ok(Some(Saved {
            key: key.to_owned(),
            begun_by: item.app_user,
            begun_at: item.begun_at,
            expires_at: item.expires_at,
            tokens: self.vault().decrypt(&owner, &sealed).await?,
            sealed,
            obtained_at,
            access_expires_at,
            scope,
        }))
    }

    /// Refreshes a pair where it lies, saved before it is used. `false` if Zoom does not honour it.
    async fn refresh_saved(&self, saved: &mut Saved) -> Result<bool, GrantError> {
        let alone = self
            .sessions
            .acquire_exchange_lease(&saved.key, self.clock.now(), LEASE)
            .await?;
        if !alone {
            return Err(GrantError::Busy);
        }
        let credentials = self.credentials().await?;
        let pair = match self
            .zoom()
            .refresh(&credentials, &saved.tokens.refresh_token)
            .await
        {
            Ok(pair) => pair,
            Err(RefreshError::InvalidGrant) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let ends = i64::try_from(pair.expires_in).unwrap_or(3600);
        saved.access_expires_at = self.clock.now().as_second() + ends;
        saved.tokens = Tokens {
            access_token: pair.access_token,
            refresh_token: pair.refresh_token,
        };
        let owner = TokenOwner::Exchange(saved.key.clone());
        saved.sealed = self.vault().encrypt(&owner, &saved.tokens).await?;
        let item = ExchangeItem {
            app_user: saved.begun_by.clone(),
            stage: ExchangeStage::Tokens {
                sealed: saved.sealed.clone(),
                obtained_at: saved.obtained_at,
                access_expires_at: saved.access_expires_at,
                scope: saved.scope.clone(),
            },
            begun_at: saved.begun_at,
            expires_at: saved.expires_at,
        };
        self.sessions.save_exchange(&saved.key, &item).await?;
        Ok(true)
    }

    async fn take_in(&self, saved: &Saved, me: &CurrentUser) -> Result<(), GrantError> {
        let owner = TokenOwner::Grant(me.user.clone());
        let consent = Consent {
            zoom_user: &me.user,
            display_name: &me.display_name,
            tokens: NewTokens {
                tokens: self.vault().encrypt(&owner, &saved.tokens).await?,
                obtained_at: saved.obtained_at,
                exchange: saved.key.clone(),
                access_expires_at: saved.access_expires_at,
                scope: saved.scope.clone(),
            },
            begun_by: &saved.begun_by,
            link: None,
        };
        match self
            .links()
            .store_consent(&self.sessions, &consent, self.clock.now())
            .await
        {
            Ok(changed) => Ok(self.tell(&me.user, &changed).await?),
            Err(LinkError::Rejected(ChangeError::GrantRevoking | ChangeError::LinkNotFound)) => {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn give_up(&self, tokens: &Tokens) -> Result<(), GrantError> {
        let credentials = self.credentials().await?;
        match self.zoom().revoke(&credentials, &tokens.access_token).await {
            Ok(()) | Err(RevokeError::Rejected { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_under_way(open: &OpenExchange, now: Timestamp) -> bool {
    matches!(open.item.stage, ExchangeStage::Begun {})
        && open.item.begun_at > (now - ANSWERED_WITHIN).as_millisecond()
}
