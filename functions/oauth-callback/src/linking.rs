//! From the code to a pending link and its claim.
//!
//! The exchange is final at Zoom: it ends that Zoom user's older tokens. So from there on the new pair is
//! saved before anything else is tried with it, and always serves the links that the grant has already.

use jiff::Timestamp;
use reelay_domain::claim::{self, Claim};
use reelay_domain::keys::SecretVersions;
use reelay_domain::link::ChangeError;
use reelay_domain::message::{Job, JobMessage, SchemaV1};
use reelay_domain::signed_state::Nonce;
use reelay_domain::{pkce, scope};
use reelay_runtime::AwsError;
use reelay_runtime::random;
use reelay_runtime::secrets::{SecretError, ZoomCredentials};
use reelay_store::links::{Consent, LinkError, NewTokens, PendingLink};
use reelay_store::sessions::{
    ClaimItem, ExchangeItem, ExchangeStage, Session, exchange_expiry, exchange_key,
};
use reelay_store::vault::{TokenOwner, Tokens, VaultError};
use reelay_zoom::{
    ApiError, ClientCredentials, CurrentUser, ExchangeError, OAuthErrorCode, TokenPair,
};
use secrecy::SecretString;

use crate::OauthCallback;

/// SQS's longest delay; by then the claim, good for ten minutes, has expired.
const FINISH_AFTER_SECONDS: i32 = 900;

/// Why there is no link, told to the app by `zoom_error`. The session is spent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkingError {
    #[error("the consent was declined at Zoom")]
    Denied,
    #[error("the Zoom credentials can't be read: {0}")]
    Secret(#[from] SecretError),
    #[error("the key that the session began under is no longer live")]
    NoVerifier,
    #[error("exchange: {0}")]
    Exchange(#[from] ExchangeError),
    #[error("users/me: {0}")]
    UsersMe(#[from] ApiError),
    #[error("the grant lacks the scopes {0}")]
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
            | Self::Exchange(ExchangeError::Transient(_))
            | Self::UsersMe(_)
            | Self::Vault(_)
            | Self::Link(_)
            | Self::Aws(_) => "zoom_unavailable",
        }
    }
}

/// What Zoom gave for a code.
struct Obtained {
    tokens: Tokens,
    scope: Option<String>,
    at: Timestamp,
    access_expires_at: i64,
}

impl Obtained {
    fn new(pair: TokenPair, at: Timestamp) -> Self {
        let expires_in = i64::try_from(pair.expires_in).unwrap_or(3600);
        Self {
            tokens: Tokens {
                access_token: pair.access_token,
                refresh_token: pair.refresh_token,
            },
            scope: pair.scope,
            at,
            access_expires_at: at.as_second() + expires_in,
        }
    }
}

impl OauthCallback {
    /// Links the session's app user to whoever consented at Zoom, as far as that can be done here: the app
    /// has the last word.
    pub(crate) async fn link(
        &self,
        nonce: &Nonce,
        session: &Session,
        keys: &SecretVersions,
        code: &SecretString,
    ) -> Result<Claim, LinkingError> {
        let credentials = client_credentials(self.zoom_secret.credentials().await?);
        let verifier = pkce::find_verifier(keys, nonce, &session.code_challenge)
            .ok_or(LinkingError::NoVerifier)?;
        let exchange = exchange_key(nonce);
        let begun = self.exchange_item(session, ExchangeStage::Begun {});
        tokio::try_join!(
            self.order_to_finish(&exchange),
            self.sessions.save_exchange(&exchange, &begun)
        )?;
        let mut answer = self
            .zoom
            .exchange_code(&credentials, code, &verifier, &session.redirect_uri)
            .await;
        // Who is not known as a client has not been heard: the code is not spent. The secret may have been
        // turned over since it was read.
        if is_about_us(&answer)
            && let Some(fresh) = self.zoom_secret.credentials_reread().await?
        {
            answer = self
                .zoom
                .exchange_code(
                    &client_credentials(fresh),
                    code,
                    &verifier,
                    &session.redirect_uri,
                )
                .await;
        }
        if let Err(ExchangeError::Rejected { .. }) = answer
            && let Err(failure) = self.sessions.delete_exchange(&exchange).await
        {
            tracing::warn!(error = %failure, "a refused exchange is forgotten later, by order");
        }

        // From here on the pair is the only one that Zoom honours for this user.
        let obtained = Obtained::new(answer?, self.clock.now());
        self.save(&exchange, session, &obtained).await?;
        let linked = self.take_in(session, &exchange, &obtained).await;
        if linked.is_err() {
            // The pair waits under the exchange's key; the links that exist need it soon.
            if let Err(failure) = self.orders.send(&finish(&exchange), "connect").await {
                tracing::warn!(error = %failure, "the order sent ahead has to do");
            }
        }
        linked
    }

