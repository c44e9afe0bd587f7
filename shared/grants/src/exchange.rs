//! Recovery of code exchanges that were interrupted after Zoom's response and before the grant was updated.
//!
//! An exchange invalidates the user's older tokens at Zoom, so its saved tokens must reach the grant. Either the
//! delayed finish job moves them there, or a refresh whose older token Zoom rejects, whichever comes first.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::{AppUserId, ZoomUser};
use reelay_domain::link::ChangeError;
use reelay_runtime::metrics::{self, Metric};
use reelay_store::links::{Consent, LinkError, NewTokens};
use reelay_store::sessions::{ExchangeItem, ExchangeStage, OpenExchange};
use reelay_store::vault::{EncryptedTokens, TokenOwner, Tokens};
use reelay_zoom::{ApiError, CurrentUser, RefreshError, RevokeError};

use crate::refresh::poll_delay;
use crate::{GrantError, Grants, LEASE_TTL};

/// Age after which an exchange without tokens counts as interrupted. The token request times out after 8 s.
const EXCHANGE_TIMEOUT: SignedDuration = SignedDuration::from_secs(30);

/// Maximum number of polls for the tokens of exchanges in progress, about ten seconds with the delays.
const MAX_POLLS: u32 = 40;

/// A saved exchange with its tokens.
struct SavedExchange {
    key: String,
    begun_by: AppUserId,
    begun_at: i64,
    expires_at: i64,
    tokens: Tokens,
    encrypted: EncryptedTokens,
    obtained_at: i64,
    access_expires_at: i64,
    scope: Option<String>,
}

impl Grants {
    /// Finishes an exchange: moves its tokens to the grant of the Zoom user who consented, and returns this user.
    /// Without links, the grant's revocation starts. Returns `None` if the tokens are missing or no longer valid.
    ///
    /// # Errors
    /// [`GrantError`]. The operation is idempotent.
    pub async fn finish_exchange(
        &self,
        key: &str,
        item: ExchangeItem,
    ) -> Result<Option<ZoomUser>, GrantError> {
        match item.stage {
            ExchangeStage::Linked { zoom_user } => Ok(Some(zoom_user)),
            // No request was sent, or its response was lost. If Zoom processed the code, it invalidated the
            // grant's older tokens: the next refresh fails, and the app is notified then.
            ExchangeStage::Begun {} => {
                metrics::count(Metric::ExchangesFinished, "never_answered");
                Ok(None)
            }
            ExchangeStage::Tokens { .. } => {
                metrics::count(Metric::ExchangesFinished, "interrupted");
                let Some(mut saved) = self.decrypt_exchange(key, item).await? else {
                    return Ok(None);
                };
                if saved.access_expires_at <= self.clock.now().as_second()
                    && !self.refresh_exchange(&mut saved).await?
                {
                    return Ok(None);
                }
                let me = match self.zoom().get_current_user(&saved.tokens.access_token).await {
                    Ok(me) => me,
                    // A later consent replaced the tokens, or the user removed the app at Zoom.
                    Err(ApiError::Unauthorized) => return Ok(None),
                    // Without the scope, `users/me` does not name the owner: no grant can use the tokens.
                    Err(ApiError::MissingScope) => {
                        return self.revoke_tokens(&saved.tokens).await.map(|()| None);
                    }
                    Err(error) => return Err(error.into()),
                };
                self.adopt(&saved, &me).await?;
                Ok(Some(me.user))
            }
        }
    }

    /// Moves the tokens of a saved exchange of this Zoom user to the grant. Returns whether there was one.
    /// Called before a grant is marked as requiring reauthorization.
    ///
    /// # Errors
    /// [`GrantError::Busy`] if an exchange in progress may be this Zoom user's; other variants if the owner
    /// of an exchange cannot be determined. After an error, the caller must not mark the grant.
    pub(crate) async fn adopt_saved_exchange(
        &self,
        zoom_user: &ZoomUser,
    ) -> Result<bool, GrantError> {
        let mut checked = HashSet::new();
        let mut awaited: Option<HashSet<String>> = None;
        for poll in 0..MAX_POLLS {
            let now = self.clock.now();
            let open = self.sessions.open_exchanges().await?;
            let in_progress: HashSet<String> = open
                .iter()
                .filter(|open| is_in_progress(open, now))
                .map(|open| open.key.clone())
                .collect();
            for OpenExchange { key, item } in open {
                if matches!(item.stage, ExchangeStage::Tokens { .. })
                    && checked.insert(key.clone())
                    && self.adopt_if_owned_by(zoom_user, &key, item).await?
                {
                    return Ok(true);
                }
            }
            // Wait only for exchanges that were in progress at the first poll. A later exchange cannot be why
            // Zoom rejected the older tokens.
            let awaited = awaited.get_or_insert_with(|| in_progress.clone());
            awaited.retain(|key| in_progress.contains(key));
            if awaited.is_empty() {
                return Ok(false);
            }
            poll_delay(poll).await;
        }
        Err(GrantError::Busy)
    }

