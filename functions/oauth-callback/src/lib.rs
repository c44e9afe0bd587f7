//! `GET /zoom/callback`: redirects the browser from Zoom's consent page back to the app.
//!
//! A failure before the code exchange changes nothing. The exchange is final at Zoom: it invalidates the
//! Zoom user's older tokens. The new pair is therefore saved before any other use, and serves the grant's
//! existing links in any case.

mod linking;

use http::header::{COOKIE, HeaderValue};
use reelay_domain::browser_secret::BrowserSecret;
use reelay_domain::claim::Claim;
use reelay_domain::keys::SecretVersions;
use reelay_domain::message::JobMessage;
use reelay_domain::return_url::{LinkOutcome, ReturnUrl};
use reelay_domain::signed_state::{self, Nonce, StateError};
use reelay_runtime::environment::{Clock, ConfigError, Environment, Variables};
use reelay_runtime::http::pages::{ErrorPage, Pages};
use reelay_runtime::http::query::{Query, RepeatedParameter};
use reelay_runtime::http::response;
use reelay_runtime::http::{Body, Request, Response};
use reelay_runtime::secrets::{Secret, ZoomSecret};
use reelay_runtime::{AwsError, Chain, random};
use reelay_store::links::LinkTable;
use reelay_store::outbox::NotificationPublisher;
use reelay_store::queue::Queue;
use reelay_store::sessions::{ConsumeOutcome, Session, SessionTable};
use reelay_store::vault::Vault;
use reelay_zoom::{Endpoints, Timeouts, ZoomClient};
use secrecy::SecretString;

use crate::linking::LinkingError;

/// Explains a missing cookie on a devstack, which serves plain http.
const COOKIE_LOST: &str = "No cookie arrived. Reelay’s cookie has the attribute Secure, and some clients (Safari, \
    Python’s httpx and requests) do not return such a cookie over plain http, not even to this machine. Use Chrome or \
    Firefox, and begin with the connect URL as it is (localhost and 127.0.0.1 are different hosts). Or send the cookie \
    `__Host-reelay-connect` from the response of /zoom/connect yourself.";

/// The `oauth-callback` function.
#[derive(Debug)]
pub struct OauthCallback {
    state_key: Secret,
    zoom_secret: ZoomSecret,
    sessions: SessionTable,
    links: LinkTable,
    notifications: NotificationPublisher,
    jobs: Queue<JobMessage>,
    vault: Vault,
    zoom: ZoomClient,
    pages: Pages,
    variables: Variables,
    clock: Clock,
}

/// Error that the browser sees as a page, instead of a redirect to the app. No code was exchanged.
#[derive(Debug, thiserror::Error)]
enum CallbackError {
    #[error("the query has no known parameter, or repeats one")]
    InvalidQuery,
    #[error("Zoom reported an error without a valid session of this browser")]
    Denied,
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the session has been consumed or has expired")]
    SessionNotFound,
    #[error("the session belongs to another browser")]
    WrongBrowser,
    #[error("the install started at the Marketplace, and InstallUrl is not configured")]
    InstallRestart,
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error("the session has an invalid return_to")]
    InvalidReturnTo,
}

impl CallbackError {
    fn page(&self) -> ErrorPage {
        match self {
            Self::InvalidQuery | Self::State(StateError::Invalid) => ErrorPage::StateInvalid,
            Self::State(StateError::Expired) => ErrorPage::SessionExpired,
            Self::Denied => ErrorPage::AccessDenied,
            Self::SessionNotFound => ErrorPage::SessionSpent,
            Self::WrongBrowser => ErrorPage::WrongBrowser,
            Self::InstallRestart => ErrorPage::InstallRestart,
            Self::Aws(_) | Self::InvalidReturnTo => ErrorPage::Unavailable,
        }
    }
}

impl From<RepeatedParameter> for CallbackError {
    fn from(_: RepeatedParameter) -> Self {
        Self::InvalidQuery
    }
}

