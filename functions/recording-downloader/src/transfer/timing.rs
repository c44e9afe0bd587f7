//! Time limits: stalled bodies, the invocation's deadline, and the interval of progress writes. No I/O.

use std::time::{Duration, Instant};

/// Throughput below which a response body counts as stalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StallLimit {
    /// Length of a measurement.
    pub window: Duration,
    /// Minimum number of bytes per window.
    pub min_bytes: u64,
}

/// Measures the throughput of one response body.
///
/// Only the time spent waiting for the source counts: while S3 is slow, the source is not read.
#[derive(Debug, Clone)]
pub(crate) struct StallDetector {
    limit: StallLimit,
    waited: Duration,
    bytes: u64,
    waiting_since: Option<Instant>,
}

impl StallDetector {
    pub(crate) fn new(limit: StallLimit) -> Self {
        Self { limit, waited: Duration::ZERO, bytes: 0, waiting_since: None }
    }

    /// Records that the source has no bytes now. Returns when to check again, or `None` if it has stalled.
    pub(crate) fn wait(&mut self, now: Instant) -> Option<Instant> {
        let since = *self.waiting_since.get_or_insert(now);
        if self.waited + now.duration_since(since) < self.limit.window {
            return Some(since + (self.limit.window - self.waited));
        }
        if self.bytes < self.limit.min_bytes {
            return None;
        }
        self.waited = Duration::ZERO;
        self.bytes = 0;
        self.waiting_since = Some(now);
        Some(now + self.limit.window)
    }

    /// Records received bytes.
    pub(crate) fn receive(&mut self, now: Instant, bytes: u64) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.duration_since(since);
        }
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// Time that remains of an invocation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeBudget {
    cutoff: Option<Instant>,
    slowest_part: Duration,
}

impl TimeBudget {
    /// Reserves `reserve` before the deadline, but at most a quarter of the remaining time.
    pub(crate) fn new(now: Instant, deadline: Option<Instant>, reserve: Duration) -> Self {
        let cutoff = deadline.map(|deadline| {
            let remaining = deadline.saturating_duration_since(now);
            deadline - reserve.min(remaining / 4)
        });
        Self { cutoff, slowest_part: Duration::ZERO }
    }

    /// Time at which every upload in progress is cancelled.
    pub(crate) fn cutoff(&self) -> Option<Instant> {
        self.cutoff
    }

    /// Records how long a part took.
    pub(crate) fn record_part(&mut self, duration: Duration) {
        self.slowest_part = self.slowest_part.max(duration);
    }

    /// Whether a part that takes 1.5 times as long as the slowest part so far would end before the cutoff.
    pub(crate) fn can_start_part(&self, now: Instant) -> bool {
        let estimate = self.slowest_part + self.slowest_part / 2;
        self.cutoff.is_none_or(|cutoff| now + estimate < cutoff)
    }
}

/// Minimum distance between two progress writes. Both conditions must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressInterval {
    /// Time since the last write.
    pub min_elapsed: Duration,
    /// Bytes since the last write, in percent of the file.
    pub min_percent: u64,
}

/// Decides when progress is saved.
#[derive(Debug, Clone)]
pub(crate) struct ProgressThrottle {
    interval: ProgressInterval,
    saved_at: Instant,
    saved_bytes: u64,
}

impl ProgressThrottle {
    pub(crate) fn new(interval: ProgressInterval, now: Instant, bytes: u64) -> Self {
        Self { interval, saved_at: now, saved_bytes: bytes }
    }

    /// Whether to save `bytes` of `length` now. A `true` counts as saved.
    pub(crate) fn should_save(&mut self, now: Instant, bytes: u64, length: Option<u64>) -> bool {
        let step = length.unwrap_or(0) / 100 * self.interval.min_percent;
        let is_due = now.duration_since(self.saved_at) >= self.interval.min_elapsed
            && bytes.saturating_sub(self.saved_bytes) >= step;
        if is_due {
            self.saved_at = now;
            self.saved_bytes = bytes;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMIT: StallLimit = StallLimit { window: Duration::from_secs(10), min_bytes: 100 };

    #[test]
    fn silence_is_stall_after_window() {
        let (start, mut detector) = (Instant::now(), StallDetector::new(LIMIT));
        let end = start + 10 * SECOND;
        assert_eq!(detector.wait(start), Some(end));
        assert_eq!(detector.wait(start + 9 * SECOND), Some(end));
        assert_eq!(detector.wait(end), None);
    }

    #[test]
    fn throughput_below_limit_is_stall() {
        for (bytes_per_second, expected) in [(9, true), (12, false)] {
            let (mut now, mut detector) = (Instant::now(), StallDetector::new(LIMIT));
            let mut is_stalled = false;
            for _ in 0..60 {
                is_stalled |= detector.wait(now).is_none();
                now += SECOND;
                is_stalled |= detector.wait(now).is_none();
                detector.receive(now, bytes_per_second);
            }
            assert_eq!(is_stalled, expected, "{bytes_per_second} bytes per second");
        }
    }

    #[test]
    fn time_without_reading_does_not_count() {
        let (mut now, mut detector) = (Instant::now(), StallDetector::new(LIMIT));
        for _ in 0..50 {
            assert!(detector.wait(now).is_some());
            detector.receive(now, 1);
            now += 30 * SECOND;
        }
    }

    #[test]
    fn part_starts_only_with_enough_time() {
        let start = Instant::now();
        let mut budget = TimeBudget::new(start, Some(start + 100 * SECOND), 10 * SECOND);
        assert_eq!(budget.cutoff(), Some(start + 90 * SECOND));
        assert!(budget.can_start_part(start + 89 * SECOND));
        budget.record_part(20 * SECOND);
        budget.record_part(10 * SECOND);
        assert!(budget.can_start_part(start + 59 * SECOND));
        assert!(!budget.can_start_part(start + 60 * SECOND));
        let short = TimeBudget::new(start, Some(start + 4 * SECOND), 10 * SECOND);
        assert_eq!(short.cutoff(), Some(start + 3 * SECOND));
        assert!(TimeBudget::new(start, None, SECOND).can_start_part(start + 9_999 * SECOND));
    }

    #[test]
    fn progress_is_throttled_by_time_and_bytes() {
        let interval = ProgressInterval { min_elapsed: 3 * SECOND, min_percent: 2 };
        let start = Instant::now();
        let mut throttle = ProgressThrottle::new(interval, start, 0);
        for (seconds, bytes, length, expected) in [
            (1, 50, Some(100), false),
            (9, 1, Some(100), false),
            (9, 2, Some(100), true),
            (10, 90, Some(100), false),
            (12, 90, Some(100), true),
            (20, 91, None, true),
        ] {
            let should_save = throttle.should_save(start + seconds * SECOND, bytes, length);
            assert_eq!(should_save, expected, "{bytes} bytes after {seconds} s");
        }
    }
}
