//! How long Zoom asks us to wait.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{HeaderMap, HeaderName, RETRY_AFTER};

const RATE_LIMIT_TYPE: HeaderName = HeaderName::from_static("x-ratelimit-type");
const RATE_LIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

/// Zoom's limits of a day begin at this number of requests; its limits of a second or a minute end far below
/// (Zoom, "Rate limits").
const SMALLEST_DAILY_LIMIT: u64 = 1_000;

/// A wait that an answer asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// Until a moment: Zoom's daily limits name one as an ISO 8601 date-time, HTTP at large as a date.
    Date(Timestamp),
    /// For so long from the answer on.
    Delay(Duration),
}

impl RetryAfter {
    /// The moment from which a retry makes sense, for an answer that came at `now`; never before it.
    pub fn retry_at(&self, now: Timestamp) -> Timestamp {
        match *self {
            Self::Date(at) => at.max(now),
            Self::Delay(wait) => SignedDuration::try_from(wait)
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
            return Some(Self::Delay(Duration::from_secs(seconds)));
        }
        let at = text.parse::<Timestamp>().ok();
        let at = at.or_else(|| format!("{text}Z").parse().ok());
        let at = at.or_else(|| {
            jiff::fmt::rfc2822::DateTimeParser::new()
                .parse_timestamp(text)
                .ok()
        });
        at.map(Self::Date)
    }
}

/// Which of Zoom's limits was hit. All are per Zoom account, shared by all its users and all apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimitKind {
    /// Requests per second (`QPS`), or at the same time: over in a moment.
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
        Self {
            retry_after: RetryAfter::read(headers),
            kind: RateLimitKind::read(headers),
        }
    }
}

impl RateLimitKind {
    /// `X-RateLimit-Type` says which limit the other headers are about. Where it is missing, the limit's size
    /// says it; a limit of the day of which something remains is not the one that was hit.
    fn read(headers: &HeaderMap) -> Option<Self> {
        let text = |name| Some(headers.get(name)?.to_str().ok()?.trim());
        let number = |name| text(name)?.parse::<u64>().ok();
        let daily = match text(RATE_LIMIT_TYPE)
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            Some("qps") => return Some(Self::PerSecond),
            Some("daily-limit") => true,
            Some(_) => return None,
            None => number(RATE_LIMIT_LIMIT)? >= SMALLEST_DAILY_LIMIT,
        };
        let exhausted = number(RATE_LIMIT_REMAINING).is_none_or(|remaining| remaining == 0);
        Some(if daily && exhausted {
            Self::Daily
        } else {
            Self::PerSecond
        })
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
            assert_eq!(read(text), Some(RetryAfter::Date(midnight)), "{text}");
        }
        assert_eq!(read(" 7 "), Some(RetryAfter::Delay(Duration::from_secs(7))));
        for text in ["", "soon", "-1", "1.5", "2026-13-01T00:00:00Z"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn which_limit_was_hit_is_read_from_what_the_headers_say_of_it() {
        use RateLimitKind::{Daily, PerSecond};
        for (kind, limit, remaining, expected) in [
            ("QPS", "", "", Some(PerSecond)),
            ("Daily-limit", "", "", Some(Daily)),
            ("daily-LIMIT", "6000", "0", Some(Daily)),
            ("Daily-limit", "6000", "12", Some(PerSecond)),
            ("", "6000", "0", Some(Daily)),
            ("", "6000", "", Some(Daily)),
            ("", "6000", "12", Some(PerSecond)),
            ("", "80", "0", Some(PerSecond)),
            ("", "many", "0", None),
            ("", "", "0", None),
            ("Monthly", "6000", "0", None),
        ] {
            let mut headers = HeaderMap::new();
            let named = [
                (RATE_LIMIT_TYPE, kind),
                (RATE_LIMIT_LIMIT, limit),
                (RATE_LIMIT_REMAINING, remaining),
            ];
            for (name, value) in named.into_iter().filter(|(_, value)| !value.is_empty()) {
                headers.insert(name, value.parse().unwrap());
            }
            let read = RateLimit::read(&headers);
            assert_eq!(read.kind, expected, "{kind} {limit} {remaining}");
        }
    }

    #[test]
    fn a_moment_is_never_past_nor_out_of_range() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let past: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(RetryAfter::Date(past).retry_at(now), now);
        assert_eq!(
            RetryAfter::Delay(Duration::from_secs(60)).retry_at(now),
            "2026-01-01T00:01:00Z".parse().unwrap()
        );
        assert_eq!(
            RetryAfter::Delay(Duration::from_secs(u64::MAX)).retry_at(now),
            Timestamp::MAX
        );
    }
}
