//! Exchanges the authorization code for tokens, and creates a pending link and its claim.

use jiff::{SignedDuration, Timestamp};
use reelay_domain::claim::{self, Claim};
use reelay_domain::keys::SecretVersions;
use reelay_domain::link::ChangeError;
use reelay_domain::message::{Job, JobMessage};
use reelay_domain::signed_state::Nonce;
use reelay_domain::{pkce, scope};
use reelay_runtime::AwsError;
use reelay_runtime::random;
use reelay_runtime::secrets::{SecretError, ZoomCredentials};
use reelay_store::links::{Consent, LinkError, NewTokens, PendingLink};
use reelay_store::save::save_exchange;
use reelay_store::sessions::{
    ClaimItem, ExchangeItem, ExchangeStage, Session, exchange_expiry, exchange_key,
};
use reelay_store::vault::{PreparedKey, TokenOwner, Tokens, VaultError};
use reelay_zoom::{
    ApiError, ClientCredentials, CurrentUser, ExchangeError, OAuthErrorCode, TokenPair,
};
use secrecy::SecretString;

use crate::OauthCallback;

/// Delay of the finish job. By then the claim has expired, ten minutes after the exchange; after a slow exchange, the job is
/// sent once more.
const FINISH_DELAY_SECONDS: i32 = 602;

/// Time from the start of the request for which the save of the tokens is retried. The function ends after 29 s.
const SAVE_TIMEOUT: SignedDuration = SignedDuration::from_secs(25);

/// Minimum time until then for which a code is sent to Zoom: the exchange takes at most 8 s. A function that ends
/// between Zoom's response and the save would lose the tokens.
const EXCHANGE_TIME: SignedDuration = SignedDuration::from_secs(12);

