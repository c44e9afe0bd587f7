//! OAuth 2.0 (RFC 6749): authorization URL, token endpoint and revocation.

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

/// Assumed `expires_in` of a response without one, in seconds. Zoom documents one hour.
const DEFAULT_TOKEN_TTL: u64 = 3600;

/// Upper bound for `expires_in`, in seconds, so that computing the expiry time cannot overflow.
const MAX_TOKEN_TTL: u64 = 24 * 3600;

/// Client credentials of the Zoom app (RFC 6749, section 2.3.1).
#[derive(Debug, Clone)]
pub struct ClientCredentials {
    /// Client id.
    pub client_id: String,
    /// Client secret.
    pub client_secret: SecretString,
}

/// Access token response (RFC 6749, section 5.1). Refresh tokens are single-use: save the pair before using it.
#[derive(Clone)]
pub struct TokenPair {
    /// Access token for REST calls and downloads.
    pub access_token: SecretString,
    /// Refresh token for the next pair. Zoom documents a lifetime of 90 days.
    pub refresh_token: SecretString,
    /// Lifetime of the access token from the response on, in seconds; at most one day.
    pub expires_in: u64,
    /// Granted scopes, separated by spaces; `None` if the response omits them.
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

/// The `error` of an error response (RFC 6749, section 5.2). Zoom's `reason` is discarded because it
/// repeats the authorization code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OAuthErrorCode {
    /// `invalid_request`: a malformed request or, formerly, an invalid code.
    InvalidRequest,
    /// `invalid_client`: the client id or secret is wrong. The user's grant is not affected; the operator
    /// has to correct the secret.
    InvalidClient,
    /// `invalid_grant`: the code or refresh token is consumed, expired, revoked or unknown.
    InvalidGrant,
    /// `unauthorized_client`.
    UnauthorizedClient,
    /// `unsupported_grant_type`.
    UnsupportedGrantType,
    /// `invalid_scope`.
    InvalidScope,
    /// Code 4711: the app's scopes changed since the user granted them. It concerns the app, not this grant.
    ScopesChanged,
    /// Code 4717: the app is disabled, for all users.
    AppDisabled,
    /// Codes 4735 (Zoom deleted the user) and 4741 (a later authorization replaced the grant): the grant
    /// has ended for certain.
    GrantEnded,
    /// An unlisted `error`, or a body without one.
    Unknown,
}

impl OAuthErrorCode {
    /// Parses an error body: `error`, or a number that Zoom documents for OAuth.
    fn parse(body: &[u8]) -> Self {
        let Ok(response) = serde_json::from_slice::<Value>(body) else {
            return Self::from_number(error_code::find_code(body));
        };
        // A documented number is more specific than `error`.
        match Self::from_number(error_code::parse_code(&response)) {
            Self::Unknown => {}
            known => return known,
        }
        match response.get("error").and_then(Value::as_str) {
            Some("invalid_request") => Self::InvalidRequest,
            Some("invalid_client") => Self::InvalidClient,
            Some("invalid_grant") => Self::InvalidGrant,
            Some("unauthorized_client") => Self::UnauthorizedClient,
            Some("unsupported_grant_type") => Self::UnsupportedGrantType,
            Some("invalid_scope") => Self::InvalidScope,
            _ => Self::Unknown,
        }
    }

    fn from_number(code: Option<i64>) -> Self {
        match code {
            Some(4702 | 4704) => Self::InvalidClient,
            // In order: code expired, code invalid, token not found, app disabled by the account's admin,
            // token expired.
            Some(4733 | 4734 | 4737 | 4738 | 4740) => Self::InvalidGrant,
            Some(4711) => Self::ScopesChanged,
            Some(4717) => Self::AppDisabled,
            Some(4735 | 4741) => Self::GrantEnded,
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
            Self::ScopesChanged => "app scopes changed",
            Self::AppDisabled => "app disabled",
            Self::GrantEnded => "grant ended",
            Self::Unknown => "unknown error code",
        })
    }
}

