//! Messages to the user for the contract's error codes.

use crate::reelay::{ProblemCode, ReelayError};

/// Message for `zoom_error=<code>` in the return URL.
///
/// Anyone can write any code into that URL, so the code selects a message and is never shown.
pub(super) fn zoom_error(code: &str) -> &'static str {
    match code {
        "access_denied" => {
            "You did not give access at Zoom, so nothing was connected. You can connect at any time."
        }
        "zoom_unavailable" => {
            "Zoom could not be reached, so nothing was connected. Please try again in a minute."
        }
        "zoom_rejected_code" => {
            "Zoom did not accept the sign-in, perhaps because it took too long. Please connect again."
        }
        "too_many_links" => {
            "Too many people share this Zoom account. One of them must disconnect first."
        }
        "zoom_scope_missing" => {
            "Zoom gave less access than recordings need. Please connect again and allow everything on Zoom's page. \
             If that fails, ask your Zoom administrator to allow the app."
        }
        _ => "Zoom could not be connected. Please connect again.",
    }
}

/// Message for a claim that Reelay rejected.
pub(super) fn claim_error(error: &ReelayError) -> &'static str {
    match error.code() {
        Some(ProblemCode::ClaimBelongsToAnotherUser) => {
            "A different user of this app started this connection and may have sent you their link. Nothing was \
             connected, and no one received access to your recordings. To connect your own Zoom account, start \
             from this page."
        }
        Some(ProblemCode::ClaimExpired) => {
            "The connection was not finished within ten minutes, or it is finished already. If your Zoom account \
             is not listed below, please connect again."
        }
        _ => reelay_error(error),
    }
}

/// Message for any other failed call.
pub(super) fn reelay_error(error: &ReelayError) -> &'static str {
    match error {
        ReelayError::Rejected(_, ProblemCode::TokenInvalid) => {
            "The recording service rejected this app's signature. The app's operator must check that both use the \
             same secret and that their clocks are right."
        }
        ReelayError::Rejected(_, ProblemCode::RequestInvalid) => {
            "The recording service rejected the request. Please start again."
        }
        ReelayError::Rejected(..) | ReelayError::Unreachable(_) => {
            "The recording service is unavailable. Please try again shortly."
        }
        _ => "This app failed to communicate with the recording service.",
    }
}
