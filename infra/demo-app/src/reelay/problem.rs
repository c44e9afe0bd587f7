//! What can go wrong, typed.

use reqwest::StatusCode;
use serde::Deserialize;
use url::Url;

/// A call that brought no answer to use.
#[derive(Debug, thiserror::Error)]
pub enum ReelayError {
    /// Reelay said no, and why.
    #[error("Reelay refused: {} ({:?})", .0.title, .0.code)]
    Refused(Problem),
    /// No answer came.
    #[error("Reelay could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The answer was not what the contract says.
    #[error("Reelay answered {status} with a body that is not understood")]
    Unreadable {
        /// Of the answer.
        status: StatusCode,
        /// Where reading stopped.
        source: serde_json::Error,
    },
    /// No token could be signed.
    #[error("a token could not be signed")]
    Token(#[from] jsonwebtoken::errors::Error),
    /// The operating system gave no randomness for a token's id.
    #[error("no randomness")]
    Randomness(#[from] getrandom::Error),
    /// The configured address is none below which paths can be.
    #[error("{0} is no address of a Reelay")]
    NoBase(Url),
}

impl ReelayError {
    /// Reelay's own word for the refusal, if it was one.
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            Self::Refused(problem) => Some(problem.code),
            _ => None,
        }
    }
}

/// `application/problem+json` (RFC 9457), as Reelay writes it.
#[derive(Clone, Debug, Deserialize)]
pub struct Problem {
    /// For people.
    pub title: String,
    /// The HTTP status again.
    pub status: u16,
    /// For people, about this one case.
    #[serde(default)]
    pub detail: Option<String>,
    /// For programs.
    #[serde(default)]
    pub code: ProblemCode,
}

impl Problem {
    pub(super) fn without_words(status: StatusCode) -> Self {
        Self {
            title: status.canonical_reason().unwrap_or("no reason").to_owned(),
            status: status.as_u16(),
            detail: None,
            code: ProblemCode::Other,
        }
    }
}

/// Reelay's words for its refusals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// 401: no token was sent.
    TokenMissing,
    /// 401: the token is expired, for something else or signed with another secret.
    TokenInvalid,
    /// 400: the request is not as it should be.
    RequestInvalid,
    /// 400: the cursor is not this user's, or not from here.
    CursorInvalid,
    /// 404: the user has no such link.
    LinkNotFound,
    /// 404: the user has no such recording.
    RecordingNotFound,
    /// 404: Reelay has no such path.
    RouteNotFound,
    /// 405: not with this method.
    MethodNotAllowed,
    /// 403: the claim was made for another user; it is burnt now.
    ClaimBelongsToAnotherUser,
    /// 410: the claim is too old, or unknown.
    ClaimExpired,
    /// A code this app does not know.
    #[default]
    #[serde(other)]
    Other,
}
