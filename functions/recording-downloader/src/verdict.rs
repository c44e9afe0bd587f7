//! What each way of not getting a file means, and what happens then.
//!
//! | what is met | what it means | what happens | the app's reason |
//! |---|---|---|---|
//! | 401, 403 | the token or the signed address is expired, or was never good | the next rung of the ladder; above the last, the queue | `token_refused` |
//! | 404 | gone, or not there yet | the next rung; then the queue, three times | `not_found`, or what Zoom told before: `trashed`, `deleted` |
//! | 410 | gone for good | the next rung; then the end | `gone` |
//! | HTML with 200 or 206, by its type or by its first bytes | a sign-in page, or "deleted" | the next rung; then the queue, or the end if Zoom's events have told it | `html_instead_of_file`; `trashed`, `deleted` |
//! | a host that is not Zoom's, here or behind a redirect | not to be trusted | nothing is sent there; the next rung; then the end | `download_host_not_allowed` |
//! | redirects in a circle, or to nowhere | broken | the end | `redirect_not_followed` |
//! | 416 | the file has become shorter | the upload starts over | |
//! | another length or validator than before | the file was replaced | the upload starts over, three times; then the queue | `file_changed` |
//! | 429 | a limit of the whole account | nobody asks for this account before the time that Zoom names; else until midnight UTC for a limit of the day, for 10 s for any other. Only who met it has used up a try | `rate_limited` |
//! | 5xx | Zoom is not well | the part again; then the queue, when Zoom says | `zoom_unavailable` |
//! | no name, no connection, no TLS, silence | the network | the part again; then the queue | `network` |
//! | a body that is cut, reset, or stalls | the network | the part again; then the queue | `network`, `stalled` |
//! | a body shorter or longer than its head says | a broken server | the part again; then the queue | `network`, `length_differs` |
//! | media of another length than declared | not the file, or not ready yet | the queue | `length_differs` |
//! | 200 to a later range | another server answers | the part again; then the queue, and one stream if it stays so | `unexpected_answer` |
//! | any other status, another range, compressed bytes | not as documented | the queue | `unexpected_answer` |
//! | the API: 3301, 3001 | still processed, or gone | the queue, three times | `not_found`, `trashed`, `deleted` |
//! | the API: 429 | as above | as above | `rate_limited` |
//! | the API: an outage | no answer | the queue | `zoom_api` |
//! | the grant cannot be refreshed now | Zoom's OAuth is not well | the queue | `grant_unavailable` |
//! | no address in the event, and none at the API | nothing to fetch | the end | `no_source` |
//! | no grant to ask the API with | the user left | the rung before has the last word; if there is none, the end | `reauthorization_required` |
//! | S3 does not accept the parts | they are not what we think | the upload starts over, by the queue | `not_proven` |
//! | the upload is gone, and no object is there | somebody aborted it | the upload starts over, by the queue | `upload_gone` |
//! | a hand-over that moved nothing | too slow for the function's time | the queue | `no_progress` |
//! | one stream that outlasts the function's time | without ranges nobody can go on in its middle | the queue, for Zoom may give ranges or be faster then | `source_without_ranges_too_slow` |
//!
//! "The queue" is a retry with backoff and jitter, by SQS's count of the message and what those before it have
//! spent ([`crate::waiting`]); after the last one the app is told the reason, and the message waits in the
//! dead-letter queue. Uploads survive it until the file ends.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reelay_domain::recording::ZoomState;
use reelay_runtime::sqs::Retry;
use reelay_zoom::{ApiError, DownloadError, RateLimit, RateLimitKind, RetryAfter};

use crate::ladder::Unlisted;
use crate::transfer::{BodyError, Cause};

/// A file that Zoom does not find may not be ready yet; after so many tries it is not there.
const MOST_NOT_FOUND: u32 = 3;

/// Zoom's limits are for a day at most.
const LONGEST_LIMIT: SignedDuration = SignedDuration::from_hours(24);

/// How long a limit holds of which nothing is known but that it is not the day's: it is one of the second, and
/// those who ask at the same time must not run into it together again.
const SHORT_LIMIT: SignedDuration = SignedDuration::from_secs(10);

/// How an attempt ended that did not store the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// To be tried again.
    Retry(Refusal),
    /// Not to be had; the app is told.
    Fail(Refusal),
}

