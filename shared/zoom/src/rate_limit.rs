//! How long Zoom asks us to wait.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{HeaderMap, HeaderName, RETRY_AFTER};

const RATE_LIMIT_TYPE: HeaderName = HeaderName::from_static("x-ratelimit-type");

/// A wait that an answer asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// Until a moment: Zoom's daily limits name one as an ISO 8601 date-time, HTTP at large as a date.
    At(Timestamp),
    /// For so long from the answer on.
    In(Duration),
}

impl RetryAfter {
    /// The moment from which a retry makes sense, for an answer that came at `now`; never before it.
    pub fn moment(&self, now: Timestamp) -> Timestamp {
        match *self {
            Self::At(at) => at.max(now),
            Self::In(wait) => SignedDuration::try_from(wait)
                .ok()
                .and_then(|wait| now.checked_add(wait).ok())
                .unwrap_or(Timestamp::MAX),
        }
    }

    /// Reads `Retry-After`: seconds, an ISO 8601 date-time (UTC if it names no offset) or an HTTP
    /// date. Anything else counts as absent.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse::<u64>() {
            return Some(Self::In(Duration::from_secs(seconds)));
        }
        let at = text.parse::<Timestamp>().ok();
        let at = at.or_else(|| format!("{text}Z").parse().ok());
        let at = at.or_else(|| {
            jiff::fmt::rfc2822::DateTimeParser::new()
                .parse_timestamp(text)
                .ok()
        });
        at.map(Self::At)
    }
}

/// Which of Zoom's limits was hit (`X-RateLimit-Type`). Both are per Zoom account, shared by all its
/// users and all apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimitKind {
    /// Requests per second (`QPS`): over in a moment.
    PerSecond,
    /// Requests per day (`Daily-limit`): over at midnight UTC.
    Daily,
}

/// An answer 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimit {
    /// When to come back, if the answer says so; Zoom says it for daily limits only.
    pub retry_after: Option<RetryAfter>,
    /// Which limit, if the answer says so.
    pub kind: Option<RateLimitKind>,
}

impl RateLimit {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let kind = headers.get(RATE_LIMIT_TYPE).and_then(|value| {
            let value = value.to_str().ok()?.trim().to_ascii_lowercase();
            match value.as_str() {
                "qps" => Some(RateLimitKind::PerSecond),
                "daily-limit" => Some(RateLimitKind::Daily),
                _ => None,
            }
        });
        Self {
            retry_after: RetryAfter::read(headers),
            kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<RetryAfter> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().unwrap());
        RetryAfter::read(&headers)
    }

    #[test]
    fn all_forms_of_retry_after_are_read() {
        let midnight: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        for text in [
            "2026-01-02T00:00:00Z",
            "2026-01-02T00:00:00.000Z",
            "2026-01-02T01:00:00+01:00",
            "2026-01-02T00:00:00",
            "Fri, 02 Jan 2026 00:00:00 GMT",
        ] {
            assert_eq!(read(text), Some(RetryAfter::At(midnight)), "{text}");
        }
        assert_eq!(read(" 7 "), Some(RetryAfter::In(Duration::from_secs(7))));
        for text in ["", "soon", "-1", "1.5", "2026-13-01T00:00:00Z"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_moment_is_never_past_nor_out_of_range() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let past: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(RetryAfter::At(past).moment(now), now);
        assert_eq!(
            RetryAfter::In(Duration::from_secs(60)).moment(now),
            "2026-01-01T00:01:00Z".parse().unwrap()
        );
        assert_eq!(
            RetryAfter::In(Duration::from_secs(u64::MAX)).moment(now),
            Timestamp::MAX
        );
    }
}