/// A failed code exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// 4xx. The code is no longer usable.
    #[error("zoom rejected the authorization code with status {status}: {code}")]
    Rejected {
        /// HTTP status, usually 400.
        status: u16,
        /// OAuth error code.
        code: OAuthErrorCode,
    },
    /// The call failed without an OAuth response. The code may be consumed.
    #[error(transparent)]
    Transient(TransientError),
}

/// A failed refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// `invalid_grant`: Zoom revoked the grant or issued a newer refresh token for it, or the refresh token
    /// belongs to another client.
    #[error("zoom rejected the refresh token")]
    InvalidGrant,
    /// [`OAuthErrorCode::GrantEnded`]: the grant has ended for certain.
    #[error("zoom ended the grant")]
    GrantEnded,
    /// The client credentials are wrong. The grant is not affected.
    #[error("zoom rejected the client credentials")]
    InvalidClient,
    /// Any other 4xx, including 429, and codes 4711 and 4717. The refresh token was not consumed.
    #[error("zoom rejected the refresh with status {status}: {code}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// OAuth error code.
        code: OAuthErrorCode,
    },
    /// The call failed without an OAuth response. [`TransientError::is_outcome_unknown`] says whether the
    /// refresh token may be consumed.
    #[error(transparent)]
    Transient(TransientError),
}

/// A failed revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// The client credentials are wrong.
    #[error("zoom rejected the client credentials")]
    InvalidClient,
    /// Any other 4xx, for example for a token that is already revoked.
    #[error("zoom rejected the revocation with status {status}: {code}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// OAuth error code.
        code: OAuthErrorCode,
    },
    /// The call failed without an OAuth response. Revocation is idempotent.
    #[error(transparent)]
    Transient(TransientError),
}

/// Builds the authorization request URL (RFC 6749, section 4.1.1) with PKCE (RFC 7636).
///
/// `redirect_uri` must equal the one registered with the app and the one of the exchange, byte for byte.
/// `code_challenge` is base64url(SHA-256) of the verifier, 43 characters. The URL has no `scope`: Zoom
/// applies the app's scopes.
pub fn authorize_url(
    endpoints: &Endpoints,
    client_id: &str,
    redirect_uri: &str,
    state: &str,
    code_challenge: &str,
) -> Url {
    let client = BasicClient::new(ClientId::new(client_id.to_owned()))
        .set_auth_uri(AuthUrl::from_url(endpoints.oauth("oauth/authorize")));
    // `RedirectUrl` would normalize the redirect URI, and `PkceCodeChallenge` can only be built from a
    // verifier, which is not known here.
    let (url, _state) = client
        .authorize_url(|| CsrfToken::new(state.to_owned()))
        .add_extra_param("redirect_uri", redirect_uri)
        .add_extra_param("code_challenge", code_challenge)
        .add_extra_param("code_challenge_method", "S256")
        .url();
    url
}

/// A failed call of an OAuth endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum CallError {
    #[error("rejected")]
    Rejected { status: u16, code: OAuthErrorCode },
    #[error("transient")]
    Transient(TransientError),
}

