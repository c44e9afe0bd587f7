//! Recovery of code exchanges that were interrupted after Zoom's response and before the grant was updated.
//!
//! An exchange invalidates the user's older tokens at Zoom, so its saved tokens must reach the grant. Either the
//! delayed finish job moves them there, or a refresh whose older token Zoom rejects, whichever comes first.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::{AppUserId, ZoomUser};
use reelay_runtime::metrics::{self, Metric};
use reelay_store::links::{Consent, NewTokens};
use reelay_store::save::save_exchange;
use reelay_store::sessions::{ExchangeItem, ExchangeStage, OpenExchange};
use reelay_store::vault::{TokenOwner, Tokens, VaultError};
use reelay_zoom::{ApiError, CurrentUser, RefreshError, RevokeError, TransientError};

use crate::refresh::poll_delay;
use crate::{GrantError, Grants, LEASE_TTL};

/// Age after which an exchange without tokens counts as interrupted. The token request times out after 8 s.
const EXCHANGE_TIMEOUT: SignedDuration = SignedDuration::from_secs(30);

/// Age up to which an exchange whose Zoom user cannot be determined keeps other grants from being marked.
const MAX_DEFERRAL: SignedDuration = SignedDuration::from_mins(5);

/// Maximum number of polls for the tokens of exchanges in progress, about ten seconds with the delays.
const MAX_POLLS: u32 = 40;

