//! `GET /zoom/callback`: from Zoom's consent page back to the app.
//!
//! Everything up to the exchange can be refused without a trace. The exchange itself is final at Zoom:
//! it ends that Zoom user's older tokens. So from there on the new pair is saved before anything else
//! is tried with it, and always serves the links that the grant has already.

use aws::AwsFailure;
use aws::environment::{Clock, ConfigError, Environment, Variables};
use aws::links::{Consent, LinkError, LinkTable, NewTokens, PendingLink};
use aws::queue::Queue;
use aws::random;
use aws::secrets::{Secret, SecretError, ZoomCredentials, ZoomSecret};
use aws::sessions::{
    ClaimItem, ExchangeItem, ExchangeStage, Session, SessionTable, Spent, exchange_expiry,
    exchange_key,
};
use aws::vault::{TokenOwner, Tokens, Vault, VaultError};
use domain::claim::{self, Claim};
use domain::ids::AppUserId;
use domain::keys::Versions;
use domain::message::{NotificationMessage, Order, OrderMessage, V1};
use domain::return_url::{Outcome, ReturnUrl};
use domain::session::BrowserSecret;
use domain::signed_state::{self, Nonce, StateError};
use domain::{pkce, scope};
use gateway::answer::{self, Page};
use gateway::query::{Query, Repeated};
use gateway::{Body, Request, Response};
use http::header::COOKIE;
use secrecy::SecretString;
use zoom::{ApiError, ClientCredentials, Endpoints, ExchangeError, Me, Timeouts, TokenPair, Zoom};

/// SQS's longest delay; by then the claim, good for ten minutes, has expired.
const FINISH_AFTER_SECONDS: i32 = 900;

/// The function.
#[derive(Debug)]
pub struct OauthCallback {
    state_key: Secret,
    zoom_secret: ZoomSecret,
    sessions: SessionTable,
    links: LinkTable,
    notifications: Queue<NotificationMessage>,
    orders: Queue<OrderMessage>,
    vault: Vault,
    zoom: Zoom,
    variables: Variables,
    clock: Clock,
}

