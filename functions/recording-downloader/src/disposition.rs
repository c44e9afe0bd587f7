//! Failures of a transfer and their consequences.
//!
//! | failure | meaning | consequence | public reason |
//! |---|---|---|---|
//! | 400, 401, 403 | token or signed URL expired or invalid | next candidate; after the last, retry | `token_refused`, `unexpected_answer` |
//! | 404 | deleted, or not ready yet | next candidate; then retry for a day, or fail if Zoom's events said so | `not_found`; `trashed`, `deleted` |
//! | 410 | deleted | next candidate; then fail | `gone` |
//! | HTML with 200 or 206, by content type or first bytes | sign-in page, or deleted | next candidate; then retry, or fail if Zoom's events said so | `html_instead_of_file`; `trashed`, `deleted` |
//! | host not allowed, in the URL or a redirect | untrusted | no request is sent; next candidate; then retry: the operator may list the host | `download_host_not_allowed` |
//! | redirect loop, or redirect without target | broken host | next candidate; then retry | `redirect_not_followed` |
//! | 416 | the file is now shorter | restart the upload | |
//! | other length or validator than before | the file was replaced | restart the upload, three times; then retry | `file_changed` |
//! | 429 | rate limit of the account | no request for the account until `Retry-After`, else until midnight UTC for a daily limit, else for 10 s | `rate_limited` |
//! | 5xx | Zoom's outage | retry the part; then retry, at `Retry-After` if sent, with the next candidate, too | `zoom_unavailable` |
//! | DNS, connection, TLS, or no response | network | retry the part; then retry | `network` |
//! | body interrupted, reset, or stalled | network | retry the part; then retry | `network`, `stalled` |
//! | body shorter or longer than announced | broken host | retry the part; then retry | `network`, `length_differs` |
//! | other size than declared, in Zoom's API, too | wrong file, or not ready yet | retry; the size is accepted if a response an hour later has it again | `length_differs` |
//! | 200 to a range request | another server responded | retry the part; then retry, as one stream if it persists | `unexpected_answer` |
//! | any other status, wrong range, or compression | undocumented | retry | `unexpected_answer` |
//! | API: 3301, 3001 | still processing, or deleted | as 404, also behind an expired URL or token | `not_found`, `trashed`, `deleted` |
//! | API: status `processing` | not ready yet | retry | `processing` |
//! | API: 403 | a role or an account setting | retry | `zoom_access_denied` |
//! | API: 429 | as above | as above | `rate_limited` |
//! | API: any other failure | Zoom's outage | retry | `zoom_api` |
//! | no access token now | outage of Zoom's OAuth | retry | `grant_unavailable` |
//! | no URL in the event and none in the API | nothing to download | fail | `no_source` |
//! | no grant to call the API with | the user left, or must authorize again | error of the previous candidate; without one, retry | `reauthorization_required` |
//! | S3 rejects the parts | corrupt upload | restart the upload by retry | `not_proven` |
//! | neither upload nor object exists | the upload was aborted | restart the upload by retry | `upload_gone` |
//! | no part uploaded before the deadline | too slow for one invocation | retry, with less in flight | `no_progress` |
//! | stream longer than one invocation | cannot be resumed without ranges | retry: Zoom may support ranges or be faster then | `source_without_ranges_too_slow` |
//! | AWS request failed | outage of AWS | retry | `internal` |
//! | last link ended | consent ended | remove source and upload, publish nothing | `link_ended` |
//! | lease lost | another invocation transfers the file | change nothing | |
//!
//! "Retry" means a later attempt, as [`reelay_domain::retry`] decides. When that gives up, the file fails with the
//! reason. Uploads are kept until then. "Retry the part" and "next candidate" are decided in
//! [`crate::transfer::TransferError`].

use jiff::Timestamp;
use reelay_domain::recording::ZoomState;
use reelay_domain::retry::FailureKind;
use reelay_zoom::{ApiError, DownloadError, RateLimit};

use crate::transfer::TransferError;

/// Public reason of [`TransferError::NoProgress`]. The next attempt treats the source as slow.
pub(crate) const NO_PROGRESS: &str = "no_progress";

/// Public reason of responses that Zoom does not document. If an uploaded part exists, the next attempt accepts the whole
/// file from a source that ignores ranges.
pub(crate) const UNEXPECTED_ANSWER: &str = "unexpected_answer";

