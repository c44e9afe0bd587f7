//! `GET /zoom/connect`: redirects the browser from the app's button to Zoom's consent page.
//!
//! Verifies the app's connect token, opens a session for this browser, and redirects to Zoom with a
//! signed state and a PKCE challenge.

use http::HeaderValue;
use http::header::{COOKIE, SET_COOKIE};
use reelay_domain::browser_secret::BrowserSecret;
use reelay_domain::jwt::{Audience, TokenError};
use reelay_domain::return_url::{ReturnUrl, ReturnUrls};
use reelay_domain::signed_state::{self, Nonce};
use reelay_domain::{jwt::AppToken, pkce};
use reelay_runtime::environment::{Clock, ConfigError, Environment, Variables};
use reelay_runtime::http::app_tokens::{AppTokenError, AppTokens};
use reelay_runtime::http::pages::{self, ErrorPage, Pages};
use reelay_runtime::http::query::Query;
use reelay_runtime::http::response;
use reelay_runtime::http::{Body, Request, Response};
use reelay_runtime::random;
use reelay_runtime::secrets::{Secret, SecretError, ZoomSecret};
use reelay_runtime::{AwsError, Chain};
use reelay_store::sessions::{Session, SessionTable, SingleUseJti};
use reelay_zoom::Endpoints;
use secrecy::ExposeSecret as _;

/// The `oauth-start` function.
#[derive(Debug)]
pub struct OauthStart {
    app_tokens: AppTokens,
    state_key: Secret,
    zoom_secret: ZoomSecret,
    sessions: SessionTable,
    return_urls: ReturnUrls,
    pages: Pages,
    zoom: Endpoints,
    variables: Variables,
    clock: Clock,
}

#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("connect token rejected")]
    Token(#[source] TokenError),
    #[error("the claim `jti` has already been used for a link")]
    TokenConsumed,
    #[error("the claim `return_to` is not one of ReturnUrls")]
    ReturnTo,
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the app's keys are unavailable: {0}")]
    Unavailable(String),
    #[error("the request context has no domain name")]
    NoPublicUrl,
}

impl ConnectError {
    fn page(&self) -> ErrorPage {
        match self {
            Self::Token(TokenError::Expired) => ErrorPage::ConnectTokenExpired,
            Self::Token(_) => ErrorPage::ConnectTokenInvalid,
            Self::TokenConsumed => ErrorPage::ConnectTokenSpent,
            Self::ReturnTo => ErrorPage::ReturnToNotAllowed,
            Self::Aws(_) | Self::Secret(_) | Self::Unavailable(_) | Self::NoPublicUrl => {
                ErrorPage::Unavailable
            }
        }
    }