/// Why linking failed after the session was consumed. The app receives the code as `zoom_error`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkingError {
    #[error("the user declined consent at Zoom")]
    Denied,
    #[error("the Zoom credentials are unavailable")]
    Secret(#[from] SecretError),
    #[error("failed to derive the PKCE verifier: no live key matches the session")]
    NoVerifier,
    #[error("too little time is left for a code exchange")]
    OutOfTime,
    #[error("code exchange failed")]
    Exchange(#[from] ExchangeError),
    #[error("users/me request failed")]
    UsersMe(#[from] ApiError),
    #[error("the grant lacks required scopes: {0}")]
    Scope(String),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Aws(#[from] AwsError),
}

impl LinkingError {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Denied => "access_denied",
            Self::Exchange(ExchangeError::Rejected { .. }) => "zoom_rejected_code",
            Self::Link(LinkError::Rejected(ChangeError::TooManyLinks)) => "too_many_links",
            Self::Scope(_) | Self::UsersMe(ApiError::MissingScope) => "zoom_scope_missing",
            Self::Secret(_)
            | Self::NoVerifier
            | Self::OutOfTime
            | Self::Exchange(ExchangeError::Transient(_))
            | Self::UsersMe(_)
            | Self::Vault(_)
            | Self::Link(_)
            | Self::Aws(_) => "zoom_unavailable",
        }
    }
}

/// The result of a code exchange.
struct Obtained {
    tokens: Tokens,
    scope: Option<String>,
    client_id: String,
    at: Timestamp,
    access_expires_at: i64,
}

impl Obtained {
    fn new(pair: TokenPair, client_id: String, at: Timestamp) -> Self {
        let expires_in = i64::try_from(pair.expires_in).unwrap_or(3600);
        Self {
            tokens: Tokens { access_token: pair.access_token, refresh_token: pair.refresh_token },
            scope: pair.scope,
            client_id,
            at,
            access_expires_at: at.as_second() + expires_in,
        }
    }
}

impl OauthCallback {
    /// Exchanges the code and stores a pending link between the session's app user and the Zoom user who
    /// consented. The app confirms it with the returned claim.
    pub(crate) async fn link(
        &self,
        nonce: &Nonce,
        session: &Session,
        keys: &SecretVersions,
        code: &SecretString,
        started_at: Timestamp,
    ) -> Result<Claim, LinkingError> {
        let deadline = started_at + SAVE_TIMEOUT;
        let require_time = || match deadline.duration_since(self.clock.now()) >= EXCHANGE_TIME {
            true => Ok(()),
            false => Err(LinkingError::OutOfTime),
        };
        let mut credentials = client_credentials(self.zoom_secret.credentials().await?);
        let verifier = pkce::find_verifier(keys, nonce, &session.code_challenge)
            .ok_or(LinkingError::NoVerifier)?;
        let exchange = exchange_key(nonce);
        let begun = self.exchange_item(session, ExchangeStage::Begun {});
        // From the exchange on, the tokens must be saved. A data key that is obtained before cannot fail then.
        let owner = TokenOwner::Exchange(exchange.clone());
        let (key, (), (), ()) = tokio::try_join!(
            async { Ok::<_, LinkingError>(self.vault.prepare(&owner).await?) },
            async { Ok(self.schedule_finish(&exchange).await?) },
            async { Ok(self.sessions.save_exchange(&exchange, &begun).await?) },
            async { Ok(self.links.announce_exchange(&exchange, begun.expires_at).await?) },
        )?;
        require_time()?;
        let mut response =
            self.zoom.exchange_code(&credentials, code, &verifier, &session.redirect_uri).await;
        // The client secret may have been rotated since this instance read it. Zoom rejects the client before
        // it consumes the code, so the code can be sent again.
        if is_invalid_client(&response)
            && let Some(fresh) = self.zoom_secret.credentials_reread().await?
        {
            credentials = client_credentials(fresh);
            require_time()?;
            response =
                self.zoom.exchange_code(&credentials, code, &verifier, &session.redirect_uri).await;
        }
        if let Err(ExchangeError::Rejected { .. }) = response
            && let Err(failure) = self.sessions.delete_exchange(&self.links, &exchange).await
        {
            tracing::warn!(error = %failure, "exchange not deleted; the delayed finish job will delete it");
        }

        // Zoom has invalidated the Zoom user's older tokens, so save this pair before any other call.
        let obtained = Obtained::new(response?, credentials.client_id, self.clock.now());
        let item = self.tokens_item(session, &key, &obtained)?;
        let is_in_sessions =
            save_exchange(&self.sessions, &self.links, &self.clock, deadline, &exchange, &item)
                .await?;
        let linked = self.adopt_tokens(session, &exchange, &obtained).await;
        if linked.is_ok() {
            if !is_in_sessions
                && let Err(failure) = self.links.delete_spare_exchange(&exchange).await
            {
                tracing::warn!(error = %failure, "spare exchange not deleted; it expires");
            }
        } else {
            // The pair is saved with the exchange, but existing links need it before the delayed job runs.
            if let Err(failure) = self.jobs.send(&finish_job(&exchange), "connect").await {
                tracing::warn!(error = %failure, "immediate finish job not enqueued; the delayed job will run");
            }
        }
        linked
    }

    async fn adopt_tokens(
        &self,
        session: &Session,
        exchange: &str,
        obtained: &Obtained,
    ) -> Result<Claim, LinkingError> {
        let me = self.zoom.get_current_user(&obtained.tokens.access_token).await?;
        let missing = scope::missing(obtained.scope.as_deref());
        if !missing.is_empty() {
            // A pair without the required scopes creates no link, but existing links need it: their older
            // tokens are invalid now. Without existing links, the finish job revokes it.
            if !self.links.snapshot(&me.user).await?.links.is_empty() {
                self.store_consent(&me, obtained, exchange, session, None).await?;
            }
            return Err(LinkingError::Scope(missing.join(" ")));
        }
        let claim = Claim::from_random(random::bytes());
        let claim_item = ClaimItem {
            app_user: session.app_user.clone(),
            zoom_user: me.user.clone(),
            jti: session.jti.clone(),
            confirmed: false,
            expires_at: (obtained.at + claim::TTL).as_second(),
        };
        let link = PendingLink { claim: &claim, claim_item: &claim_item };
        self.store_consent(&me, obtained, exchange, session, Some(link)).await?;
        Ok(claim)
    }

    /// The exchange with its pair. Its Zoom user is unknown until `users/me` responds.
    fn tokens_item(
        &self,
        session: &Session,
        key: &PreparedKey,
        obtained: &Obtained,
    ) -> Result<ExchangeItem, LinkingError> {
        let stage = ExchangeStage::Tokens {
            encrypted: key.encrypt(&obtained.tokens)?,
            obtained_at: obtained.at.as_millisecond(),
            access_expires_at: obtained.access_expires_at,
            scope: obtained.scope.clone(),
            client_id: obtained.client_id.clone(),
        };
        Ok(self.exchange_item(session, stage))
    }

    fn exchange_item(&self, session: &Session, stage: ExchangeStage) -> ExchangeItem {
        let now = self.clock.now();
        ExchangeItem {
            app_user: session.app_user.clone(),
            stage,
            begun_at: now.as_millisecond(),
            expires_at: exchange_expiry(now),
        }
    }

    async fn store_consent(
        &self,
        me: &CurrentUser,
        obtained: &Obtained,
        exchange: &str,
        session: &Session,
        link: Option<PendingLink<'_>>,
    ) -> Result<(), LinkingError> {
        let owner = TokenOwner::Grant(me.user.clone());
        let consent = Consent {
            zoom_user: &me.user,
            display_name: &me.display_name,
            email: me.email.as_ref(),
            tokens: NewTokens {
                tokens: self.vault.encrypt(&owner, &obtained.tokens).await?,
                obtained_at: obtained.at.as_millisecond(),
                exchange: exchange.to_owned(),
                access_expires_at: obtained.access_expires_at,
                scope: obtained.scope.clone(),
                client_id: obtained.client_id.clone(),
            },
            begun_by: &session.app_user,
            link,
        };
        let changed = self.links.store_consent(&self.sessions, &consent, self.clock.now()).await?;
        // A failure here does not fail the request: the finish job publishes what remains in the outbox.
        if let Err(failure) =
            self.links.publish_outbox(&self.notifications, &me.user, &changed.outbox).await
        {
            tracing::warn!(error = %failure, "notifications not published; they stay in the outbox");
        }
        Ok(())
    }

    /// Enqueues a delayed finish job before the exchange, so that an interrupted attempt is completed or
    /// cleaned up.
    async fn schedule_finish(&self, exchange: &str) -> Result<(), AwsError> {
        self.jobs.send_delayed(&finish_job(exchange), "connect", FINISH_DELAY_SECONDS).await
    }
}

fn finish_job(exchange: &str) -> JobMessage {
    let job = Job::FinishConnect { exchange: exchange.to_owned() };
    JobMessage::new(job)
}

fn is_invalid_client(response: &Result<TokenPair, ExchangeError>) -> bool {
    matches!(response, Err(ExchangeError::Rejected { code: OAuthErrorCode::InvalidClient, .. }))
}

fn client_credentials(credentials: ZoomCredentials) -> ClientCredentials {
    ClientCredentials { client_id: credentials.client_id, client_secret: credentials.client_secret }
}
