//! `GET /zoom/callback`: from Zoom's consent page back to the app.
//!
//! Everything up to the exchange can be refused without a trace. The exchange itself is final at Zoom:
//! it ends that Zoom user's older tokens. So from there on the new pair is saved before anything else
//! is tried with it, and always serves the links that the grant has already.

mod linking;

use http::header::COOKIE;
use reelay_domain::browser_secret::BrowserSecret;
use reelay_domain::claim::Claim;
use reelay_domain::keys::SecretVersions;
use reelay_domain::message::{JobMessage, NotificationMessage};
use reelay_domain::return_url::{LinkOutcome, ReturnUrl};
use reelay_domain::signed_state::{self, Nonce, StateError};
use reelay_runtime::AwsError;
use reelay_runtime::environment::{Clock, ConfigError, Environment, Variables};
use reelay_runtime::http::query::{Query, RepeatedParameter};
use reelay_runtime::http::response::{self, ErrorPage};
use reelay_runtime::http::{Body, Request, Response};
use reelay_runtime::secrets::{Secret, ZoomSecret};
use reelay_store::links::LinkTable;
use reelay_store::queue::Queue;
use reelay_store::sessions::{ConsumeOutcome, Session, SessionTable};
use reelay_store::vault::Vault;
use reelay_zoom::{Endpoints, Timeouts, ZoomClient};
use secrecy::SecretString;

use crate::linking::LinkingError;

/// The function.
#[derive(Debug)]
pub struct OauthCallback {
    state_key: Secret,
    zoom_secret: ZoomSecret,
    sessions: SessionTable,
    links: LinkTable,
    notifications: Queue<NotificationMessage>,
    orders: Queue<JobMessage>,
    vault: Vault,
    zoom: ZoomClient,
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
    Aws(#[from] AwsError),
    #[error("the session does not read: {0}")]
    Session(&'static str),
}

impl CallbackError {
    fn page(&self) -> ErrorPage {
        match self {
            Self::Unreadable | Self::State(StateError::Invalid) => ErrorPage::StateInvalid,
            Self::State(StateError::Expired) => ErrorPage::SessionExpired,
            Self::Denied => ErrorPage::AccessDenied,
            Self::Gone => ErrorPage::SessionSpent,
            Self::WrongBrowser => ErrorPage::WrongBrowser,
            Self::InstallRestart => ErrorPage::InstallRestart,
            Self::Aws(_) | Self::Session(_) => ErrorPage::Unavailable,
        }
    }
}

impl From<RepeatedParameter> for CallbackError {
    fn from(_: RepeatedParameter) -> Self {
        Self::Unreadable
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
        let unusable = |name: &str, reason: String| ConfigError::Invalid {
            name: name.to_owned(),
            reason,
        };
        let endpoints = Endpoints::parse(
            variables.required("ZOOM_OAUTH_URL")?,
            variables.required("ZOOM_API_URL")?,
        )
        .map_err(|error| unusable("ZOOM_OAUTH_URL", error.to_string()))?;
        Ok(Self {
            state_key: Secret::from_env(environment, "STATE_KEY")?,
            zoom_secret: ZoomSecret::from_env(environment, "ZOOM_SECRET")?,
            sessions: SessionTable::new(environment)?,
            links: LinkTable::new(environment)?,
            notifications: Queue::from_env(environment, "NOTIFICATIONS_QUEUE_URL")?,
            orders: Queue::from_env(environment, "JOBS_QUEUE_URL")?,
            vault: Vault::new(environment)?,
            zoom: ZoomClient::new(endpoints, Timeouts::default())
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
                error.page().into_response()
            }
        }
    }

    async fn callback(&self, request: &Request) -> Result<Response<Body>, CallbackError> {
        let query = Query::from_request(request);
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
                Some(url) => Ok(response::redirect(url)),
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
    ) -> Result<(Nonce, Session, SecretVersions), CallbackError> {
        let now = self.clock.now();
        let mut keys = self.state_key.versions().await?;
        let mut verified = signed_state::verify(&keys, state, now);
        if matches!(verified, Err(StateError::Invalid))
            && let Some(fresh) = self.state_key.reread().await?
        {
            keys = fresh;
            verified = signed_state::verify(&keys, state, now);
        }
        let nonce = verified?.nonce;
        let hash = browser.map(BrowserSecret::hash);
        match self.sessions.consume(&nonce, hash.as_deref(), now).await? {
            ConsumeOutcome::Consumed(session) => Ok((nonce, session, keys)),
            ConsumeOutcome::NotFound => Err(CallbackError::Gone),
            ConsumeOutcome::WrongBrowser => Err(CallbackError::WrongBrowser),
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
            Ok(claim) => return_to.with_outcome(LinkOutcome::Claim(claim.expose())),
            Err(error) => {
                tracing::warn!(code = error.code(), error = %error, "not linked");
                return_to.with_outcome(LinkOutcome::Error(error.code()))
            }
        };
        Ok(response::redirect(&location))
    }
}