    /// The reason as a sentence for the app's developer. `None` if the app did not sign the token, so that a forger
    /// learns nothing; a devstack always gives the reason.
    fn reason(&self, is_devstack: bool) -> Option<String> {
        match self {
            Self::Token(error) if is_devstack || error.is_signature_valid() => {
                Some(error.public_message())
            }
            Self::ReturnTo => Some(
                "The claim `return_to` is not one of ReturnUrls: scheme, host, port and path must be equal."
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

impl From<AppTokenError> for ConnectError {
    fn from(error: AppTokenError) -> Self {
        match error {
            AppTokenError::Rejected(error) => Self::Token(error),
            AppTokenError::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

impl OauthStart {
    /// Reads the configuration and creates the clients, once per instance.
    ///
    /// # Errors
    /// If a variable is absent or invalid.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        let variables = &environment.variables;
        Ok(Self {
            app_tokens: AppTokens::new(environment)?,
            state_key: Secret::from_env(environment, "STATE_KEY")?,
            zoom_secret: ZoomSecret::from_env(environment, "ZOOM_SECRET")?,
            sessions: SessionTable::new(environment)?,
            return_urls: pages::return_urls(variables)?,
            pages: Pages::new(variables)?,
            zoom: variables.zoom_endpoints(Endpoints::parse)?,
            variables: variables.clone(),
            clock: environment.clock.clone(),
        })
    }

    /// Responds to a request: a redirect to Zoom, or a page that explains the error.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        match self.connect(&request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(code = error.page().code(), error = %Chain(&error), "connect request rejected");
                let reason = error.reason(self.pages.is_devstack);
                self.pages.error(error.page(), reason.as_deref())
            }
        }
    }

    /// The response to a request that cannot be completed before the deadline.
    pub fn timed_out(&self) -> Response<Body> {
        self.pages.error(ErrorPage::Unavailable, None)
    }

    async fn connect(&self, request: &Request) -> Result<Response<Body>, ConnectError> {
        let query = Query::from_request(request);
        let token = query.single("token").ok().flatten().unwrap_or_default();
        let token = self.app_tokens.verify(token, Audience::Connect).await?;
        let return_to = self.return_to(&token)?;
        let redirect_uri = reelay_runtime::http::public_url(&self.variables, request)
            .map(|base| format!("{base}/zoom/callback"))
            .ok_or(ConnectError::NoPublicUrl)?;

        let jti = token
            .jti
            .as_deref()
            .map(|jti| SingleUseJti::new(&token.app_user, jti, token.expires_at));
        let is_consumed = async {
            match &jti {
                Some(jti) => self.sessions.is_jti_consumed(jti).await,
                None => Ok(false),
            }
        };
        let (consumed, state_keys, credentials) =
            tokio::join!(is_consumed, self.state_key.versions(), self.zoom_secret.credentials());
        if consumed? {
            return Err(ConnectError::TokenConsumed);
        }
        let (state_keys, credentials) = (state_keys?, credentials?);

        // An existing cookie is reused, so that two tabs do not break each other.
        let cookies = request.headers().get_all(COOKIE).iter().map(HeaderValue::as_bytes);
        let browser = BrowserSecret::from_cookies(cookies)
            .unwrap_or_else(|| BrowserSecret::from_random(random::bytes()));
        let now = self.clock.now();
        let nonce = Nonce::from_random(random::bytes());
        let code_challenge = pkce::challenge(&pkce::verifier(&state_keys.current, &nonce));
        let session = Session {
            app_user: token.app_user,
            return_to: return_to.as_str().to_owned(),
            redirect_uri,
            browser_hash: browser.hash(),
            code_challenge,
            jti,
            expires_at: (now + signed_state::TTL).as_second(),
        };
        self.sessions.open_session(&nonce, &session).await?;

        let state = signed_state::sign(&state_keys, &nonce, now);
        let authorize = reelay_zoom::authorize_url(
            &self.zoom,
            &credentials.client_id,
            &session.redirect_uri,
            &state,
            &session.code_challenge,
        );
        let mut response = response::redirect(authorize.as_str());
        if let Ok(mut cookie) = HeaderValue::from_str(browser.set_cookie().expose_secret()) {
            cookie.set_sensitive(true);
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        Ok(response)
    }

    fn return_to(&self, token: &AppToken) -> Result<ReturnUrl, ConnectError> {
        match &token.return_to {
            None => Ok(self.return_urls.default_url()),
            Some(wanted) => self.return_urls.allow(wanted).map_err(|_| ConnectError::ReturnTo),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_is_for_the_signer_and_the_devstack() {
        let claim = ConnectError::Token(TokenError::Claim { name: "sub", problem: "is missing" });
        let forged = ConnectError::Token(TokenError::Unverified("wrong key"));
        let is_shown = |error: &ConnectError, is_devstack| error.reason(is_devstack).is_some();
        assert_eq!(claim.reason(false).as_deref(), Some("The claim `sub` is missing."));
        assert_eq!([is_shown(&forged, false), is_shown(&forged, true)], [false, true]);
        assert!(is_shown(&ConnectError::Token(TokenError::Expired), false));
        assert!(is_shown(&ConnectError::ReturnTo, false));
        assert!(!is_shown(&ConnectError::NoPublicUrl, true));
    }
}
