//! When a page cannot be shown.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::layout::{Frame, page};
use super::words;
use crate::reelay::{ProblemCode, ReelayError};

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no such page")]
    NotFound,
    #[error(transparent)]
    Reelay(#[from] ReelayError),
    #[error("the session could not be read or written")]
    Session(#[from] tower_sessions::session::Error),
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Session(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Reelay(error) if is_not_found(error) => StatusCode::NOT_FOUND,
            // Whatever else Reelay says, the fault is between the two servers, not the browser's.
            Self::Reelay(_) => StatusCode::BAD_GATEWAY,
        }
    }
}

/// Somebody else's recording is "not found" as well: Reelay does not tell the two apart.
fn is_not_found(error: &ReelayError) -> bool {
    matches!(
        error.code(),
        Some(ProblemCode::LinkNotFound | ProblemCode::RecordingNotFound)
    )
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::error!(error = ?self, "a page failed");
        }
        let (title, text) = match &self {
            _ if status == StatusCode::NOT_FOUND => (
                "Nothing here",
                "This page does not exist, or it is not yours to see.".to_owned(),
            ),
            Self::Reelay(error) => ("That did not work", words::reelay_error(error)),
            _ => (
                "That did not work",
                "Something went wrong on our side. Please try again.".to_owned(),
            ),
        };
        let body = html! {
            h1 { (title) }
            p.lead { (text) }
            p { a.button href="/" { "Back to the start" } }
        };
        (status, page(&Frame::plain(title), body)).into_response()
    }
}