impl ZoomClient {
    /// Exchanges an authorization code for tokens. `redirect_uri` is the one given to [`authorize_url`].
    ///
    /// Zoom invalidates the user's older tokens, so save the pair before using it.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub async fn exchange_code(
        &self,
        credentials: &ClientCredentials,
        code: &SecretString,
        verifier: &SecretString,
        redirect_uri: &str,
    ) -> Result<TokenPair, ExchangeError> {
        let client = self.oauth_client(credentials);
        let response = client
            .exchange_code(AuthorizationCode::new(code.expose_secret().to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()))
            .add_extra_param("redirect_uri", redirect_uri)
            .request_async(&self.token_http_client())
            .await;
        parse_token_pair(response).map_err(|error| match error {
            CallError::Rejected { status, code } => ExchangeError::Rejected { status, code },
            CallError::Transient(error) => ExchangeError::Transient(error),
        })
    }

    /// Exchanges a refresh token for the next pair. Zoom consumes the old token, so save the pair before
    /// using it.
    ///
    /// # Errors
    /// [`RefreshError`].
    pub async fn refresh(
        &self,
        credentials: &ClientCredentials,
        refresh_token: &SecretString,
    ) -> Result<TokenPair, RefreshError> {
        let client = self.oauth_client(credentials);
        let refresh_token = RefreshToken::new(refresh_token.expose_secret().to_owned());
        let response = client
            .exchange_refresh_token(&refresh_token)
            .request_async(&self.token_http_client())
            .await;
        parse_token_pair(response).map_err(|error| match error {
            CallError::Rejected { code: OAuthErrorCode::InvalidGrant, .. } => {
                RefreshError::InvalidGrant
            }
            CallError::Rejected { code: OAuthErrorCode::GrantEnded, .. } => {
                RefreshError::GrantEnded
            }
            CallError::Rejected { code: OAuthErrorCode::InvalidClient, .. } => {
                RefreshError::InvalidClient
            }
            CallError::Rejected { status, code } => RefreshError::Rejected { status, code },
            CallError::Transient(error) => RefreshError::Transient(error),
        })
    }

    /// Revokes the grant of `access_token` (RFC 7009). Zoom uninstalls the app for that user and sends
    /// `app_deauthorized`.
    ///
    /// # Errors
    /// [`RevokeError`].
    pub async fn revoke(
        &self,
        credentials: &ClientCredentials,
        access_token: &SecretString,
    ) -> Result<(), RevokeError> {
        // Not through oauth2, which revokes over https only; the simulator has no TLS. Zoom's client ids
        // and secrets are alphanumeric, so Basic needs no percent-encoding.
        let http =
            self.http().map_err(|error| RevokeError::Transient(TransientError::Network(error)))?;
        let request = http
            .post(self.endpoints.oauth("oauth/revoke"))
            .timeout(self.timeouts.oauth)
            .basic_auth(&credentials.client_id, Some(credentials.client_secret.expose_secret()))
            .form(&[("token", access_token.expose_secret())])
            .build()
            .map_err(|error| RevokeError::Transient(TransientError::from_reqwest(&error)))?;
        match call(http, request).await {
            Ok(_) => Ok(()),
            Err(CallError::Rejected { code: OAuthErrorCode::InvalidClient, .. }) => {
                Err(RevokeError::InvalidClient)
            }
            Err(CallError::Rejected { status, code }) => {
                Err(RevokeError::Rejected { status, code })
            }
            Err(CallError::Transient(error)) => Err(RevokeError::Transient(error)),
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

    /// Adapts the HTTP client to oauth2. Maps error responses here, because oauth2 drops their status and
    /// keeps their text.
    ///
    /// The future owns the client: a future that borrows it is not `Send` for every lifetime, as oauth2's
    /// bounds require.
    fn token_http_client(
        &self,
    ) -> impl Fn(HttpRequest) -> BoxFuture<Result<HttpResponse, CallError>> + use<> {
        let zoom = self.clone();
        move |request| {
            let zoom = zoom.clone();
            Box::pin(async move {
                let http = zoom
                    .http()
                    .map_err(|error| CallError::Transient(TransientError::Network(error)))?;
                let mut request = Request::try_from(request)
                    .map_err(|error| CallError::Transient(TransientError::from_reqwest(&error)))?;
                *request.timeout_mut() = Some(zoom.timeouts.oauth);
                call(http, request).await.map(HttpResponse::new)
            })
        }
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

async fn call(http: &Client, request: Request) -> Result<Vec<u8>, CallError> {
    let response = http
        .execute(request)
        .await
        .map_err(|error| CallError::Transient(TransientError::from_reqwest(&error)))?;
    let status = response.status();
    if status.is_server_error() {
        return Err(CallError::Transient(TransientError::ServerError { status: status.as_u16() }));
    }
    let body = read_json_bytes(response).await;
    if status.is_client_error() {
        // The status classifies the response; an incomplete body only leaves the code unknown.
        let code = body.map_or(OAuthErrorCode::Unknown, |body| OAuthErrorCode::parse(&body));
        return Err(CallError::Rejected { status: status.as_u16(), code });
    }
    if !status.is_success() {
        return Err(CallError::Transient(TransientError::MalformedResponse));
    }
    let body = body.map_err(CallError::Transient)?;
    // A page of Zoom's or of a proxy with HTTP 200 confirms nothing.
    let json: Value = serde_json::from_slice(&body)
        .ok()
        .filter(Value::is_object)
        .ok_or(CallError::Transient(TransientError::MalformedResponse))?;
    // Zoom can send an error with HTTP 200, also one with a code that it does not document for OAuth.
    match OAuthErrorCode::parse(&body) {
        OAuthErrorCode::Unknown if !error_code::is_refusal(&json) => Ok(body),
        code => Err(CallError::Rejected { status: status.as_u16(), code }),
    }
}

fn parse_token_pair(
    response: Result<BasicTokenResponse, RequestTokenError<CallError, BasicErrorResponse>>,
) -> Result<TokenPair, CallError> {
    let malformed = CallError::Transient(TransientError::MalformedResponse);
    // All variants but `Request` contain raw response text, so they are replaced, not wrapped.
    let response = response.map_err(|error| match error {
        RequestTokenError::Request(error) => error,
        RequestTokenError::ServerResponse(_)
        | RequestTokenError::Parse(..)
        | RequestTokenError::Other(_) => malformed,
    })?;
    let access_token = response.access_token().secret();
    let refresh_token = response.refresh_token().ok_or(malformed)?.secret();
    if access_token.is_empty() || refresh_token.is_empty() {
        return Err(malformed);
    }
    let scope = response
        .scopes()
        .map(|scopes| scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "));
    Ok(TokenPair {
        access_token: SecretString::from(access_token.clone()),
        refresh_token: SecretString::from(refresh_token.clone()),
        expires_in: response
            .expires_in()
            .map_or(DEFAULT_TOKEN_TTL, |time| time.as_secs())
            .min(MAX_TOKEN_TTL),
        scope,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_code_is_parsed_from_body() {
        use OAuthErrorCode as Code;
        for (body, code) in [
            (r#"{"reason":"Invalid Token!","error":"invalid_grant"}"#, Code::InvalidGrant),
            (r#"{"error":"invalid_grant"}"#, Code::InvalidGrant),
            (r#"{"reason":"invalid_grant","error":"invalid_client"}"#, Code::InvalidClient),
            (r#"{"reason":"Bad Request","error":"invalid_request"}"#, Code::InvalidRequest),
            (r#"{"error":"unauthorized_client"}"#, Code::UnauthorizedClient),
            (r#"{"error":"unsupported_grant_type"}"#, Code::UnsupportedGrantType),
            (r#"{"error":"invalid_scope"}"#, Code::InvalidScope),
            (r#"{"code":4735,"message":"gone"}"#, Code::GrantEnded),
            (r#"{"code":4741,"message":"a "newer" one"}"#, Code::GrantEnded),
            (r#"{"error":"invalid_grant","errorCode":4741}"#, Code::GrantEnded),
            (r#"{"error":"invalid_grant","errorCode":4711}"#, Code::ScopesChanged),
            (r#"{"error":"invalid_client","errorCode":"4717"}"#, Code::AppDisabled),
            (
                r#"{"status":false,"errorCode":4735,"errorMessage":"","result":null}"#,
                Code::GrantEnded,
            ),
            (r#"{"code":4737}"#, Code::InvalidGrant),
            (r#"{"code":4704}"#, Code::InvalidClient),
            (r#"{"code":4709}"#, Code::InvalidRequest),
            (r#"{"code":4705}"#, Code::UnsupportedGrantType),
            (r#"{"error":"new_one"}"#, Code::Unknown),
            (r#"{"error":7}"#, Code::Unknown),
            ("<html>invalid_grant</html>", Code::Unknown),
            ("", Code::Unknown),
        ] {
            assert_eq!(Code::parse(body.as_bytes()), code, "{body}");
        }
    }
}
