//! What each way of not getting a file means, and what happens then.

use std::time::Duration;

use jiff::Timestamp;
use worker::Retry;
use zoom::{ApiError, DownloadError, RateLimit};

/// A file that Zoom does not find may not be ready yet; after so many tries it is not there.
const MOST_NOT_FOUND: u32 = 3;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// In the bucket, proven.
    Stored,
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
    pub(crate) fn retry(&self) -> Retry {
        Retry {
            reason: format!("{}: {}", self.reason, self.detail),
            after: self.after,
        }
    }
}

impl Verdict {
    pub(crate) fn fail(reason: &'static str) -> Self {
        Self::Fail(Refusal {
            reason,
            detail: String::new(),
            after: None,
        })
    }

    pub(crate) fn retry(reason: &'static str, detail: impl ToString) -> Self {
        Self::Retry(Refusal {
            reason,
            detail: detail.to_string(),
            after: None,
        })
    }
}

/// How long Zoom asks us to wait.
pub(crate) fn wait(limit: &RateLimit, now: Timestamp) -> Option<Duration> {
    let wait = limit.retry_after?.moment(now).duration_since(now);
    Some(Duration::try_from(wait).unwrap_or(Duration::ZERO))
}

/// The verdict when Zoom's API does not know the recording, or does not show it.
pub(crate) fn not_listed(error: &ApiError, attempt: u32) -> Verdict {
    let refusal = Refusal {
        reason: "not_found",
        detail: error.to_string(),
        after: None,
    };
    if attempt >= MOST_NOT_FOUND {
        Verdict::Fail(refusal)
    } else {
        Verdict::Retry(refusal)
    }
}

/// The verdict on a download that did not begin. `attempt` counts from 1.
pub(crate) fn of_download(error: &DownloadError, attempt: u32, now: Timestamp) -> Verdict {
    let refusal = |reason| Refusal {
        reason,
        detail: error.to_string(),
        after: None,
    };
    match error {
        // No request has left. The URL came in a signed event, and still is not to be trusted.
        DownloadError::HostRefused(_) => Verdict::Fail(refusal("download_host_not_allowed")),
        DownloadError::TooManyRedirects | DownloadError::BadRedirect => {
            Verdict::Fail(refusal("redirect_not_followed"))
        }
        DownloadError::Gone => Verdict::Fail(refusal("gone")),
        DownloadError::NotFound if attempt >= MOST_NOT_FOUND => Verdict::Fail(refusal("not_found")),
        DownloadError::NotFound => Verdict::Retry(refusal("not_found")),
        DownloadError::Unauthorized | DownloadError::Forbidden => {
            Verdict::Retry(refusal("token_refused"))
        }
        DownloadError::HtmlInsteadOfFile => Verdict::Retry(refusal("html_instead_of_file")),
        DownloadError::RateLimited(limit) => {
            let after = wait(limit, now);
            Verdict::Retry(Refusal {
                after,
                ..refusal("rate_limited")
            })
        }
        DownloadError::ServerError { .. } => Verdict::Retry(refusal("zoom_unavailable")),
        DownloadError::Network(_) => Verdict::Retry(refusal("network")),
        DownloadError::RangeNotSatisfiable { .. }
        | DownloadError::WrongRange
        | DownloadError::Encoded
        | DownloadError::Other { .. } => Verdict::Retry(refusal("unexpected_answer")),
    }
}
