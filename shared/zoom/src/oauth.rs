//! OAuth 2.0 at Zoom: the authorize URL, and the token endpoint.

use std::fmt;
use std::pin::Pin;

use oauth2::basic::{BasicClient, BasicErrorResponse, BasicTokenResponse};
use oauth2::{
    AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    HttpRequest, HttpResponse, PkceCodeVerifier, RefreshToken, RequestTokenError,
    TokenResponse as _, TokenUrl,
};
use reqwest::{Client, Request};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use crate::client::{TransientError, ZoomClient, read_json_bytes};
use crate::endpoints::Endpoints;
use crate::error_code;

/// What an access token lives if Zoom does not say so, in seconds: Zoom documents one hour.
const DOCUMENTED_LIFETIME: u64 = 3600;

/// What an access token lives at most for us, in seconds: a day. A number without an end must not become
/// a moment that no clock reaches.
const LONGEST_LIFETIME: u64 = 24 * 3600;

/// Who we are at Zoom.
#[derive(Debug, Clone)]
pub struct ClientCredentials {
    /// The app's client id.
    pub client_id: String,
    /// The app's client secret.
    pub client_secret: SecretString,
}

/// What the token endpoint gives. A refresh token works once: save the pair before using it.
#[derive(Clone)]
pub struct TokenPair {
    /// For the REST calls and downloads.
    pub access_token: SecretString,
    /// For the next pair. 90 days, by Zoom's documentation.
    pub refresh_token: SecretString,
    /// Seconds that the access token lives from the answer on; a day at most.
    pub expires_in: u64,
    /// The granted scopes, separated by spaces; `None` if the answer does not name them.
    pub scope: Option<String>,
}

impl fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPair")
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// The `error` of a refusal (RFC 6749 §5.2). The human-readable `reason` beside it is never kept:
/// Zoom repeats the authorization code in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OAuthErrorCode {
    /// `invalid_request`: malformed, or (formerly) a bad code.
    InvalidRequest,
    /// `invalid_client`: client id or secret are wrong, hence the operator's to repair. It says
    /// nothing about a user's grant.
    InvalidClient,
    /// `invalid_grant`: the code or the refresh token is used, expired, revoked or never was.
    InvalidGrant,
    /// `unauthorized_client`.
    UnauthorizedClient,
    /// `unsupported_grant_type`.
    UnsupportedGrantType,
    /// `invalid_scope`.
    InvalidScope,
    /// Another code, or none that could be read.
    Unknown,
}

impl OAuthErrorCode {
    /// Reads the body of a refusal: `error`, or one of the numbers that Zoom documents for OAuth.
    fn read(body: &[u8]) -> Self {
        let Ok(answer) = serde_json::from_slice::<Value>(body) else {
            return Self::of_number(error_code::code_in_broken_json(body));
        };
        // The number says more than the name beside it, where there is one that we know.
        match Self::of_number(error_code::code_of(&answer)) {
            Self::Unknown => {}
            known => return known,
        }
        match answer.get("error").and_then(Value::as_str) {
            Some("invalid_request") => Self::InvalidRequest,
            Some("invalid_client") => Self::InvalidClient,
            Some("invalid_grant") => Self::InvalidGrant,
            Some("unauthorized_client") => Self::UnauthorizedClient,
            Some("unsupported_grant_type") => Self::UnsupportedGrantType,
            Some("invalid_scope") => Self::InvalidScope,
            _ => Self::Unknown,
        }
    }

    fn of_number(code: Option<i64>) -> Self {
        match code {
            // 4717: the app is disabled, for everybody.
            Some(4702 | 4704 | 4717) => Self::InvalidClient,
            // Refresh token of other scopes, code expired or invalid, owner gone, token not found, app
            // disabled by the account's admin, too old, revoked by a newer one.
            Some(4711 | 4733 | 4734 | 4735 | 4737 | 4738 | 4740 | 4741) => Self::InvalidGrant,
            Some(4705) => Self::UnsupportedGrantType,
            Some(4706 | 4709) => Self::InvalidRequest,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for OAuthErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::Unknown => "an unknown code",
        })
    }
}

/// A code that gave no tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// Zoom refused (4xx). The code is worthless now.
    #[error("zoom refused the code with {status}: {code}")]
    Rejected {
        /// The HTTP status, 400 as a rule.
        status: u16,
        /// The kind of refusal.
        code: OAuthErrorCode,
    },
    /// Zoom could not be reached or not be understood. The code may be spent all the same.
    #[error(transparent)]
    Transient(TransientError),
}

/// A refresh token that gave no new pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// The grant is dead, unless another refresh token of it was issued later.
    #[error("zoom no longer accepts the refresh token")]
    InvalidGrant,
    /// Our own credentials are wrong; no user's grant is to blame.
    #[error("zoom does not accept the client credentials")]
    InvalidClient,
    /// Another refusal (4xx), 429 included: the refresh token was not spent.
    #[error("zoom refused the refresh with {status}: {code}")]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The kind of refusal.
        code: OAuthErrorCode,
    },
    /// Zoom could not be reached or not be understood;
    /// [`TransientError::is_outcome_unknown`] says whether the refresh token may be spent.
    #[error(transparent)]
    Transient(TransientError),
}

