//! Messages to the user for the contract's error codes.

use crate::reelay::ReelayError;

/// Explains a link with the status `reauthorization_required`.
pub(super) const REAUTHORIZATION_REQUIRED: &str = "Zoom ended this app’s access, so no new recordings arrive. Reconnect \
    and allow access again. Stored recordings stay.";

/// Explains the `issue` of a link, and what the user can do.
pub(super) fn issue(code: &str) -> &'static str {
    match code {
        "plan_without_cloud_recording" => {
            "This Zoom plan has no cloud recording, so there is nothing to store. After an upgrade at Zoom, recordings \
             arrive by themselves."
        }
        "scope_missing" => {
            "Zoom gave less access than recordings need. Reconnect, and allow everything on Zoom’s page."
        }
        "access_denied" => {
            "Zoom does not give access to these recordings. Ask your Zoom administrator to allow this app and cloud \
             recording for you."
        }
        "zoom_user_not_found" => {
            "Zoom does not know this user any more. If you have moved to another Zoom account, connect that one and \
             disconnect this one."
        }
        "events_not_arriving" => {
            "Zoom does not announce new recordings, so they arrive up to a day late. You need not do anything."
        }
        _ => "Recordings may not arrive from this account. Please contact the support of this app.",
    }
}

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
        "claim_belongs_to_another_user" => {
            "A different user of this app started this connection and may have sent you their link. Nothing was \
             connected, and no one received access to your recordings. To connect your own Zoom account, start \
             from this page."
        }
        "claim_expired" => {
            "The connection was not finished within ten minutes, or it is finished already. If your Zoom account \
             is not listed below, please connect again."
        }
        _ => reelay_error(error),
    }
}

/// Message for any other failed call.
pub(super) fn reelay_error(error: &ReelayError) -> &'static str {
    match error.code() {
        "token_invalid" => {
            "The recording service rejected this app’s signature. The app’s operator must check that both use the same \
             secret and that their clocks are right."
        }
        "request_invalid" => "The recording service rejected the request. Please start again.",
        _ => "The recording service is unavailable. Please try again shortly.",
    }
}
