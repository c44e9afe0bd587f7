//! Error pages.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::layout::page;
use super::messages;
use crate::reelay::{ProblemCode, ReelayError};

/// Reason why a page cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    #[error("page not found")]
    NotFound,
    #[error(transparent)]
    Reelay(#[from] ReelayError),
    #[error("failed to access the session")]
    Session(#[from] tower_sessions::session::Error),
}

impl PageError {
    fn status(&self) -> StatusCode {
        use ProblemCode::{CursorInvalid, LinkNotFound, RecordingNotFound};
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            // Reelay responds alike to another user's id and to an unknown id.
            Self::Reelay(error) => match error.code() {
                Some(CursorInvalid | LinkNotFound | RecordingNotFound) => StatusCode::NOT_FOUND,
                _ => StatusCode::BAD_GATEWAY,
            },
            Self::Session(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::error!(error = ?self, "page failed");
        }
        let (title, text) = match &self {
            _ if status == StatusCode::NOT_FOUND => {
                ("Page not found", "This page does not exist, or you do not have access to it.")
            }
            Self::Reelay(error) => ("That did not work", messages::reelay_error(error)),
            _ => ("That did not work", "Something went wrong on our side. Please try again."),
        };
        let body = html! {
            h1 { (title) }
            p.lead { (text) }
            p { a.button href="/" { "Back to the start page" } }
        };
        (status, page(title, None, None, &body)).into_response()
    }
}
