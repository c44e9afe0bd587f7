//! What each failure of a transfer means, and what follows.
//!
//! | failure | meaning | consequence | public reason |
//! |---|---|---|---|
//! | 401, 403 | token or signed URL expired or invalid | next candidate; after the last, retry | `token_refused` |
//! | 404 | deleted, or not ready yet | next candidate; then three attempts | `not_found`, or what Zoom's events said: `trashed`, `deleted` |
//! | 410 | deleted | next candidate; then fail | `gone` |
//! | HTML with 200 or 206, by content type or first bytes | sign-in page, or deleted | next candidate; then retry, or fail if Zoom's events said so | `html_instead_of_file`; `trashed`, `deleted` |
//! | host not allowed, in the URL or a redirect | untrusted | no request is sent; next candidate; then fail | `download_host_not_allowed` |
//! | redirect loop, or redirect without target | broken host | fail | `redirect_not_followed` |
//! | 416 | the file is now shorter | restart the upload | |
//! | other length or validator than before | the file was replaced | restart the upload, three times; then retry | `file_changed` |
//! | 429 | rate limit of the account | no request for the account until `Retry-After`, else until midnight UTC for a daily limit, else for 10 s; only this download consumes an attempt | `rate_limited` |
//! | 5xx | Zoom's outage | retry the part; then retry, at `Retry-After` if sent | `zoom_unavailable` |
//! | DNS, connection, TLS, or no response | network | retry the part; then retry | `network` |
//! | body interrupted, reset, or stalled | network | retry the part; then retry | `network`, `stalled` |
//! | body shorter or longer than announced | broken host | retry the part; then retry | `network`, `length_differs` |
//! | other size than declared | wrong file, or not ready yet | retry | `length_differs` |
//! | 200 to a range request | another server responded | retry the part; then retry, as one stream if it persists | `unexpected_answer` |
//! | any other status, wrong range, or compression | undocumented | retry | `unexpected_answer` |
//! | API: 3301, 3001 | still processing, or deleted | three attempts | `not_found`, `trashed`, `deleted` |
//! | API: 429 | as above | as above | `rate_limited` |
//! | API: any other failure | Zoom's outage | retry | `zoom_api` |
//! | no access token now | outage of Zoom's OAuth | retry | `grant_unavailable` |
//! | no URL in the event and none in the API | nothing to download | fail | `no_source` |
//! | no grant to call the API with | the user left | error of the previous candidate; without one, fail | `reauthorization_required` |
//! | S3 rejects the parts | corrupt upload | restart the upload by retry | `not_proven` |
//! | neither upload nor object exists | the upload was aborted | restart the upload by retry | `upload_gone` |
//! | no part uploaded before the deadline | too slow for one invocation | retry | `no_progress` |
//! | stream longer than one invocation | cannot be resumed without ranges | retry: Zoom may support ranges or be faster then | `source_without_ranges_too_slow` |
//! | AWS request failed | outage of AWS | retry | `internal` |
//! | last link ended | consent ended | remove source and upload, publish nothing | `link_ended` |
//! | lease lost | another invocation transfers the file | change nothing | |
//!
//! "Retry" means a redelivery with backoff and jitter. After the last attempt ([`crate::deferral`]) the app is
//! notified of the reason, and the message moves to the dead-letter queue. Uploads are kept until then. "Retry
//! the part" and "next candidate" are decided in [`crate::transfer::TransferError`].

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reelay_domain::recording::ZoomState;
use reelay_zoom::{ApiError, DownloadError, RateLimit, RateLimitKind, RetryAfter};

use crate::transfer::TransferError;

/// Attempts for a file that Zoom does not find. Before, it may not be ready yet.
const MAX_NOT_FOUND_ATTEMPTS: u32 = 3;

/// Maximum duration of a rate limit. Zoom's longest limits are daily.
const MAX_RATE_LIMIT: SignedDuration = SignedDuration::from_hours(24);

/// Duration of a rate limit for which Zoom names no time and that is not daily. It is longer than Zoom's limit of
/// one second, so that concurrent downloads do not exceed it together again.
const DEFAULT_RATE_LIMIT: SignedDuration = SignedDuration::from_secs(10);

/// What happens with the message and the file after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// SQS redelivers the message: after `after`, or with its own backoff.
    Retry { reason: &'static str, after: Option<Duration> },
    /// The file has failed.
    Fail { reason: &'static str },
    /// Consent ended. What the transfer left is removed, and nothing is published.
    Remove,
    /// Another invocation holds the lease. Nothing is changed; the redelivery finds what it did.
    Yield,
}

/// What the disposition depends on besides the error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances {
    /// Number of attempts, including this one.
    pub(crate) attempts: u32,
    /// State of the recording according to Zoom's events.
    pub(crate) zoom_state: ZoomState,
    pub(crate) now: Timestamp,
}