/// Why the browser sees a page instead of being sent back to the app. Nothing was exchanged.
#[derive(Debug, thiserror::Error)]
enum CallbackError {
    #[error("there is nothing to read in the query, or a parameter is repeated")]
    Unreadable,
    #[error("Zoom reported an error, and there is no session of this browser to report it to")]
    Denied,
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the session is gone")]
    Gone,
    #[error("the session belongs to another browser")]
    WrongBrowser,
    #[error("the install began at the Marketplace, and there is no InstallUrl to send it to")]
    InstallRestart,
    #[error(transparent)]
    Aws(#[from] AwsFailure),
    #[error("the session does not read: {0}")]
    Session(&'static str),
}

impl CallbackError {
    fn page(&self) -> Page {
        match self {
            Self::Unreadable | Self::State(StateError::Invalid) => Page::StateInvalid,
            Self::State(StateError::Expired) => Page::SessionExpired,
            Self::Denied => Page::AccessDenied,
            Self::Gone => Page::SessionSpent,
            Self::WrongBrowser => Page::WrongBrowser,
            Self::InstallRestart => Page::InstallRestart,
            Self::Aws(_) | Self::Session(_) => Page::Unavailable,
        }
    }
}

impl From<Repeated> for CallbackError {
    fn from(_: Repeated) -> Self {
        Self::Unreadable
    }
}

/// Why there is no link, told to the app by `zoom_error`. The session is spent.
#[derive(Debug, thiserror::Error)]
enum LinkingError {
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
    Aws(#[from] AwsFailure),
}

impl LinkingError {
    fn code(&self) -> &'static str {
        match self {
            Self::Denied => "access_denied",
            Self::Exchange(ExchangeError::Rejected { .. }) => "zoom_rejected_code",
            Self::Scope(_) | Self::UsersMe(ApiError::MissingScope) => "zoom_scope_missing",
            Self::Secret(_)
            | Self::NoVerifier
            | Self::Exchange(ExchangeError::Unavailable(_))
            | Self::UsersMe(_)
            | Self::Vault(_)
            | Self::Link(_)
            | Self::Aws(_) => "zoom_unavailable",
        }
    }
}

/// What Zoom sent, as far as it can be told without looking at the state.
enum Answer<'a> {
    Code { code: SecretString, state: &'a str },
    Error { state: Option<&'a str> },
    Install,
}

impl<'a> Answer<'a> {
    fn parse(query: &'a Query) -> Result<Self, CallbackError> {
        let (code, state, error) = (
            query.single("code")?,
            query.single("state")?,
            query.single("error")?,
        );
        match (error, code, state) {
            (Some(_), _, state) => Ok(Self::Error { state }),
            (None, Some(code), Some(state)) => Ok(Self::Code {
                code: SecretString::from(code),
                state,
            }),
            (None, Some(_), None) => Ok(Self::Install),
            (None, None, _) => Err(CallbackError::Unreadable),
        }
    }
}

impl OauthCallback {
    /// Reads the configuration and makes the clients, once per instance.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        let variables = &environment.variables;
        let unusable = |name: &str, reason: String| ConfigError::Unusable {
            name: name.to_owned(),
            reason,
        };
        let endpoints = Endpoints::parse(
            variables.required("ZOOM_OAUTH_URL")?,
            variables.required("ZOOM_API_URL")?,
        )
        .map_err(|error| unusable("ZOOM_OAUTH_URL", error.to_string()))?;
        Ok(Self {
            state_key: Secret::named_by(environment, "STATE_KEY")?,
            zoom_secret: ZoomSecret::named_by(environment, "ZOOM_SECRET")?,
            sessions: SessionTable::new(environment)?,
            links: LinkTable::new(environment)?,
            notifications: Queue::named_by(environment, "NOTIFICATIONS_QUEUE_URL")?,
            orders: Queue::named_by(environment, "ORDERS_QUEUE_URL")?,
            vault: Vault::new(environment)?,
            zoom: Zoom::new(endpoints, Timeouts::default())
                .map_err(|error| unusable("ZOOM_OAUTH_URL", error.to_string()))?,
            variables: variables.clone(),
            clock: environment.clock.clone(),
        })
    }

    /// Answers a request: a redirect to the app, or a page that says what is wrong.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        match self.callback(&request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::info!(code = error.page().code(), error = %error, "callback refused");
                error.page().answer()
            }
        }
    }

    async fn callback(&self, request: &Request) -> Result<Response<Body>, CallbackError> {
        let query = Query::of(request);
        let browser = BrowserSecret::from_cookies(
            request
                .headers()
                .get_all(COOKIE)
                .iter()
                .filter_map(|value| value.to_str().ok()),
        );
        match Answer::parse(&query)? {
            Answer::Install => match self.variables.optional("INSTALL_URL") {
                // The code is not exchanged: it came without anybody having been asked who they are.
                Some(url) => Ok(answer::redirect(url)),
                None => Err(CallbackError::InstallRestart),
            },
            Answer::Error { state } => {
                let spent = match state {
                    Some(state) => self.spend(state, browser.as_ref()).await,
                    None => Err(CallbackError::Denied),
                };
                match spent {
                    Ok((_, session, _)) => Self::back(&session, Err(LinkingError::Denied)),
                    Err(CallbackError::Aws(failure)) => Err(failure.into()),
                    Err(_) => Err(CallbackError::Denied),
                }
            }
            Answer::Code { code, state } => {
                let (nonce, session, keys) = self.spend(state, browser.as_ref()).await?;
                let linked = self.link(&nonce, &session, &keys, &code).await;
                Self::back(&session, linked)
            }
        }
    }

    /// Verifies the state and spends the session that it names, for this browser alone.
    async fn spend(
        &self,
        state: &str,
        browser: Option<&BrowserSecret>,
    ) -> Result<(Nonce, Session, Versions), CallbackError> {
        let now = self.clock.now();
        let mut keys = self.state_key.versions().await?;
        let mut verified = signed_state::verify(&keys, state, now);
        if matches!(verified, Err(StateError::Invalid))
            && let Some(fresh) = self.state_key.read_again().await?
        {
            keys = fresh;
            verified = signed_state::verify(&keys, state, now);
        }
        let nonce = verified?.nonce;
        let hash = browser.map(BrowserSecret::hash);
        match self.sessions.spend(&nonce, hash.as_deref(), now).await? {
            Spent::Session(session) => Ok((nonce, session, keys)),
            Spent::Gone => Err(CallbackError::Gone),
            Spent::WrongBrowser => Err(CallbackError::WrongBrowser),
        }
    }

    /// Sends the browser back to the app, with a claim or with the reason why there is none.
    fn back(
        session: &Session,
        linked: Result<Claim, LinkingError>,
    ) -> Result<Response<Body>, CallbackError> {
        let return_to = ReturnUrl::from_stored(&session.return_to)
            .ok_or(CallbackError::Session("return_to is no URL"))?;
        let location = match &linked {
            Ok(claim) => return_to.with(Outcome::Link(claim.expose())),
            Err(error) => {
                tracing::warn!(code = error.code(), error = %error, "not linked");
                return_to.with(Outcome::Error(error.code()))
            }
        };
        Ok(answer::redirect(&location))
    }

    async fn link(
        &self,
        nonce: &Nonce,
        session: &Session,
        keys: &Versions,
        code: &SecretString,
    ) -> Result<Claim, LinkingError> {
        let credentials = client_credentials(self.zoom_secret.credentials().await?);
        let verifier = pkce::verifier_for(keys, nonce, &session.code_challenge)
            .ok_or(LinkingError::NoVerifier)?;
        let exchange = exchange_key(nonce);
        self.order_to_finish(&exchange).await?;
        let pair = self
            .zoom
            .exchange_code(&credentials, code, &verifier, &session.redirect_uri)
            .await?;

        // From here on the pair is the only one that Zoom honours for this user.
        let now = self.clock.now();
        let access_expires_at = now.as_second() + i64::try_from(pair.expires_in).unwrap_or(3600);
        let tokens = tokens(&pair);
        self.save(&exchange, session, &pair, &tokens, access_expires_at)
            .await?;

        let me = self.zoom.users_me(&pair.access_token).await?;
        let missing = scope::missing(pair.scope.as_deref());
        let claim = Claim::from_random(random::bytes());
        let claim_item = ClaimItem {
            app_user: session.app_user.clone(),
            zoom_user: me.user.clone(),
            jti: session.jti.clone(),
            confirmed: false,
            expires_at: (now + claim::LIFETIME).as_second(),
        };
        // Without its scopes the pair makes no link; links that exist still get it.
        let link = missing.is_empty().then(|| PendingLink {
            claim: &claim,
            claim_item: &claim_item,
        });
        self.store(
            &me,
            &pair,
            &tokens,
            access_expires_at,
            &exchange,
            &session.app_user,
            link,
        )
        .await?;
        if missing.is_empty() {
            Ok(claim)
        } else {
            Err(LinkingError::Scope(missing.join(" ")))
        }
    }

    /// Saves the pair under the exchange's own key: whose it is, only `users/me` will tell.
    async fn save(
        &self,
        exchange: &str,
        session: &Session,
        pair: &TokenPair,
        tokens: &Tokens,
        access_expires_at: i64,
    ) -> Result<(), LinkingError> {
        let sealed = self
            .vault
            .seal(&TokenOwner::Exchange(exchange.to_owned()), tokens)
            .await?;
        let item = ExchangeItem {
            app_user: session.app_user.clone(),
            stage: ExchangeStage::Tokens {
                sealed,
                access_expires_at,
                scope: pair.scope.clone(),
            },
            expires_at: exchange_expiry(self.clock.now()),
        };
        Ok(self.sessions.save_exchange(exchange, &item).await?)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "each is a value of its own, used once"
    )]
    async fn store(
        &self,
        me: &Me,
        pair: &TokenPair,
        tokens: &Tokens,
        access_expires_at: i64,
        exchange: &str,
        begun_by: &AppUserId,
        link: Option<PendingLink<'_>>,
    ) -> Result<(), LinkingError> {
        let consent = Consent {
            zoom_user: &me.user,
            display_name: &me.display_name,
            tokens: NewTokens {
                tokens: self
                    .vault
                    .seal(&TokenOwner::Grant(me.user.clone()), tokens)
                    .await?,
                access_expires_at,
                scope: pair.scope.clone(),
            },
            exchange_key: exchange,
            begun_by,
            link,
        };
        let changed = self
            .links
            .store_consent(&self.sessions, &consent, self.clock.now())
            .await?;
        // From here on the order to finish takes care of the rest; the browser must not wait for it.
        let told = self
            .links
            .tell(&self.notifications, &me.user, &changed.outbox)
            .await;
        if let Err(failure) = told {
            tracing::warn!(error = %failure, "what the app is to be told stays in the outbox");
        }
        Ok(())
    }

    /// Whatever becomes of this attempt, somebody looks after it: sent before the exchange, delivered
    /// when the claim has expired.
    async fn order_to_finish(&self, exchange: &str) -> Result<(), AwsFailure> {
        let order = Order::FinishConnect {
            exchange: exchange.to_owned(),
        };
        let message = OrderMessage { v: V1, order };
        self.orders
            .send_later(&message, "connect", FINISH_AFTER_SECONDS)
            .await
    }
}

fn tokens(pair: &TokenPair) -> Tokens {
    Tokens {
        access_token: pair.access_token.clone(),
        refresh_token: pair.refresh_token.clone(),
    }
}

fn client_credentials(credentials: ZoomCredentials) -> ClientCredentials {
    ClientCredentials {
        client_id: credentials.client_id,
        client_secret: credentials.client_secret,
    }
}