/// A token that could not be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// Our own credentials are wrong.
    #[error("zoom does not accept the client credentials")]
    InvalidClient,
    /// Zoom refused (4xx), as for a token that is dead already.
    #[error("zoom refused the revocation with {status}: {code}")]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The kind of refusal.
        code: OAuthErrorCode,
    },
    /// Zoom could not be reached or not be understood. Revoking again does no harm.
    #[error(transparent)]
    Transient(TransientError),
}

/// The page at Zoom where a user consents. `redirect_uri` must equal, byte for byte, the one that is
/// registered with the app and the one of the exchange; `code_challenge` is base64url(SHA-256) of the
/// PKCE verifier, 43 characters. No scopes: the app's own apply.
pub fn authorize_url(
    endpoints: &Endpoints,
    client_id: &str,
    redirect_uri: &str,
    state: &str,
    code_challenge: &str,
) -> Url {
    let client = BasicClient::new(ClientId::new(client_id.to_owned()))
        .set_auth_uri(AuthUrl::from_url(endpoints.oauth("oauth/authorize")));
    // The redirect URI goes as the text it is (`RedirectUrl` would parse it once more), and the
    // challenge alone is known here, from which no `PkceCodeChallenge` can be made.
    let (url, _state) = client
        .authorize_url(|| CsrfToken::new(state.to_owned()))
        .add_extra_param("redirect_uri", redirect_uri)
        .add_extra_param("code_challenge", code_challenge)
        .add_extra_param("code_challenge_method", "S256")
        .url();
    url
}

/// What the token endpoint answered instead of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum CallError {
    #[error("refused")]
    Refused { status: u16, code: OAuthErrorCode },
    #[error("unavailable")]
    Transient(TransientError),
}

impl ZoomClient {
    /// Exchanges the code of a callback. Final at Zoom: it kills this user's older tokens, so save the
    /// pair before anything else is tried with it. `redirect_uri` as given to [`authorize_url`].
    pub async fn exchange_code(
        &self,
        credentials: &ClientCredentials,
        code: &SecretString,
        verifier: &SecretString,
        redirect_uri: &str,
    ) -> Result<TokenPair, ExchangeError> {
        let client = self.oauth_client(credentials);
        let answer = client
            .exchange_code(AuthorizationCode::new(code.expose_secret().to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()))
            .add_extra_param("redirect_uri", redirect_uri)
            .request_async(&self.token_call())
            .await;
        token_pair(answer).map_err(|error| match error {
            CallError::Refused { status, code } => ExchangeError::Rejected { status, code },
            CallError::Transient(outage) => ExchangeError::Transient(outage),
        })
    }

    /// Trades a refresh token for the next pair. The old one is spent: save the pair before using it.
    pub async fn refresh(
        &self,
        credentials: &ClientCredentials,
        refresh_token: &SecretString,
    ) -> Result<TokenPair, RefreshError> {
        let client = self.oauth_client(credentials);
        let refresh_token = RefreshToken::new(refresh_token.expose_secret().to_owned());
        let answer = client
            .exchange_refresh_token(&refresh_token)
            .request_async(&self.token_call())
            .await;
        token_pair(answer).map_err(|error| match error {
            CallError::Refused {
                code: OAuthErrorCode::InvalidGrant,
                ..
            } => RefreshError::InvalidGrant,
            CallError::Refused {
                code: OAuthErrorCode::InvalidClient,
                ..
            } => RefreshError::InvalidClient,
            CallError::Refused { status, code } => RefreshError::Rejected { status, code },
            CallError::Transient(outage) => RefreshError::Transient(outage),
        })
    }

    /// Revokes a grant, whichever of its access tokens is given. Zoom uninstalls the app for that user
    /// and sends `app_deauthorized`.
    pub async fn revoke(
        &self,
        credentials: &ClientCredentials,
        access_token: &SecretString,
    ) -> Result<(), RevokeError> {
        // By hand: oauth2 revokes over https only, and a simulator has none. Ids and secrets are
        // alphanumeric, so Basic needs no percent-encoding.
        let request = self
            .http
            .post(self.endpoints.oauth("oauth/revoke"))
            .timeout(self.timeouts.oauth)
            .basic_auth(
                &credentials.client_id,
                Some(credentials.client_secret.expose_secret()),
            )
            .form(&[("token", access_token.expose_secret())])
            .build()
            .map_err(|error| RevokeError::Transient(TransientError::of(&error)))?;
        match oauth_call(&self.http, request).await {
            Ok(_) => Ok(()),
            Err(CallError::Refused {
                code: OAuthErrorCode::InvalidClient,
                ..
            }) => Err(RevokeError::InvalidClient),
            Err(CallError::Refused { status, code }) => Err(RevokeError::Rejected { status, code }),
            Err(CallError::Transient(outage)) => Err(RevokeError::Transient(outage)),
        }
    }