/// Decides what follows from an error, as in the table above.
pub(crate) fn of(error: &TransferError, circumstances: &Circumstances) -> Disposition {
    let now = circumstances.now;
    let fail = |reason| Disposition::Fail { reason };
    let retry = |reason| Disposition::Retry { reason, after: None };
    let rate_limited = |limit| Disposition::Retry {
        reason: "rate_limited",
        after: wait_until(limited_until(limit, now), now),
    };
    match error {
        TransferError::Aws(_) => retry("internal"),
        TransferError::LeaseLost => Disposition::Yield,
        TransferError::LinkEnded => Disposition::Remove,
        TransferError::NoSource => fail("no_source"),
        TransferError::NoGrant => fail("reauthorization_required"),
        TransferError::GrantUnavailable(_) => retry("grant_unavailable"),
        TransferError::Api(error) => match error {
            ApiError::NotFound { .. } | ApiError::Forbidden { .. } => not_found(circumstances),
            ApiError::RateLimited(limit) => rate_limited(limit),
            _ => retry("zoom_api"),
        },
        TransferError::Download(error) => match error {
            DownloadError::DisallowedUrl(_) => fail("download_host_not_allowed"),
            DownloadError::TooManyRedirects | DownloadError::InvalidRedirect => {
                fail("redirect_not_followed")
            }
            DownloadError::Gone => fail("gone"),
            DownloadError::NotFound => not_found(circumstances),
            DownloadError::Unauthorized | DownloadError::Forbidden => retry("token_refused"),
            // Zoom also sends a page for deleted files.
            DownloadError::HtmlInsteadOfFile => match circumstances.zoom_state {
                ZoomState::Present => retry("html_instead_of_file"),
                ZoomState::Trashed | ZoomState::Deleted => not_found(circumstances),
            },
            DownloadError::RateLimited(limit) => rate_limited(limit),
            DownloadError::ServerError { retry_after, .. } => Disposition::Retry {
                reason: "zoom_unavailable",
                after: retry_after.and_then(|after| wait_until(after.retry_at(now), now)),
            },
            DownloadError::Network(_) => retry("network"),
            DownloadError::RangeNotSatisfiable { .. }
            | DownloadError::RangeMismatch
            | DownloadError::UnexpectedEncoding
            | DownloadError::UnexpectedStatus { .. } => retry("unexpected_answer"),
        },
        TransferError::Network(_) => retry("network"),
        TransferError::Stalled => retry("stalled"),
        TransferError::BodyTooShort
        | TransferError::BodyTooLong
        | TransferError::SizeMismatch { .. } => retry("length_differs"),
        TransferError::RangeIgnored => retry("unexpected_answer"),
        TransferError::SourceChanged => retry("file_changed"),
        TransferError::UploadGone => retry("upload_gone"),
        TransferError::PartsRejected(_) => retry("not_proven"),
        TransferError::NoProgress => retry("no_progress"),
        TransferError::StreamTooSlow => retry("source_without_ranges_too_slow"),
    }
}

/// Not ready yet or deleted: Zoom's response does not say which, its events do.
fn not_found(circumstances: &Circumstances) -> Disposition {
    match circumstances.zoom_state {
        ZoomState::Present if circumstances.attempts < MAX_NOT_FOUND_ATTEMPTS => {
            Disposition::Retry { reason: "not_found", after: None }
        }
        ZoomState::Present => Disposition::Fail { reason: "not_found" },
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

/// End of a rate limit: as Zoom says, else midnight UTC for a daily limit, else [`DEFAULT_RATE_LIMIT`].
pub(crate) fn limited_until(limit: &RateLimit, now: Timestamp) -> Timestamp {
    let until = match (limit.retry_after, limit.kind) {
        (Some(after), _) => after.retry_at(now),
        (None, Some(RateLimitKind::Daily)) => {
            const DAY: i64 = 24 * 3600;
            let midnight = (now.as_second().div_euclid(DAY) + 1) * DAY;
            RetryAfter::Date(Timestamp::from_second(midnight).unwrap_or(now)).retry_at(now)
        }
        (None, Some(RateLimitKind::PerSecond) | None) => {
            now.saturating_add(DEFAULT_RATE_LIMIT).unwrap_or(now)
        }
    };
    until.min(now.saturating_add(MAX_RATE_LIMIT).unwrap_or(until))
}

/// Time from now until `until`; `None` if it has passed.
pub(crate) fn wait_until(until: Timestamp, now: Timestamp) -> Option<Duration> {
    Duration::try_from(until.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn rate_limit_ends_by_header_day_or_default() {
        let now = at("2026-01-01T22:00:00Z");
        let delay = |seconds| Some(RetryAfter::Delay(Duration::from_secs(seconds)));
        let date = |text| Some(RetryAfter::Date(at(text)));
        for (retry_after, kind, expected) in [
            (delay(30), None, "2026-01-01T22:00:30Z"),
            (date("2026-01-02T00:00:00Z"), None, "2026-01-02T00:00:00Z"),
            (None, Some(RateLimitKind::Daily), "2026-01-02T00:00:00Z"),
            (delay(u64::MAX), None, "2026-01-02T22:00:00Z"),
            (date("2020-01-01T00:00:00Z"), None, "2026-01-01T22:00:00Z"),
            (None, Some(RateLimitKind::PerSecond), "2026-01-01T22:00:10Z"),
            (None, None, "2026-01-01T22:00:10Z"),
        ] {
            let limit = RateLimit { retry_after, kind };
            assert_eq!(limited_until(&limit, now), at(expected), "{limit:?}");
        }
    }

    #[test]
    fn not_found_fails_after_attempts_or_event() {
        let error = TransferError::Download(DownloadError::NotFound);
        let retry = Disposition::Retry { reason: "not_found", after: None };
        let fail = |reason| Disposition::Fail { reason };
        for (attempts, zoom_state, expected) in [
            (1, ZoomState::Present, retry),
            (2, ZoomState::Present, retry),
            (3, ZoomState::Present, fail("not_found")),
            (1, ZoomState::Trashed, fail("trashed")),
            (1, ZoomState::Deleted, fail("deleted")),
        ] {
            let circumstances =
                Circumstances { attempts, zoom_state, now: at("2026-01-01T00:00:00Z") };
            assert_eq!(of(&error, &circumstances), expected, "{attempts} {zoom_state:?}");
        }
    }
}
