//! The one HTTP client, and what can go wrong below HTTP.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Client, Response, redirect};
use secrecy::{ExposeSecret as _, SecretString};

use crate::endpoints::Endpoints;

/// The longest JSON answer that is read, in bytes. A full page of 300 meetings is well below 2 MiB.
const LONGEST_JSON: usize = 8 * 1024 * 1024;

/// How long to wait for Zoom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Name, TCP and TLS together.
    pub connect: Duration,
    /// A whole call of those that a waiting browser depends on: the token endpoint and `users/me`.
    pub oauth: Duration,
    /// A whole call of the other REST calls.
    pub rest: Duration,
    /// The longest silence within a download: until the answer begins, and between two reads of it.
    /// A download as a whole has no limit.
    pub stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            // An exchange and `users/me`, one after the other, stay below the 30 s of API Gateway.
            oauth: Duration::from_secs(8),
            rest: Duration::from_secs(20),
            stall: Duration::from_secs(30),
        }
    }
}

/// The HTTP client could not be made: no usable TLS roots, as a rule.
#[derive(Debug, thiserror::Error)]
#[error("could not set up the http client")]
pub struct ClientBuildError(#[source] reqwest::Error);

/// Zoom, over HTTP. Make it once and clone it: clones share connections and the TLS configuration.
#[derive(Clone)]
pub struct ZoomClient {
    pub(crate) http: Client,
    pub(crate) endpoints: Endpoints,
    pub(crate) timeouts: Timeouts,
}

impl ZoomClient {
    /// Sets up the client; connects to nothing.
    pub fn new(endpoints: Endpoints, timeouts: Timeouts) -> Result<Self, ClientBuildError> {
        let mut builder = Client::builder()
            .user_agent(concat!("reelay/", env!("CARGO_PKG_VERSION")))
            // Tokens must not follow a redirect that nobody looked at.
            .redirect(redirect::Policy::none())
            // A refresh token works once, so a request that may have arrived is never repeated here.
            .retry(reqwest::retry::never())
            .connect_timeout(timeouts.connect)
            .read_timeout(timeouts.stall)
            // The ranges of one file shall run over several connections; HTTP/2 would press them
            // through one, with one congestion window.
            .http1_only()
            // A frozen function wakes to connections that the other side has closed meanwhile.
            .pool_idle_timeout(Duration::from_secs(15));
        if endpoints.is_loopback() {
            // A proxy from the environment is for the world outside.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(ClientBuildError)?;
        Ok(Self {
            http,
            endpoints,
            timeouts,
        })
    }
}

impl fmt::Debug for ZoomClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZoomClient")
            .field("endpoints", &self.endpoints)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

/// A connection that failed. It keeps the kind only: the cause's own text names the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NetworkError {
    /// The host's name could not be resolved. Nothing was sent.
    #[error("the host name could not be resolved")]
    Dns,
    /// No connection: refused, unreachable, or not in time. Nothing was sent.
    #[error("no connection")]
    Connect,
    /// The TLS handshake failed. Nothing was sent.
    #[error("no secure connection")]
    Tls,
    /// Silence, for longer than the [`Timeouts`] allow.
    #[error("no answer in time")]
    Timeout,
    /// The connection was reset or closed before an answer was complete.
    #[error("the connection broke off")]
    Broken,
    /// The other side does not speak HTTP properly, or something else below it failed.
    #[error("the connection failed")]
    Other,
}

impl NetworkError {
    /// Whether it is certain that the request never left.
    pub fn is_before_send(self) -> bool {
        matches!(self, Self::Dns | Self::Connect | Self::Tls)
    }

    pub(crate) fn of(error: &reqwest::Error) -> Self {
        let mut kinds = Vec::new();
        let mut broke_off = false;
        let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
                broke_off |= hyper.is_incomplete_message();
            }
            if let Some(io) = error.downcast_ref::<io::Error>() {
                io_kinds(io, &mut kinds);
            }
            cause = error.source();
        }
        let any = |wanted: &[io::ErrorKind]| kinds.iter().any(|kind| wanted.contains(kind));
        if error.is_dns() {
            Self::Dns
        } else if error.is_connect() {
            // rustls reports what it dislikes as invalid data, and a peer that hangs up in the middle
            // of the handshake as an early end; TCP's own connect knows neither.
            if any(&[io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof]) {
                Self::Tls
            } else {
                Self::Connect
            }
        } else if error.is_timeout() {
            Self::Timeout
        } else if any(&[
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::NotConnected,
            io::ErrorKind::UnexpectedEof,
        ]) || broke_off
        {
            Self::Broken
        } else {
            Self::Other
        }
    }
}

/// The kinds of an I/O error and of those inside it. `source()` steps over an error that was boxed
/// into an I/O error, so these are looked at by hand.
fn io_kinds(error: &io::Error, kinds: &mut Vec<io::ErrorKind>) {
    kinds.push(error.kind());
    if let Some(inner) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<io::Error>())
    {
        io_kinds(inner, kinds);
    }
}

/// A call that Zoom could not serve: worth another attempt later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransientError {
    /// The connection failed.
    #[error("zoom could not be reached: {0}")]
    Network(NetworkError),
    /// Zoom answered 5xx.
    #[error("zoom answered {status}")]
    ServerError {
        /// The HTTP status.
        status: u16,
    },
    /// Zoom answered something that is not what it documents: a redirect, no JSON, needed fields
    /// missing, or more than 8 MiB.
    #[error("the answer of zoom could not be read")]
    MalformedResponse,
}

impl TransientError {
    /// Whether Zoom may have carried out the call all the same. After such a refresh the old refresh
    /// token may be spent.
    pub fn is_outcome_unknown(self) -> bool {
        match self {
            Self::Network(error) => !error.is_before_send(),
            Self::ServerError { .. } | Self::MalformedResponse => true,
        }
    }

    pub(crate) fn of(error: &reqwest::Error) -> Self {
        Self::Network(NetworkError::of(error))
    }
}

/// Reads an answer that should be JSON, but never more than fits.
pub(crate) async fn read_json_bytes(mut response: Response) -> Result<Vec<u8>, TransientError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| TransientError::of(&error))?
    {
        if bytes.len() + chunk.len() > LONGEST_JSON {
            return Err(TransientError::MalformedResponse);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// `Authorization: Bearer`, kept out of logs and of HPACK tables. `None` if the token cannot stand in
/// a header, hence is none of Zoom's.
pub(crate) fn bearer(token: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).ok()?;
    value.set_sensitive(true);
    Some(value)
}