/// A saved exchange with its tokens.
struct SavedExchange {
    key: String,
    begun_by: AppUserId,
    begun_at: i64,
    expires_at: i64,
    tokens: Tokens,
    obtained_at: i64,
    access_expires_at: i64,
    scope: Option<String>,
    client_id: String,
    /// Whether the Links table has it, because the Sessions table could not take it.
    is_spare: bool,
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
        if let ExchangeStage::Linked { zoom_user } = item.stage {
            return Ok(Some(zoom_user));
        }
        self.lease_exchange(key).await?;
        let finished = match self.saved_exchange(key).await {
            Ok(Some(mut saved)) => {
                metrics::count(Metric::ExchangesFinished, "interrupted");
                self.finish_leased(&mut saved).await
            }
            // No request was sent, or its response was lost. If Zoom processed the code, it invalidated the
            // grant's older tokens: the next refresh fails, and the app is notified then.
            Ok(None) => {
                metrics::count(Metric::ExchangesFinished, "never_answered");
                Ok(None)
            }
            Err(error) => Err(error),
        };
        if finished.is_err() {
            self.release_exchange(key).await;
        }
        finished
    }

    async fn finish_leased(
        &self,
        saved: &mut SavedExchange,
    ) -> Result<Option<ZoomUser>, GrantError> {
        let is_expired = saved.access_expires_at <= self.clock.now().as_second();
        if is_expired && !self.refresh_exchange(saved).await? {
            return Ok(None);
        }
        let mut me = self.zoom().get_current_user(&saved.tokens.access_token).await;
        // A 401 may be a fault of Zoom's: only the refresh token decides that the exchange is worthless.
        if matches!(me, Err(ApiError::Unauthorized)) {
            if !self.refresh_exchange(saved).await? {
                return Ok(None);
            }
            me = self.zoom().get_current_user(&saved.tokens.access_token).await;
        }
        match me {
            Ok(me) => {
                self.adopt(saved, &me).await?;
                Ok(Some(me.user))
            }
            // Without the scope, `users/me` does not name the owner: no grant can use the tokens.
            Err(ApiError::MissingScope) => {
                self.revoke_tokens(saved).await?;
                self.forget_spare(saved).await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Acquires the lease on an exchange, before its pair is read: it must not be adopted while another invocation
    /// refreshes it.
    async fn lease_exchange(&self, key: &str) -> Result<(), GrantError> {
        let now = self.clock.now();
        if self.sessions.acquire_exchange_lease(key, now, LEASE_TTL).await? {
            Ok(())
        } else {
            Err(GrantError::Busy)
        }
    }

    async fn release_exchange(&self, key: &str) {
        if let Err(error) = self.sessions.release_exchange_lease(key).await {
            tracing::warn!(%error, "lease release failed");
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
            let open = self.sessions.open_exchanges(self.links(), now).await?;
            let in_progress: HashSet<String> = open
                .iter()
                .filter(|open| is_in_progress(open, now))
                .map(|open| open.key.clone())
                .collect();
            for open in open {
                let is_answered = matches!(open.item.stage, ExchangeStage::Tokens { .. })
                    || !in_progress.contains(&open.key);
                if is_answered && checked.insert(open.key.clone()) {
                    let is_fresh = open.item.begun_at > (now - MAX_DEFERRAL).as_millisecond();
                    match self.adopt_if_owned_by(zoom_user, &open.key).await {
                        Ok(true) => return Ok(true),
                        Ok(false) => {}
                        Err(error) if is_fresh && is_transient(&error) => return Err(error),
                        // An old exchange must not keep other grants from being marked; its finish job is retried.
                        Err(error) => tracing::warn!(%error, "exchange of an unknown user ignored"),
                    }
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
    async fn adopt_if_owned_by(&self, zoom_user: &ZoomUser, key: &str) -> Result<bool, GrantError> {
        if !self.sessions.acquire_exchange_lease(key, self.clock.now(), LEASE_TTL).await? {
            // Another invocation holds the lease, or a grant already has the tokens.
            return match self.sessions.exchange(key).await? {
                Some(ExchangeItem {
                    stage: ExchangeStage::Linked { zoom_user: owner }, ..
                }) => Ok(owner == *zoom_user),
                Some(_) => Err(GrantError::Busy),
                None => Ok(false),
            };
        }
        let is_owned = self.adopt_leased_if_owned_by(zoom_user, key).await;
        if !matches!(is_owned, Ok(true)) {
            self.release_exchange(key).await;
        }
        is_owned
    }

    async fn adopt_leased_if_owned_by(
        &self,
        zoom_user: &ZoomUser,
        key: &str,
    ) -> Result<bool, GrantError> {
        let Some(mut saved) = self.saved_exchange(key).await? else {
            return Ok(false);
        };
        // The finish job refreshes an expired access token; this function does not.
        if saved.access_expires_at <= self.clock.now().as_second() {
            return Ok(false);
        }
        let mut me = self.zoom().get_current_user(&saved.tokens.access_token).await;
        if matches!(me, Err(ApiError::Unauthorized)) {
            if !self.refresh_exchange(&mut saved).await? {
                return Ok(false);
            }
            me = self.zoom().get_current_user(&saved.tokens.access_token).await;
        }
        let me = me?;
        if me.user != *zoom_user {
            // In another account, this consent of the same user is why Zoom rejected the tokens. Once it is linked, the
            // grant moves there.
            return match me.user.user_id == zoom_user.user_id {
                true => Err(GrantError::Busy),
                false => Ok(false),
            };
        }
        metrics::count(Metric::ExchangesFinished, "needed_at_once");
        self.adopt(&saved, &me).await.map(|()| true)
    }

    /// Reads a leased exchange with its tokens. Both tables may have a pair; the later one is valid. `None`: there
    /// are no tokens.
    async fn saved_exchange(&self, key: &str) -> Result<Option<SavedExchange>, GrantError> {
        let item = self.sessions.exchange(key).await?;
        let spare = self.links().spare_exchange(key, self.clock.now()).await?;
        let is_spare = spare.is_some();
        let expiry = |item: &ExchangeItem| match &item.stage {
            ExchangeStage::Tokens { access_expires_at, .. } => Some(*access_expires_at),
            _ => None,
        };
        let Some(item) = [item, spare].into_iter().flatten().max_by_key(expiry) else {
            return Ok(None);
        };
        let ExchangeStage::Tokens { encrypted, obtained_at, access_expires_at, scope, client_id } =
            item.stage
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
            obtained_at,
            access_expires_at,
            scope,
            client_id,
            is_spare,
        }))
    }

    /// Refreshes the tokens of a leased exchange and saves them before use. Returns `false` if Zoom rejects them.
    async fn refresh_exchange(&self, saved: &mut SavedExchange) -> Result<bool, GrantError> {
        let owner = TokenOwner::Exchange(saved.key.clone());
        let deadline = self.clock.now() + LEASE_TTL;
        let key = self.vault().prepare(&owner).await?;
        let response = self.refresh_as(&saved.client_id, &saved.tokens.refresh_token);
        let pair = match response.await? {
            Ok(pair) => pair,
            Err(RefreshError::InvalidGrant | RefreshError::GrantEnded) => {
                self.sessions.delete_exchange(self.links(), &saved.key).await?;
                self.forget_spare(saved).await?;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        let expires_in = i64::try_from(pair.expires_in).unwrap_or(3600);
        saved.access_expires_at = self.clock.now().as_second() + expires_in;
        saved.tokens =
            Tokens { access_token: pair.access_token, refresh_token: pair.refresh_token };
        let item = ExchangeItem {
            app_user: saved.begun_by.clone(),
            stage: ExchangeStage::Tokens {
                encrypted: key.encrypt(&saved.tokens)?,
                obtained_at: saved.obtained_at,
                access_expires_at: saved.access_expires_at,
                scope: saved.scope.clone(),
                client_id: saved.client_id.clone(),
            },
            begun_at: saved.begun_at,
            expires_at: saved.expires_at,
        };
        let is_diverted =
            !save_exchange(&self.sessions, self.links(), &self.clock, deadline, &saved.key, &item)
                .await?;
        saved.is_spare |= is_diverted;
        Ok(true)
    }

    async fn adopt(&self, saved: &SavedExchange, me: &CurrentUser) -> Result<(), GrantError> {
        let owner = TokenOwner::Grant(me.user.clone());
        let consent = Consent {
            zoom_user: &me.user,
            display_name: &me.display_name,
            email: me.email.as_ref(),
            tokens: NewTokens {
                tokens: self.vault().encrypt(&owner, &saved.tokens).await?,
                obtained_at: saved.obtained_at,
                exchange: saved.key.clone(),
                access_expires_at: saved.access_expires_at,
                scope: saved.scope.clone(),
                client_id: saved.client_id.clone(),
            },
            begun_by: &saved.begun_by,
            link: None,
        };
        let now = self.clock.now();
        let changed = self.links().store_consent(&self.sessions, &consent, now).await?;
        self.publish(&me.user, &changed).await?;
        self.forget_spare(saved).await
    }

    /// Deletes the tokens that the Links table holds for the exchange, if any.
    async fn forget_spare(&self, saved: &SavedExchange) -> Result<(), GrantError> {
        if saved.is_spare {
            self.links().delete_spare_exchange(&saved.key).await?;
        }
        Ok(())
    }

    async fn revoke_tokens(&self, saved: &SavedExchange) -> Result<(), GrantError> {
        match self.revoke_as(&saved.client_id, &saved.tokens.access_token).await? {
            Ok(()) | Err(RevokeError::Rejected { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a later attempt may determine the exchange's Zoom user.
fn is_transient(error: &GrantError) -> bool {
    matches!(
        error,
        GrantError::Busy
            | GrantError::Aws(_)
            | GrantError::Vault(VaultError::Kms(_))
            | GrantError::Api(ApiError::RateLimited(_))
            | GrantError::Transient(
                TransientError::Network(_) | TransientError::ServerError { .. }
            )
    )
}

fn is_in_progress(open: &OpenExchange, now: Timestamp) -> bool {
    matches!(open.item.stage, ExchangeStage::Begun {})
        && open.item.begun_at > (now - EXCHANGE_TIMEOUT).as_millisecond()
}
