//! Errors of the client.

use reqwest::StatusCode;
use serde::Deserialize;
use url::Url;

/// A failed call to Reelay.
#[derive(Debug, thiserror::Error)]
pub enum ReelayError {
    /// Reelay rejected the request.
    #[error("Reelay rejected the request with status {0} ({1:?})")]
    Rejected(StatusCode, ProblemCode),
    /// The connection failed or timed out.
    #[error("failed to reach Reelay")]
    Unreachable(#[source] reqwest::Error),
    /// The response does not follow the contract.
    #[error("failed to parse Reelay's response")]
    InvalidResponse(#[source] serde_json::Error),
    /// The token could not be signed.
    #[error("failed to sign a token")]
    Token(#[from] jsonwebtoken::errors::Error),
    /// The operating system returned no random token id.
    #[error("failed to generate a token id")]
    TokenId(#[from] getrandom::Error),
    /// The base URL cannot have a path.
    #[error("{0} is not a base URL")]
    InvalidUrl(Url),
}

impl ReelayError {
    /// Reelay's error code, if Reelay rejected the request.
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            Self::Rejected(_, code) => Some(*code),
            _ => None,
        }
    }
}

/// The error codes that this app handles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the contract documents the codes")]
pub enum ProblemCode {
    TokenInvalid,
    RequestInvalid,
    CursorInvalid,
    LinkNotFound,
    RecordingNotFound,
    ClaimBelongsToAnotherUser,
    ClaimExpired,
    #[default]
    #[serde(other)]
    Other,
}

/// A problem document, `application/problem+json` (RFC 9457).
#[derive(Default, Deserialize)]
pub(super) struct Problem {
    #[serde(default)]
    pub(super) code: ProblemCode,
}