/// Why there is no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// For the app, the metric and the item: one word.
    pub(crate) reason: &'static str,
    /// For the log.
    pub(crate) detail: String,
    /// When to try again, if Zoom said so.
    pub(crate) after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(reason: &'static str, detail: impl ToString) -> Self {
        Self {
            reason,
            detail: detail.to_string(),
            after: None,
        }
    }

    pub(crate) fn retry(&self) -> Retry {
        Retry {
            reason: format!("{}: {}", self.reason, self.detail),
            after: self.after,
        }
    }
}

/// What a verdict depends on, beside the cause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances {
    /// How often the file was tried with this message, and those that it continues, from 1.
    pub(crate) deliveries: u32,
    /// What Zoom has told of the recording.
    pub(crate) zoom_state: ZoomState,
    /// The time.
    pub(crate) now: Timestamp,
}

/// The table above.
pub(crate) fn on(cause: &Cause, around: &Circumstances) -> Verdict {
    let refusal = |reason| Refusal::new(reason, cause);
    match cause {
        Cause::NoSource => Verdict::Fail(refusal("no_source")),
        Cause::Unlisted(why) => match why {
            Unlisted::NoGrant => Verdict::Fail(refusal("reauthorization_required")),
            Unlisted::GrantUnavailable(_) => Verdict::Retry(refusal("grant_unavailable")),
            Unlisted::Api(ApiError::NotFound { .. } | ApiError::Forbidden { .. }) => {
                not_found(cause, around)
            }
            Unlisted::Api(ApiError::RateLimited(limit)) => rate_limited(cause, limit, around.now),
            Unlisted::Api(_) => Verdict::Retry(refusal("zoom_api")),
        },
        Cause::Download(error) => match error {
            // No request has left. The URL came in a signed event, and still is not to be trusted.
            DownloadError::DisallowedUrl(_) => Verdict::Fail(refusal("download_host_not_allowed")),
            DownloadError::TooManyRedirects | DownloadError::InvalidRedirect => {
                Verdict::Fail(refusal("redirect_not_followed"))
            }
            DownloadError::Gone => Verdict::Fail(refusal("gone")),
            DownloadError::NotFound => not_found(cause, around),
            DownloadError::Unauthorized | DownloadError::Forbidden => {
                Verdict::Retry(refusal("token_refused"))
            }
            // Zoom shows a page, too, where it has nothing any more.
            DownloadError::HtmlInsteadOfFile => match around.zoom_state {
                ZoomState::Present => Verdict::Retry(refusal("html_instead_of_file")),
                ZoomState::Trashed | ZoomState::Deleted => not_found(cause, around),
            },
            DownloadError::RateLimited(limit) => rate_limited(cause, limit, around.now),
            DownloadError::ServerError { retry_after, .. } => Verdict::Retry(Refusal {
                after: retry_after.and_then(|after| wait(after.retry_at(around.now), around.now)),
                ..refusal("zoom_unavailable")
            }),
            DownloadError::Network(_) => Verdict::Retry(refusal("network")),
            DownloadError::RangeNotSatisfiable { .. }
            | DownloadError::RangeMismatch
            | DownloadError::UnexpectedEncoding
            | DownloadError::UnexpectedStatus { .. } => {
                Verdict::Retry(refusal("unexpected_answer"))
            }
        },
        Cause::Body(BodyError::Network(_)) => Verdict::Retry(refusal("network")),
        Cause::Body(BodyError::Stalled) => Verdict::Retry(refusal("stalled")),
        Cause::Body(BodyError::Short | BodyError::Long) | Cause::Length { .. } => {
            Verdict::Retry(refusal("length_differs"))
        }
        Cause::NoRange => Verdict::Retry(refusal("unexpected_answer")),
        Cause::Changing => Verdict::Retry(refusal("file_changed")),
        Cause::UploadGone => Verdict::Retry(refusal("upload_gone")),
        Cause::NotProven(_) => Verdict::Retry(refusal("not_proven")),
    }
}

/// Not ready yet, or not there any more: Zoom's answers do not say which, its events do.
fn not_found(cause: &Cause, around: &Circumstances) -> Verdict {
    let (reason, ended) = match around.zoom_state {
        ZoomState::Present => ("not_found", around.deliveries >= MOST_NOT_FOUND),
        ZoomState::Trashed => ("trashed", true),
        ZoomState::Deleted => ("deleted", true),
    };
    let refusal = Refusal::new(reason, cause);
    if ended {
        Verdict::Fail(refusal)
    } else {
        Verdict::Retry(refusal)
    }
}