    fn oauth_client(
        &self,
        credentials: &ClientCredentials,
    ) -> BasicClient<EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>
    {
        let secret = credentials.client_secret.expose_secret().to_owned();
        BasicClient::new(ClientId::new(credentials.client_id.clone()))
            .set_client_secret(ClientSecret::new(secret))
            .set_token_uri(TokenUrl::from_url(self.endpoints.oauth("oauth/token")))
    }

    /// oauth2's requests over our client. Answers other than 200 stop here: oauth2 would drop their
    /// status and keep their text.
    ///
    /// The future owns its client: one that borrows it is not `Send` for every lifetime, which the
    /// compiler demands of it inside oauth2's.
    fn token_call(
        &self,
    ) -> impl Fn(HttpRequest) -> BoxFuture<Result<HttpResponse, CallError>> + use<> {
        let (http, timeout) = (self.http.clone(), self.timeouts.oauth);
        move |request| {
            let http = http.clone();
            Box::pin(async move {
                let mut request = Request::try_from(request)
                    .map_err(|error| CallError::Transient(TransientError::of(&error)))?;
                *request.timeout_mut() = Some(timeout);
                oauth_call(&http, request).await.map(HttpResponse::new)
            })
        }
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

async fn oauth_call(http: &Client, request: Request) -> Result<Vec<u8>, CallError> {
    let response = http
        .execute(request)
        .await
        .map_err(|error| CallError::Transient(TransientError::of(&error)))?;
    let status = response.status();
    if status.is_server_error() {
        return Err(CallError::Transient(TransientError::ServerError {
            status: status.as_u16(),
        }));
    }
    let body = read_json_bytes(response).await;
    if status.is_client_error() {
        // The status decides; a body that breaks off only leaves the kind unknown.
        let code = body.map_or(OAuthErrorCode::Unknown, |body| OAuthErrorCode::read(&body));
        return Err(CallError::Refused {
            status: status.as_u16(),
            code,
        });
    }
    if !status.is_success() {
        return Err(CallError::Transient(TransientError::MalformedResponse));
    }
    body.map_err(CallError::Transient)
}

fn token_pair(
    answer: Result<BasicTokenResponse, RequestTokenError<CallError, BasicErrorResponse>>,
) -> Result<TokenPair, CallError> {
    let unreadable = CallError::Transient(TransientError::MalformedResponse);
    // All but `Request` hold raw text of the answer, so they are replaced, not wrapped.
    let answer = answer.map_err(|error| match error {
        RequestTokenError::Request(error) => error,
        RequestTokenError::ServerResponse(_)
        | RequestTokenError::Parse(..)
        | RequestTokenError::Other(_) => unreadable,
    })?;
    let access_token = answer.access_token().secret();
    let refresh_token = answer.refresh_token().ok_or(unreadable)?.secret();
    if access_token.is_empty() || refresh_token.is_empty() {
        return Err(unreadable);
    }
    let scope = answer.scopes().map(|scopes| {
        scopes
            .iter()
            .map(|scope| scope.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    });
    Ok(TokenPair {
        access_token: SecretString::from(access_token.clone()),
        refresh_token: SecretString::from(refresh_token.clone()),
        expires_in: answer
            .expires_in()
            .map_or(DOCUMENTED_LIFETIME, |time| time.as_secs())
            .min(LONGEST_LIFETIME),
        scope,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read_by_code_alone() {
        use OAuthErrorCode as Code;
        for (body, code) in [
            (
                r#"{"reason":"Invalid Token!","error":"invalid_grant"}"#,
                Code::InvalidGrant,
            ),
            (r#"{"error":"invalid_grant"}"#, Code::InvalidGrant),
            (
                r#"{"reason":"invalid_grant","error":"invalid_client"}"#,
                Code::InvalidClient,
            ),
            (
                r#"{"reason":"Bad Request","error":"invalid_request"}"#,
                Code::InvalidRequest,
            ),
            (
                r#"{"error":"unauthorized_client"}"#,
                Code::UnauthorizedClient,
            ),
            (
                r#"{"error":"unsupported_grant_type"}"#,
                Code::UnsupportedGrantType,
            ),
            (r#"{"error":"invalid_scope"}"#, Code::InvalidScope),
            (r#"{"code":4735,"message":"gone"}"#, Code::InvalidGrant),
            (
                r#"{"code":4741,"message":"a "newer" one"}"#,
                Code::InvalidGrant,
            ),
            (r#"{"code":4704}"#, Code::InvalidClient),
            (r#"{"code":4709}"#, Code::InvalidRequest),
            (r#"{"code":4705}"#, Code::UnsupportedGrantType),
            (r#"{"error":"new_one"}"#, Code::Unknown),
            (r#"{"error":7}"#, Code::Unknown),
            ("<html>invalid_grant</html>", Code::Unknown),
            ("", Code::Unknown),
        ] {
            assert_eq!(Code::read(body.as_bytes()), code, "{body}");
        }
    }
}
