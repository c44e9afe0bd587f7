//! When a failed transfer is tried again, and when Reelay gives up: by time, not by count.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::time::saturating_add;

/// Maximum delay between two attempts.
const MAX_DELAY: SignedDuration = SignedDuration::from_hours(6);

/// How long a file may be unknown to Zoom. Until then it may still be processed, or a recovery may take effect.
const NOT_FOUND_TTL: SignedDuration = SignedDuration::from_hours(24);

/// Minimum number of responses that a file is unknown before Reelay gives up.
const MIN_NOT_FOUND: u32 = 4;

/// Maximum of [`jitter`].
const MAX_JITTER: Duration = Duration::from_secs(60);

/// A random addition to a wait: up to an eighth of it, and a minute. It spreads attempts that waited for the same
/// moment.
pub fn jitter(wait: Duration, random: u8) -> Duration {
    (wait / 8).min(MAX_JITTER).mul_f64(f64::from(random) / 255.0)
}

/// Settings of the retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Delay after the first failure. It doubles with each failure, up to six hours, with jitter.
    pub first_delay: SignedDuration,
    /// Time after the first attempt at which Reelay gives up (`RetryDays`).
    pub retry_for: SignedDuration,
}

/// Failures of a file since a transfer last made progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Failures {
    /// Number of failures.
    pub count: u32,
    /// Number of responses that the file is unknown.
    #[serde(default)]
    pub not_found_count: u32,
    /// Time of the first of those, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_found_since: Option<i64>,
}

/// Kind of a failure that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// An outage, a rate limit, a rejected token, or the like.
    Transient,
    /// Zoom does not know the file: it is still processed, or does not exist.
    NotFound,
}

/// The next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextAttempt {
    /// The failures so far, to be saved.
    pub failures: Failures,
    /// Time of the attempt.
    pub at: Timestamp,
}

impl RetryPolicy {
    /// Decides when the file is tried again after a failure now; `None` if Reelay gives up. `since` is the time of
    /// the first attempt, `retry_after` the time that Zoom named, `random` a random byte.
    pub fn next_attempt(
        &self,
        failures: Failures,
        kind: FailureKind,
        since: Timestamp,
        retry_after: Option<Timestamp>,
        now: Timestamp,
        random: u8,
    ) -> Option<NextAttempt> {
        let mut failures = Failures { count: failures.count.saturating_add(1), ..failures };
        let mut end = saturating_add(since, self.retry_for);
        if kind == FailureKind::NotFound {
            let first = *failures.not_found_since.get_or_insert(now.as_millisecond());
            failures.not_found_count = failures.not_found_count.saturating_add(1);
            let first = Timestamp::from_millisecond(first).unwrap_or(now);
            end = saturating_add(first, NOT_FOUND_TTL);
            if failures.not_found_count < MIN_NOT_FOUND {
                end = Timestamp::MAX;
            }
        }
        if now >= end {
            return None;
        }
        let after = saturating_add(now, self.delay(failures.count, random));
        // The last attempt is made when the time ends, not before.
        Some(NextAttempt { failures, at: after.max(retry_after.unwrap_or(after)).min(end) })
    }

    /// Half to all of the doubled delay.
    fn delay(&self, failures: u32, random: u8) -> SignedDuration {
        let doublings = failures.saturating_sub(1).min(30);
        let delay = self.first_delay.saturating_mul(1 << doublings).min(MAX_DELAY);
        delay.saturating_mul(255 + i32::from(random)) / 510
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        first_delay: SignedDuration::from_secs(10),
        retry_for: SignedDuration::from_hours(7 * 24),
    };

    fn start() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    /// Times of all attempts after the first, in seconds after it, and the failures at the end.
    fn attempts(kind: FailureKind, random: u8) -> (Vec<i64>, Failures) {
        let (mut failures, mut now, mut times) = (Failures::default(), start(), Vec::new());
        while let Some(next) = POLICY.next_attempt(failures, kind, start(), None, now, random) {
            (failures, now) = (next.failures, next.at);
            times.push(now.duration_since(start()).as_secs());
            assert!(times.len() < 1000, "retried without end");
        }
        (times, failures)
    }

    #[test]
    fn transient_failures_are_retried_for_a_week() {
        let (times, _) = attempts(FailureKind::Transient, 255);
        assert_eq!(times[..5], [10, 30, 70, 150, 310]);
        assert_eq!(*times.last().unwrap(), 7 * 24 * 3600);
        let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert_eq!(longest, 6 * 3600);
        // An outage of a quarter of an hour meets several attempts soon after it.
        let (times, _) = attempts(FailureKind::Transient, 0);
        assert!(times.iter().any(|at| (900..1800).contains(at)), "{times:?}");
    }

    #[test]
    fn unknown_file_is_retried_for_a_day() {
        let (times, failures) = attempts(FailureKind::NotFound, 255);
        assert_eq!(*times.last().unwrap(), 24 * 3600);
        assert!(failures.not_found_count >= MIN_NOT_FOUND);
    }

    #[test]
    fn unknown_file_is_tried_four_times_however_late() {
        let failures = Failures {
            count: 3,
            not_found_count: 2,
            not_found_since: Some(start().as_millisecond()),
        };
        let late = start() + SignedDuration::from_hours(50);
        let next =
            |failures| POLICY.next_attempt(failures, FailureKind::NotFound, start(), None, late, 0);
        let third = next(failures).unwrap().failures;
        assert_eq!(third.not_found_count, 3);
        assert_eq!(next(third), None);
    }

    #[test]
    fn jitter_follows_the_wait_and_is_limited() {
        for (wait, random, expected) in
            [(80, 0, 0), (80, 255, 10), (800, 255, 60), (0, 255, 0), (u64::MAX, 255, 60)]
        {
            let jitter = jitter(Duration::from_secs(wait), random);
            assert_eq!(jitter.as_secs(), expected, "{wait} s, {random}");
        }
    }

    #[test]
    fn named_time_is_respected_within_the_period() {
        let next = |hours| {
            let retry_after = Some(start() + SignedDuration::from_hours(hours));
            let kind = FailureKind::Transient;
            let next =
                POLICY.next_attempt(Failures::default(), kind, start(), retry_after, start(), 0);
            next.unwrap().at.duration_since(start()).as_secs()
        };
        assert_eq!([next(-1), next(2), next(1000)], [5, 7200, 7 * 24 * 3600]);
    }
}
