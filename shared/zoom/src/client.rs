//! The HTTP client, its timeouts, and the errors that are common to all calls.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Client, Response, redirect};
use secrecy::{ExposeSecret as _, SecretString};

use crate::endpoints::Endpoints;

/// Maximum size of a JSON response body, in bytes. A full page of 300 meetings is below 2 MiB.
const MAX_JSON_BYTES: usize = 8 * 1024 * 1024;

/// Timeouts of the calls to Zoom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Limit for DNS, TCP and TLS together.
    pub connect: Duration,
    /// Limit for a whole token-endpoint or `users/me` call. A browser waits for these.
    pub oauth: Duration,
    /// Limit for a whole call of the other REST endpoints.
    pub rest: Duration,
    /// Limit for each read of a download, the response header included. A download as a whole has no
    /// limit.
    pub read: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            // An exchange followed by `users/me` must fit into API Gateway's 30 s.
            oauth: Duration::from_secs(8),
            rest: Duration::from_secs(20),
            read: Duration::from_secs(30),
        }
    }
}

/// Client for Zoom's OAuth, REST and download endpoints.
///
/// Create one per process. Clones share the connection pool and the TLS configuration.
#[derive(Clone)]
pub struct ZoomClient {
    http: Arc<LazyClient>,
    pub(crate) endpoints: Endpoints,
    pub(crate) timeouts: Timeouts,
}

type LazyClient = LazyLock<Option<Client>, Box<dyn FnOnce() -> Option<Client> + Send>>;

impl ZoomClient {
    /// Creates the client without opening a connection. A separate thread parses the system's TLS roots, which takes
    /// milliseconds, while Lambda fetches the first event.
    pub fn new(endpoints: Endpoints, timeouts: Timeouts) -> Self {
        let is_loopback = endpoints.is_loopback();
        let build: Box<dyn FnOnce() -> Option<Client> + Send> =
            Box::new(move || build_client(timeouts, is_loopback));
        let http = Arc::new(LazyLock::new(build));
        let preloaded = Arc::clone(&http);
        std::thread::spawn(move || LazyLock::force(&preloaded).is_some());
        Self { http, endpoints, timeouts }
    }

    /// The HTTP client. Fails with [`NetworkError::Tls`] if the system has no TLS root certificates.
    pub(crate) fn http(&self) -> Result<&Client, NetworkError> {
        self.http.as_ref().as_ref().ok_or(NetworkError::Tls)
    }
}

fn build_client(timeouts: Timeouts, is_loopback: bool) -> Option<Client> {
    let mut builder = Client::builder()
        .user_agent(concat!("reelay/", env!("CARGO_PKG_VERSION")))
        // An automatic redirect could forward a token to an unchecked host.
        .redirect(redirect::Policy::none())
        // Refresh tokens are single-use, so a request that Zoom may have received is never resent.
        .retry(reqwest::retry::never())
        .connect_timeout(timeouts.connect)
        .read_timeout(timeouts.read)
        // HTTP/2 would multiplex parallel ranges over one connection and one congestion window.
        .http1_only()
        // After a freeze, Lambda resumes with pooled connections that the server has closed.
        .pool_idle_timeout(Duration::from_secs(15));
    if is_loopback {
        // A proxy from the environment cannot reach this machine's loopback.
        builder = builder.no_proxy();
    }
    builder.build().inspect_err(|error| tracing::error!(%error, "http client not built")).ok()
}

impl fmt::Debug for ZoomClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZoomClient")
            .field("endpoints", &self.endpoints)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

/// A connection-level failure. Keeps the kind only, because reqwest's message contains the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NetworkError {
    /// DNS resolution failed. No request was sent.
    #[error("dns resolution failed")]
    Dns,
    /// The connection was refused, unreachable or timed out. No request was sent.
    #[error("connection failed")]
    Connect,
    /// The TLS handshake failed. No request was sent.
    #[error("tls handshake failed")]
    Tls,
    /// A limit of [`Timeouts`] expired after the connection was established.
    #[error("request timed out")]
    Timeout,
    /// The connection was reset or closed before the response was complete.
    #[error("connection closed before the response was complete")]
    ConnectionClosed,
    /// Another failure, for example a response that is not HTTP.
    #[error("http protocol error")]
    Other,
}

impl NetworkError {
    /// Whether the failure happened before any byte of the request was sent.
    pub fn is_before_send(self) -> bool {
        matches!(self, Self::Dns | Self::Connect | Self::Tls)
    }

    pub(crate) fn from_reqwest(error: &reqwest::Error) -> Self {
        let mut kinds = Vec::new();
        let mut is_incomplete = false;
        let mut source: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(error) = source {
            if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
                is_incomplete |= hyper.is_incomplete_message();
            }
            if let Some(io) = error.downcast_ref::<io::Error>() {
                collect_io_kinds(io, &mut kinds);
            }
            source = error.source();
        }
        let has_any = |wanted: &[io::ErrorKind]| kinds.iter().any(|kind| wanted.contains(kind));
        if error.is_dns() {
            Self::Dns
        } else if error.is_connect() {
            // rustls reports protocol errors as InvalidData and a peer that closes during the handshake
            // as UnexpectedEof. TCP's connect reports neither.
            if has_any(&[io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof]) {
                Self::Tls
            } else {
                Self::Connect
            }
        } else if error.is_timeout() {
            Self::Timeout
        } else if has_any(&[
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::NotConnected,
            io::ErrorKind::UnexpectedEof,
        ]) || is_incomplete
        {
            Self::ConnectionClosed
        } else {
            Self::Other
        }
    }
}

/// Collects the kinds of an I/O error and of the errors boxed inside it, which `source()` skips.
fn collect_io_kinds(error: &io::Error, kinds: &mut Vec<io::ErrorKind>) {
    kinds.push(error.kind());
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()) {
        collect_io_kinds(inner, kinds);
    }
}

/// A failure that says nothing about the token or the resource. The caller can retry later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransientError {
    /// The connection failed.
    #[error("request to zoom failed: {0}")]
    Network(NetworkError),
    /// Zoom responded with 5xx.
    #[error("zoom responded with status {status}")]
    ServerError {
        /// HTTP status.
        status: u16,
    },
    /// The response is not what Zoom documents: a redirect, invalid JSON, a missing required field, or
    /// a body of more than 8 MiB.
    #[error("zoom sent a malformed response")]
    MalformedResponse,
}

impl TransientError {
    /// Whether Zoom may have processed the request despite the error. A refresh token that was sent in
    /// such a request may be consumed.
    pub fn is_outcome_unknown(self) -> bool {
        match self {
            Self::Network(error) => !error.is_before_send(),
            Self::ServerError { .. } | Self::MalformedResponse => true,
        }
    }

    pub(crate) fn from_reqwest(error: &reqwest::Error) -> Self {
        Self::Network(NetworkError::from_reqwest(error))
    }
}

/// Reads a response body of at most [`MAX_JSON_BYTES`].
pub(crate) async fn read_json_bytes(mut response: Response) -> Result<Vec<u8>, TransientError> {
    let mut bytes = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| TransientError::from_reqwest(&error))?
    {
        if bytes.len() + chunk.len() > MAX_JSON_BYTES {
            return Err(TransientError::MalformedResponse);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Formats the `Authorization: Bearer` value and marks it sensitive. Returns `None` if the token contains
/// a character that header values forbid; Zoom issues no such token.
pub(crate) fn bearer(token: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).ok()?;
    value.set_sensitive(true);
    Some(value)
}
