//! Parsing of `Retry-After` (RFC 9110, section 10.2.3) and of Zoom's `X-RateLimit-*` headers.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{HeaderMap, HeaderName, RETRY_AFTER};

const RATE_LIMIT_TYPE: HeaderName = HeaderName::from_static("x-ratelimit-type");
const RATE_LIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

/// Smallest daily limit in requests. Zoom's limits per second and per minute are far below it (Zoom,
/// "Rate limits").
const MIN_DAILY_LIMIT: u64 = 1_000;

/// Maximum duration of a rate limit. Zoom's longest limits are daily.
const MAX_RATE_LIMIT: SignedDuration = SignedDuration::from_hours(24);

/// Duration of a rate limit for which Zoom names no time and that is not daily. It is longer than Zoom's limit of
/// one second, so that concurrent requests do not exceed it together again.
const DEFAULT_RATE_LIMIT: SignedDuration = SignedDuration::from_secs(10);

/// Parsed `Retry-After` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// A point in time: an HTTP-date, or the ISO 8601 date-time that Zoom sends for daily limits.
    Date(Timestamp),
    /// A delay from the time of the response.
    Delay(Duration),
}

impl RetryAfter {
    /// Returns the earliest time for a retry of a request whose response arrived at `now`. Never before `now`.
    pub fn retry_at(&self, now: Timestamp) -> Timestamp {
        match *self {
            Self::Date(date) => date.max(now),
            Self::Delay(delay) => SignedDuration::try_from(delay)
                .ok()
                .and_then(|delay| now.checked_add(delay).ok())
                .unwrap_or(Timestamp::MAX),
        }
    }

    /// Parses `Retry-After`: seconds, an ISO 8601 date-time (UTC unless it has an offset) or an
    /// HTTP-date. Any other value counts as absent.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse::<u64>() {
            return Some(Self::Delay(Duration::from_secs(seconds)));
        }
        text.parse::<Timestamp>()
            .or_else(|_| format!("{text}Z").parse())
            .or_else(|_| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text))
            .ok()
            .map(Self::Date)
    }
}

/// Kind of the exceeded limit. Every limit applies to a Zoom account and is shared by its users and apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimitKind {
    /// Requests per second (`QPS`) or concurrent requests. Ends within seconds.
    PerSecond,
    /// Requests per day (`Daily-limit`). Ends at midnight UTC.
    Daily,
}

/// Headers of a 429 response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimit {
    /// `Retry-After`, if present. Zoom sends it for daily limits only.
    pub retry_after: Option<RetryAfter>,
    /// Kind of limit, if the headers identify it.
    pub kind: Option<RateLimitKind>,
}

impl RateLimit {
    /// Returns the end of the limit for a response that arrived at `now`: as Zoom says, else midnight UTC for a daily
    /// limit, else after 10 s. At most 24 h from `now`.
    pub fn limited_until(&self, now: Timestamp) -> Timestamp {
        let until = match (self.retry_after, self.kind) {
            (Some(after), _) => after.retry_at(now),
            (None, Some(RateLimitKind::Daily)) => {
                const DAY: i64 = 24 * 3600;
                let midnight = (now.as_second().div_euclid(DAY) + 1) * DAY;
                Timestamp::from_second(midnight).unwrap_or(now)
            }
            (None, Some(RateLimitKind::PerSecond) | None) => {
                now.saturating_add(DEFAULT_RATE_LIMIT).unwrap_or(now)
            }
        };
        until.min(now.saturating_add(MAX_RATE_LIMIT).unwrap_or(until))
    }

    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        Self {
            retry_after: RetryAfter::from_headers(headers),
            kind: RateLimitKind::from_headers(headers),
        }
    }
}

impl RateLimitKind {
    /// Reads the kind from `X-RateLimit-Type`, or infers it from the size of `X-RateLimit-Limit`. A daily
    /// limit with remaining requests is not the exceeded one.
    fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let text = |name| Some(headers.get(name)?.to_str().ok()?.trim());
        let number = |name| text(name)?.parse::<u64>().ok();
        let is_daily = match text(RATE_LIMIT_TYPE).map(str::to_ascii_lowercase).as_deref() {
            Some("qps") => return Some(Self::PerSecond),
            Some("daily-limit") => true,
            Some(_) => return None,
            None => number(RATE_LIMIT_LIMIT)? >= MIN_DAILY_LIMIT,
        };
        let is_exhausted = number(RATE_LIMIT_REMAINING).is_none_or(|remaining| remaining == 0);
        Some(if is_daily && is_exhausted { Self::Daily } else { Self::PerSecond })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<RetryAfter> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().unwrap());
        RetryAfter::from_headers(&headers)
    }

    #[test]
    fn retry_after_formats_are_parsed() {
        let midnight: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        for text in [
            "2026-01-02T00:00:00Z",
            "2026-01-02T00:00:00.000Z",
            "2026-01-02T01:00:00+01:00",
            "2026-01-02T00:00:00",
            "Fri, 02 Jan 2026 00:00:00 GMT",
        ] {
            assert_eq!(parse(text), Some(RetryAfter::Date(midnight)), "{text}");
        }
        assert_eq!(parse(" 7 "), Some(RetryAfter::Delay(Duration::from_secs(7))));
        for text in ["", "soon", "-1", "1.5", "2026-13-01T00:00:00Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn limit_kind_is_read_from_headers() {
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
            let parsed = RateLimit::from_headers(&headers);
            assert_eq!(parsed.kind, expected, "{kind} {limit} {remaining}");
        }
    }

    #[test]
    fn rate_limit_ends_by_header_day_or_default() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
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
            assert_eq!(limit.limited_until(now), at(expected), "{limit:?}");
        }
    }

    #[test]
    fn retry_at_is_clamped_to_valid_range() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let past: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(RetryAfter::Date(past).retry_at(now), now);
        assert_eq!(
            RetryAfter::Delay(Duration::from_secs(60)).retry_at(now),
            "2026-01-01T00:01:00Z".parse().unwrap()
        );
        assert_eq!(RetryAfter::Delay(Duration::from_secs(u64::MAX)).retry_at(now), Timestamp::MAX);
    }
}
