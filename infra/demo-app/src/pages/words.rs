//! What is said to people for each code and status of the contract.

use maud::{Markup, html};

use crate::reelay::{FileStatus, LinkStatus, ProblemCode, RecordingStatus, ReelayError, ZoomState};
use crate::session::Flash;

/// For `zoom_error=<code>` on the way back from Zoom.
///
/// The code comes in the address, where anybody can write anything: so it chooses among our words and is
/// never shown itself.
pub(super) fn zoom_error(code: &str) -> Flash {
    match code {
        "access_denied" => Flash::neutral(
            "You chose not to give access at Zoom, so nothing was connected. You can connect at any time.",
        ),
        "zoom_unavailable" => Flash::bad(
            "Zoom could not be reached just now, so nothing was connected. Please try again in a minute.",
        ),
        "zoom_rejected_code" => Flash::bad(
            "Zoom did not accept this sign-in; perhaps it took too long. Please connect again.",
        ),
        "too_many_links" => Flash::bad(
            "Too many people share this Zoom account already. One of them has to disconnect first.",
        ),
        "zoom_scope_missing" => Flash::bad(
            "Zoom gave less access than recordings need. Please connect again and allow everything that \
             Zoom's page lists. If it still fails, your Zoom administrator may have to allow it.",
        ),
        _ => Flash::bad("Zoom could not be connected. Please connect again."),
    }
}

/// For a claim that Reelay refused.
pub(super) fn claim_refused(error: &ReelayError) -> Flash {
    match error.code() {
        Some(ProblemCode::ClaimBelongsToAnotherUser) => Flash::bad(
            "This connection was begun by a different user of this app, perhaps somebody who sent you their \
             link. It was thrown away: nothing was connected, and nobody got access to your recordings. \
             If you want to connect your own Zoom account, begin from this page.",
        ),
        Some(ProblemCode::ClaimExpired) => Flash::bad(
            "The connection was not finished within ten minutes, or it was finished already. \
             If Zoom is not listed below, please connect again.",
        ),
        Some(ProblemCode::RequestInvalid) => Flash::bad(
            "The address that you came back with was not complete. Please connect again.",
        ),
        _ => Flash::bad(reelay_error(error)),
    }
}

/// For any other call that failed.
pub(super) fn reelay_error(error: &ReelayError) -> String {
    let text = match error {
        ReelayError::Unreachable(_) => {
            "The recording service cannot be reached at the moment. Please try again shortly."
        }
        ReelayError::Unreadable { .. } => {
            "The recording service gave an answer that this app does not understand."
        }
        ReelayError::Token(_) | ReelayError::Randomness(_) | ReelayError::NoBase(_) => {
            "This app could not speak for you to the recording service."
        }
        ReelayError::Refused(problem) => match problem.code {
            ProblemCode::TokenMissing | ProblemCode::TokenInvalid => {
                "The recording service does not accept this app's signature. \
                 Whoever runs this app should check that both have the same secret, and the clock."
            }
            ProblemCode::LinkNotFound => "This connection is not there any more.",
            ProblemCode::RecordingNotFound => "This recording is not there any more.",
            ProblemCode::RequestInvalid => {
                "The recording service did not accept this. Please check what you entered."
            }
            ProblemCode::CursorInvalid => "This page of the list is not there any more.",
            _ => "The recording service could not do this. Please try again shortly.",
        },
    };
    text.to_owned()
}

fn badge(tone: &str, text: &str) -> Markup {
    html! { span.badge.(tone) { (text) } }
}

pub(super) fn link_status(status: LinkStatus) -> Markup {
    match status {
        LinkStatus::Active => badge("good", "Connected"),
        LinkStatus::ReauthorizationRequired => badge("warn", "Needs reconnecting"),
        LinkStatus::Unknown => badge("plain", "Unknown"),
    }
}

pub(super) fn recording_status(status: RecordingStatus) -> Markup {
    match status {
        RecordingStatus::Detected => badge("plain", "Found at Zoom"),
        RecordingStatus::Transferring => badge("busy", "Being stored"),
        RecordingStatus::Stored => badge("good", "Stored"),
        RecordingStatus::Failed => badge("bad", "Failed"),
        RecordingStatus::Unknown => badge("plain", "Unknown"),
    }
}

pub(super) fn zoom_state(state: ZoomState) -> Markup {
    match state {
        ZoomState::Present | ZoomState::Unknown => html! {},
        ZoomState::Trashed => badge("plain", "In Zoom’s trash"),
        ZoomState::Deleted => badge("plain", "Deleted at Zoom"),
    }
}

pub(super) fn file_status(status: FileStatus) -> Markup {
    match status {
        FileStatus::Queued => badge("plain", "Waiting"),
        FileStatus::Transferring => badge("busy", "Being stored"),
        FileStatus::Stored => badge("good", "Stored"),
        FileStatus::Failed => badge("bad", "Failed"),
        FileStatus::Skipped => badge("plain", "Not wanted"),
        FileStatus::Unknown => badge("plain", "Unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_address_says_is_never_repeated() {
        let hostile = "Call 555-0100 <script>";
        assert!(!zoom_error(hostile).text.contains("555"));
    }
}
