//! Errors of the client.

use reqwest::StatusCode;
use serde::Deserialize;

/// A failed call to Reelay.
#[derive(Debug, thiserror::Error)]
pub enum ReelayError {
    /// Reelay rejected the request, with this `code`: `claim_expired`, `link_not_found`, …
    #[error("Reelay rejected the request with status {0} ({1})")]
    Rejected(StatusCode, String),
    /// The connection failed or timed out, or the response does not follow the contract.
    #[error("failed to get a response from Reelay")]
    Http(#[source] reqwest::Error),
    /// The token could not be signed.
    #[error("failed to sign a token")]
    Token(#[from] jsonwebtoken::errors::Error),
}

impl ReelayError {
    /// Reelay's error code; empty if Reelay did not send one.
    pub fn code(&self) -> &str {
        match self {
            Self::Rejected(_, code) => code,
            _ => "",
        }
    }
}

/// Removes the URL from the error, because its query may hold a token.
impl From<reqwest::Error> for ReelayError {
    fn from(error: reqwest::Error) -> Self {
        Self::Http(error.without_url())
    }
}

/// A problem document, `application/problem+json` (RFC 9457).
#[derive(Default, Deserialize)]
pub(super) struct Problem {
    pub(super) code: String,
}
