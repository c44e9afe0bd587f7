//! HTTP client for Zoom: OAuth, the REST calls that Reelay needs, and recording downloads.
//!
//! - [`ZoomClient`] performs every call. [`authorize_url`] needs no connection.
//! - Errors are classified by HTTP status and by Zoom's numeric `code`, never by message text: ZoomClient
//!   localizes its messages. Each operation has its own error enum.
//! - No `Debug` or `Display` output contains a token, an authorization code or a URL query. Download
//!   URLs and some response fields are credentials; they have the type [`secrecy::SecretString`].
//! - Only [`ZoomClient::download`] follows redirects. [`DownloadHosts`] checks every hop before a
//!   request is sent to it.

mod client;
mod download;
mod endpoints;
mod error_code;
mod hosts;
mod oauth;
mod rate_limit;
mod rest;

pub use client::{NetworkError, Timeouts, TransientError, ZoomClient};
pub use download::{ByteRange, ContentRange, Download, DownloadBody, DownloadError, MAX_REDIRECTS};
pub use endpoints::{Endpoints, InvalidEndpoint};
pub use hosts::{AllowedUrl, DisallowedUrl, DownloadHosts, HostListError};
pub use oauth::{
    ClientCredentials, ExchangeError, OAuthErrorCode, RefreshError, RevokeError, TokenPair,
    authorize_url,
};
pub use rate_limit::{RateLimit, RateLimitKind, RetryAfter};
pub use rest::{
    ApiError, CODE_RECORDING_NOT_FOUND, CurrentUser, MAX_DOWNLOAD_TOKEN_TTL, MeetingRecordings,
    RecordingsPage,
};