/// Consequence of a failure for the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// A later attempt may succeed, not before `after`.
    Retry { reason: &'static str, kind: FailureKind, after: Option<Timestamp> },
    /// The file has failed.
    Fail { reason: &'static str },
    /// Consent ended. What the transfer left is removed, and nothing is published.
    Remove,
    /// Another invocation holds the lease. Nothing is changed; the redelivery continues from the state that it
    /// leaves.
    Yield,
}

/// Decides what follows from an error, as in the table above. `zoom_state` is the state of the recording according
/// to Zoom's events.
pub(crate) fn of(error: &TransferError, zoom_state: ZoomState, now: Timestamp) -> Disposition {
    let fail = |reason| Disposition::Fail { reason };
    let retry_after =
        |reason, after| Disposition::Retry { reason, kind: FailureKind::Transient, after };
    let retry = |reason| retry_after(reason, None);
    let rate_limited =
        |limit: &RateLimit| retry_after("rate_limited", Some(limit.limited_until(now)));
    match error {
        TransferError::Aws(_) => retry("internal"),
        TransferError::LeaseLost => Disposition::Yield,
        TransferError::LinkEnded => Disposition::Remove,
        TransferError::NoSource => fail("no_source"),
        TransferError::Processing => retry("processing"),
        TransferError::NoGrant => retry("reauthorization_required"),
        TransferError::GrantUnavailable(_) => retry("grant_unavailable"),
        TransferError::Api(error) => match error {
            ApiError::NotFound { .. } => not_found(zoom_state),
            ApiError::Forbidden { .. } => retry("zoom_access_denied"),
            ApiError::RateLimited(limit) => rate_limited(limit),
            _ => retry("zoom_api"),
        },
        TransferError::Download(error) => match error {
            DownloadError::DisallowedUrl(_) => retry("download_host_not_allowed"),
            DownloadError::TooManyRedirects | DownloadError::InvalidRedirect => {
                retry("redirect_not_followed")
            }
            DownloadError::Gone => fail("gone"),
            DownloadError::NotFound => not_found(zoom_state),
            DownloadError::Unauthorized | DownloadError::Forbidden => retry("token_refused"),
            // Zoom also sends a page for deleted files.
            DownloadError::HtmlInsteadOfFile => match zoom_state {
                ZoomState::Present => retry("html_instead_of_file"),
                ZoomState::Trashed | ZoomState::Deleted => not_found(zoom_state),
            },
            DownloadError::RateLimited(limit) => rate_limited(limit),
            DownloadError::ServerError { retry_after: after, .. } => {
                retry_after("zoom_unavailable", after.map(|after| after.retry_at(now)))
            }
            DownloadError::Network(_) => retry("network"),
            DownloadError::RangeNotSatisfiable { .. }
            | DownloadError::RangeMismatch
            | DownloadError::UnexpectedEncoding
            | DownloadError::UnexpectedStatus { .. } => retry(UNEXPECTED_ANSWER),
        },
        TransferError::Network(_) => retry("network"),
        TransferError::Stalled => retry("stalled"),
        TransferError::BodyTooShort
        | TransferError::BodyTooLong
        | TransferError::SizeMismatch { .. } => retry("length_differs"),
        TransferError::RangeIgnored => retry(UNEXPECTED_ANSWER),
        TransferError::SourceChanged => retry("file_changed"),
        TransferError::UploadGone => retry("upload_gone"),
        TransferError::PartsRejected(_) => retry("not_proven"),
        TransferError::NoProgress => retry(NO_PROGRESS),
        TransferError::StreamTooSlow => retry("source_without_ranges_too_slow"),
    }
}

/// Not ready yet or deleted: Zoom's response does not say which, its events do.
fn not_found(zoom_state: ZoomState) -> Disposition {
    match zoom_state {
        ZoomState::Present => {
            Disposition::Retry { reason: "not_found", kind: FailureKind::NotFound, after: None }
        }
        ZoomState::Trashed => Disposition::Fail { reason: "trashed" },
        ZoomState::Deleted => Disposition::Fail { reason: "deleted" },
    }
}

/// The account's rate limit, if the error is one.
pub(crate) fn rate_limit(error: &TransferError) -> Option<&RateLimit> {
    match error {
        TransferError::Download(DownloadError::RateLimited(limit))
        | TransferError::Api(ApiError::RateLimited(limit)) => Some(limit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn not_found_fails_by_event_alone() {
        let error = TransferError::Download(DownloadError::NotFound);
        let retry =
            Disposition::Retry { reason: "not_found", kind: FailureKind::NotFound, after: None };
        let fail = |reason| Disposition::Fail { reason };
        for (zoom_state, expected) in [
            (ZoomState::Present, retry),
            (ZoomState::Trashed, fail("trashed")),
            (ZoomState::Deleted, fail("deleted")),
        ] {
            assert_eq!(
                of(&error, zoom_state, at("2026-01-01T00:00:00Z")),
                expected,
                "{zoom_state:?}"
            );
        }
    }
}