/// A run that ended with its time, and has nothing to show for it.
pub(crate) fn no_progress(stream: bool) -> Refusal {
    if stream {
        Refusal::new(
            "source_without_ranges_too_slow",
            "the server gives no ranges, and the file takes longer than the function may",
        )
    } else {
        let detail = "no part was finished in the function's time";
        Refusal::new("no_progress", detail)
    }
}

fn rate_limited(cause: &Cause, limit: &RateLimit, now: Timestamp) -> Verdict {
    Verdict::Retry(Refusal {
        after: wait(not_before(limit, now), now),
        ..Refusal::new("rate_limited", cause)
    })
}

/// The limit that an attempt ran into, if it did.
pub(crate) fn limit(cause: &Cause) -> Option<&RateLimit> {
    match cause {
        Cause::Download(DownloadError::RateLimited(limit))
        | Cause::Unlisted(Unlisted::Api(ApiError::RateLimited(limit))) => Some(limit),
        _ => None,
    }
}

/// Until when a limit keeps the account from asking: as Zoom says, else the next midnight for a limit of the
/// day, and a moment for any other.
pub(crate) fn not_before(limit: &RateLimit, now: Timestamp) -> Timestamp {
    let until = match (limit.retry_after, limit.kind) {
        (Some(after), _) => after.retry_at(now),
        (None, Some(RateLimitKind::Daily)) => {
            const DAY: i64 = 24 * 3600;
            let midnight = (now.as_second().div_euclid(DAY) + 1) * DAY;
            RetryAfter::Date(Timestamp::from_second(midnight).unwrap_or(now)).retry_at(now)
        }
        (None, Some(RateLimitKind::PerSecond) | None) => {
            now.saturating_add(SHORT_LIMIT).unwrap_or(now)
        }
    };
    until.min(now.saturating_add(LONGEST_LIMIT).unwrap_or(until))
}

/// From now until then.
pub(crate) fn wait(until: Timestamp, now: Timestamp) -> Option<Duration> {
    Duration::try_from(until.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_limit_holds_until_zoom_says_or_the_day_or_a_moment_is_over_and_never_longer_than_a_day() {
        let now = at("2026-01-01T22:00:00Z");
        let limit = |retry_after, kind| RateLimit { retry_after, kind };
        let in_seconds = |seconds| Some(RetryAfter::Delay(Duration::from_secs(seconds)));
        for (limit, expected) in [
            (limit(in_seconds(30), None), at("2026-01-01T22:00:30Z")),
            (
                limit(Some(RetryAfter::Date(at("2026-01-02T00:00:00Z"))), None),
                at("2026-01-02T00:00:00Z"),
            ),
            (
                limit(None, Some(RateLimitKind::Daily)),
                at("2026-01-02T00:00:00Z"),
            ),
            (
                limit(in_seconds(u64::MAX), None),
                at("2026-01-02T22:00:00Z"),
            ),
            (
                limit(Some(RetryAfter::Date(at("2020-01-01T00:00:00Z"))), None),
                now,
            ),
            (
                limit(None, Some(RateLimitKind::PerSecond)),
                at("2026-01-01T22:00:10Z"),
            ),
            (limit(None, None), at("2026-01-01T22:00:10Z")),
        ] {
            assert_eq!(not_before(&limit, now), expected, "{limit:?}");
        }
    }

    #[test]
    fn what_zoom_does_not_find_ends_at_the_third_delivery_or_when_its_events_explain_it() {
        let cause = Cause::Download(DownloadError::NotFound);
        for (deliveries, zoom_state, reason, ends) in [
            (1, ZoomState::Present, "not_found", false),
            (2, ZoomState::Present, "not_found", false),
            (3, ZoomState::Present, "not_found", true),
            (1, ZoomState::Trashed, "trashed", true),
            (1, ZoomState::Deleted, "deleted", true),
        ] {
            let now = at("2026-01-01T00:00:00Z");
            let verdict = on(
                &cause,
                &Circumstances {
                    deliveries,
                    zoom_state,
                    now,
                },
            );
            let refusal = Refusal::new(reason, &cause);
            let expected = if ends {
                Verdict::Fail(refusal)
            } else {
                Verdict::Retry(refusal)
            };
            assert_eq!(verdict, expected);
        }
    }
}