    async fn take_in(
        &self,
        session: &Session,
        exchange: &str,
        obtained: &Obtained,
    ) -> Result<Claim, LinkingError> {
        let me = self
            .zoom
            .get_current_user(&obtained.tokens.access_token)
            .await?;
        let missing = scope::missing(obtained.scope.as_deref());
        if !missing.is_empty() {
            // Without its scopes the pair makes no link. Links that exist get it all the same; where there
            // are none it is revoked, by the order to finish.
            if !self.links.snapshot(&me.user).await?.links.is_empty() {
                self.store(&me, obtained, exchange, session, None).await?;
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
        let link = PendingLink {
            claim: &claim,
            claim_item: &claim_item,
        };
        self.store(&me, obtained, exchange, session, Some(link))
            .await?;
        Ok(claim)
    }

    /// Saves the pair under the exchange's own key: whose it is, only `users/me` will tell.
    async fn save(
        &self,
        exchange: &str,
        session: &Session,
        obtained: &Obtained,
    ) -> Result<(), LinkingError> {
        let owner = TokenOwner::Exchange(exchange.to_owned());
        let stage = ExchangeStage::Tokens {
            sealed: self.vault.encrypt(&owner, &obtained.tokens).await?,
            obtained_at: obtained.at.as_millisecond(),
            access_expires_at: obtained.access_expires_at,
            scope: obtained.scope.clone(),
        };
        let item = self.exchange_item(session, stage);
        Ok(self.sessions.save_exchange(exchange, &item).await?)
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

    async fn store(
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
            tokens: NewTokens {
                tokens: self.vault.encrypt(&owner, &obtained.tokens).await?,
                obtained_at: obtained.at.as_millisecond(),
                exchange: exchange.to_owned(),
                access_expires_at: obtained.access_expires_at,
                scope: obtained.scope.clone(),
            },
            begun_by: &session.app_user,
            link,
        };
        let changed = self
            .links
            .store_consent(&self.sessions, &consent, self.clock.now())
            .await?;
        // The browser must not wait for this: what is not told now stays in the outbox, and the order to
        // finish comes by.
        if let Err(failure) = self
            .links
            .publish_outbox(&self.notifications, &me.user, &changed.outbox)
            .await
        {
            tracing::warn!(error = %failure, "what the app is to be told stays in the outbox");
        }
        Ok(())
    }

    /// Whatever becomes of this attempt, somebody looks after it: sent before the exchange, delivered
    /// when the claim has expired.
    async fn order_to_finish(&self, exchange: &str) -> Result<(), AwsError> {
        self.orders
            .send_delayed(&finish(exchange), "connect", FINISH_AFTER_SECONDS)
            .await
    }
}

fn finish(exchange: &str) -> JobMessage {
    let job = Job::FinishConnect {
        exchange: exchange.to_owned(),
    };
    JobMessage { v: SchemaV1, job }
}

fn is_about_us(answer: &Result<TokenPair, ExchangeError>) -> bool {
    matches!(
        answer,
        Err(ExchangeError::Rejected {
            code: OAuthErrorCode::InvalidClient,
            ..
        })
    )
}

fn client_credentials(credentials: ZoomCredentials) -> ClientCredentials {
    ClientCredentials {
        client_id: credentials.client_id,
        client_secret: credentials.client_secret,
    }
}
