//! Error pages.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::layout::page;
use super::messages;
use crate::reelay::ReelayError;

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

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let code = match &self {
            Self::NotFound => "not_found",
            Self::Reelay(error) => error.code(),
            Self::Session(_) => "",
        };
        let (status, title, text) = match (code, &self) {
            // Reelay responds alike to another user's id and to an unknown id.
            ("not_found" | "cursor_invalid" | "link_not_found" | "recording_not_found", _) => (
                StatusCode::NOT_FOUND,
                "Page not found",
                "This page does not exist, or you do not have access to it.",
            ),
            (_, Self::Reelay(error)) => {
                (StatusCode::BAD_GATEWAY, "That did not work", messages::reelay_error(error))
            }
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "That did not work", "Please try again."),
        };
        if status.is_server_error() {
            tracing::error!(error = ?self, "page failed");
        }
        let body = html! {
            h1 { (title) }
            p.lead { (text) }
            p { a.button href="/" { "Back to the start page" } }
        };
        (status, page(title, None, None, &body)).into_response()
    }
}