    /// Adopts an exchange if its tokens belong to this Zoom user. Returns whether they do.
    async fn adopt_if_owned_by(
        &self,
        zoom_user: &ZoomUser,
        key: &str,
        item: ExchangeItem,
    ) -> Result<bool, GrantError> {
        let Some(saved) = self.decrypt_exchange(key, item).await? else {
            return Ok(false);
        };
        // The finish job refreshes an expired access token; this function does not.
        if saved.access_expires_at <= self.clock.now().as_second() {
            return Ok(false);
        }
        match self.zoom().get_current_user(&saved.tokens.access_token).await {
            Ok(me) if me.user == *zoom_user => {
                metrics::count(Metric::ExchangesFinished, "needed_at_once");
                self.adopt(&saved, &me).await.map(|()| true)
            }
            Ok(_) | Err(ApiError::Unauthorized | ApiError::MissingScope) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn decrypt_exchange(
        &self,
        key: &str,
        item: ExchangeItem,
    ) -> Result<Option<SavedExchange>, GrantError> {
        let ExchangeStage::Tokens { encrypted, obtained_at, access_expires_at, scope } = item.stage
        else {
            return Ok(None);
        };
        let owner = TokenOwner::Exchange(key.to_owned());
        Ok(Some(SavedExchange {
            key: key.to_owned(),
            begun_by: item.app_user,
            begun_at: item.begun_at,
            expires_at: item.expires_at,
            tokens: self.vault().decrypt(&owner, &encrypted).await?,
            encrypted,
            obtained_at,
            access_expires_at,
            scope,
        }))
    }

    /// Refreshes the tokens of an exchange and saves them before use. Returns `false` if Zoom rejects them.
    async fn refresh_exchange(&self, saved: &mut SavedExchange) -> Result<bool, GrantError> {
        let is_acquired =
            self.sessions.acquire_exchange_lease(&saved.key, self.clock.now(), LEASE_TTL).await?;
        if !is_acquired {
            return Err(GrantError::Busy);
        }
        let credentials = self.credentials().await?;
        let pair = match self.zoom().refresh(&credentials, &saved.tokens.refresh_token).await {
            Ok(pair) => pair,
            Err(RefreshError::InvalidGrant) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let expires_in = i64::try_from(pair.expires_in).unwrap_or(3600);
        saved.access_expires_at = self.clock.now().as_second() + expires_in;
        saved.tokens =
            Tokens { access_token: pair.access_token, refresh_token: pair.refresh_token };
        let owner = TokenOwner::Exchange(saved.key.clone());
        saved.encrypted = self.vault().encrypt(&owner, &saved.tokens).await?;
        let item = ExchangeItem {
            app_user: saved.begun_by.clone(),
            stage: ExchangeStage::Tokens {
                encrypted: saved.encrypted.clone(),
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

    async fn adopt(&self, saved: &SavedExchange, me: &CurrentUser) -> Result<(), GrantError> {
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
        match self.links().store_consent(&self.sessions, &consent, self.clock.now()).await {
            Ok(changed) => Ok(self.publish(&me.user, &changed).await?),
            Err(LinkError::Rejected(ChangeError::GrantRevoking | ChangeError::LinkNotFound)) => {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn revoke_tokens(&self, tokens: &Tokens) -> Result<(), GrantError> {
        let credentials = self.credentials().await?;
        match self.zoom().revoke(&credentials, &tokens.access_token).await {
            Ok(()) | Err(RevokeError::Rejected { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_in_progress(open: &OpenExchange, now: Timestamp) -> bool {
    matches!(open.item.stage, ExchangeStage::Begun {})
        && open.item.begun_at > (now - EXCHANGE_TIMEOUT).as_millisecond()
}