/// Zoom's authorization response, before the state is verified.
enum AuthorizationResponse<'a> {
    Code { code: SecretString, state: &'a str },
    Error { state: Option<&'a str> },
    Install,
}

impl<'a> AuthorizationResponse<'a> {
    fn parse(query: &'a Query) -> Result<Self, CallbackError> {
        query.reject_repetition()?;
        let (code, state, error) =
            (query.single("code")?, query.single("state")?, query.single("error")?);
        match (error, code, state) {
            (Some(_), _, state) => Ok(Self::Error { state }),
            (None, Some(code), Some(state)) => {
                Ok(Self::Code { code: SecretString::from(code), state })
            }
            (None, Some(_), None) => Ok(Self::Install),
            (None, None, _) => Err(CallbackError::InvalidQuery),
        }
    }
}

impl OauthCallback {
    /// Reads the configuration and creates the clients, once per instance.
    ///
    /// # Errors
    /// If a variable is absent or invalid.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        let variables = &environment.variables;
        let endpoints = variables.zoom_endpoints(Endpoints::parse)?;
        Ok(Self {
            state_key: Secret::from_env(environment, "STATE_KEY")?,
            zoom_secret: ZoomSecret::from_env(environment, "ZOOM_SECRET")?,
            sessions: SessionTable::new(environment)?,
            links: LinkTable::new(environment)?,
            notifications: NotificationPublisher::new(environment)?,
            jobs: Queue::from_env(environment, "JOBS_QUEUE_URL")?,
            vault: Vault::new(environment)?,
            zoom: ZoomClient::new(endpoints, Timeouts::default()),
            pages: Pages::new(variables)?,
            variables: variables.clone(),
            clock: environment.clock.clone(),
        })
    }

    /// Responds to a request: a redirect to the app, or a page that explains the error.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        match self.callback(&request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::info!(code = error.page().code(), error = %Chain(&error), "callback rejected");
                let has_cookie = request.headers().contains_key(COOKIE);
                let is_cookie_lost = self.pages.is_devstack && !has_cookie;
                let reason = (error.page() == ErrorPage::WrongBrowser && is_cookie_lost)
                    .then_some(COOKIE_LOST);
                self.pages.error(error.page(), reason)
            }
        }
    }

    /// The response to a request that cannot be completed before the deadline.
    pub fn timed_out(&self) -> Response<Body> {
        self.pages.error(ErrorPage::Unavailable, None)
    }

    async fn callback(&self, request: &Request) -> Result<Response<Body>, CallbackError> {
        let started_at = self.clock.now();
        let query = Query::from_request(request);
        let cookies = request.headers().get_all(COOKIE).iter().map(HeaderValue::as_bytes);
        let browser = BrowserSecret::from_cookies(cookies);
        match AuthorizationResponse::parse(&query)? {
            AuthorizationResponse::Install => match self.variables.optional("INSTALL_URL") {
                // The code is not exchanged: no app user has signed in.
                Some(url) => Ok(response::redirect(url)),
                None => Err(CallbackError::InstallRestart),
            },
            AuthorizationResponse::Error { state } => {
                let consumed = match state {
                    Some(state) => self.consume_session(state, browser.as_ref()).await,
                    None => Err(CallbackError::Denied),
                };
                match consumed {
                    Ok((_, session, _)) => Self::redirect_back(&session, Err(LinkingError::Denied)),
                    Err(CallbackError::Aws(failure)) => Err(failure.into()),
                    Err(_) => Err(CallbackError::Denied),
                }
            }
            AuthorizationResponse::Code { code, state } => {
                let (nonce, session, keys) = self.consume_session(state, browser.as_ref()).await?;
                let linked = self.link(&nonce, &session, &keys, &code, started_at).await;
                Self::redirect_back(&session, linked)
            }
        }
    }

    /// Verifies the state and consumes its session, if the session belongs to this browser.
    async fn consume_session(
        &self,
        state: &str,
        browser: Option<&BrowserSecret>,
    ) -> Result<(Nonce, Session, SecretVersions), CallbackError> {
        let now = self.clock.now();
        let (nonce, keys) = self
            .state_key
            .verify_with_reread(
                |keys| {
                    let verified = signed_state::verify(keys, state, now)?;
                    Ok((verified.nonce, keys.clone()))
                },
                |error| matches!(error, StateError::Invalid),
            )
            .await??;
        let hash = browser.map(BrowserSecret::hash);
        match self.sessions.consume(&nonce, hash.as_deref(), &random::hex_id(), now).await? {
            ConsumeOutcome::Consumed(session) => Ok((nonce, session, keys)),
            ConsumeOutcome::NotFound => Err(CallbackError::SessionNotFound),
            ConsumeOutcome::WrongBrowser => Err(CallbackError::WrongBrowser),
        }
    }

    /// Redirects the browser to the app, with a claim or an error code.
    fn redirect_back(
        session: &Session,
        linked: Result<Claim, LinkingError>,
    ) -> Result<Response<Body>, CallbackError> {
        let return_to =
            ReturnUrl::from_stored(&session.return_to).ok_or(CallbackError::InvalidReturnTo)?;
        let location = match &linked {
            Ok(claim) => return_to.with_outcome(LinkOutcome::Claim(claim.expose())),
            Err(error) => {
                tracing::warn!(code = error.code(), error = %Chain(error), "linking failed");
                return_to.with_outcome(LinkOutcome::Error(error.code()))
            }
        };
        Ok(response::redirect(&location))
    }
}
