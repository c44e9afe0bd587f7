//! Zoom over HTTP, as a client: OAuth, the REST calls Reelay needs, and downloads.
//!
//! - [`authorize_url`] needs no connection; everything else hangs on [`ZoomClient`], one client made once.
//! - Errors are told apart by status and by Zoom's numeric `code`, never by a message: Zoom localises
//!   its messages to the language of the account. Each operation has an enum of its own.
//! - Nothing that formats (`Debug`, `Display`) holds a token, a code or the query of a URL. A download
//!   URL is itself a credential, and so are parts of what Zoom answers; they come as
//!   [`secrecy::SecretString`].
//! - Redirects are followed nowhere but in [`ZoomClient::download`], and there each hop is checked by
//!   [`DownloadHosts`] before a request leaves.

mod client;
mod download;
mod endpoints;
mod error_code;
mod hosts;
mod oauth;
mod rate_limit;
mod rest;

pub use client::{ClientBuildError, NetworkError, Timeouts, TransientError, ZoomClient};
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
